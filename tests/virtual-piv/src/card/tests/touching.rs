//! Touches, and what happens while one is awaited.

use std::thread;
use std::time::Duration;

use super::*;
use crate::Touch;

const ALWAYS: u8 = 2;
const CACHED: u8 = 3;
/// Longer than anything takes.
const LONG: Duration = Duration::from_secs(60);

/// With keys of each touch policy that want no PIN: 82 never, 83 always, 84 cached.
fn card(model: Model) -> Terminal {
    let terminal = Terminal::managed(model);
    for (slot, touch) in [(0x82, 1), (0x83, ALWAYS), (0x84, CACHED)] {
        terminal.generate(slot, P256, 1, touch);
    }
    terminal
}

/// Signs in a thread of its own until `then` has been done to the card that blinks.
fn while_it_blinks(card: &Terminal, slot: u8, then: impl FnOnce(&Card)) -> Option<Status> {
    thread::scope(|scope| {
        let template = [object(0x82, &[]), object(0x81, &[7; 32])].concat();
        let signing = scope.spawn(move || card.send(0x87, P256, slot, &object(0x7c, &template)));
        assert!(card.card.wait_for_blinking(LONG));
        then(&card.card);
        let answer = signing.join().unwrap();
        assert!(!card.card.is_blinking());
        answer.map(|(_, status)| status)
    })
}

#[test]
fn a_key_of_policy_always_wants_a_touch_for_each_use() {
    for model in YUBIKEYS {
        let card = card(model);
        assert_eq!(card.sign_status(0x82), Status::OK);
        assert_eq!(card.card.blinks(), 0);
        assert_eq!(card.sign_status(0x83), Status::OK);
        assert_eq!(card.sign_status(0x83), Status::OK);
        assert_eq!(card.card.blinks(), 2);
    }
}

#[test]
fn a_key_of_policy_cached_is_served_by_the_last_touch() {
    for model in YUBIKEYS {
        let card = card(model);
        card.card.touch_cache(LONG);
        assert_eq!(card.sign_status(0x84), Status::OK);
        assert_eq!(card.sign_status(0x84), Status::OK);
        assert_eq!(card.card.blinks(), 1);
        card.card.touch_cache(Duration::ZERO);
        assert_eq!(card.sign_status(0x84), Status::OK);
        assert_eq!(card.card.blinks(), 2);
    }
}

#[test]
fn a_touch_before_power_went_serves_nobody() {
    let card = card(Model::YubiKey5);
    card.card.touch_cache(LONG);
    assert_eq!(card.sign_status(0x84), Status::OK);
    card.card.power();
    let _ = card.select(&[0xa0, 0x00, 0x00, 0x03, 0x08]);
    assert_eq!(card.sign_status(0x84), Status::OK);
    assert_eq!(card.card.blinks(), 2);
}

#[test]
fn a_touch_that_is_missed_is_a_security_status_not_satisfied() {
    let card = card(Model::YubiKey5);
    card.card.touch_timeout(Duration::from_millis(5));
    let missed = Status::SECURITY_STATUS_NOT_SATISFIED;
    card.card.touch(Touch::Never);
    assert_eq!(card.sign_status(0x83), missed);
    card.card.touch(Touch::After(Duration::from_millis(6)));
    assert_eq!(card.sign_status(0x83), missed, "too late");
    card.card.touch(Touch::After(Duration::from_millis(4)));
    assert_eq!(card.sign_status(0x83), Status::OK);
}

#[test]
fn a_touch_by_hand_ends_the_waiting() {
    let card = card(Model::YubiKey57);
    card.card.touch(Touch::ByHand);
    assert_eq!(while_it_blinks(&card, 0x83, Card::press), Some(Status::OK));
    assert_eq!(
        while_it_blinks(&card, 0x83, |card| card.touch(Touch::AtOnce)),
        Some(Status::OK),
        "somebody came after all"
    );
}

