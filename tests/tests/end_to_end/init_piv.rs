//! `keyward init` with PIV cards, and what an agent makes of what it wrote.

use std::{fs, os::unix::fs::PermissionsExt};

use keyward_tests::{PATIENCE, piv::pins_sent_to, wait_for};
use keyward_virtual_piv::{Card, Model, Rig};

use crate::init::{Home, modes};

const SERIAL: u32 = 12_345_678;
const PIN: &[u8] = b"735192\n";
const CONFIG: &str = "home/.config/keyward/keyward.toml";

pub(crate) fn home(rig: &Rig) -> Home {
    Home::with(rig.environment())
}

/// The command line that sets a card up without questions, with a PIN from stdin.
fn init<'a>(puk: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let all = ["init", "--yes", "--pin-file", "-", "--puk-file", puk];
    [&all, more].concat()
}

fn create<'a>(name: &'a str, token: &'a str) -> [&'a str; 9] {
    [
        "key",
        "create",
        name,
        "--purpose",
        "sign",
        "--type",
        "p256",
        "--token",
        token,
    ]
}

#[test]
fn from_a_card_of_the_factory_to_a_signature_and_back_but_for_the_card() {
    let card = Card::new(Model::YubiKey57, SERIAL);
    let rig = Rig::with(&card);
    let home = home(&rig);
    let file = home.path("puk");
    let said = home.keyward_with(
        &init(file.to_str().unwrap(), &["--serial", "12345678"]),
        PIN,
    );
    for words in [
        "SET    a new PIN on the card",
        "SET    a random PUK on the card",
        "SET    a random management key on the card",
        "New on the card: PIN, PUK, management key.",
    ] {
        assert!(said.contains(words), "{said}");
    }
    let puk = fs::read_to_string(&file).unwrap();
    let puk = puk.trim_end();
    assert!(!said.contains("735192") && !said.contains(puk), "{said}");
    assert!(card.pin_is(b"735192") && card.puk_is(puk.as_bytes()));
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o077, 0);
    let mut found = Vec::new();
    modes(&home.path("home"), &mut found);
    assert!(found.iter().all(|(_, others)| *others == 0), "{found:?}");
    for (path, _) in found.iter().filter(|(path, _)| path.is_file()) {
        let text = fs::read_to_string(path).unwrap();
        assert!(!text.contains("735192") && !text.contains(puk), "{path:?}");
    }
    let config = fs::read_to_string(home.path(CONFIG)).unwrap();
    assert!(
        config.contains("[token.yubikey]\nkind = \"piv\"\nserial = 12345678\n"),
        "{config}"
    );
    {
        let _agent = home.start();
        let locked = || home.keyward(&["token", "list"]).contains("  locked  ");
        assert!(wait_for(locked, PATIENCE));
        home.keyward_with(&["unlock", "--pin-file", "-"], PIN);
        home.keyward(&create("demo", "yubikey"));
        let signature = home.path("signature");
        let signature = signature.to_str().unwrap();
        home.keyward_with(&["sign", "demo", "-o", signature], b"message");
        home.keyward_with(&["verify", "demo", "--signature", signature], b"message");
        assert!(!home.keyward(&["status"]).contains("factory"));
    }
    let said = home.keyward(&["init", "--undo", "--yes"]);
    assert!(said.contains("leave   YubiKey 12345678"), "{said}");
    assert!(!home.path("home/.config").exists());
    assert!(card.pin_is(b"735192") && card.puk_is(puk.as_bytes()));
    assert_eq!(card.slots().len(), 1);
}

#[test]
fn a_second_card_is_added_under_a_name_of_its_own_and_both_serve() {
    let rig = Rig::start(2);
    let cards = [
        Card::new(Model::YubiKey57, 1),
        Card::new(Model::YubiKey5, 2),
    ];
    rig.insert(0, &cards[0]);
    rig.insert(1, &cards[1]);
    let home = home(&rig);
    let (one, two) = (home.path("puk1"), home.path("puk2"));
    let (one, two) = (one.to_str().unwrap(), two.to_str().unwrap());
    // Which one is not guessed.
    let output = home.output(&init(one, &[]), PIN);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert!(
        stderr.contains("--serial 1") && stderr.contains("--serial 2"),
        "{stderr}"
    );
    assert_eq!(cards.iter().map(pins_sent_to).sum::<usize>(), 0);
    home.keyward_with(&init(one, &["--serial", "1"]), PIN);
    home.keyward_with(&init(two, &["--serial", "2", "--add"]), PIN);
    assert_ne!(fs::read(one).unwrap(), fs::read(two).unwrap());
    let _agent = home.start();
    let both = || {
        home.keyward(&["token", "list"])
            .matches("  locked  ")
            .count()
            == 2
    };
    assert!(wait_for(both, PATIENCE));
    for token in ["yubikey", "yubikey-2"] {
        home.keyward_with(&["unlock", token, "--pin-file", "-"], PIN);
        home.keyward(&create(token, token));
    }
    assert_eq!(cards.each_ref().map(|card| card.slots().len()), [1, 1]);
}

