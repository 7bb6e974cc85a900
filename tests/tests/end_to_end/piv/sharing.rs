//! Others use the card, too.

use keyward_client::protocol::ErrorCode;
use keyward_tests::{piv::Share, request::refused};

use super::*;

#[test]
fn another_program_gets_the_card_for_itself_right_after_a_use() {
    let daemon = typed("");
    daemon.create_signer("k");
    let mut other = daemon.card(CARD).other_program();
    for _ in 0..5 {
        sign_once(&daemon, "k").expect("a signature");
        let used = Instant::now();
        // pcscd lets nobody have it for itself while anybody else has a handle.
        other.connect(Share::Exclusive).expect("the card is free");
        assert!(used.elapsed() < SOON, "{:?}", used.elapsed());
        other.disconnect().expect("it was connected");
    }
    assert_sound(&daemon, CARD);
}

#[test]
fn a_card_that_another_program_holds_is_waited_for_then_said_to_be_held_and_used_again() {
    let daemon = typed("");
    daemon.create_signer("k");
    let mut other = daemon.card(CARD).other_program();
    other.connect(Share::Exclusive).expect("the card is free");
    let failure = refused(sign_once(&daemon, "k"));
    assert_eq!(failure.code, ErrorCode::TokenAbsent, "{failure}");
    for word in ["scdaemon", "pcsc-shared", "gpgconf --kill scdaemon"] {
        assert!(failure.message.contains(word), "{failure}");
    }
    other.disconnect().expect("it was connected");
    sign_once(&daemon, "k").expect("a signature, and no PIN was asked for");
    // A short hold is not noticed.
    other.connect(Share::Exclusive).expect("the card is free");
    let asking = asking(&daemon, "k");
    assert!(wait_for(|| daemon.token(CARD).pending == 1, PATIENCE));
    other.disconnect().expect("it was connected");
    asking.join().expect("a thread").expect("a signature");
    assert_sound(&daemon, CARD);
}

#[test]
fn another_program_that_holds_a_handle_finds_nothing_verified() {
    let daemon = typed("");
    daemon.create_signer("k");
    let mut other = daemon.card(CARD).other_program();
    other.connect(Share::Shared).expect("the card is there");
    for _ in 0..5 {
        sign_once(&daemon, "k").expect("a signature");
        assert!(!daemon.card(CARD).card().pin_is_verified());
    }
    other.disconnect().expect("it was connected");
    assert_sound(&daemon, CARD);
}
