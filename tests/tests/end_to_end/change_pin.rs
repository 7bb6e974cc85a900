//! A token's PIN is changed under the rules of a login: nothing is sent twice by a crash, and nothing
//! that is old is sent at all.

use keyward_client::{
    Error,
    protocol::{
        ErrorCode, SecretBytes,
        operation::{ChangePin, Done, LoginState, Unlock},
    },
};
use keyward_tests::{
    Daemon, Fault, PATIENCE, Pin, Setup, TokenSetup,
    request::{refused, sign},
    site::write_private,
    wait_for,
};

const NEW: &str = "neue PIN 4711";
/// CKF_USER_PIN_FINAL_TRY.
const FINAL_TRY: u64 = 0x0002_0000;

fn daemon(pin: Pin, line: &str) -> Daemon {
    let main = TokenSetup::new("main").pin(pin).fault().line(line);
    Daemon::start(Setup::new().token(main))
}

fn secret(text: &str) -> SecretBytes {
    SecretBytes::copy_from(text.as_bytes())
}

fn change(daemon: &Daemon, old: &str, new: &str, spend: bool) -> Result<Done, Error> {
    daemon.client().call(ChangePin {
        token: None,
        old: secret(old),
        new: secret(new),
        spend_withheld_try: spend,
    })
}

fn unlock(daemon: &Daemon, pin: &str) -> Result<Done, Error> {
    daemon.client().call(Unlock {
        token: None,
        pin: Some(secret(pin)),
        spend_withheld_try: false,
    })
}

fn tries(daemon: &Daemon) -> usize {
    daemon.fault("main").calls("C_SetPIN")
}

fn logins(daemon: &Daemon) -> usize {
    daemon.fault("main").calls("C_Login")
}

#[test]
fn a_locked_token_gets_another_pin_and_opens_with_it_alone() {
    let daemon = daemon(Pin::Ask, "");
    daemon.wait_for_token("main", LoginState::Locked);
    let old = daemon.hsm("main").pin().to_owned();
    change(&daemon, &old, NEW, false).expect("changed");
    daemon.wait_for_token("main", LoginState::Locked);
    assert_eq!(refused(unlock(&daemon, &old)).code, ErrorCode::PinIncorrect);
    unlock(&daemon, NEW).expect("the new one");
    daemon.create_signer("k");
    let log = daemon.audit_lines().join("\n");
    assert!(
        !log.contains(NEW) && !log.contains(&old),
        "a PIN in the log"
    );
    assert!(!daemon.stderr().contains(NEW));
    let records = daemon.audit();
    let of = |kind: &str| {
        let matching = records
            .iter()
            .filter(|r| r["op"] == "change-pin" && r["kind"] == kind);
        matching.count()
    };
    assert_eq!((of("manage-intent"), of("manage-outcome")), (1, 1));
}

#[test]
fn an_unlocked_token_serves_on_and_the_monitor_has_the_new_one() {
    let daemon = daemon(Pin::Ask, "remember_pin = true");
    daemon.wait_for_token("main", LoginState::Locked);
    let old = daemon.hsm("main").pin().to_owned();
    unlock(&daemon, &old).unwrap();
    daemon.create_signer("k");
    change(&daemon, &old, NEW, false).expect("changed");
    daemon.client().call(sign("k", b"message")).expect("served");
    daemon.kill_worker("main");
    daemon.wait_for_token("main", LoginState::Unlocked);
    daemon.client().call(sign("k", b"message")).expect("served");
    assert_eq!(logins(&daemon), 2);
}

#[test]
fn a_file_that_holds_the_old_one_is_not_tried_until_it_changes() {
    let mut daemon = daemon(Pin::File, "");
    daemon.wait_for_token("main", LoginState::Unlocked);
    assert_eq!(logins(&daemon), 1);
    let old = daemon.hsm("main").pin().to_owned();
    change(&daemon, &old, NEW, false).expect("changed");
    let problem = daemon.token("main").problem.unwrap_or_default();
    assert!(problem.contains("the old one"), "{problem}");
    daemon.kill_worker("main");
    daemon.wait_for_token("main", LoginState::Locked);
    // Also after somebody has typed the new one.
    unlock(&daemon, NEW).unwrap();
    daemon.restart();
    daemon.wait_for_token("main", LoginState::Locked);
    let problem = daemon.token("main").problem.unwrap_or_default();
    assert!(problem.contains("was changed"), "{problem}");
    assert_eq!(logins(&daemon), 2, "only what was typed");
    write_private(&daemon.pin_file("main"), NEW);
    daemon.restart();
    daemon.wait_for_token("main", LoginState::Unlocked);
    assert_eq!(daemon.token("main").problem, None);
    daemon.restart();
    daemon.wait_for_token("main", LoginState::Unlocked);
}

