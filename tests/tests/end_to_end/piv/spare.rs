//! A key on two cards: where one is pulled, the other serves.

use keyward_client::protocol::{
    ErrorCode,
    operation::{Ecdh, GetPublicKey},
};
use keyward_tests::{piv::Share, request::refused};

use super::*;

/// VERIFY: before the private key is used. GENERAL AUTHENTICATE: the use.
const VERIFY: u8 = 0x20;
const USE: u8 = 0x87;

#[track_caller]
fn two_cards() -> Daemon {
    let setup = Setup::new()
        .token(TokenSetup::piv("a"))
        .token(TokenSetup::piv("b"));
    let daemon = Daemon::start(setup);
    for token in ["a", "b"] {
        daemon.wait_for_token(token, LoginState::Unlocked);
    }
    daemon
}

fn uses(daemon: &Daemon, token: &str) -> u64 {
    daemon.card(token).card().count(USE)
}

/// Puts the first card back.
#[track_caller]
fn put_back(daemon: &Daemon) {
    daemon.card("a").insert();
    daemon.wait_for_token("a", LoginState::Unlocked);
}

#[test]
fn a_card_that_is_pulled_between_uses_or_before_its_key_is_used_is_replaced_by_the_spare() {
    let daemon = two_cards();
    let key = import(&daemon, "k", Purpose::Sign, &["a", "b"]);
    assert_eq!(key.versions[0].placements.len(), 2);
    // Both have proved that they have it.
    let proved = uses(&daemon, "b");
    sign_once(&daemon, "k").expect("from the first");
    assert_eq!(uses(&daemon, "b"), proved, "the first serves");
    let signed = |served: u64| {
        let made = sign_once(&daemon, "k").expect("from the spare");
        assert_eq!(uses(&daemon, "b") - proved, served);
        made
    };
    daemon.card("a").remove();
    daemon.wait_for_token("a", LoginState::Absent);
    signed(1);
    put_back(&daemon);
    // Not seen yet by anybody.
    daemon.card("a").pull();
    signed(2);
    put_back(&daemon);
    daemon.card("a").card().pull_at(VERIFY);
    let before = uses(&daemon, "a");
    let made = signed(3);
    assert_eq!(uses(&daemon, "a"), before, "the first has done nothing");
    let public = daemon.public_file("k");
    let raw = keyward_client::key_format::ecdsa_to_der(&made.signature).expect("a signature");
    openssl::verify_ecdsa(&public, "sha256", b"message", &raw).expect("a good one");
    let records = daemon.audit();
    let last = records
        .iter()
        .rfind(|r| r["op"] == "sign")
        .expect("a record");
    assert_eq!(last["token"], "b");
    assert!(last["detail"].as_str().is_some_and(|d| d.contains("on a")));
}

#[test]
fn a_card_that_another_program_holds_is_replaced_by_the_spare() {
    let daemon = two_cards();
    import(&daemon, "k", Purpose::Sign, &["a", "b"]);
    let proved = uses(&daemon, "b");
    let mut other = daemon.card("a").other_program();
    other.connect(Share::Exclusive).expect("the card is free");
    sign_once(&daemon, "k").expect("from the spare");
    assert_eq!(uses(&daemon, "b") - proved, 1);
    other.disconnect().expect("it was connected");
}

#[test]
fn a_signature_that_a_card_may_have_made_is_not_made_again() {
    let daemon = two_cards();
    import(&daemon, "k", Purpose::Sign, &["a", "b"]);
    let proved = uses(&daemon, "b");
    daemon.card("a").card().pull_after(USE);
    let failure = refused(sign_once(&daemon, "k"));
    assert_eq!(failure.code, ErrorCode::TokenFailed, "{failure}");
    assert!(failure.message.contains("not known"), "{failure}");
    assert_eq!(uses(&daemon, "b"), proved);
    // The next one is another matter.
    daemon.wait_for_token("a", LoginState::Absent);
    sign_once(&daemon, "k").expect("from the spare");
    assert_eq!(daemon.token("a").restarts, 0, "{}", daemon.stderr());
}

#[test]
fn an_agreement_that_a_card_may_have_made_is_made_by_the_spare() {
    let daemon = two_cards();
    import(&daemon, "k", Purpose::Agree, &["a", "b"]);
    let public = GetPublicKey {
        key: "k".to_owned(),
        version: None,
    };
    let peer = daemon.client().call(public).expect("a key").cose_key;
    let agree = || {
        let agreed = daemon.client().call(Ecdh {
            key: "k".to_owned(),
            peer: peer.clone(),
            kdf: None,
            version: None,
        });
        agreed.expect("an agreement").secret
    };
    let proved = uses(&daemon, "b");
    let right = agree();
    assert_eq!(uses(&daemon, "b"), proved);
    for nth in [1, 2] {
        match nth {
            1 => daemon.card("a").card().pull_at(USE),
            _ => daemon.card("a").card().pull_after(USE),
        }
        assert_eq!(agree(), right);
        assert_eq!(uses(&daemon, "b") - proved, nth);
        put_back(&daemon);
    }
    for token in ["a", "b"] {
        assert_sound(&daemon, token);
    }
}
