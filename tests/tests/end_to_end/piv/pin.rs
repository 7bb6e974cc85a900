//! The PIN: typed once, dropped when it must be, and no try is spent that nobody meant.

use keyward_client::protocol::{ErrorCode, operation::Lock};
use keyward_tests::{process::pid, request::refused};
use rustix::process::{Signal, kill_process};

use super::*;

#[test]
fn two_hundred_uses_take_one_typed_pin() {
    let daemon = typed("");
    daemon.create_signer("k");
    let mut client = daemon.client();
    for _ in 0..200 {
        client.call(sign("k", b"message")).expect("a signature");
    }
    assert_eq!(daemon.card(CARD).pins_refused(), 0);
    let records = daemon.audit();
    let typed = records.iter().filter(|r| r["op"] == "unlock");
    assert_eq!(typed.count(), 1);
    assert_sound(&daemon, CARD);
}

#[test]
fn fifty_turns_with_another_application_take_one_typed_pin() {
    let daemon = typed("");
    daemon.create_signer("k");
    let mut other = daemon.card(CARD).other_program();
    let mut client = daemon.client();
    for _ in 0..50 {
        other.select_openpgp().expect("another application");
        client.call(sign("k", b"message")).expect("a signature");
    }
    assert_eq!(daemon.card(CARD).pins_refused(), 0);
    assert_sound(&daemon, CARD);
}

#[test]
fn the_right_pin_is_sent_behind_two_wrong_ones_while_the_card_has_tries() {
    let daemon = typed("");
    daemon.create_signer("k");
    daemon.client().call(Lock { token: None }).expect("locked");
    for _ in 0..3 {
        // The second and third are known to be wrong, and cost nothing.
        let failure = refused(unlock(&daemon, "000000"));
        assert_eq!(failure.code, ErrorCode::PinIncorrect, "{failure}");
    }
    assert_eq!(daemon.card(CARD).card().pin_tries(), 2);
    unlock(&daemon, PIV_PIN).expect("the right one");
    sign_once(&daemon, "k").expect("a signature");
    assert_sound(&daemon, CARD);
}

#[test]
fn a_login_ends_when_its_time_is_over() {
    let daemon = typed("pin_timeout = \"2s\"");
    daemon.create_signer("k");
    let heard = Heard::of(&daemon);
    heard.nth(EventKind::TokenLocked, 1);
    let sent = daemon.card(CARD).pins_sent();
    let failure = refused(sign_once(&daemon, "k"));
    assert_eq!(failure.code, ErrorCode::TokenLocked, "{failure}");
    assert_eq!(failure.hint.as_deref(), Some("keyward unlock card"));
    assert_eq!(daemon.card(CARD).pins_sent(), sent);
    unlock(&daemon, PIV_PIN).expect("once more");
    sign_once(&daemon, "k").expect("a signature");
    assert_sound(&daemon, CARD);
}

#[test]
fn a_card_that_was_away_wants_its_pin_again() {
    let daemon = typed("");
    daemon.create_signer("k");
    daemon.card(CARD).remove();
    daemon.wait_for_token(CARD, LoginState::Absent);
    daemon.card(CARD).insert();
    daemon.wait_for_token(CARD, LoginState::Locked);
    let failure = refused(sign_once(&daemon, "k"));
    assert_eq!(failure.code, ErrorCode::TokenLocked, "{failure}");
    unlock(&daemon, PIV_PIN).expect("once more");
    sign_once(&daemon, "k").expect("a signature");
    assert_sound(&daemon, CARD);
}

#[test]
fn a_card_that_was_locked_wants_its_pin_again() {
    let daemon = typed("");
    daemon.create_signer("k");
    let token = Some(CARD.to_owned());
    daemon.client().call(Lock { token }).expect("locked");
    let sent = daemon.card(CARD).pins_sent();
    let failure = refused(sign_once(&daemon, "k"));
    assert_eq!(failure.code, ErrorCode::TokenLocked, "{failure}");
    assert_eq!(daemon.card(CARD).pins_sent(), sent);
    assert_sound(&daemon, CARD);
}

#[test]
fn a_worker_that_is_started_again_has_no_pin() {
    let daemon = typed("");
    daemon.create_signer("k");
    kill_process(pid(daemon.worker_pid(CARD)), Signal::KILL).expect("the worker runs");
    daemon.wait_for_token(CARD, LoginState::Locked);
    assert_eq!(daemon.card(CARD).card().pin_tries(), 3);
    unlock(&daemon, PIV_PIN).expect("once more");
    sign_once(&daemon, "k").expect("a signature");
}