#[test]
fn a_wrong_old_pin_counts_and_the_third_is_held_back() {
    let daemon = daemon(Pin::Ask, "");
    daemon.wait_for_token("main", LoginState::Locked);
    for (known, next) in [
        ("some tries are left", "  # with"),
        ("holds back the next", " --spend-last-try  # with"),
    ] {
        let failure = refused(change(&daemon, "00000000", NEW, false));
        assert_eq!(failure.code, ErrorCode::PinIncorrect, "{failure}");
        assert!(failure.message.contains("the old PIN"), "{failure}");
        assert!(failure.message.contains(known), "{failure}");
        let hint = failure.hint.unwrap_or_default();
        let wanted = format!("keyward token change-pin main{next}");
        assert!(hint.starts_with(&wanted), "{hint}");
    }
    let old = daemon.hsm("main").pin().to_owned();
    let failure = refused(change(&daemon, &old, NEW, false));
    assert_eq!(failure.code, ErrorCode::PinWithheld, "{failure}");
    let hint = failure.hint.as_deref();
    assert_eq!(hint, Some("keyward token change-pin main --spend-last-try"));
    assert_eq!(refused(unlock(&daemon, &old)).code, ErrorCode::PinWithheld);
    assert_eq!((tries(&daemon), logins(&daemon)), (2, 0));
    change(&daemon, &old, NEW, true).expect("a person insisted");
    unlock(&daemon, NEW).expect("nothing is held against it any more");
}

#[test]
fn the_last_try_is_not_spent_without_a_persons_word() {
    let daemon = daemon(Pin::Ask, "");
    daemon.wait_for_token("main", LoginState::Locked);
    let flags = Fault::Flags(FINAL_TRY);
    daemon.fault("main").set("C_GetTokenInfo", &flags);
    let old = daemon.hsm("main").pin().to_owned();
    let failure = refused(change(&daemon, &old, NEW, false));
    assert_eq!(failure.code, ErrorCode::PinWithheld, "{failure}");
    assert_eq!(tries(&daemon), 0);
}

#[test]
fn a_worker_killed_in_the_middle_leaves_everything_withheld() {
    let daemon = daemon(Pin::Ask, "");
    daemon.wait_for_token("main", LoginState::Locked);
    daemon.fault("main").set("C_SetPIN", &Fault::Hang);
    let old = daemon.hsm("main").pin().to_owned();
    std::thread::scope(|scope| {
        let changing = scope.spawn(|| change(&daemon, &old, NEW, false));
        assert!(wait_for(|| tries(&daemon) == 1, PATIENCE));
        daemon.kill_worker("main");
        let failure = refused(changing.join().unwrap());
        assert_eq!(failure.code, ErrorCode::TokenFailed, "{failure}");
    });
    daemon.fault("main").clear("C_SetPIN");
    daemon.wait_for_token("main", LoginState::Locked);
    for pin in [old.as_str(), NEW] {
        assert_eq!(refused(unlock(&daemon, pin)).code, ErrorCode::PinWithheld);
    }
    assert_eq!(logins(&daemon), 0);
}

#[test]
fn what_can_be_no_new_pin_is_refused_before_anything_is_sent() {
    let daemon = daemon(Pin::Ask, "");
    daemon.wait_for_token("main", LoginState::Locked);
    let old = daemon.hsm("main").pin().to_owned();
    let long = "9".repeat(257);
    for new in ["", "123", "12\n34", &long, &old] {
        let failure = refused(change(&daemon, &old, new, false));
        assert_eq!(failure.code, ErrorCode::Invalid, "{failure}");
    }
    assert_eq!(tries(&daemon), 0);
}
