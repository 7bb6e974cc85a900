//! A touch that is wanted is told at once, with who wants it and for what, and never hangs anything else.

use keyward_client::protocol::{ErrorCode, OperationCode};
use keyward_tests::{Raw, request::refused};
use keyward_virtual_piv::Touch;

use super::*;

const NEEDED: EventKind = EventKind::TouchNeeded;
const DONE: EventKind = EventKind::TouchDone;

/// A daemon with a card and a key on it that wants a touch each time, by hand.
#[track_caller]
fn touched() -> Daemon {
    let daemon = one_card(TokenSetup::piv(CARD));
    make_touched(&daemon, "k", TouchPolicy::Always);
    daemon.card(CARD).card().touch(Touch::ByHand);
    daemon
}

#[track_caller]
fn blinks(daemon: &Daemon) {
    assert!(daemon.card(CARD).card().wait_for_blinking(PATIENCE));
}

#[test]
fn who_wants_a_touch_and_for_what_is_told_at_once() {
    let daemon = touched();
    let heard = Heard::of(&daemon);
    let asked = Instant::now();
    let asking = asking(&daemon, "k");
    let (told, event) = heard.nth(NEEDED, 1);
    assert!(told.duration_since(asked) < SOON, "{:?}", told - asked);
    assert_eq!(event.token.as_deref(), Some(CARD));
    let described = keyward_client::protocol::operation::Describe { key: "k".into() };
    let key = daemon.client().call(described).expect("the key").id;
    assert_eq!(event.key, Some(key));
    assert_eq!(event.operation, Some(OperationCode::Sign.number()));
    let caller = event.caller.expect("a caller");
    assert_eq!(caller.pid, Some(std::process::id()));
    assert_eq!(caller.uid, rustix::process::getuid().as_raw());
    let own = std::env::current_exe().expect("this program");
    assert_eq!(caller.program.as_deref(), own.to_str());
    blinks(&daemon);
    assert_eq!(heard.count(DONE), 0);
    daemon.card(CARD).card().press();
    asking.join().expect("a thread").expect("a signature");
    let (_, event) = heard.nth(DONE, 1);
    assert_eq!(event.token.as_deref(), Some(CARD));
    assert_sound(&daemon, CARD);
}

#[test]
fn what_waits_behind_a_touch_is_told_when_its_turn_comes() {
    let daemon = touched();
    make_touched(&daemon, "second", TouchPolicy::Always);
    let heard = Heard::of(&daemon);
    let first = asking(&daemon, "k");
    blinks(&daemon);
    let second = asking(&daemon, "second");
    assert!(wait_for(|| daemon.token(CARD).pending == 2, PATIENCE));
    assert_eq!(heard.count(NEEDED), 1);
    daemon.card(CARD).card().press();
    first.join().expect("a thread").expect("a signature");
    let (needed, event) = heard.nth(NEEDED, 2);
    let (done, first_key) = heard.nth(DONE, 1);
    assert!(done <= needed);
    assert_ne!(event.key, first_key.key);
    blinks(&daemon);
    daemon.card(CARD).card().press();
    second.join().expect("a thread").expect("a signature");
    heard.nth(DONE, 2);
    assert_sound(&daemon, CARD);
}

#[test]
fn a_caller_that_hangs_up_while_it_waits_behind_a_touch_is_never_told_of() {
    let daemon = touched();
    let heard = Heard::of(&daemon);
    let first = asking(&daemon, "k");
    blinks(&daemon);
    let mut gone = Raw::welcomed(&daemon.socket());
    gone.call(1, sign("k", b"nobody waits for it"));
    assert!(wait_for(|| daemon.token(CARD).pending == 2, PATIENCE));
    drop(gone);
    assert!(wait_for(|| daemon.token(CARD).pending == 1, PATIENCE));
    daemon.card(CARD).card().press();
    first.join().expect("a thread").expect("a signature");
    let last = asking(&daemon, "k");
    heard.nth(NEEDED, 2);
    blinks(&daemon);
    daemon.card(CARD).card().press();
    last.join().expect("a thread").expect("a signature");
    assert_eq!(heard.count(NEEDED), 2);
    assert_eq!(daemon.card(CARD).card().blinks(), 2);
}