#[test]
fn a_wrong_pin_is_sent_once() {
    let daemon = Daemon::start(Setup::new().token(TokenSetup::piv(CARD).pin(Pin::Ask)));
    daemon.wait_for_token(CARD, LoginState::Locked);
    for _ in 0..4 {
        refused(unlock(&daemon, "654321"));
    }
    assert_eq!(daemon.card(CARD).pins_sent(), 1);
    assert_eq!(daemon.card(CARD).card().pin_tries(), 2);
    unlock_with(&daemon, PIV_PIN, true).expect("the right one");
    assert_sound(&daemon, CARD);
}

#[test]
fn a_wrong_pin_in_a_file_is_sent_once() {
    let mut daemon = Daemon::start(Setup::new().token(TokenSetup::piv(CARD).pin(Pin::WrongFile)));
    daemon.wait_for_token(CARD, LoginState::Locked);
    for _ in 0..2 {
        daemon.card(CARD).remove();
        daemon.wait_for_token(CARD, LoginState::Absent);
        daemon.card(CARD).insert();
        daemon.wait_for_token(CARD, LoginState::Locked);
    }
    daemon.restart();
    daemon.wait_for_token(CARD, LoginState::Locked);
    assert_eq!(daemon.card(CARD).pins_sent(), 1);
    assert_eq!(daemon.card(CARD).card().pin_tries(), 2);
}

#[test]
fn a_wrong_pin_that_the_card_counted_when_it_was_pulled_is_not_sent_again() {
    let site = Setup::new()
        .token(TokenSetup::piv(CARD).pin(Pin::WrongFile))
        .build();
    site.card(CARD).remove();
    let daemon = Daemon::start_on(site);
    daemon.wait_for_token(CARD, LoginState::Absent);
    let card = daemon.card(CARD);
    // Asking how many tries are left is a VERIFY, too: what has the PIN is pulled.
    card.card().pull_after_pin();
    card.insert();
    assert!(wait_for(|| card.pins_sent() == 1, PATIENCE));
    for _ in 0..2 {
        daemon.wait_for_token(CARD, LoginState::Absent);
        card.insert();
        daemon.wait_for_token(CARD, LoginState::Locked);
        card.remove();
    }
    assert_eq!(card.pins_sent(), 1);
    assert_eq!(card.card().pin_tries(), 2);
}

#[test]
fn the_last_try_is_a_persons_to_spend() {
    let daemon = Daemon::start(Setup::new().token(TokenSetup::piv(CARD).pin(Pin::Ask)));
    daemon.wait_for_token(CARD, LoginState::Locked);
    for wrong in ["654321", "765432"] {
        let failure = refused(unlock(&daemon, wrong));
        assert_eq!(failure.code, ErrorCode::PinIncorrect, "{failure}");
    }
    assert_eq!(daemon.card(CARD).card().pin_tries(), 1);
    let failure = refused(unlock(&daemon, PIV_PIN));
    assert_eq!(failure.code, ErrorCode::PinWithheld, "{failure}");
    let hint = failure.hint.unwrap_or_default();
    assert!(hint.contains("--spend-last-try"), "{hint}");
    assert_eq!(daemon.card(CARD).pins_sent(), 2);
    unlock_with(&daemon, PIV_PIN, true).expect("a person insisted");
    daemon.create_signer("k");
    assert_sound(&daemon, CARD);
}

#[test]
fn tries_that_another_program_spends_end_the_login_before_the_last() {
    let daemon = typed("");
    daemon.create_signer("k");
    for _ in 0..2 {
        let mut wrong = daemon.card(CARD).rig().command("yubico-piv-tool");
        wrong.args(["-a", "verify-pin", "-P", "000000"]);
        assert!(!wrong.output().expect("yubico-piv-tool").status.success());
    }
    assert_eq!(daemon.card(CARD).card().pin_tries(), 1);
    let failure = refused(sign_once(&daemon, "k"));
    assert_eq!(failure.code, ErrorCode::TokenLocked, "{failure}");
    assert_eq!(daemon.card(CARD).card().pin_tries(), 1);
}

#[test]
fn another_card_in_its_place_gets_no_pin() {
    for with_serial in [true, false] {
        let setup = TokenSetup::piv(CARD);
        let setup = match with_serial {
            true => setup,
            false => setup.any_serial(),
        };
        let daemon = one_card(setup);
        daemon.create_signer("k");
        let other = daemon.card(CARD).swap();
        // One that is told from others by its number is just not there.
        let (state, code) = match with_serial {
            true => (LoginState::Absent, ErrorCode::TokenAbsent),
            false => (LoginState::Changed, ErrorCode::TokenChanged),
        };
        daemon.wait_for_token(CARD, state);
        let failure = refused(sign_once(&daemon, "k"));
        assert_eq!(failure.code, code, "{failure}");
        assert_eq!(keyward_tests::piv::pins_sent_to(&other), 0);
        daemon.card(CARD).insert();
        daemon.wait_for_token(CARD, LoginState::Unlocked);
        sign_once(&daemon, "k").expect("a signature");
        assert_sound(&daemon, CARD);
    }
}
