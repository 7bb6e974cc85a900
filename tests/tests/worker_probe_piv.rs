//! `keyward-worker probe piv` and `init-token piv`, as `keyward init` and `keyward doctor` use them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::{
    fs::DirBuilder,
    os::unix::fs::DirBuilderExt,
    process::{Command, Output, Stdio},
};

use keyward_tests::{PIV_PIN, piv::pins_sent_to, process::run_with, site::program, wait_for_some};
use keyward_virtual_piv::{Card, Model, Rig};
use serde_json::{Value, json};

const SERIAL: u32 = 12_345_678;
const NEW_PIN: &str = "735192";
const NEW_PUK: &str = "83920174";
/// What a worker is given: a new PIN, a new PUK, no PIN of before.
const NEW: &[u8] = b"735192\n83920174\n\n";
/// The commands of a card that change it or count.
const CHANGES: [u8; 10] = [0x24, 0x2c, 0x47, 0xdb, 0xf6, 0xfa, 0xfb, 0xfe, 0xff, 0x87];

fn worker(rig: &Rig, arguments: &[&str], input: &[u8]) -> Output {
    let mut command = Command::new(program("keyward-worker"));
    command
        .args(arguments)
        .env_clear()
        .envs(rig.environment())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    run_with(&mut command, input)
}

#[track_caller]
fn json_of(output: &Output) -> Value {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    let mut document: Value = serde_json::from_slice(&output.stdout).unwrap();
    document["piv"].take()
}

#[track_caller]
fn probe(rig: &Rig) -> Value {
    json_of(&worker(rig, &["probe", "piv"], b""))
}

fn init(rig: &Rig, more: &[&str], input: &[u8]) -> Output {
    let serial = SERIAL.to_string();
    let arguments = [&["init-token", "piv", &serial], more].concat();
    worker(rig, &arguments, input)
}

#[track_caller]
fn refused(output: &Output, why: &str) {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(
        stderr.starts_with("keyward-worker: error: ") && stderr.contains(why),
        "{stderr}"
    );
    assert!(output.stdout.is_empty());
}

/// A client of the card, with what it says.
fn client(rig: &Rig, program: &str, arguments: &[&str]) -> (bool, String) {
    let output = rig.command(program).args(arguments).output();
    let output = output.unwrap_or_else(|_| panic!("{program} is installed by `make test`"));
    let text = [output.stdout, output.stderr].concat();
    (
        output.status.success(),
        String::from_utf8_lossy(&text).into_owned(),
    )
}

fn tool(rig: &Rig, arguments: &[&str]) -> (bool, String) {
    client(rig, "yubico-piv-tool", arguments)
}

/// ykman finds the management key behind the PIN by itself.
#[track_caller]
fn ykman_makes_a_key(rig: &Rig) {
    let reader = rig.reader_name(0);
    let generate = [
        "piv", "keys", "generate", "--pin", NEW_PIN, "-a", "ECCP256", "9d", "-",
    ];
    let (done, said) = client(
        rig,
        "ykman",
        &[&["--reader", &reader], &generate[..]].concat(),
    );
    assert!(done && said.contains("BEGIN PUBLIC KEY"), "{said}");
}

/// yubico-piv-tool reads it there, and takes it where it is of 3DES: before version 2.3 it knows no other.
#[track_caller]
fn the_tool_makes_a_key(rig: &Rig) {
    let read = [
        "-a",
        "verify-pin",
        "-P",
        NEW_PIN,
        "-a",
        "read-object",
        "--id",
        "0x5fc109",
        "-f",
        "hex",
    ];
    let (done, said) = tool(rig, &read);
    let object = said.lines().find_map(|line| line.strip_prefix("881a8918"));
    let key = object.unwrap_or_else(|| panic!("{said}"));
    assert!(done && key.len() == 48, "{said}");
    let key = format!("-k{key}");
    let (done, said) = tool(rig, &[&key, "-a", "generate", "-s", "9a", "-A", "ECCP256"]);
    assert!(done && said.contains("BEGIN PUBLIC KEY"), "{said}");
}

#[test]
fn a_probe_says_of_each_model_what_is_the_factorys_and_changes_nothing() {
    for model in Model::ALL {
        let card = Card::new(model, SERIAL);
        let rig = Rig::with(&card);
        let found = probe(&rig);
        assert_eq!(found["service"], "answers");
        let reader = &found["readers"][0];
        assert_eq!(reader["state"], "card", "{model:?}: {found}");
        let says = match model {
            Model::YubiKey5 | Model::YubiKey57 => json!(true),
            Model::YubiKey4 | Model::Generic => json!(null),
        };
        let of = |what: &str| reader["card"][what]["factory"].clone();
        for what in ["pin", "puk", "management_key"] {
            assert_eq!(of(what), says, "{model:?}: {what}");
        }
        assert_eq!(reader["card"]["pin"]["tries"], 3);
        let firmware = model
            .version()
            .map(|v| format!("{}.{}.{}", v[0], v[1], v[2]));
        assert_eq!(reader["card"]["firmware"], json!(firmware));
        let serial = reader["card"]["serial"].as_str().unwrap();
        match model {
            Model::Generic => assert_eq!(serial.len(), 32),
            _ => assert_eq!(serial, SERIAL.to_string()),
        }
        assert_eq!(pins_sent_to(&card), 0);
        let changed = card
            .log()
            .into_iter()
            .find(|one| CHANGES.contains(&one.instruction));
        assert_eq!(changed, None, "{model:?}");
    }
}

