use keyward_backend::message::{ChangePin, ChangePuk, UnblockPin};
use keyward_protocol::SecretBytes;

use super::slots::yubico;
use super::*;

fn secret(text: &str) -> SecretBytes {
    SecretBytes::copy_from(text.as_bytes())
}

/// What is said to be the factory's.
fn warnings(outcome: &Outcome) -> String {
    let Outcome::Token(report) = outcome else {
        panic!("{outcome:?}");
    };
    report.warnings.join("; ")
}

#[test]
fn what_is_the_factorys_is_said_until_it_is_replaced() {
    let mut rig = Rig::new(Model::YubiKey57);
    let said = warnings(&rig.worker.call(Work::Open { pinned: None }));
    for (secret, command) in [
        ("its PIN ", "change-pin"),
        ("its PUK ", "change-puk"),
        ("its management key ", "new-management-key"),
    ] {
        assert!(said.contains(secret) && said.contains(command), "{said}");
    }
    let change = |old, new| ChangePin {
        old: secret(old),
        new: secret(new),
    };
    rig.worker
        .call(Work::ChangePin(change(PIV_PIN, "24681357")));
    rig.worker
        .call(Work::ChangePuk(change_puk("12345678", "13572468", false)));
    assert_eq!(warnings(&rig.worker.call(Work::NewManagementKey)), "");
    assert!(rig.token.card().puk_is(b"13572468") && rig.token.card().pin_is(b"24681357"));
    // Keys are still made, with the key that the PIN opens.
    let key = rig.key();
    rig.sign(&key).unwrap();
    rig.assert_sound();
}

fn change_puk(old: &str, new: &str, last_try: bool) -> ChangePuk {
    ChangePuk {
        old: secret(old),
        new: secret(new),
        last_try,
    }
}

#[test]
fn a_wrong_puk_is_counted_and_its_last_try_is_a_persons() {
    // An older card says how many tries are left only when it refuses one.
    for model in [Model::YubiKey57, Model::YubiKey4] {
        let mut rig = Rig::new(model);
        let mut wrong = |last_try| {
            let change = change_puk("00000000", "13572468", last_try);
            rig.worker.call(Work::ChangePuk(change))
        };
        for _ in 0..2 {
            assert_eq!(wrong(false), Outcome::Failed(BackendError::PinIncorrect));
        }
        assert_eq!(wrong(false), Outcome::Failed(BackendError::LastTry));
        assert_eq!(wrong(true), Outcome::Failed(BackendError::PinBlocked));
        assert_eq!(wrong(true), Outcome::Failed(BackendError::PinBlocked));
        assert!(rig.token.card().puk_is(b"12345678"));
        rig.assert_sound();
    }
}

#[test]
fn a_blocked_pin_is_given_a_new_value_by_the_puk() {
    let mut rig = Rig::new(Model::YubiKey57);
    let key = rig.key();
    rig.worker.call(Work::Logout);
    for wrong in ["000001", "000002", "000003"] {
        rig.worker.open().unwrap();
        assert!(rig.worker.login(wrong).is_err());
    }
    let blocked = rig.worker.login(PIV_PIN);
    assert_eq!(blocked.map(|_| ()), Err(BackendError::PinBlocked));
    let unblock = UnblockPin {
        puk: secret("12345678"),
        new: secret("222222"),
        last_try: false,
    };
    let unblocked = rig.worker.call(Work::UnblockPin(unblock));
    assert!(matches!(unblocked, Outcome::Token(_)), "{unblocked:?}");
    rig.worker.login("222222").unwrap();
    rig.sign(&key).unwrap();
}

#[test]
fn a_management_key_under_the_pin_is_where_yubicos_tools_keep_it() {
    for model in [Model::YubiKey5, Model::YubiKey57] {
        let mut rig = Rig::new(model);
        let renewed = rig.worker.call(Work::NewManagementKey);
        assert!(matches!(renewed, Outcome::Token(_)), "{renewed:?}");
        let admin = rig.token.card().object(0x5f_ff00).unwrap();
        assert_eq!(admin, [0x80, 3, 0x81, 1, 2]);
        let printed = rig.token.card().object(0x5f_c109).unwrap();
        assert_eq!(printed[..4], [0x88, 26, 0x89, 24]);
        // Again, with the one that is there now.
        let renewed = rig.worker.call(Work::NewManagementKey);
        assert!(matches!(renewed, Outcome::Token(_)), "{renewed:?}");
        assert_ne!(rig.token.card().object(0x5f_c109).unwrap(), printed);
        let key = rig.key();
        rig.sign(&key).unwrap();
        rig.assert_sound();
    }
}

#[test]
fn a_management_key_is_known_wherever_its_change_ends() {
    const PUT_DATA: u8 = 0xdb;
    const SET_MANAGEMENT_KEY: u8 = 0xff;
    for model in [Model::YubiKey5, Model::YubiKey57] {
        let mut rig = Rig::new(model);
        for renewed in [false, true] {
            if renewed {
                let done = rig.worker.call(Work::NewManagementKey);
                assert!(matches!(done, Outcome::Token(_)), "{done:?}");
            }
            for (instruction, after) in [
                (PUT_DATA, false),
                (PUT_DATA, true),
                (SET_MANAGEMENT_KEY, false),
                (SET_MANAGEMENT_KEY, true),
            ] {
                match after {
                    false => rig.token.card().pull_at(instruction),
                    true => rig.token.card().pull_after(instruction),
                }
                let pulled = rig.worker.call(Work::NewManagementKey);
                assert!(
                    matches!(pulled, Outcome::Failed(BackendError::Interrupted(_))),
                    "{instruction:02x} {after}: {pulled:?}"
                );
                rig.token.put_back();
                rig.worker.open().unwrap();
                rig.worker.login(PIV_PIN).unwrap();
                // Whichever is in force opens it.
                let key = rig.key();
                rig.sign(&key).unwrap();
                rig.worker.call(Work::Destroy(key.id));
                rig.assert_sound();
            }
        }
    }
}

#[test]
fn a_management_key_that_nobody_knows_is_said_to_be_wanted() {
    let mut rig = Rig::new(Model::YubiKey5);
    let new = "0f0e0d0c0b0a09080706050403020100f0e0d0c0b0a09080";
    yubico(&rig.token, &["-a", "set-mgm-key", "-n", new]);
    let refused = rig.make(KeyType::P256, None);
    assert!(
        matches!(&refused, Err(BackendError::Refused(why)) if why.contains("--protect")),
        "{refused:?}"
    );
    rig.assert_sound();
}

#[test]
fn a_reset_card_is_as_it_left_the_factory() {
    for model in [Model::YubiKey4, Model::YubiKey57] {
        let mut rig = Rig::new(model);
        let key = rig.key_in(0x82);
        rig.worker.call(Work::ChangePin(ChangePin {
            old: secret(PIV_PIN),
            new: secret("24681357"),
        }));
        let reset = rig.worker.call(Work::Reset);
        let Outcome::Token(report) = reset else {
            panic!("{reset:?}");
        };
        assert!(!report.logged_in);
        assert!(rig.token.card().slots().is_empty());
        assert_eq!(rig.sign(&key), Err(BackendError::KeyNotFound));
        rig.worker.login(PIV_PIN).unwrap();
        assert_eq!(rig.worker.call(Work::Inspect(key.id)), Outcome::Key(None));
        rig.key_in(0x82);
        rig.assert_sound();
    }
}
