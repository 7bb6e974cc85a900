//! PIN and PUK.

use super::*;

#[test]
fn the_pin_of_the_factory_is_verified() {
    for model in Model::ALL {
        let card = Terminal::of(model);
        assert_eq!(card.verify(b"123456"), Some(Status::OK));
        assert!(card.card.pin_is_verified());
        assert_eq!(card.tries(), Status::OK);
    }
}

#[test]
fn a_wrong_pin_is_counted_and_a_right_one_gives_all_tries_back() {
    let card = Terminal::of(Model::YubiKey5);
    assert_eq!(card.verify(WRONG), Some(Status(0x63c2)));
    assert_eq!(card.tries(), Status(0x63c2));
    assert_eq!(card.card.pin_tries(), 2);
    assert_eq!(card.verify(PIN), Some(Status::OK));
    assert_eq!(card.card.pin_tries(), 3);
}

#[test]
fn asking_for_the_tries_costs_none() {
    let card = Terminal::of(Model::YubiKey4);
    for _ in 0..5 {
        assert_eq!(card.tries(), Status(0x63c3));
    }
}

#[test]
fn a_wrong_pin_takes_back_what_was_verified() {
    let card = Terminal::of(Model::YubiKey5);
    assert_eq!(card.verify(PIN), Some(Status::OK));
    assert_eq!(card.verify(WRONG), Some(Status(0x63c2)));
    assert!(!card.card.pin_is_verified());
}

#[test]
fn a_blocked_pin_is_not_even_compared() {
    let card = Terminal::of(Model::YubiKey57);
    for left in [2, 1, 0] {
        assert_eq!(card.verify(WRONG), Some(Status::tries_left(left)));
    }
    assert_eq!(
        card.verify(PIN),
        Some(Status::AUTHENTICATION_METHOD_BLOCKED)
    );
    assert_eq!(card.tries(), Status::AUTHENTICATION_METHOD_BLOCKED);
    assert!(!card.card.pin_is_verified());
}

#[test]
fn the_last_wrong_pin_is_none_left_to_a_yubikey_and_blocked_to_a_plain_card() {
    for model in Model::ALL {
        let card = Terminal::of(model);
        let words = [0; 4].map(|_| card.verify(WRONG).unwrap().0);
        let third = if model.is_generic() { 0x6983 } else { 0x63c0 };
        assert_eq!(words, [0x63c2, 0x63c1, third, 0x6983]);
    }
}

#[test]
fn what_was_verified_can_be_taken_back() {
    for model in Model::ALL {
        let card = Terminal::of(model);
        assert_eq!(card.verify(PIN), Some(Status::OK));
        assert_eq!(card.status(0x20, 0xff, 0x80, &[]), Status::OK);
        assert_eq!(card.tries(), Status(0x63c3));
    }
}

#[test]
fn a_pin_of_another_length_is_no_try() {
    let card = Terminal::of(Model::YubiKey5);
    for pin in [&b"123456"[..], b"123456789"] {
        assert_eq!(card.status(0x20, 0, 0x80, pin), Status::WRONG_DATA);
    }
    assert_eq!(card.card.pin_tries(), 3);
}

#[test]
fn eight_bytes_of_anything_are_a_try_to_a_yubikey_and_none_to_a_plain_card() {
    let card = Terminal::of(Model::YubiKey5);
    assert_eq!(card.verify(&[]), Some(Status(0x63c2)));
    let plain = Terminal::of(Model::Generic);
    for pin in [
        &[0xff; 8][..],
        b"12345\xff\xff\xff",
        b"12345a\xff\xff",
        b"123\xff456\xff",
    ] {
        assert_eq!(plain.status(0x20, 0, 0x80, pin), Status::WRONG_DATA);
    }
    assert_eq!(plain.card.pin_tries(), 3);
}

#[test]
fn only_the_pin_of_piv_can_be_verified() {
    let card = Terminal::of(Model::Generic);
    for reference in [0x00, 0x81, 0x96] {
        assert_eq!(
            card.status(0x20, 0, reference, PIN),
            Status::REFERENCE_NOT_FOUND
        );
    }
}

#[test]
fn whoever_knows_the_pin_changes_it_and_has_verified_it() {
    let card = Terminal::of(Model::YubiKey57);
    let new = b"654321\xff\xff";
    let change = [PIN, new].concat();
    assert_eq!(card.status(0x24, 0, 0x80, &change), Status::OK);
    assert!(card.card.pin_is(b"654321"));
    assert!(card.card.pin_is_verified());
    assert_eq!(card.status(0x24, 0, 0x80, &change), Status(0x63c2));
    assert!(!card.card.pin_is_verified());
    assert!(card.card.pin_is(b"654321"));
}

#[test]
fn a_pin_that_is_too_short_or_has_a_gap_is_not_taken() {
    let card = Terminal::of(Model::YubiKey5);
    for new in [
        b"12345\xff\xff\xff",
        b"123\xff4567",
        b"\xff\xff\xff\xff\xff\xff\xff\xff",
    ] {
        let change = [PIN, new].concat();
        assert_eq!(card.status(0x24, 0, 0x80, &change), Status::WRONG_DATA);
    }
    assert!(card.card.pin_is(b"123456"));
    assert_eq!(card.card.pin_tries(), 3);
}