#[test]
fn the_readers_and_one_card_alone_are_told_as_they_are() {
    let rig = Rig::start(3);
    let (first, second) = (
        Card::new(Model::YubiKey57, 7),
        Card::new(Model::YubiKey5, 8),
    );
    rig.insert(0, &first);
    rig.insert(2, &second);
    let readers = probe(&rig)["readers"].take();
    let states = |readers: &Value| -> Vec<String> {
        let of = |reader: &Value| reader["state"].as_str().unwrap().to_owned();
        readers.as_array().unwrap().iter().map(of).collect()
    };
    // vpcd adds a second slot to each reader, which is empty.
    let cards = states(&readers)
        .iter()
        .filter(|state| *state == "card")
        .count();
    assert_eq!(cards, 2, "{readers}");
    assert!(states(&readers).contains(&"empty".to_owned()), "{readers}");
    let one = json_of(&worker(&rig, &["probe", "piv", "8"], b""))["readers"].take();
    assert_eq!(states(&one), ["card"]);
    assert_eq!(one[0]["card"]["serial"], "8");
    let none = json_of(&worker(&rig, &["probe", "piv", "9"], b""))["readers"].take();
    assert_eq!(none, json!([]));
}

#[test]
fn without_pcscd_the_service_is_absent_and_that_is_no_failure() {
    let rig = Rig::start(1);
    rig.kill();
    let found = probe(&rig);
    assert_eq!(found["service"], "absent");
    assert!(!found["detail"].as_str().unwrap().is_empty());
}

#[test]
fn a_card_that_scdaemon_has_for_itself_is_held() {
    let card = Card::new(Model::YubiKey57, SERIAL);
    let rig = Rig::with(&card);
    let scdaemon = ["/usr/lib/gnupg/scdaemon", "/usr/libexec/scdaemon"];
    let scdaemon = scdaemon.iter().find(|path| std::fs::exists(path).unwrap());
    let scdaemon = scdaemon.expect("scdaemon is installed by `make test`");
    let home = rig.folder().join("gnupg");
    DirBuilder::new().mode(0o700).create(&home).unwrap();
    // Its own driver would look for hardware.
    std::fs::write(home.join("scdaemon.conf"), "disable-ccid\n").unwrap();
    let mut child = rig
        .command(scdaemon)
        .args(["--server", "--homedir"])
        .arg(&home)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    std::io::Write::write_all(&mut stdin, b"SERIALNO\n").unwrap();
    let held = || {
        let found = probe(&rig);
        (found["readers"][0]["state"] == "held").then_some(())
    };
    let held = wait_for_some(held, keyward_tests::PATIENCE);
    drop(stdin);
    let _ = child.kill();
    child.wait().unwrap();
    assert!(held.is_some());
    let free = || (probe(&rig)["readers"][0]["state"] == "card").then_some(());
    assert!(wait_for_some(free, keyward_tests::PATIENCE).is_some());
}

#[test]
fn pin_puk_and_management_key_of_the_factory_are_replaced_and_ykman_goes_on_working() {
    for model in [Model::YubiKey5, Model::YubiKey57] {
        let card = Card::new(model, SERIAL);
        let rig = Rig::with(&card);
        let made = json_of(&init(&rig, &[], NEW));
        let all = json!({ "pin": true, "puk": true, "management_key": true });
        assert_eq!(made["replaced"], all);
        assert_eq!(made["card"]["pin"]["factory"], false);
        assert_eq!(made["card"]["puk"]["factory"], false);
        let key = json!({ "factory": false, "protected": true });
        assert_eq!(made["card"]["management_key"], key);
        assert!(card.pin_is(NEW_PIN.as_bytes()) && card.puk_is(NEW_PUK.as_bytes()));
        assert!(!card.pin_is_verified() && !card.is_managed());
        assert_eq!((card.pin_tries(), card.puk_tries()), (3, 3));
        ykman_makes_a_key(&rig);
        assert_eq!(card.slots(), [0x9d]);
        let (done, said) = tool(&rig, &["-a", "status"]);
        assert!(done && said.contains("12345678"), "{said}");
        // The factory's does not open it any more.
        let factory = "010203040506070801020304050607080102030405060708";
        let key = format!("-k{factory}");
        let (done, said) = tool(&rig, &[&key, "-a", "generate", "-s", "9d", "-A", "ECCP256"]);
        assert!(!done, "{said}");
    }
}

