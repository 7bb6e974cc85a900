//! PIN, PUK, management key, and the way back to the factory.

use keyward_client::protocol::{ErrorCode, KeyState, operation::Describe};
use keyward_tests::{process::run_with, request::refused, site::write_private};

use super::*;

const NEW_PIN: &str = "73916482";
const NEW_PUK: &str = "50917283";
/// What every card has from the factory.
const PUK: &str = "12345678";

/// A file of the site with a secret in it.
#[track_caller]
fn file(daemon: &Daemon, name: &str, content: &str) -> String {
    let path = daemon.dir().join(name);
    write_private(&path, content);
    path.to_str().expect("UTF-8").to_owned()
}

fn assert_nothing_of_it_in_the_log(daemon: &Daemon, secrets: &[&str]) {
    let log = daemon.audit_lines().join("\n");
    for secret in secrets {
        assert!(!log.contains(secret) && !daemon.stderr().contains(secret));
    }
}

/// How many records of an operation the log has, by kind.
fn records(daemon: &Daemon, operation: &str) -> (usize, usize) {
    let records = daemon.audit();
    let of = |kind: &str| {
        let matching = records.iter();
        matching
            .filter(|r| r["op"] == operation && r["kind"] == kind)
            .count()
    };
    (of("manage-intent"), of("manage-outcome"))
}

#[test]
fn pin_puk_and_management_key_are_changed_and_keys_go_on() {
    let daemon = typed("");
    daemon.create_signer("k");
    let (old, new) = (file(&daemon, "old", PIV_PIN), file(&daemon, "new", NEW_PIN));
    let change = [
        "token",
        "change-pin",
        "--old-pin-file",
        &old,
        "--new-pin-file",
    ];
    daemon.cli(&[&change[..], &[&new]].concat());
    let (old, new) = (file(&daemon, "old", PUK), file(&daemon, "new", NEW_PUK));
    let change = [
        "token",
        "change-puk",
        "--old-puk-file",
        &old,
        "--new-puk-file",
    ];
    daemon.cli(&[&change[..], &[&new]].concat());
    let card = daemon.card(CARD).card();
    assert!(card.pin_is(NEW_PIN.as_bytes()) && card.puk_is(NEW_PUK.as_bytes()));
    sign_once(&daemon, "k").expect("a signature, with the new PIN");
    daemon.cli(&["token", "new-management-key"]);
    daemon.create_signer("another");
    // The one of the factory is good for nothing any more.
    let mut tool = daemon.card(CARD).rig().command("yubico-piv-tool");
    let generate = tool.args(["-a", "generate", "-s", "9a", "-A", "ECCP256"]);
    assert!(!generate.output().expect("yubico-piv-tool").status.success());
    assert!(!card.slots().contains(&0x9a));
    for operation in ["change-pin", "change-puk", "new-management-key"] {
        assert_eq!(records(&daemon, operation), (1, 1), "{operation}");
    }
    assert_nothing_of_it_in_the_log(&daemon, &[NEW_PIN, NEW_PUK]);
    assert_sound(&daemon, CARD);
}

#[test]
fn a_blocked_pin_gets_a_new_value_by_the_puk_and_a_wrong_puk_costs_one_try() {
    let daemon = typed("");
    daemon.create_signer("k");
    for _ in 0..3 {
        let mut wrong = daemon.card(CARD).rig().command("yubico-piv-tool");
        wrong.args(["-a", "verify-pin", "-P", "000000"]);
        assert!(!wrong.output().expect("yubico-piv-tool").status.success());
    }
    let failure = refused(sign_once(&daemon, "k"));
    assert_eq!(failure.code, ErrorCode::TokenLocked, "{failure}");
    let failure = refused(unlock_with(&daemon, PIV_PIN, true));
    assert_eq!(failure.code, ErrorCode::PinBlocked, "{failure}");
    let new = file(&daemon, "new", NEW_PIN);
    let unblock = |puk: &str| {
        let puk = file(&daemon, "puk", puk);
        let command = [
            "token",
            "unblock-pin",
            "--puk-file",
            &puk,
            "--new-pin-file",
            &new,
        ];
        daemon.cli_output(&command, b"")
    };
    let refused = unblock("00000000");
    assert!(!refused.status.success());
    let words = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(words.contains("PUK"), "{words}");
    assert_eq!(daemon.card(CARD).card().puk_tries(), 2);
    let done = unblock(PUK);
    let words = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(done.status.success(), "{words}\n{}", daemon.stderr());
    assert_eq!(daemon.card(CARD).card().puk_tries(), 3);
    daemon.wait_for_token(CARD, LoginState::Locked);
    unlock(&daemon, NEW_PIN).expect("the new one");
    sign_once(&daemon, "k").expect("a signature");
    assert_nothing_of_it_in_the_log(&daemon, &[NEW_PIN]);
    assert_sound(&daemon, CARD);
}