#[test]
fn the_puk_unblocks_the_pin_and_verifies_nothing() {
    let card = Terminal::of(Model::YubiKey4);
    card.block_pin();
    let unblock = [PUK, b"777777\xff\xff"].concat();
    assert_eq!(card.status(0x2c, 0, 0x80, &unblock), Status::OK);
    assert!(card.card.pin_is(b"777777"));
    assert_eq!(card.card.pin_tries(), 3);
    assert!(!card.card.pin_is_verified());
}

#[test]
fn a_wrong_puk_takes_back_the_pin_and_a_right_one_leaves_it_as_it_was() {
    for model in Model::ALL {
        let card = Terminal::of(model);
        let right = [PUK, PIN].concat();
        assert_eq!(card.verify(PIN), Some(Status::OK));
        assert_eq!(card.status(0x2c, 0, 0x80, &right), Status::OK);
        assert!(card.card.pin_is_verified());
        let wrong = [WRONG, PIN].concat();
        assert_eq!(card.status(0x2c, 0, 0x80, &wrong), Status(0x63c2));
        assert!(!card.card.pin_is_verified());
    }
}

#[test]
fn what_is_blocked_is_said_to_be_before_anything_else() {
    for model in Model::ALL {
        let card = Terminal::of(model);
        card.block_pin();
        card.block_puk();
        let blocked = Status::AUTHENTICATION_METHOD_BLOCKED;
        let malformed = [[0xff; 8], [0xff; 8]].concat();
        assert_eq!(card.status(0x20, 0, 0x80, b"123"), blocked);
        assert_eq!(card.status(0x24, 0, 0x80, &malformed), blocked);
        assert_eq!(card.status(0x24, 0, 0x81, &malformed), blocked);
        assert_eq!(card.status(0x2c, 0, 0x80, &malformed), blocked);
    }
}

#[test]
fn a_wrong_puk_is_counted_however_it_is_used() {
    let card = Terminal::of(Model::YubiKey5);
    let wrong = [WRONG, WRONG].concat();
    assert_eq!(card.status(0x2c, 0, 0x80, &wrong), Status(0x63c2));
    assert_eq!(card.status(0x24, 0, 0x81, &wrong), Status(0x63c1));
    assert_eq!(card.card.puk_tries(), 1);
    let change = [PUK, b"87654321"].concat();
    assert_eq!(card.status(0x24, 0, 0x81, &change), Status::OK);
    assert!(card.card.puk_is(b"87654321"));
    assert_eq!(card.card.puk_tries(), 3);
}

#[test]
fn the_number_of_tries_is_set_by_whoever_knows_pin_and_management_key() {
    let card = Terminal::of(Model::YubiKey5);
    assert_eq!(
        card.status(0xfa, 5, 6, &[]),
        Status::SECURITY_STATUS_NOT_SATISFIED
    );
    assert_eq!(card.manage(), Some(Status::OK));
    assert_eq!(
        card.status(0xfa, 5, 6, &[]),
        Status::SECURITY_STATUS_NOT_SATISFIED
    );
    let change = [PIN, b"654321\xff\xff"].concat();
    assert_eq!(card.status(0x24, 0, 0x80, &change), Status::OK);
    assert_eq!(card.status(0xfa, 5, 6, &[]), Status::OK);
    assert_eq!((card.card.pin_tries(), card.card.puk_tries()), (5, 6));
    assert!(card.card.pin_is(b"123456"), "it is that of the factory");
    assert_eq!(card.metadata(0x80, 0x06), [5, 5]);
}

#[test]
fn more_tries_than_a_status_word_can_say_are_said_as_fifteen() {
    let card = Terminal::managed(Model::YubiKey5);
    assert_eq!(card.verify(PIN), Some(Status::OK));
    assert_eq!(card.status(0xfa, 255, 3, &[]), Status::OK);
    assert_eq!(card.tries(), Status(0x63cf));
    assert_eq!(card.metadata(0x80, 0x06), [255, 255]);
}

#[test]
fn a_reset_wants_both_pin_and_puk_blocked() {
    for model in YUBIKEYS {
        let card = Terminal::managed(model);
        card.generate(0x9a, P256, 0, 0);
        assert_eq!(card.put(0x5f_c105, b"certificate"), Status::OK);
        let refused = Status::CONDITIONS_NOT_SATISFIED;
        assert_eq!(card.status(0xfb, 0, 0, &[]), refused);
        card.block_pin();
        assert_eq!(card.status(0xfb, 0, 0, &[]), refused);
        card.block_puk();
        assert_eq!(card.status(0xfb, 0, 0, &[]), Status::OK);
        assert_eq!((card.card.pin_tries(), card.card.puk_tries()), (3, 3));
        assert_eq!(card.verify(PIN), Some(Status::OK));
        assert!(card.card.slots().is_empty());
        assert_eq!(card.get(0x5f_c105).1, Status::NOT_FOUND);
        assert!(!card.card.is_managed());
        assert_eq!(card.get(0x5f_ff01).1, Status::OK, "the card still attests");
    }
}

#[test]
fn firmware_5_7_takes_a_puk_of_seven_bit_characters() {
    let change = [PUK, b"puk\xe4puk\xff"].concat();
    let card = Terminal::of(Model::YubiKey57);
    assert_eq!(card.status(0x24, 0, 0x81, &change), Status::WRONG_DATA);
    assert!(card.card.puk_is(PUK));
    let card = Terminal::of(Model::YubiKey5);
    assert_eq!(card.status(0x24, 0, 0x81, &change), Status::OK);
    assert!(card.card.puk_is(b"puk\xe4puk"));
}