#[test]
fn a_touch_too_early_is_for_nothing() {
    let card = card(Model::YubiKey5);
    card.card.touch(Touch::ByHand);
    card.card.press();
    card.card.touch_timeout(Duration::from_millis(5));
    assert_eq!(
        card.sign_status(0x83),
        Status::SECURITY_STATUS_NOT_SATISFIED
    );
}

#[test]
fn a_late_touch_serves_no_later_command() {
    let card = card(Model::YubiKey5);
    card.card.touch(Touch::ByHand);
    card.card.touch_timeout(Duration::from_millis(5));
    let missed = Status::SECURITY_STATUS_NOT_SATISFIED;
    assert_eq!(card.sign_status(0x83), missed);
    card.card.press();
    assert_eq!(card.sign_status(0x83), missed);
}

#[test]
fn a_card_that_is_pulled_while_it_blinks_gives_no_answer() {
    let card = card(Model::YubiKey57);
    card.card.touch(Touch::ByHand);
    assert_eq!(while_it_blinks(&card, 0x83, Card::remove), None);
    assert!(card.send(0x20, 0, 0x80, &[]).is_none(), "nor later");
}

#[test]
fn a_new_insertion_has_nothing_of_what_the_old_one_waits_for() {
    let card = card(Model::YubiKey5);
    card.card.touch(Touch::ByHand);
    let mut again = None;
    let old = while_it_blinks(&card, 0x84, |inside| {
        let terminal = Terminal::new(inside);
        assert!(!inside.is_blinking());
        inside.press();
        assert_eq!(terminal.tries(), Status(0x63c3));
        again = Some(terminal);
    });
    assert_eq!(old, None);
    let again = again.unwrap();
    again.card.touch(Touch::AtOnce);
    let before = again.card.blinks();
    assert_eq!(again.sign_status(0x84), Status::OK);
    assert_eq!(again.card.blinks(), before + 1, "no touch is left over");
    assert!(card.send(0x20, 0, 0x80, &[]).is_none());
}

#[test]
fn another_command_waits_until_the_card_is_done() {
    let card = card(Model::YubiKey5);
    card.card.touch(Touch::ByHand);
    thread::scope(|scope| {
        let mut second = None;
        let status = while_it_blinks(&card, 0x83, |inside| {
            second = Some(scope.spawn(|| card.tries()));
            assert!(inside.is_blinking());
            inside.press();
        });
        assert_eq!(status, Some(Status::OK));
        assert_eq!(second.unwrap().join().unwrap(), Status(0x63c3));
    });
    let log = card.card.log();
    let order: Vec<u8> = log[log.len() - 2..].iter().map(|e| e.instruction).collect();
    assert_eq!(order, [0x87, 0x20]);
}

#[test]
fn a_card_does_not_blink_for_what_the_pin_stops() {
    let card = card(Model::YubiKey5);
    card.generate(0x9a, P256, 2, ALWAYS);
    card.card.touch(Touch::Never);
    assert_eq!(
        card.sign_status(0x9a),
        Status::SECURITY_STATUS_NOT_SATISFIED
    );
    assert_eq!(card.card.blinks(), 0);
}

#[test]
fn a_missed_touch_costs_the_pin_of_a_key_of_policy_always() {
    let card = card(Model::YubiKey5);
    card.generate(0x9c, P256, 3, ALWAYS);
    assert_eq!(card.verify(PIN), Some(Status::OK));
    card.card.touch(Touch::Never);
    card.card.touch_timeout(Duration::ZERO);
    assert_eq!(
        card.sign_status(0x9c),
        Status::SECURITY_STATUS_NOT_SATISFIED
    );
    assert_eq!(card.card.blinks(), 1);
    assert_eq!(
        card.sign_status(0x9c),
        Status::SECURITY_STATUS_NOT_SATISFIED
    );
    assert_eq!(card.card.blinks(), 1, "it did not come so far");
}

#[test]
fn a_card_in_no_reader_does_not_blink() {
    let card = Card::new(Model::YubiKey5, 1);
    assert!(!card.wait_for_blinking(Duration::from_millis(1)));
}
