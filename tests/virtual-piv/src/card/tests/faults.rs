//! What a test has go wrong.

use std::time::{Duration, Instant};

use super::*;

#[test]
fn a_card_pulled_at_an_instruction_has_not_done_it() {
    let card = Terminal::of(Model::YubiKey5);
    card.card.pull_at(0x20);
    assert_eq!(card.verify(WRONG), None);
    assert!(!card.card.is_inserted(card.insertion));
    assert_eq!(card.card.pin_tries(), 3);
    let again = Terminal::new(&card.card);
    assert_eq!(again.verify(WRONG), Some(Status(0x63c2)), "once");
}

#[test]
fn a_card_pulled_after_an_instruction_has_done_it() {
    let card = Terminal::managed(Model::YubiKey5);
    card.card.pull_after(0x47);
    let template = object(0xac, &object(0x80, &[P256]));
    assert!(card.send(0x47, 0, 0x9a, &template).is_none());
    assert_eq!(card.card.slots(), [0x9a]);
    assert_eq!(card.card.log().last().unwrap().status, None);
    assert!(!card.card.is_inserted(card.insertion));
}

#[test]
fn an_answer_of_the_test_is_given_once_and_nothing_is_done() {
    let card = Terminal::of(Model::YubiKey5);
    card.card.answer(0x20, vec![0x90, 0x00]);
    card.card.answer(0x20, vec![]);
    assert_eq!(card.verify(WRONG), Some(Status::OK));
    assert!(!card.card.pin_is_verified());
    assert_eq!(card.verify(WRONG), Some(Status(0)), "no bytes at all");
    assert_eq!(card.card.pin_tries(), 3);
    assert_eq!(card.verify(WRONG), Some(Status(0x63c2)));
}

#[test]
fn a_slow_card_takes_its_time_for_each_command() {
    let card = Terminal::of(Model::YubiKey5);
    card.card.delay(Duration::from_millis(3));
    let start = Instant::now();
    assert_eq!(card.verify(PIN), Some(Status::OK));
    assert!(start.elapsed() >= Duration::from_millis(3));
}

#[test]
fn a_slow_card_that_is_pulled_gives_no_answer() {
    let card = Terminal::of(Model::YubiKey5);
    card.card.delay(Duration::from_secs(3600));
    std::thread::scope(|scope| {
        let verifying = scope.spawn(|| card.verify(PIN));
        while card.card.count(0x20) == 0 {
            std::thread::yield_now();
        }
        card.card.remove();
        assert_eq!(verifying.join().unwrap(), None);
    });
    assert!(!card.card.pin_is_verified());
}

#[test]
fn commands_are_counted_and_logged_without_what_is_in_them() {
    let card = Terminal::managed(Model::YubiKey5);
    assert_eq!(card.put(0x5f_0000, &[7; 600]), Status::OK);
    assert_eq!(card.get(0x5f_0000).0.len(), 604);
    assert_eq!(card.verify(PIN), Some(Status::OK));
    assert_eq!((card.card.count(0xdb), card.card.count(0xcb)), (1, 1));
    assert_eq!(card.card.count(0xc0), 2);
    let log = card.card.log();
    let put = log.iter().find(|e| e.instruction == 0xdb).unwrap();
    assert_eq!((put.sent, put.received), (609, 0));
    let get = log.iter().find(|e| e.instruction == 0xcb).unwrap();
    assert_eq!((get.received, get.status), (604, Some(0x9000)));
    let verify = log.last().unwrap();
    assert_eq!((verify.instruction, verify.sent), (0x20, 8));
    let shown = format!("{log:?}{:?}", card.card);
    assert!(!shown.contains("123456,") && !shown.contains("0x31") && !shown.contains("49, 50"));
}
