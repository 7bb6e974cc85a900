//! Sessions and devices.

use super::*;

#[test]
fn few_sessions_are_enough_for_all_threads() {
    for limit in 1..=3 {
        let mut rig = Rig::new();
        rig.faults.set("C_OpenSession", &Fault::Limit(limit));
        rig.worker.open().unwrap();
        rig.worker.login(rig.hsm.pin()).unwrap();
        let (id, _) = rig.worker.generate(KeyType::P256, Purpose::Sign).unwrap();
        let calls: Vec<u64> = (0..16).map(|_| rig.worker.send(sign(id))).collect();
        for call in calls {
            let outcome = rig.worker.receive(call).unwrap();
            assert!(
                matches!(outcome, Outcome::Signature(_)),
                "{limit}: {outcome:?}"
            );
        }
    }
}

#[test]
fn a_token_without_any_session_is_busy() {
    let mut rig = Rig::new();
    rig.faults.set("C_OpenSession", &Fault::Limit(0));
    let refused = rig.worker.open();
    assert!(matches!(refused, Err(BackendError::Busy(_))), "{refused:?}");
    rig.faults.clear("C_OpenSession");
    assert!(rig.worker.open().is_ok());
}

#[test]
fn a_session_or_handle_that_has_died_is_had_anew_and_the_request_succeeds() {
    let mut rig = Rig::ready();
    let (id, _) = rig.worker.generate(KeyType::P256, Purpose::Sign).unwrap();
    for code in [CKR_SESSION_HANDLE_INVALID, CKR_KEY_HANDLE_INVALID] {
        for _ in 0..4 {
            assert!(rig.worker.sign(id, Algorithm::Esp256, MESSAGE).is_ok());
        }
        let searches = rig.faults.calls("C_FindObjectsInit");
        rig.faults.set("C_SignInit", &Fault::ErrorOnce(code));
        assert!(rig.worker.sign(id, Algorithm::Esp256, MESSAGE).is_ok());
        assert!(rig.faults.calls("C_FindObjectsInit") > searches);
    }
}

#[test]
fn after_a_device_error_keys_are_looked_up_again() {
    let mut rig = Rig::ready();
    let (id, _) = rig.worker.generate(KeyType::P256, Purpose::Sign).unwrap();
    for code in [
        CKR_DEVICE_ERROR,
        CKR_GENERAL_ERROR,
        CKR_CRYPTOKI_NOT_INITIALIZED,
    ] {
        assert!(rig.worker.sign(id, Algorithm::Esp256, MESSAGE).is_ok());
        rig.faults.set("C_Sign", &Fault::ErrorOnce(code));
        let refused = rig.worker.sign(id, Algorithm::Esp256, MESSAGE);
        assert!(
            matches!(refused, Err(BackendError::DeviceFailed(_))),
            "{refused:?}"
        );
        let searches = rig.faults.calls("C_FindObjectsInit");
        assert!(rig.worker.sign(id, Algorithm::Esp256, MESSAGE).is_ok());
        assert!(rig.faults.calls("C_FindObjectsInit") > searches);
    }
    rig.faults
        .set("C_Sign", &Fault::ErrorOnce(CKR_DEVICE_REMOVED));
    let refused = rig.worker.sign(id, Algorithm::Esp256, MESSAGE);
    assert!(
        matches!(refused, Err(BackendError::TokenAbsent(_))),
        "{refused:?}"
    );
    assert!(rig.worker.sign(id, Algorithm::Esp256, MESSAGE).is_ok());
}

#[test]
fn a_signature_is_looked_up_once_and_made_with_two_calls() {
    let mut rig = Rig::ready();
    let (id, _) = rig.worker.generate(KeyType::P256, Purpose::Sign).unwrap();
    let calls: Vec<u64> = (0..16).map(|_| rig.worker.send(sign(id))).collect();
    for call in calls {
        rig.worker.receive(call).unwrap();
    }
    // One look-up a thread, and those of making the key.
    let searches = rig.faults.calls("C_FindObjectsInit");
    assert!(searches <= 4 + 2, "{searches} searches");
    assert_eq!(rig.faults.calls("C_SignInit"), 16);
    assert_eq!(rig.faults.calls("C_Sign"), 16);
    assert_eq!(rig.faults.calls("C_Initialize"), 1);
}

#[test]
fn a_short_signature_is_no_signature() {
    let mut rig = Rig::ready();
    let (id, _) = rig.worker.generate(KeyType::P256, Purpose::Sign).unwrap();
    rig.faults.set("C_Sign", &Fault::Short);
    let refused = rig.worker.sign(id, Algorithm::Esp256, MESSAGE);
    assert!(
        matches!(refused, Err(BackendError::DeviceFailed(_))),
        "{refused:?}"
    );
}

#[test]
fn every_code_for_a_ciphertext_is_the_one_error() {
    let mut rig = Rig::ready();
    let (id, _) = rig
        .worker
        .generate(KeyType::Rsa2048, Purpose::Unwrap)
        .unwrap();
    for code in [0x5, 0x6, 0x7, 0x20, 0x21, 0x30, 0x40, 0x41, 0x8000_0001] {
        for algorithm in [Algorithm::RsaOaepSha256, Algorithm::RsaOaepSha1] {
            rig.faults.set("C_Decrypt", &Fault::ErrorOnce(code));
            let outcome = rig.worker.call(Work::Unwrap(Unwrap {
                id,
                algorithm,
                ciphertext: vec![0x17; 256].into(),
                label: vec![].into(),
            }));
            assert_eq!(
                outcome,
                Outcome::Failed(BackendError::UnwrapFailed),
                "{code:#x}"
            );
        }
    }
}

#[test]
fn without_raw_rsa_a_label_is_refused_and_not_ignored() {
    let mut rig = Rig::new();
    rig.faults
        .set("C_GetMechanismList", &Fault::Hide(vec![CKM_RSA_X_509]));
    rig.worker.open().unwrap();
    rig.worker.login(rig.hsm.pin()).unwrap();
    let (id, _) = rig
        .worker
        .generate(KeyType::Rsa2048, Purpose::Unwrap)
        .unwrap();
    let outcome = rig.worker.call(Work::Unwrap(Unwrap {
        id,
        algorithm: Algorithm::RsaOaepSha1,
        ciphertext: vec![0x17; 256].into(),
        label: b"label".to_vec().into(),
    }));
    assert!(
        matches!(outcome, Outcome::Failed(BackendError::MechanismInvalid(_))),
        "{outcome:?}"
    );
}

#[test]
fn a_token_that_wants_the_peers_point_in_der_gets_it_so() {
    let mut rig = Rig::ready();
    let (id, report) = rig.worker.generate(KeyType::P256, Purpose::Agree).unwrap();
    rig.faults.set(
        "C_DeriveKey",
        &Fault::ErrorOnce(CKR_MECHANISM_PARAM_INVALID),
    );
    let outcome = rig.worker.call(Work::Derive(Derive {
        id,
        peer: report.public.unwrap(),
    }));
    assert!(
        matches!(outcome, Outcome::Secret(ref secret) if secret.len() == 32),
        "{outcome:?}"
    );
    assert_eq!(rig.faults.calls("C_DeriveKey"), 2);
}