#[test]
fn the_last_try_at_a_puk_is_a_persons_to_spend() {
    let daemon = typed("");
    let change = |puk: &str, more: &[&str]| {
        let (old, new) = (file(&daemon, "old", puk), file(&daemon, "new", NEW_PUK));
        let change = [
            "token",
            "change-puk",
            "--old-puk-file",
            &old,
            "--new-puk-file",
            &new,
        ];
        let output = daemon.cli_output(&[&change[..], more].concat(), b"");
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.success(), words)
    };
    for _ in 0..2 {
        assert!(!change("00000000", &[]).0);
    }
    assert_eq!(daemon.card(CARD).card().puk_tries(), 1);
    let (done, words) = change(PUK, &[]);
    assert!(!done && words.contains("--spend-last-try"), "{words}");
    assert_eq!(daemon.card(CARD).card().puk_tries(), 1);
    let (done, words) = change(PUK, &["--spend-last-try"]);
    assert!(done, "{words}");
    assert!(daemon.card(CARD).card().puk_is(NEW_PUK.as_bytes()));
}

#[test]
fn a_reset_destroys_the_keys_of_that_card_alone_and_says_so() {
    let setup = Setup::new()
        .token(TokenSetup::piv(CARD))
        .token(TokenSetup::piv("spare"));
    let daemon = Daemon::start(setup);
    for token in [CARD, "spare"] {
        daemon.wait_for_token(token, LoginState::Unlocked);
    }
    let lost = import(&daemon, "lost", Purpose::Sign, &[CARD]);
    let kept = import(&daemon, "kept", Purpose::Sign, &[CARD, "spare"]);
    let serial = daemon.card(CARD).card().serial().to_string();
    let unasked = run_with(daemon.keyward().args(["token", "reset", CARD]), b"");
    assert!(!unasked.status.success());
    let another = daemon.card("spare").card().serial().to_string();
    let reset = |serial: &str| {
        let command = ["token", "reset", CARD, "--serial", serial, "--yes"];
        daemon.cli_output(&command, b"")
    };
    assert!(!reset(&another).status.success(), "another card was meant");
    assert_eq!(daemon.card(CARD).card().slots().len(), 2);
    let done = reset(&serial);
    let words = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(done.status.success(), "{words}\n{}", daemon.stderr());
    assert!(daemon.card(CARD).card().slots().is_empty());
    assert_eq!(daemon.card("spare").card().slots().len(), 1);
    let describe = |key: &KeyDescription| {
        let key = key.id.clone();
        daemon.client().call(Describe { key }).expect("it is known")
    };
    assert_eq!(describe(&lost).versions[0].state, KeyState::Destroyed);
    let places: Vec<_> = describe(&kept).versions[0]
        .placements
        .iter()
        .map(|place| place.token.clone())
        .collect();
    assert_eq!(places, ["spare"]);
    sign_once(&daemon, "kept").expect("from the spare");
    let records = daemon.audit();
    let destroyed = |key: &KeyDescription| {
        let found = records
            .iter()
            .filter(|r| r["op"] == "reset-token" && r["key"] == key.id.as_str())
            .filter(|r| r["token"] == CARD);
        let kinds: Vec<_> = found.map(|r| r["kind"].as_str().expect("a text")).collect();
        kinds == ["manage-intent", "manage-outcome"]
    };
    assert!(destroyed(&lost) && destroyed(&kept), "{records:#?}");
    // It is a card from the factory: the PIN is the one that the file has.
    daemon.wait_for_token(CARD, LoginState::Locked);
    unlock(&daemon, PIV_PIN).expect("the factory's PIN");
    let again = Create {
        token: Some(CARD.to_owned()),
        ..create("again", Purpose::Sign, KeyType::P256)
    };
    daemon.client().call(again).expect("a key");
    sign_once(&daemon, "again").expect("a signature");
}

#[test]
fn the_pin_of_before_is_not_sent_after_a_new_one_was_given_by_the_puk() {
    let mut daemon = one_card(TokenSetup::piv(CARD));
    daemon.create_signer("k");
    let (puk, new) = (file(&daemon, "puk", PUK), file(&daemon, "new", NEW_PIN));
    let unblock = [
        "token",
        "unblock-pin",
        "--puk-file",
        &puk,
        "--new-pin-file",
        &new,
    ];
    daemon.cli(&unblock);
    let sent = daemon.card(CARD).pins_sent();
    let told = daemon.token(CARD).problem.unwrap_or_default();
    assert!(told.contains("may still hold the old one"), "{told}");
    daemon.card(CARD).remove();
    daemon.wait_for_token(CARD, LoginState::Absent);
    daemon.card(CARD).insert();
    daemon.wait_for_token(CARD, LoginState::Locked);
    daemon.terminate();
    daemon.start_again();
    daemon.wait_for_token(CARD, LoginState::Locked);
    assert_eq!(
        daemon.card(CARD).pins_sent(),
        sent,
        "the file has the old one"
    );
    unlock(&daemon, NEW_PIN).expect("the new one");
    sign_once(&daemon, "k").expect("a signature");
    assert_sound(&daemon, CARD);
}
