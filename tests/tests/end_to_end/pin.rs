//! No try at a PIN is spent twice, and the last one only by a person's word.
//!
//! The fault module counts `C_Login`: that number is what a real token would count.

use std::{fs, os::unix::fs::PermissionsExt, thread};

use keyward_client::{
    Error,
    protocol::{
        ErrorCode, SecretBytes,
        operation::{Done, Lock, LoginState, Random, Unlock},
    },
};
use keyward_tests::{
    Daemon, Fault, PATIENCE, Pin, Setup, TokenSetup,
    process::pid,
    request::{refused, sign},
    site::write_private,
    wait_for,
};
use rustix::process::{Signal, kill_process};

/// CKF_USER_PIN_FINAL_TRY and CKF_USER_PIN_LOCKED.
const FINAL_TRY: u64 = 0x0002_0000;
const LOCKED: u64 = 0x0004_0000;

fn setup(pin: Pin) -> Setup {
    Setup::new().token(TokenSetup::new("main").pin(pin).fault())
}

/// Unlocks with what a person typed, or from the file.
fn unlock(daemon: &Daemon, pin: Option<&str>, spend: bool) -> Result<Done, Error> {
    daemon.client().call(Unlock {
        token: None,
        pin: pin.map(|pin| SecretBytes::copy_from(pin.as_bytes())),
        spend_withheld_try: spend,
    })
}

fn logins(daemon: &Daemon) -> usize {
    daemon.fault("main").calls("C_Login")
}

/// Kills the worker and waits until the next one has opened the token.
#[track_caller]
fn respawn(daemon: &Daemon, then: LoginState) {
    daemon.kill_worker("main");
    daemon.wait_for_token("main", then);
}

#[test]
fn a_wrong_pin_is_refused_once_and_the_right_one_opens() {
    let daemon = Daemon::start(setup(Pin::Ask));
    daemon.wait_for_token("main", LoginState::Locked);
    let failure = refused(unlock(&daemon, Some("00000000"), false));
    assert_eq!(failure.code, ErrorCode::PinIncorrect, "{failure}");
    assert!(
        failure
            .hint
            .is_some_and(|hint| hint.contains("keyward unlock main"))
    );
    assert_eq!(logins(&daemon), 1);
    unlock(&daemon, Some(daemon.hsm("main").pin()), false).expect("the right one");
    assert_eq!(logins(&daemon), 2);
    daemon.create_signer("k");
}

#[test]
fn a_token_that_waits_for_its_pin_says_so() {
    let daemon = Daemon::start(setup(Pin::Ask));
    daemon.wait_for_token("main", LoginState::Locked);
    let random = daemon.client().call(Random {
        length: 8,
        token: None,
    });
    let failure = refused(random);
    assert_eq!(failure.code, ErrorCode::TokenLocked, "{failure}");
    assert_eq!(failure.hint.as_deref(), Some("keyward unlock main"));
    assert_eq!(logins(&daemon), 0);
}

#[test]
fn a_wrong_pin_in_a_file_is_tried_once_until_the_file_changes() {
    let mut daemon = Daemon::start(setup(Pin::WrongFile));
    daemon.wait_for_token("main", LoginState::Locked);
    assert_eq!(logins(&daemon), 1);
    for _ in 0..3 {
        respawn(&daemon, LoginState::Locked);
    }
    daemon.restart();
    daemon.wait_for_token("main", LoginState::Locked);
    assert_eq!(
        refused(unlock(&daemon, None, false)).code,
        ErrorCode::PinWithheld
    );
    assert_eq!(
        logins(&daemon),
        1,
        "no respawn and no restart has spent a try"
    );
    let problem = daemon.token("main").problem.unwrap_or_default();
    assert!(problem.contains("has not changed"), "{problem}");
    write_private(&daemon.pin_file("main"), daemon.hsm("main").pin());
    unlock(&daemon, None, false).expect("the file has changed");
    assert_eq!(logins(&daemon), 2);
    respawn(&daemon, LoginState::Unlocked);
}

#[test]
fn a_changed_pin_file_is_tried_by_the_next_worker_by_itself() {
    let daemon = Daemon::start(setup(Pin::WrongFile));
    daemon.wait_for_token("main", LoginState::Locked);
    write_private(&daemon.pin_file("main"), daemon.hsm("main").pin());
    unlock(&daemon, None, false).expect("the file has changed");
    respawn(&daemon, LoginState::Unlocked);
    assert_eq!(logins(&daemon), 3);
}

