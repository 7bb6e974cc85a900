use keyward_backend::message::Attest;

use super::*;

/// Of a use behind another application's: SELECT, GET SERIAL, VERIFY, GET METADATA, GET DATA, GENERAL AUTHENTICATE.
const OF_A_USE: [u8; 6] = [0xa4, 0xf8, 0x20, 0xf7, 0xcb, 0x87];
/// Asked once for each insertion.
const GET_VERSION: u8 = 0xfd;
const GENERAL_AUTHENTICATE: u8 = 0x87;

#[test]
fn a_card_that_is_pulled_at_any_command_gives_a_typed_error_and_comes_back() {
    let mut rig = Rig::new(Model::YubiKey57);
    let key = rig.key();
    for instruction in OF_A_USE {
        for after in [false, true] {
            sharing::select_openpgp(&rig.token);
            match after {
                false => rig.token.card().pull_at(instruction),
                true => rig.token.card().pull_after(instruction),
            }
            // What is known is asked again: by the notes, nothing is.
            let _ = rig.worker.call(Work::Inspect(key.id));
            let pulled = rig.sign_by_note(&key);
            rig.token.put_back();
            let typed = match &pulled {
                Err(BackendError::Interrupted(_)) => instruction == GENERAL_AUTHENTICATE,
                Err(BackendError::TokenAbsent(_)) => true,
                // It was pulled while the key was inspected, and the next use is of another login.
                Err(BackendError::LoginRequired) => true,
                _ => false,
            };
            assert!(typed, "{instruction:02x} {after}: {pulled:?}");
            rig.worker.open().unwrap();
            rig.worker.login(PIV_PIN).unwrap();
            rig.sign(&key).unwrap();
            rig.assert_sound();
        }
    }
}

#[test]
fn a_card_is_asked_what_it_is_once_for_each_insertion_and_may_be_pulled_then() {
    let mut rig = Rig::new(Model::YubiKey57);
    let key = rig.key();
    let before = rig.token.card().count(GET_VERSION);
    for _ in 0..5 {
        rig.sign(&key).unwrap();
    }
    assert_eq!(rig.token.card().count(GET_VERSION), before);
    rig.token.remove();
    rig.token.card().pull_at(GET_VERSION);
    rig.token.put_back();
    let pulled = rig.worker.open();
    assert!(
        matches!(pulled, Err(BackendError::TokenAbsent(_))),
        "{pulled:?}"
    );
    rig.token.put_back();
    rig.worker.open().unwrap();
    rig.worker.login(PIV_PIN).unwrap();
    rig.sign(&key).unwrap();
    assert!(rig.token.card().count(GET_VERSION) > before);
    rig.assert_sound();
}

#[test]
fn a_card_that_answers_nonsense_gives_a_typed_error() {
    let mut rig = Rig::new(Model::YubiKey57);
    let key = rig.key();
    // Not an empty one: vpcd waits for more than that.
    let answers: [&[u8]; 7] = [
        b"\x90",
        b"\x90\x00",
        b"\x61\x00",
        b"\x7c\x82\xff\xff\x90\x00",
        b"\x7c\x02\x82\x00\x90\x00",
        b"\x53\x80\x90\x00",
        &[0xff; 256],
    ];
    for instruction in OF_A_USE {
        for answer in answers {
            rig.token.card().answer(instruction, answer.to_vec());
            let _ = rig.worker.call(Work::Inspect(key.id));
            rig.token.card().answer(instruction, answer.to_vec());
            let _ = rig.sign_by_note(&key);
            // A card may have been lost over it, and with it the login.
            let _ = rig.worker.open();
            let mut last = None;
            let back = keyward_tests::wait_for(
                || {
                    let login = rig.worker.login(PIV_PIN).map(|_| ());
                    last = login.and_then(|()| rig.sign(&key)).err();
                    last.is_none()
                },
                keyward_tests::PATIENCE,
            );
            assert!(back, "{instruction:02x} {answer:x?}: {last:?}");
        }
    }
    rig.assert_sound();
}

#[test]
fn a_key_is_attested_by_its_card() {
    let mut rig = Rig::new(Model::YubiKey57);
    let key = rig.key();
    let attest = Attest {
        id: key.id,
        qualifying_data: [7; 32].into(),
    };
    let Outcome::Attested(keyward_protocol::attestation::Statement::Piv(statement)) =
        rig.worker.call(Work::Attest(attest))
    else {
        panic!("no statement of a card");
    };
    let told = keyward_worker::piv::certificate::public_key(&statement.certificate).unwrap();
    assert_eq!(told, *key.public());
    assert_eq!(statement.chain.len(), 1);
}