#[test]
fn a_touch_that_comes_too_late_or_not_at_all_is_missed_and_costs_nothing() {
    let daemon = touched();
    let heard = Heard::of(&daemon);
    let card = daemon.card(CARD).card();
    card.touch_timeout(Duration::from_millis(300));
    for nth in 1..3 {
        let failure = refused(sign_once(&daemon, "k"));
        assert_eq!(failure.code, ErrorCode::TouchMissed, "{failure}");
        assert!(failure.hint.is_some_and(|hint| hint.contains("watch")));
        heard.nth(DONE, nth);
        // Too late, it is for nothing.
        card.press();
    }
    card.touch_timeout(PATIENCE);
    card.touch(Touch::After(Duration::from_millis(100)));
    sign_once(&daemon, "k").expect("a signature");
    assert_eq!((heard.nth(DONE, 3), heard.count(NEEDED)).1, 3);
    assert_sound(&daemon, CARD);
}

#[test]
fn a_deadline_that_passes_while_the_card_blinks_frees_the_caller_and_later_the_card() {
    let daemon = touched();
    let heard = Heard::of(&daemon);
    let limit = Duration::from_millis(500);
    let mut client = daemon.client();
    let late = client.call_with_deadline(sign("k", b"message"), limit);
    let failure = refused(late);
    assert_eq!(failure.code, ErrorCode::DeadlineExceeded, "{failure}");
    blinks(&daemon);
    // Nobody wants it any more, but the card does not know that.
    let next = asking(&daemon, "k");
    assert!(wait_for(|| daemon.token(CARD).pending == 2, PATIENCE));
    daemon.card(CARD).card().press();
    heard.nth(NEEDED, 2);
    blinks(&daemon);
    daemon.card(CARD).card().press();
    next.join().expect("a thread").expect("a signature");
    assert_sound(&daemon, CARD);
}

#[test]
fn other_tokens_serve_while_a_card_blinks() {
    let main = TokenSetup::new("main");
    let setup = Setup::new().token(TokenSetup::piv(CARD)).token(main);
    let daemon = Daemon::start(setup);
    daemon.wait_for_token(CARD, LoginState::Unlocked);
    daemon.wait_for_token("main", LoginState::Unlocked);
    make_touched(&daemon, "k", TouchPolicy::Always);
    let other = Create {
        token: Some("main".to_owned()),
        ..create("other", Purpose::Sign, KeyType::P256)
    };
    daemon.client().call(other).expect("a key");
    daemon.card(CARD).card().touch(Touch::ByHand);
    daemon.card(CARD).card().touch_timeout(PATIENCE * 10);
    // On the same connection, too.
    let mut raw = Raw::welcomed(&daemon.socket());
    raw.call(1, sign("k", b"message"));
    blinks(&daemon);
    raw.call(2, sign("other", b"message"));
    let _ = raw.reply::<keyward_client::protocol::operation::Sign>(2);
    let answers = daemon
        .client()
        .pipeline((0..200).map(|_| sign("other", b"message")));
    assert!(answers.iter().all(Result::is_ok));
    assert!(daemon.card(CARD).card().is_blinking());
    daemon.card(CARD).card().press();
    let _ = raw.reply::<keyward_client::protocol::operation::Sign>(1);
}

#[test]
fn a_touch_that_counts_for_a_while_is_told_of_once() {
    let daemon = one_card(TokenSetup::piv(CARD));
    make_touched(&daemon, "k", TouchPolicy::Cached);
    let heard = Heard::of(&daemon);
    let before = daemon.card(CARD).card().blinks();
    for _ in 0..5 {
        sign_once(&daemon, "k").expect("a signature");
    }
    heard.nth(DONE, 1);
    assert_eq!(heard.count(NEEDED), 1);
    assert_eq!(daemon.card(CARD).card().blinks() - before, 1);
}

#[test]
fn a_card_that_is_pulled_while_it_blinks_is_no_touch_any_more() {
    let daemon = touched();
    let heard = Heard::of(&daemon);
    let asking = asking(&daemon, "k");
    blinks(&daemon);
    daemon.card(CARD).remove();
    let failure = refused(asking.join().expect("a thread"));
    assert_eq!(failure.code, ErrorCode::TokenFailed, "{failure}");
    heard.nth(DONE, 1);
    daemon.card(CARD).card().touch(Touch::AtOnce);
    daemon.card(CARD).insert();
    daemon.wait_for_token(CARD, LoginState::Unlocked);
    sign_once(&daemon, "k").expect("a signature");
    assert_sound(&daemon, CARD);
}