#[test]
fn after_two_refusals_even_the_right_pin_is_held_back_until_a_person_insists() {
    let daemon = Daemon::start(setup(Pin::Ask));
    daemon.wait_for_token("main", LoginState::Locked);
    let right = daemon.hsm("main").pin();
    for wrong in ["00000000", "00000001"] {
        let failure = refused(unlock(&daemon, Some(wrong), false));
        assert_eq!(failure.code, ErrorCode::PinIncorrect, "{failure}");
    }
    let failure = refused(unlock(&daemon, Some(right), false));
    assert_eq!(failure.code, ErrorCode::PinWithheld, "{failure}");
    assert!(
        failure
            .hint
            .is_some_and(|hint| hint.contains("--spend-last-try"))
    );
    assert_eq!(logins(&daemon), 2);
    unlock(&daemon, Some(right), true).expect("a person insisted");
    assert_eq!(logins(&daemon), 3);
    // A success takes all that back.
    daemon.client().call(Lock { token: None }).unwrap();
    unlock(&daemon, Some(right), false).expect("nothing speaks against it any more");
}

#[test]
fn the_last_try_is_never_spent_without_a_persons_word() {
    let site = setup(Pin::File).build();
    site.fault("main")
        .set("C_GetTokenInfo", &Fault::Flags(FINAL_TRY));
    let daemon = Daemon::start_on(site);
    daemon.wait_for_token("main", LoginState::Locked);
    let failure = refused(unlock(&daemon, Some(daemon.hsm("main").pin()), false));
    assert_eq!(failure.code, ErrorCode::PinWithheld, "{failure}");
    assert!(failure.message.contains("one try left"), "{failure}");
    respawn(&daemon, LoginState::Locked);
    assert_eq!(logins(&daemon), 0);
    unlock(&daemon, Some(daemon.hsm("main").pin()), true).expect("a person insisted");
    assert_eq!(logins(&daemon), 1);
}

#[test]
fn a_blocked_pin_is_not_tried_at_all() {
    let site = setup(Pin::File).build();
    site.fault("main")
        .set("C_GetTokenInfo", &Fault::Flags(LOCKED));
    let daemon = Daemon::start_on(site);
    daemon.wait_for_token("main", LoginState::Locked);
    for spend in [false, true] {
        let failure = refused(unlock(&daemon, Some("00000000"), spend));
        assert_eq!(failure.code, ErrorCode::PinBlocked, "{failure}");
    }
    assert_eq!(logins(&daemon), 0);
}

/// What comes after a try whose outcome nobody knows: nothing, until a person insists.
#[track_caller]
fn assert_withheld(daemon: &mut Daemon) {
    daemon.wait_for_token("main", LoginState::Locked);
    respawn(daemon, LoginState::Locked);
    daemon.fault("main").clear("C_Login");
    daemon.restart();
    daemon.wait_for_token("main", LoginState::Locked);
    for pin in [None, Some(daemon.hsm("main").pin())] {
        let failure = refused(unlock(daemon, pin, false));
        assert_eq!(failure.code, ErrorCode::PinWithheld, "{failure}");
    }
    assert_eq!(logins(daemon), 1);
    unlock(daemon, None, true).expect("a person insisted");
    assert_eq!(logins(daemon), 2);
    respawn(daemon, LoginState::Unlocked);
}

#[test]
fn a_worker_killed_in_mid_login_spends_no_second_try() {
    let site = setup(Pin::File).build();
    site.fault("main").set("C_Login", &Fault::Hang);
    let mut daemon = Daemon::start_on(site);
    assert!(wait_for(|| logins(&daemon) == 1, PATIENCE));
    daemon.kill_worker("main");
    assert_withheld(&mut daemon);
}

#[test]
fn an_agent_killed_in_mid_login_spends_no_second_try() {
    let site = setup(Pin::File).build();
    site.fault("main").set("C_Login", &Fault::Hang);
    let mut daemon = Daemon::start_on(site);
    assert!(wait_for(|| logins(&daemon) == 1, PATIENCE));
    daemon.signal(Signal::KILL);
    daemon.wait();
    daemon.start_again();
    assert_withheld(&mut daemon);
}

#[test]
fn whoever_unlocks_is_told_when_the_worker_dies_over_it() {
    let daemon = Daemon::start(setup(Pin::Ask));
    daemon.wait_for_token("main", LoginState::Locked);
    daemon.fault("main").set("C_Login", &Fault::Hang);
    let right = daemon.hsm("main").pin();
    let result = thread::scope(|scope| {
        let unlocking = scope.spawn(|| unlock(&daemon, Some(right), false));
        assert!(wait_for(|| logins(&daemon) == 1, PATIENCE));
        let worker = daemon.worker_pid("main");
        kill_process(pid(worker), Signal::KILL).unwrap();
        unlocking.join().unwrap()
    });
    let failure = refused(result);
    assert_eq!(failure.code, ErrorCode::TokenFailed, "{failure}");
}

