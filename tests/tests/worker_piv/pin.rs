use keyward_backend::message::ChangePin;
use keyward_protocol::SecretBytes;
use keyward_tests::piv::pins_sent_to;

use super::*;

#[test]
fn two_hundred_uses_take_one_login_and_one_verification_each() {
    let mut rig = Rig::new(Model::YubiKey57);
    let key = rig.key();
    let before = rig.token.pins_sent();
    for _ in 0..200 {
        rig.sign(&key).unwrap();
    }
    assert_eq!(rig.token.pins_sent() - before, 200);
    rig.assert_sound();
}

#[test]
fn a_pin_is_verified_again_for_a_key_that_always_wants_it() {
    let mut rig = Rig::new(Model::YubiKey57);
    let choice = PivChoice {
        slot: Some(0x9c),
        ..PivChoice::default()
    };
    let key = rig.make(KeyType::P256, Some(choice)).unwrap();
    assert!(
        key.report
            .locator
            .ends_with("slot=9c;pin-policy=always;touch-policy=never")
    );
    for _ in 0..3 {
        rig.sign(&key).unwrap();
    }
    rig.assert_sound();
}

#[test]
fn no_pin_is_sent_for_a_key_that_wants_none() {
    let mut rig = Rig::new(Model::YubiKey57);
    let choice = PivChoice {
        slot: Some(0x9e),
        ..PivChoice::default()
    };
    let key = rig.make(KeyType::P256, Some(choice)).unwrap();
    let before = rig.token.pins_sent();
    rig.sign(&key).unwrap();
    rig.worker.call(Work::Logout);
    rig.sign(&key).unwrap();
    assert_eq!(rig.token.pins_sent(), before);
}

#[test]
fn a_wrong_pin_is_never_sent_twice() {
    let mut rig = Rig::new(Model::YubiKey57);
    rig.worker.call(Work::Logout);
    for _ in 0..3 {
        let refused = rig.worker.login("654321");
        assert_eq!(refused.map(|_| ()), Err(BackendError::PinIncorrect));
    }
    assert_eq!(rig.token.card().pin_tries(), 2);
    assert!(rig.worker.login(PIV_PIN).unwrap().logged_in);
    assert_eq!(rig.token.card().pin_tries(), 3);
}

#[test]
fn a_wrong_old_pin_is_not_sent_again_to_change_it() {
    let mut rig = Rig::new(Model::YubiKey57);
    let mut change = || {
        rig.worker.call(Work::ChangePin(ChangePin {
            old: SecretBytes::copy_from(b"654321"),
            new: SecretBytes::copy_from(b"24681357"),
        }))
    };
    for _ in 0..3 {
        let wrong = change();
        assert_eq!(wrong, Outcome::Failed(BackendError::PinIncorrect));
    }
    assert_eq!(rig.token.card().pin_tries(), 2);
}

#[test]
fn a_pin_that_can_be_none_costs_no_try() {
    let mut rig = Rig::new(Model::YubiKey57);
    rig.worker.call(Work::Logout);
    let sent = rig.token.pins_sent();
    let refused = rig.worker.login("123456789");
    assert!(
        matches!(refused, Err(BackendError::Invalid(_))),
        "{refused:?}"
    );
    assert_eq!(rig.token.pins_sent(), sent);
}

#[test]
fn a_pin_that_was_changed_elsewhere_costs_one_try_and_no_second() {
    let mut rig = Rig::new(Model::YubiKey57);
    let key = rig.key();
    let changed = rig
        .token
        .rig()
        .command("yubico-piv-tool")
        .args(["-a", "change-pin", "-P", PIV_PIN, "-N", "87654321"])
        .output()
        .unwrap();
    assert!(changed.status.success());
    for _ in 0..3 {
        assert_eq!(rig.sign(&key), Err(BackendError::LoginRequired));
    }
    assert_eq!(rig.token.card().pin_tries(), 2);
    let again = rig.worker.login(PIV_PIN);
    assert_eq!(again.map(|_| ()), Err(BackendError::PinIncorrect));
    assert_eq!(rig.token.card().pin_tries(), 2);
    rig.worker.login("87654321").unwrap();
    rig.sign(&key).unwrap();
}

#[test]
fn the_last_try_is_not_a_uses_to_spend() {
    let mut rig = Rig::new(Model::YubiKey57);
    let key = rig.key();
    for _ in 0..2 {
        let wrong = rig
            .token
            .rig()
            .command("yubico-piv-tool")
            .args(["-a", "verify-pin", "-P", "000000"])
            .output()
            .unwrap();
        assert!(!wrong.status.success());
    }
    assert_eq!(rig.token.card().pin_tries(), 1);
    let sent = rig.token.pins_sent();
    assert_eq!(rig.sign(&key), Err(BackendError::LoginRequired));
    assert_eq!(rig.token.pins_sent(), sent);
    // A person may, once it was said that it is the last.
    let unasked = rig.worker.login(PIV_PIN).map(|_| ());
    assert_eq!(unasked, Err(BackendError::LastTry));
    assert_eq!(rig.token.pins_sent(), sent);
    rig.worker.open().unwrap();
    rig.worker.login(PIV_PIN).unwrap();
    rig.sign(&key).unwrap();
}

#[test]
fn a_login_ends_when_its_time_is_over() {
    let mut rig = Rig::with(PivToken::new(Model::YubiKey57, SERIAL), Some(2));
    let key = rig.key();
    rig.wait_for_change();
    assert_eq!(rig.sign(&key), Err(BackendError::LoginRequired));
    let report = rig.worker.open().unwrap();
    assert!(report.login_required && !report.logged_in);
    assert!(pins_sent_to(rig.token.card()) > 0);
}
