//! Cards come and go.

use keyward_client::protocol::ErrorCode;
use keyward_tests::request::refused;

use super::*;

const INSERTED: EventKind = EventKind::TokenInserted;
const REMOVED: EventKind = EventKind::TokenRemoved;

#[test]
fn a_card_that_comes_and_goes_is_told_of_within_a_second() {
    const ROUNDS: usize = 5;
    let daemon = one_card(TokenSetup::piv(CARD));
    daemon.create_signer("k");
    let heard = Heard::of(&daemon);
    let mut soon = [0, 0];
    for nth in 1..=ROUNDS {
        let begun = Instant::now();
        daemon.card(CARD).remove();
        let (told, event) = heard.nth(REMOVED, nth);
        assert_eq!(event.token.as_deref(), Some(CARD));
        soon[0] += usize::from(told.saturating_duration_since(begun) < SOON);
        daemon.card(CARD).insert();
        // pcscd has seen it: from here on it is keyward's time.
        let begun = Instant::now();
        let (told, _) = heard.nth(INSERTED, nth);
        soon[1] += usize::from(told.saturating_duration_since(begun) < SOON);
        daemon.wait_for_token(CARD, LoginState::Unlocked);
        sign_once(&daemon, "k").expect("a signature");
    }
    // Looking every 2 s would be as good in half of the rounds; a busy machine may be late once.
    assert!(soon.iter().all(|soon| *soon >= ROUNDS - 1), "{soon:?}");
    assert_sound(&daemon, CARD);
}

#[test]
fn a_card_that_is_there_later_than_the_daemon_is_found() {
    let site = Setup::new().token(TokenSetup::piv(CARD)).build();
    site.card(CARD).remove();
    let daemon = Daemon::start_on(site);
    daemon.wait_for_token(CARD, LoginState::Absent);
    let heard = Heard::of(&daemon);
    daemon.card(CARD).insert();
    heard.nth(INSERTED, 1);
    daemon.wait_for_token(CARD, LoginState::Unlocked);
    daemon.create_signer("k");
    assert_sound(&daemon, CARD);
}

#[test]
fn a_card_is_seen_to_come_and_go_after_pcscd_was_started_again() {
    let daemon = one_card(TokenSetup::piv(CARD));
    daemon.create_signer("k");
    let heard = Heard::of(&daemon);
    let card = daemon.card(CARD);
    card.rig().kill();
    heard.nth(REMOVED, 1);
    let failure = refused(sign_once(&daemon, "k"));
    assert_eq!(failure.code, ErrorCode::TokenAbsent, "{failure}");
    assert!(failure.message.contains("pcscd"), "{failure}");
    card.rig().restart();
    heard.nth(INSERTED, 1);
    daemon.wait_for_token(CARD, LoginState::Unlocked);
    sign_once(&daemon, "k").expect("a signature");
    card.remove();
    heard.nth(REMOVED, 2);
    card.insert();
    heard.nth(INSERTED, 2);
    daemon.wait_for_token(CARD, LoginState::Unlocked);
    sign_once(&daemon, "k").expect("a signature");
    assert_sound(&daemon, CARD);
}

#[test]
fn a_daemon_that_is_started_before_pcscd_finds_the_card() {
    let site = Setup::new().token(TokenSetup::piv(CARD)).build();
    site.card(CARD).rig().kill();
    let daemon = Daemon::start_on(site);
    daemon.wait_for_token(CARD, LoginState::Absent);
    let problem = daemon.token(CARD).problem.unwrap_or_default();
    assert!(problem.contains("pcscd"), "{problem}");
    daemon.card(CARD).rig().restart();
    daemon.wait_for_token(CARD, LoginState::Unlocked);
    daemon.create_signer("k");
    assert_sound(&daemon, CARD);
}

#[test]
fn an_absent_card_is_named_by_its_serial_number() {
    let daemon = one_card(TokenSetup::piv(CARD));
    daemon.create_signer("k");
    daemon.card(CARD).remove();
    daemon.wait_for_token(CARD, LoginState::Absent);
    let failure = refused(sign_once(&daemon, "k"));
    assert_eq!(failure.code, ErrorCode::TokenAbsent, "{failure}");
    let serial = daemon.card(CARD).card().serial().to_string();
    let wanted = format!("insert the card with the serial number {serial}");
    assert!(failure.message.contains(&wanted), "{failure}");
}

#[test]
fn two_cards_are_told_apart_by_their_serial_numbers() {
    let setup = Setup::new()
        .token(TokenSetup::piv("a"))
        .token(TokenSetup::piv("b"));
    let daemon = Daemon::start(setup);
    for token in ["a", "b"] {
        daemon.wait_for_token(token, LoginState::Unlocked);
        let request = Create {
            token: Some(token.to_owned()),
            ..create(token, Purpose::Sign, KeyType::P256)
        };
        let made = daemon.client().call(request).expect("a key");
        let serial = daemon.card(token).card().serial();
        assert!(locator(&made).contains(&format!("serial={serial};")));
    }
    daemon.card("a").remove();
    daemon.wait_for_token("a", LoginState::Absent);
    sign_once(&daemon, "b").expect("a signature");
    refused(sign_once(&daemon, "a"));
    for token in ["a", "b"] {
        assert_sound(&daemon, token);
    }
}