#[test]
fn whoever_unlocks_is_told_what_became_of_a_try_that_could_not_be_noted() {
    for (right, code) in [
        (true, ErrorCode::Internal),
        (false, ErrorCode::PinIncorrect),
    ] {
        let daemon = Daemon::start(setup(Pin::Ask));
        daemon.wait_for_token("main", LoginState::Locked);
        let pin = daemon.hsm("main").pin().to_owned();
        let pin = if right { pin } else { "00000000".into() };
        daemon.fault("main").set("C_Login", &Fault::Hang);
        let result = thread::scope(|scope| {
            let unlocking = scope.spawn(|| unlock(&daemon, Some(&pin), false));
            assert!(wait_for(|| logins(&daemon) == 1, PATIENCE));
            let markers = daemon.state().join("login");
            fs::rename(&markers, daemon.state().join("elsewhere")).unwrap();
            daemon.fault("main").clear("C_Login");
            unlocking.join().unwrap()
        });
        let failure = refused(result);
        assert_eq!(failure.code, code, "{failure}");
        let text = failure.message;
        assert!(text.contains("could not be noted in"), "{text}");
        assert!(!text.contains("not sent"), "{text}");
        if right {
            daemon.wait_for_token("main", LoginState::Unlocked);
        }
    }
}

#[test]
fn a_locked_token_stays_locked_until_somebody_unlocks_it() {
    let mut daemon = Daemon::start(setup(Pin::File));
    daemon.create_signer("k");
    daemon.client().call(Lock { token: None }).expect("locked");
    let failure = refused(daemon.client().call(sign("k", b"message")));
    assert_eq!(failure.code, ErrorCode::TokenLocked, "{failure}");
    // Not even a new worker logs in by itself.
    respawn(&daemon, LoginState::Locked);
    assert_eq!(logins(&daemon), 1);
    unlock(&daemon, None, false).expect("from the file");
    daemon
        .client()
        .call(sign("k", b"message"))
        .expect("a signature");
    assert_eq!(logins(&daemon), 2);
    // Locking twice is no mistake, and a new start logs in as the configuration says.
    daemon.client().call(Lock { token: None }).unwrap();
    daemon.client().call(Lock { token: None }).unwrap();
    daemon.restart();
    daemon.wait_for_token("main", LoginState::Unlocked);
}

#[test]
fn a_remembered_pin_serves_the_next_worker_and_no_other_start() {
    let main = TokenSetup::new("main")
        .pin(Pin::Ask)
        .fault()
        .line("remember_pin = true");
    let mut daemon = Daemon::start(Setup::new().token(main));
    daemon.wait_for_token("main", LoginState::Locked);
    unlock(&daemon, Some(daemon.hsm("main").pin()), false).expect("the right one");
    respawn(&daemon, LoginState::Unlocked);
    daemon.client().call(Lock { token: None }).unwrap();
    respawn(&daemon, LoginState::Locked);
    daemon.restart();
    daemon.wait_for_token("main", LoginState::Locked);
}

#[test]
fn a_pin_that_is_not_to_be_remembered_is_asked_for_again() {
    let daemon = Daemon::start(setup(Pin::Ask));
    daemon.wait_for_token("main", LoginState::Locked);
    unlock(&daemon, Some(daemon.hsm("main").pin()), false).expect("the right one");
    respawn(&daemon, LoginState::Locked);
    assert_eq!(logins(&daemon), 1);
}

#[test]
fn a_pin_file_that_others_can_read_is_not_used() {
    let site = setup(Pin::File).build();
    fs::set_permissions(site.pin_file("main"), fs::Permissions::from_mode(0o640)).unwrap();
    let daemon = Daemon::start_on(site);
    daemon.wait_for_token("main", LoginState::Locked);
    let problem = daemon.token("main").problem.unwrap_or_default();
    assert!(problem.contains("chmod 600"), "{problem}");
    assert_eq!(logins(&daemon), 0);
    fs::set_permissions(daemon.pin_file("main"), fs::Permissions::from_mode(0o600)).unwrap();
    unlock(&daemon, None, false).expect("mended");
}

#[test]
fn a_pin_that_no_token_has_is_refused_before_it_is_sent() {
    let daemon = Daemon::start(setup(Pin::Ask));
    daemon.wait_for_token("main", LoginState::Locked);
    for pin in [String::new(), "9".repeat(257)] {
        let failure = refused(unlock(&daemon, Some(&pin), false));
        assert_eq!(failure.code, ErrorCode::Invalid, "{failure}");
    }
    assert_eq!(logins(&daemon), 0);
}
