#![allow(clippy::unwrap_used)]

use std::sync::mpsc;

use super::*;

fn secret(text: &[u8]) -> SecretBytes {
    SecretBytes::copy_from(text)
}

#[test]
fn a_pin_is_padded_with_ff() {
    assert_eq!(*padded(&secret(b"123456")).unwrap(), *b"123456\xff\xff");
    assert_eq!(*padded(&secret(b"12345678")).unwrap(), *b"12345678");
    for other in [b"".as_slice(), b"123456789"] {
        assert!(matches!(
            padded(&secret(other)),
            Err(BackendError::Invalid(_))
        ));
    }
}

#[test]
fn a_new_pin_has_six_to_eight_bytes() {
    for (pin, fits) in [
        (b"12345".as_slice(), false),
        (b"123456", true),
        (b"12345678", true),
        (b"123456789", false),
        (b"12345\xff", false),
    ] {
        assert_eq!(check_new(&secret(pin)).is_ok(), fits, "{pin:?}");
    }
}

#[test]
fn a_pin_is_held_until_it_is_forgotten() {
    let keeper = Keeper::new(None);
    assert_eq!(keeper.get(), Err(BackendError::LoginRequired));
    keeper.keep(&secret(b"123456"));
    assert_eq!(keeper.get(), Ok(secret(b"123456")));
    keeper.forget();
    assert!(!keeper.is_held());
}

#[test]
fn a_pin_whose_time_is_over_is_not_given() {
    let keeper = Keeper::new(Some(Duration::ZERO));
    keeper.keep(&secret(b"123456"));
    assert_eq!(keeper.get(), Err(BackendError::LoginRequired));
}

#[test]
fn a_pin_is_wiped_when_its_time_is_over() {
    let keeper: &'static Keeper = Box::leak(Box::new(Keeper::new(Some(Duration::from_millis(1)))));
    let (expired, expires) = mpsc::channel();
    std::thread::spawn(move || keeper.watch(|| expired.send(()).unwrap()));
    keeper.keep(&secret(b"123456"));
    expires.recv_timeout(Duration::from_secs(60)).unwrap();
    assert!(keeper.lock().pin.is_none());
}

#[test]
fn a_refused_pin_is_known_until_another_is_taken() {
    let keeper = Keeper::new(None);
    let (right, wrong) = (secret(b"123456"), secret(b"654321"));
    let left = Some(2);
    keeper.keep(&right);
    keeper.refuse(&wrong, left);
    // That it was typed for a change ends no login.
    assert!(keeper.is_held());
    keeper.forget();
    assert!(!keeper.is_held());
    assert!(keeper.was_refused(&wrong, left) && !keeper.was_refused(&right, left));
    keeper.keep(&right);
    assert!(!keeper.was_refused(&wrong, left));
    // The same card again refuses what it refused; another one may not.
    keeper.refuse(&wrong, left);
    keeper.forget();
    assert!(keeper.was_refused(&wrong, left));
    keeper.forget_all();
    assert!(!keeper.was_refused(&wrong, left));
}

#[test]
fn a_refused_pin_is_sent_again_only_where_more_tries_are_left_than_it_left() {
    let wrong = secret(b"654321");
    for (before, now, refused) in [
        (Some(2), Some(2), true),
        (Some(2), Some(1), true),
        (Some(2), Some(3), false),
        (Some(7), Some(7), true),
        (Some(7), Some(8), false),
        (Some(0), Some(3), false),
        (Some(2), None, true),
        (None, Some(3), true),
    ] {
        let keeper = Keeper::new(None);
        keeper.refuse(&wrong, before);
        assert_eq!(
            keeper.was_refused(&wrong, now),
            refused,
            "{before:?} {now:?}"
        );
    }
}

#[test]
fn a_pin_that_a_card_did_not_answer_is_refused_if_the_card_has_counted_it() {
    for (left, refused) in [(Some(3), false), (Some(2), true), (Some(0), true)] {
        let keeper = Keeper::new(None);
        keeper.doubt(&secret(b"654321"), Some(3));
        keeper.forget();
        keeper.decide(&secret(b"123456"), left);
        assert!(!keeper.was_refused(&secret(b"123456"), left));
        keeper.decide(&secret(b"654321"), left);
        assert_eq!(keeper.was_refused(&secret(b"654321"), left), refused);
    }
}