#[test]
fn what_is_not_the_factorys_is_left_as_it_is() {
    let card = Card::new(Model::YubiKey57, SERIAL);
    let rig = Rig::with(&card);
    json_of(&init(&rig, &[], NEW));
    let before = card.object(0x5f_c109);
    let nothing = json!({ "pin": false, "puk": false, "management_key": false });
    let again = json_of(&init(&rig, &[], b"999111\n11122233\n\n"));
    assert_eq!(again["replaced"], nothing);
    assert!(card.pin_is(NEW_PIN.as_bytes()) && card.puk_is(NEW_PUK.as_bytes()));
    assert_eq!(card.object(0x5f_c109), before);
}

#[test]
fn a_management_key_of_the_factory_is_replaced_with_the_pin_of_before() {
    let card = Card::new(Model::YubiKey57, SERIAL);
    let rig = Rig::with(&card);
    let change = ["-a", "change-pin", "-P", PIV_PIN, "-N", NEW_PIN];
    assert!(tool(&rig, &change).0);
    let change = ["-a", "change-puk", "-P", "12345678", "-N", NEW_PUK];
    assert!(tool(&rig, &change).0);
    // Without it nothing is done, and a wrong one is one try.
    let made = json_of(&init(&rig, &[], b"\n\n\n"));
    assert_eq!(made["replaced"]["management_key"], false);
    refused(
        &init(&rig, &[], b"\n\n999999\n"),
        "nothing on the card was changed",
    );
    assert_eq!(card.pin_tries(), 2);
    let made = json_of(&init(&rig, &[], b"\n\n735192\n"));
    let one = json!({ "pin": false, "puk": false, "management_key": true });
    assert_eq!(made["replaced"], one);
    assert_eq!(card.pin_tries(), 3);
    assert!(!card.pin_is_verified());
}

#[test]
fn a_card_that_does_not_say_it_is_left_without_a_persons_word() {
    let card = Card::new(Model::YubiKey4, SERIAL);
    let rig = Rig::with(&card);
    let made = json_of(&init(&rig, &[], NEW));
    let nothing = json!({ "pin": false, "puk": false, "management_key": false });
    assert_eq!(made["replaced"], nothing);
    assert_eq!(pins_sent_to(&card), 0);
    let made = json_of(&init(&rig, &["--from-factory"], NEW));
    let all = json!({ "pin": true, "puk": true, "management_key": true });
    assert_eq!(made["replaced"], all);
    assert!(card.pin_is(NEW_PIN.as_bytes()) && card.puk_is(NEW_PUK.as_bytes()));
    the_tool_makes_a_key(&rig);
    ykman_makes_a_key(&rig);
}

#[test]
fn a_wrong_word_about_a_card_costs_one_try_and_never_the_last() {
    let card = Card::new(Model::YubiKey4, SERIAL);
    let rig = Rig::with(&card);
    let change = ["-a", "change-pin", "-P", PIV_PIN, "-N", "404142"];
    assert!(tool(&rig, &change).0);
    refused(
        &init(&rig, &["--from-factory"], NEW),
        "nothing on the card was changed",
    );
    assert_eq!((card.pin_tries(), card.puk_tries()), (2, 3));
    refused(&init(&rig, &["--from-factory"], NEW), "refused the PIN");
    assert_eq!(card.pin_tries(), 1);
    refused(
        &init(&rig, &["--from-factory"], NEW),
        "not spent on a guess",
    );
    assert_eq!((card.pin_tries(), card.puk_tries()), (1, 3));
    assert!(card.pin_is(b"404142"));
}

#[test]
fn a_card_that_is_pulled_in_the_middle_is_finished_the_next_time() {
    let card = Card::new(Model::YubiKey57, SERIAL);
    let rig = Rig::with(&card);
    // After the PIN, before the management key.
    card.pull_at(0xff);
    refused(&init(&rig, &[], NEW), "what was replaced before stays: PIN");
    assert!(card.pin_is(NEW_PIN.as_bytes()) && !card.puk_is(NEW_PUK.as_bytes()));
    rig.restart();
    let made = json_of(&init(&rig, &[], b"735192\n83920174\n735192\n"));
    let rest = json!({ "pin": false, "puk": true, "management_key": true });
    assert_eq!(made["replaced"], rest);
}

#[test]
fn what_no_card_takes_is_refused_before_anything_is_sent() {
    let card = Card::new(Model::YubiKey57, SERIAL);
    let rig = Rig::with(&card);
    refused(&init(&rig, &[], b"12345\n83920174\n\n"), "6 to 8 bytes");
    refused(&init(&rig, &[], b"735192\n123456789\n\n"), "6 to 8 bytes");
    refused(&init(&rig, &[], b""), "there is no new one");
    refused(
        &init(&rig, &["--pin=735192"], NEW),
        "not what this program takes",
    );
    refused(&worker(&rig, &["init-token", "piv", "99"], NEW), "99");
    refused(
        &worker(&rig, &["init-token", "piv", "x"], NEW),
        "no serial number",
    );
    refused(
        &worker(&rig, &["probe", "piv", "x"], b""),
        "no serial number",
    );
    assert_eq!(pins_sent_to(&card), 0);
}
