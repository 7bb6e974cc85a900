use super::*;

#[test]
fn a_card_that_was_away_wants_its_pin_again() {
    let mut rig = Rig::new(Model::YubiKey57);
    let key = rig.key();
    rig.token.remove();
    rig.wait_for_change();
    assert!(matches!(
        rig.worker.open(),
        Err(BackendError::TokenAbsent(_))
    ));
    rig.token.put_back();
    rig.wait_for_change();
    assert!(!rig.worker.open().unwrap().logged_in);
    assert_eq!(rig.sign(&key), Err(BackendError::LoginRequired));
    rig.worker.login(PIV_PIN).unwrap();
    rig.sign(&key).unwrap();
    rig.assert_sound();
}

#[test]
fn what_was_read_of_a_card_that_was_away_is_not_believed() {
    let mut rig = Rig::new(Model::YubiKey5);
    let key = rig.key();
    rig.sign(&key).unwrap();
    rig.token.remove();
    rig.wait_for_change();
    rig.token.put_back();
    rig.wait_for_change();
    slots::yubico(&rig.token, &["-a", "generate", "-s", "82", "-A", "ECCP256"]);
    rig.worker.open().unwrap();
    rig.worker.login(PIV_PIN).unwrap();
    assert!(matches!(rig.sign(&key), Err(BackendError::KeyChanged(_))));
    rig.assert_sound();
}

#[test]
fn an_absent_card_is_named_by_its_serial_number() {
    let mut rig = Rig::new(Model::YubiKey57);
    let key = rig.key();
    rig.token.remove();
    let absent = rig.sign(&key);
    assert!(
        matches!(&absent, Err(BackendError::TokenAbsent(why)) if why.contains("12345678")),
        "{absent:?}"
    );
}

#[test]
fn another_card_in_its_place_gets_no_pin() {
    let mut rig = Rig::new(Model::YubiKey57);
    let key = rig.key();
    let other = rig.token.replace();
    let changed = rig.sign(&key);
    assert!(
        matches!(changed, Err(BackendError::TokenChanged(_))),
        "{changed:?}"
    );
    assert_eq!(keyward_tests::piv::pins_sent_to(&other), 0);
    rig.token.put_back();
    assert_eq!(rig.sign(&key), Err(BackendError::LoginRequired));
}

#[test]
fn a_card_comes_back_after_pcscd_was_started_again() {
    let mut rig = Rig::new(Model::YubiKey57);
    let key = rig.key();
    rig.token.rig().kill();
    rig.wait_for_change();
    let absent = rig.sign(&key);
    assert!(
        matches!(absent, Err(BackendError::TokenAbsent(_))),
        "{absent:?}"
    );
    rig.token.rig().restart();
    rig.wait_for_change();
    let opened = keyward_tests::wait_for_some(|| rig.worker.open().ok(), keyward_tests::PATIENCE);
    // What happened to the card meanwhile is not known.
    assert!(!opened.unwrap().logged_in);
    rig.worker.login(PIV_PIN).unwrap();
    rig.sign(&key).unwrap();
    rig.assert_sound();
}

#[test]
fn of_two_cards_the_configured_one_is_used() {
    let token = PivToken::with_readers(Model::YubiKey57, SERIAL, 2);
    let other = keyward_virtual_piv::Card::new(Model::YubiKey57, SERIAL + 1);
    token.rig().insert(1, &other);
    let mut undecided = Worker::start_piv(&token);
    let several = undecided.open();
    assert!(
        matches!(&several, Err(BackendError::TokenAbsent(why))
            if why.contains("12345678") && why.contains("12345679")),
        "{several:?}"
    );
    let start = start_of_piv(Some(SERIAL + 1), None);
    let mut decided = Worker::start_piv_with(&token, &start);
    assert_eq!(decided.open().unwrap().identity.serial, "12345679");
    decided.login(PIV_PIN).unwrap();
    let (id, report) = decided.generate(KeyType::P256, Purpose::Sign).unwrap();
    assert!(report.locator.starts_with("piv:serial=12345679;"));
    decided.sign(id, Algorithm::Esp256, MESSAGE).unwrap();
    token.rig().remove(1);
    // The other one is somebody else's, and no reason for alarm.
    let absent = decided.sign(id, Algorithm::Esp256, MESSAGE);
    assert!(
        matches!(absent, Err(BackendError::TokenAbsent(_))),
        "{absent:?}"
    );
    assert_eq!(keyward_tests::piv::pins_sent_to(token.card()), 0);
}

#[test]
fn a_card_that_nobody_can_tell_from_others_is_not_in_the_way() {
    let token = PivToken::with_readers(Model::YubiKey57, SERIAL, 2);
    // A PIV card without the object that its identity is in.
    let other = keyward_virtual_piv::Card::new(Model::Generic, SERIAL + 1);
    other.answer(0xcb, vec![0x6a, 0x82]);
    token.rig().insert(1, &other);
    let mut worker = Worker::start_piv(&token);
    assert_eq!(worker.open().unwrap().identity.serial, SERIAL.to_string());
    worker.login(PIV_PIN).unwrap();
    let (id, _) = worker.generate(KeyType::P256, Purpose::Sign).unwrap();
    token.remove();
    other.answer(0xcb, vec![0x6a, 0x82]);
    let absent = worker.sign(id, Algorithm::Esp256, MESSAGE);
    assert!(
        matches!(absent, Err(BackendError::TokenAbsent(_))),
        "{absent:?}"
    );
    assert_eq!(keyward_tests::piv::pins_sent_to(&other), 0);
}
