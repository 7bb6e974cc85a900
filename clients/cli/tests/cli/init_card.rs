//! `keyward init` with a card, on a terminal, with a worker that says what the test wants.

use crate::init::Home;

/// What a worker says of a card: whether PIN, PUK and management key are the factory's.
fn card(factory: &str) -> String {
    let reference = format!(r#"{{"factory":{factory},"tries":3}}"#);
    format!(
        r#"{{"serial":"12345678","firmware":"5.7.1","manufacturer":"Yubico","model":"YubiKey PIV 5.7.1","pin":{reference},"puk":{reference},"management_key":{{"factory":{factory},"protected":false}}}}"#
    )
}

fn readers(readers: &str) -> String {
    format!(r#"{{"piv":{{"service":"answers","detail":null,"readers":[{readers}]}}}}"#)
}

fn reader(card: &str) -> String {
    readers(&format!(
        r#"{{"name":"R","state":"card","problem":null,"card":{card}}}"#
    ))
}

/// A worker that shows this, and keeps what it is to set and how it is called.
fn home(probed: &str, set_up: &str) -> Home {
    Home::with_worker(&format!(
        "case $1 in probe) echo '{probed}';;
         *) echo \"$@\" >\"$0.called\"; cat >\"$0.secrets\"; {set_up};; esac"
    ))
}

const ALL: &str = r#"echo '{"piv":{"replaced":{"pin":true,"puk":true,"management_key":true}}}'"#;

fn lines(home: &Home) -> Vec<String> {
    let text = std::fs::read_to_string(home.path("worker.secrets")).unwrap();
    text.lines().map(str::to_owned).collect()
}

#[test]
fn the_pin_is_asked_for_twice_and_the_puk_is_shown_once_before_it_is_set() {
    let home = home(&reader(&card("true")), ALL);
    let mut session = home.on_terminal(&["--serial", "12345678"]);
    session.until("a random PUK on the card in the place of the factory's: shown once");
    session.until("Go on? [y/N] ");
    session.type_in("y\n");
    for (first, second) in [
        ("123456\n", None),
        ("735192\n", Some("735193\n")),
        ("735192\n", Some("735192\n")),
    ] {
        session.until("New PIN for YubiKey 12345678");
        session.shown.clear();
        session.type_in(first);
        if let Some(second) = second {
            session.until("again: ");
            session.type_in(second);
        }
    }
    session.until("when it is written down: ");
    assert!(!home.path("worker.secrets").exists());
    let shown = session.shown.clone();
    session.type_in("\n");
    session.until("Token yubikey is set up.");
    assert_eq!(session.end().0, 0);
    let secrets = lines(&home);
    assert_eq!(secrets.len(), 3);
    assert_eq!((&*secrets[0], &*secrets[2]), ("735192", ""));
    assert!(
        shown.contains(&format!("new PUK is  {}", secrets[1])),
        "{shown}"
    );
    let config = std::fs::read_to_string(home.config()).unwrap();
    let section = "[token.yubikey]\nkind = \"piv\"\nserial = 12345678\npin = \"ask\"\n";
    assert!(config.contains(section), "{config}");
    assert!(!config.contains("735192") && !config.contains(&secrets[1]));
}

#[test]
fn a_card_with_its_own_secrets_is_asked_for_nothing() {
    let home = home(&reader(&card("false")), ALL);
    let (code, stdout, stderr) = home.init(&["--serial", "12345678", "--yes"]);
    assert_eq!(code, 0, "{stderr}");
    assert!(!stdout.contains("SET"), "{stdout}");
    assert!(!home.path("worker.called").exists());
    let undone = home.init(&["--undo", "--yes"]);
    assert_eq!(undone.0, 0, "{}", undone.2);
    home.assert_untouched();
}

#[test]
fn a_management_key_alone_wants_the_pin_of_the_card() {
    let card = card("false").replace(
        r#"{"factory":false,"protected""#,
        r#"{"factory":true,"protected""#,
    );
    let home = home(&reader(&card), ALL);
    let mut session = home.on_terminal(&["--serial", "12345678", "--yes"]);
    session.until("PIN of YubiKey 12345678 (PIV, firmware 5.7.1), as it is: ");
    session.type_in("735192\n");
    assert_eq!(session.end().0, 0);
    assert_eq!(lines(&home), ["", "", "735192"]);
}

#[test]
fn a_card_that_does_not_say_it_is_asked_about_and_no_is_left_alone() {
    let silent = card("null").replace("5.7.1", "4.3.5");
    for (typed, called) in [("n\n", false), ("y\n", true)] {
        let home = home(&reader(&silent), ALL);
        let puk = home.path("puk");
        let pin = home.path("pin");
        std::fs::write(&pin, "735192\n").unwrap();
        let mut arguments = vec!["--serial", "12345678"];
        if called {
            let files = [
                "--puk-file",
                puk.to_str().unwrap(),
                "--pin-file",
                pin.to_str().unwrap(),
            ];
            arguments.extend(files);
        }
        let mut session = home.on_terminal(&arguments);
        session.until("Is it as it came from there?");
        session.type_in(typed);
        session.until("Go on? [y/N] ");
        session.type_in("y\n");
        let (code, stderr) = session.end();
        assert_eq!(code, 0, "{stderr}");
        let words = std::fs::read_to_string(home.path("worker.called")).unwrap_or_default();
        assert_eq!(
            words.contains("init-token piv 12345678 --from-factory"),
            called,
            "{words}"
        );
    }
}

#[test]
fn without_a_terminal_the_puk_needs_a_file_and_no_file_is_written_over() {
    let home = home(&reader(&card("true")), ALL);
    let pin = home.path("pin");
    std::fs::write(&pin, "735192\n").unwrap();
    let pin = pin.to_str().unwrap();
    let by_file = ["--serial", "12345678", "--yes", "--pin-file", pin];
    let (code, _, stderr) = home.init(&by_file);
    assert_eq!(code, 2);
    assert!(stderr.contains("hint: --puk-file FILE"), "{stderr}");
    let puk = home.path("puk");
    std::fs::write(&puk, "of another card").unwrap();
    let with_puk = [&by_file[..], &["--puk-file", puk.to_str().unwrap()]].concat();
    let (code, _, stderr) = home.init(&with_puk);
    assert_eq!(code, 2);
    assert!(stderr.contains("is there already"), "{stderr}");
    home.assert_untouched();
    std::fs::remove_file(&puk).unwrap();
    assert_eq!(home.init(&with_puk).0, 0);
    assert_eq!(
        std::fs::read_to_string(&puk).unwrap().trim_end(),
        lines(&home)[1]
    );
}

#[test]
fn a_card_that_fails_in_the_middle_leaves_no_configuration_and_says_what_to_type() {
    let home = home(
        &reader(&card("true")),
        "echo 'keyward-worker: error: the card was taken away; what was replaced before stays: PIN' >&2; exit 1",
    );
    let (pin, puk) = (home.path("pin"), home.path("puk"));
    std::fs::write(&pin, "735192\n").unwrap();
    let (pin, puk) = (pin.to_str().unwrap(), puk.to_str().unwrap());
    let arguments = [
        "--serial",
        "12345678",
        "--yes",
        "--pin-file",
        pin,
        "--puk-file",
        puk,
    ];
    let (code, _, stderr) = home.init(&arguments);
    assert_eq!(code, 6, "{stderr}");
    assert!(
        stderr.contains("what was replaced before stays: PIN")
            && stderr.contains("hint: keyward init again"),
        "{stderr}"
    );
    home.assert_untouched();
    // The PUK may be the card's by now.
    assert!(std::path::Path::new(puk).exists());
}

#[test]
fn a_card_that_is_not_there_is_said_with_what_is() {
    let home = home(&reader(&card("true")), ALL);
    let (code, _, stderr) = home.init(&["--serial", "7", "--yes"]);
    assert_eq!(code, 6);
    assert!(
        stderr.contains("no card with the serial number 7"),
        "{stderr}"
    );
    assert!(stderr.contains("hint: there are: 12345678"), "{stderr}");
    home.assert_untouched();
}

#[test]
fn what_keeps_from_a_card_is_its_cause() {
    let held = r#"{"name":"R","state":"held","problem":null,"card":null}"#;
    let blocked = card("false").replacen(r#""tries":3"#, r#""tries":0"#, 1);
    for (probed, words) in [
        (readers(held), "pcsc-shared"),
        (reader(&blocked), "unblock-pin"),
        (
            r#"{"piv":{"service":"refused","detail":"x","readers":[]}}"#.to_owned(),
            "polkit",
        ),
        (
            r#"{"piv":{"service":"absent","detail":"x","readers":[]}}"#.to_owned(),
            "systemctl restart pcscd.socket",
        ),
    ] {
        let home = home(&probed, ALL);
        let (code, _, stderr) = home.init(&["--serial", "12345678", "--yes"]);
        assert_eq!(code, 6, "{words}");
        assert!(stderr.contains(words), "{stderr}");
        home.assert_untouched();
    }
}