#[test]
fn the_only_card_is_taken_without_being_named() {
    let card = Card::new(Model::YubiKey5, SERIAL);
    let rig = Rig::with(&card);
    let home = home(&rig);
    let puk = home.path("puk");
    let plan = home.keyward_with(&init(puk.to_str().unwrap(), &["--dry-run"]), PIN);
    assert!(
        plan.contains("YubiKey 12345678 (PIV, firmware 5.4.3)"),
        "{plan}"
    );
    assert!(plan.contains("serial = 12345678"), "{plan}");
    assert_eq!(pins_sent_to(&card), 0);
    assert!(!puk.exists() && !home.path("home").exists());
}

#[test]
fn a_card_that_was_set_up_before_is_left_as_it_is() {
    let card = Card::new(Model::YubiKey57, SERIAL);
    let rig = Rig::with(&card);
    let home = home(&rig);
    let puk = home.path("puk");
    home.keyward_with(&init(puk.to_str().unwrap(), &["--name", "first"]), PIN);
    home.keyward(&["init", "--undo", "--yes"]);
    let before = card.log().len();
    let said = home.keyward(&["init", "--serial", "12345678", "--yes"]);
    assert!(
        !said.contains("SET") && said.contains("Token yubikey is set up"),
        "{said}"
    );
    // What is of no use is not taken without a word.
    let refused = home.output(
        &[
            "init",
            "--add",
            "--serial",
            "12345678",
            "--yes",
            "--pin-file",
            "-",
        ],
        PIN,
    );
    assert_eq!(refused.status.code(), Some(2));
    assert!(card.pin_is(b"735192"));
    let sent = card.log().into_iter().skip(before);
    assert_eq!(
        sent.filter(|one| [0x24, 0xff, 0xdb].contains(&one.instruction))
            .count(),
        0
    );
}

#[test]
fn a_pin_that_is_tried_first_is_refused_before_the_card_is_touched() {
    let card = Card::new(Model::YubiKey57, SERIAL);
    let rig = Rig::with(&card);
    let home = home(&rig);
    let puk = home.path("puk");
    for pin in [
        &b"123456\n"[..],
        b"12345678\n",
        b"000000\n",
        b"12345\n",
        "bl\u{e5}b73\n".as_bytes(),
    ] {
        let output = home.output(&init(puk.to_str().unwrap(), &[]), pin);
        assert_eq!(output.status.code(), Some(2));
        assert!(!home.path("home").exists() && !puk.exists());
    }
    assert_eq!(pins_sent_to(&card), 0);
}

#[test]
fn a_pin_that_nobody_types_is_in_a_file_alone() {
    let card = Card::new(Model::YubiKey57, SERIAL);
    let rig = Rig::with(&card);
    let home = home(&rig);
    let puk = home.path("puk");
    let puk = puk.to_str().unwrap();
    home.keyward(&["init", "--yes", "--remember-pin-in-file", "--puk-file", puk]);
    let file = home.path("home/.config/keyward/yubikey.pin");
    let pin = fs::read(&file).unwrap();
    assert!(pin.len() == 8 && card.pin_is(&pin));
    let _agent = home.start();
    let unlocked = || home.keyward(&["token", "list"]).contains("  unlocked  ");
    assert!(wait_for(unlocked, PATIENCE));
}

#[test]
fn status_shows_what_a_card_has_from_the_factory_until_it_is_changed() {
    let card = Card::new(Model::YubiKey57, SERIAL);
    let rig = Rig::with(&card);
    let home = home(&rig);
    fs::create_dir_all(home.path("home/.config/keyward")).unwrap();
    let socket = rig.socket().display();
    let section = format!(
        "[token.main]\nkind = \"piv\"\nserial = {SERIAL}\nenvironment = {{ PCSCLITE_CSOCK_NAME = \"{socket}\" }}\n"
    );
    fs::write(home.path(CONFIG), section).unwrap();
    let _agent = home.start();
    let said = |words: &str| home.keyward(&["status"]).contains(words);
    assert!(wait_for(
        || said("its PIN is the one of the factory"),
        PATIENCE
    ));
    assert!(said("keyward token change-puk") && said("keyward token new-management-key"));
    let (old, new) = (home.path("old"), home.path("new"));
    fs::write(&old, "123456\n").unwrap();
    fs::write(&new, PIN).unwrap();
    let [old, new] = [&old, &new].map(|path| path.to_str().unwrap());
    home.keyward(&[
        "token",
        "change-pin",
        "--old-pin-file",
        old,
        "--new-pin-file",
        new,
    ]);
    assert!(!said("its PIN is") && said("its PUK is the one of the factory"));
}
