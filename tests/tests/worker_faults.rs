//! What a worker does when its token, its module or its agent does wrong.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]

use std::{
    fs,
    os::{linux::fs::MetadataExt, unix::fs::PermissionsExt},
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use keyward_backend::{
    BackendError, TokenIdentity,
    message::{Call, Credential, Derive, Outcome, Sign, SourceIdentity, Unwrap, Work},
    start::Hardware,
    token::PinTries,
};
use keyward_protocol::{Algorithm, KeyType, Purpose, SecretBytes, operation::SignInput};
use keyward_tests::{Fault, FaultModule, SoftHsm, Worker, wait_for, worker};

const LIMIT: Duration = Duration::from_secs(60);
const MESSAGE: &[u8] = b"message";

const CKR_GENERAL_ERROR: u64 = 0x5;
const CKR_DEVICE_ERROR: u64 = 0x30;
const CKR_DEVICE_REMOVED: u64 = 0x32;
const CKR_KEY_HANDLE_INVALID: u64 = 0x60;
const CKR_MECHANISM_PARAM_INVALID: u64 = 0x71;
const CKR_PIN_INCORRECT: u64 = 0xa0;
const CKR_PIN_LOCKED: u64 = 0xa4;
const CKR_SESSION_HANDLE_INVALID: u64 = 0xb3;
const CKR_USER_ALREADY_LOGGED_IN: u64 = 0x100;
const CKR_CRYPTOKI_NOT_INITIALIZED: u64 = 0x190;
const CKM_RSA_X_509: u64 = 0x3;
const CKM_ECDSA: u64 = 0x1041;
const CKM_RSA_PKCS_PSS: u64 = 0xd;
const CKA_SENSITIVE: u64 = 0x103;
const CKA_SIGN: u64 = 0x108;
const CKA_DECRYPT: u64 = 0x105;
const CKA_EXTRACTABLE: u64 = 0x162;
const CKA_NEVER_EXTRACTABLE: u64 = 0x164;
const CKA_ALWAYS_AUTHENTICATE: u64 = 0x202;
const CKF_USER_PIN_COUNT_LOW: u64 = 0x1_0000;
const CKF_USER_PIN_FINAL_TRY: u64 = 0x2_0000;
const CKF_USER_PIN_LOCKED: u64 = 0x4_0000;

struct Rig {
    worker: Worker,
    faults: FaultModule,
    hsm: SoftHsm,
}

impl Rig {
    fn new() -> Self {
        let hsm = SoftHsm::new();
        let faults = FaultModule::new(&hsm);
        let worker = Worker::start(&hsm, Some(&faults));
        Self {
            worker,
            faults,
            hsm,
        }
    }

    fn ready() -> Self {
        let mut rig = Self::new();
        rig.worker.open().unwrap();
        rig.worker.login(rig.hsm.pin()).unwrap();
        rig
    }
}

// Login

#[test]
fn a_wrong_pin_is_refused_and_sent_once() {
    let mut rig = Rig::new();
    rig.worker.open().unwrap();
    assert_eq!(
        rig.worker.login("00000000"),
        Err(BackendError::PinIncorrect)
    );
    assert_eq!(rig.faults.calls("C_Login"), 1);
    assert!(rig.worker.login(rig.hsm.pin()).unwrap().logged_in);
}

#[test]
fn being_logged_in_already_is_success() {
    let mut rig = Rig::ready();
    assert!(rig.worker.login(rig.hsm.pin()).is_ok());
    rig.faults
        .set("C_Login", &Fault::Error(CKR_USER_ALREADY_LOGGED_IN));
    assert!(rig.worker.login(rig.hsm.pin()).is_ok());
    assert!(rig.worker.open().unwrap().logged_in);
}

#[test]
fn after_a_logout_a_login_is_needed() {
    let mut rig = Rig::ready();
    let (id, _) = rig.worker.generate(KeyType::P256, Purpose::Sign).unwrap();
    assert!(rig.worker.sign(id, Algorithm::Esp256, MESSAGE).is_ok());
    for _ in 0..2 {
        assert_eq!(rig.worker.call(Work::Logout), Outcome::Done);
    }
    for _ in 0..8 {
        let refused = rig.worker.sign(id, Algorithm::Esp256, MESSAGE);
        assert_eq!(refused, Err(BackendError::LoginRequired));
    }
    for work in [Work::Inspect(id), Work::Destroy(id)] {
        assert_eq!(
            rig.worker.call(work),
            Outcome::Failed(BackendError::LoginRequired)
        );
    }
    rig.worker.login(rig.hsm.pin()).unwrap();
    assert!(rig.worker.sign(id, Algorithm::Esp256, MESSAGE).is_ok());
}

#[test]
fn what_the_token_says_about_tries_is_reported() {
    let mut rig = Rig::new();
    assert_eq!(rig.worker.open().unwrap().pin_tries, PinTries::Unknown);
    for (flag, tries) in [
        (CKF_USER_PIN_COUNT_LOW, PinTries::Low),
        (CKF_USER_PIN_FINAL_TRY, PinTries::Final),
        (CKF_USER_PIN_LOCKED, PinTries::Blocked),
    ] {
        rig.faults.set("C_GetTokenInfo", &Fault::Flags(flag));
        assert_eq!(rig.worker.open().unwrap().pin_tries, tries);
    }
    assert_eq!(
        rig.worker.login(rig.hsm.pin()),
        Err(BackendError::PinBlocked)
    );
    assert_eq!(rig.faults.calls("C_Login"), 0);
    rig.faults.clear("C_GetTokenInfo");
    for (code, error) in [
        (CKR_PIN_LOCKED, BackendError::PinBlocked),
        (CKR_PIN_INCORRECT, BackendError::PinIncorrect),
    ] {
        rig.faults.set("C_Login", &Fault::ErrorOnce(code));
        assert_eq!(rig.worker.login(rig.hsm.pin()), Err(error));
    }
}

#[test]
fn no_pin_goes_to_a_token_that_came_in_the_place_of_the_right_one() {
    let mut rig = Rig::new();
    let report = rig.worker.open().unwrap();
    rig.faults.set("C_GetTokenInfo", &Fault::Serial("another"));
    let refused = rig.worker.login(rig.hsm.pin());
    assert!(
        matches!(refused, Err(BackendError::TokenChanged(_))),
        "{refused:?}"
    );
    let open = Work::Open {
        pinned: Some(report.identity.clone()),
    };
    let outcome = rig.worker.call(open);
    let Outcome::Failed(BackendError::TokenChanged(text)) = outcome else {
        panic!("{outcome:?}")
    };
    assert!(text.contains("another") && text.contains(&report.identity.serial));
    assert_eq!(rig.faults.calls("C_Login"), 0);
    rig.faults.clear("C_GetTokenInfo");
    assert!(rig.worker.login(rig.hsm.pin()).is_ok());
}

#[test]
fn a_token_that_is_not_the_pinned_one_is_refused_at_first_sight() {
    let mut rig = Rig::new();
    let pinned = TokenIdentity {
        manufacturer: "SoftHSM project".to_owned(),
        model: "SoftHSM v2".to_owned(),
        serial: "0000000000000000".to_owned(),
    };
    let outcome = rig.worker.call(Work::Open {
        pinned: Some(pinned),
    });
    assert!(
        matches!(outcome, Outcome::Failed(BackendError::TokenChanged(_))),
        "{outcome:?}"
    );
    assert!(matches!(
        rig.worker.login(rig.hsm.pin()),
        Err(BackendError::TokenAbsent(_))
    ));
    assert_eq!(rig.faults.calls("C_Login"), 0);
}

#[test]
fn a_pin_comes_from_the_file_that_the_agent_saw() {
    let hsm = SoftHsm::new();
    let file = hsm.dir().join("pin");
    fs::write(&file, format!("{}\n", hsm.pin())).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    let mut start = worker::start_of(&hsm, None);
    start.pin_file = Some(file.to_str().unwrap().to_owned());
    let mut worker = Worker::start_with(&hsm, None, &start);
    worker.open().unwrap();
    let seen = source_of(&file);
    let other = SourceIdentity {
        inode: seen.inode + 1,
        ..seen
    };
    let refused = worker.call(Work::Login(Credential::File(other)));
    assert!(
        matches!(refused, Outcome::Failed(BackendError::PinSource(_))),
        "{refused:?}"
    );
    let token = worker.call(Work::Login(Credential::File(seen)));
    assert!(matches!(token, Outcome::Token(_)), "{token:?}");
}

#[test]
fn a_remembered_pin_is_sent_until_it_is_wrong_or_logged_out() {
    let hsm = SoftHsm::new();
    let mut start = worker::start_of(&hsm, None);
    start.remembered_pin = Some(SecretBytes::copy_from(hsm.pin().as_bytes()));
    let mut worker = Worker::start_with(&hsm, None, &start);
    worker.open().unwrap();
    let token = worker.call(Work::Login(Credential::Remembered));
    assert!(matches!(token, Outcome::Token(_)), "{token:?}");
    assert_eq!(worker.call(Work::Logout), Outcome::Done);
    let refused = worker.call(Work::Login(Credential::Remembered));
    assert!(
        matches!(refused, Outcome::Failed(BackendError::PinSource(_))),
        "{refused:?}"
    );
}

// Which token

#[test]
fn an_absent_token_is_named_with_those_that_are_there() {
    let hsm = SoftHsm::new();
    let mut start = worker::start_of(&hsm, None);
    let Hardware::Pkcs11 { uri, .. } = &mut start.hardware else {
        panic!()
    };
    *uri = "pkcs11:token=other".to_owned();
    let mut worker = Worker::start_with(&hsm, None, &start);
    let refused = worker.open();
    let Err(BackendError::TokenAbsent(text)) = refused else {
        panic!("{refused:?}")
    };
    assert!(text.contains(hsm.label()), "{text}");
}

#[test]
fn a_uri_that_fits_two_tokens_fits_none() {
    let hsm = SoftHsm::new();
    hsm.add_token(hsm.label(), hsm.pin());
    let mut worker = Worker::start(&hsm, None);
    let refused = worker.open();
    let Err(BackendError::TokenAbsent(text)) = refused else {
        panic!("{refused:?}")
    };
    assert!(text.contains("serial="), "{text}");
}

#[test]
fn a_module_that_is_not_there_is_the_answer_to_every_call() {
    let hsm = SoftHsm::new();
    let mut start = worker::start_of(&hsm, None);
    let Hardware::Pkcs11 { module, .. } = &mut start.hardware else {
        panic!()
    };
    *module = "/usr/lib/no-such-module.so".to_owned();
    let mut worker = Worker::start_with(&hsm, None, &start);
    for _ in 0..2 {
        let refused = worker.open();
        let Err(BackendError::DeviceFailed(text)) = refused else {
            panic!("{refused:?}")
        };
        assert!(text.contains("/usr/lib/no-such-module.so"), "{text}");
    }
    worker.hang_up();
    assert!(worker.ended().success());
}

#[test]
fn a_wrong_uri_or_sandbox_is_the_answer_to_every_call() {
    let hsm = SoftHsm::new();
    let mut start = worker::start_of(&hsm, None);
    let Hardware::Pkcs11 { uri, .. } = &mut start.hardware else {
        panic!()
    };
    *uri = "pkcs11:token=a?pin-value=1234".to_owned();
    let refused = Worker::start_with(&hsm, None, &start).open();
    let Err(BackendError::DeviceFailed(text)) = refused else {
        panic!("{refused:?}")
    };
    assert!(
        text.contains("pin-value") && !text.contains("1234"),
        "{text}"
    );

    let mut start = worker::start_of(&hsm, None);
    start.sandbox.write.push("/no/such/folder".to_owned());
    let refused = Worker::start_with(&hsm, None, &start).open();
    let Err(BackendError::DeviceFailed(text)) = refused else {
        panic!("{refused:?}")
    };
    assert!(text.contains("/no/such/folder"), "{text}");
}

#[test]
fn what_the_token_lacks_is_not_promised() {
    let mut rig = Rig::new();
    rig.faults.set(
        "C_GetMechanismList",
        &Fault::Hide(vec![CKM_ECDSA, CKM_RSA_PKCS_PSS]),
    );
    let report = rig.worker.open().unwrap();
    assert!(!report.algorithms.contains(&Algorithm::Esp256));
    assert!(!report.algorithms.contains(&Algorithm::Ps256));
    assert!(report.algorithms.contains(&Algorithm::Rs256));
}

// Attributes

#[test]
fn a_key_with_a_wrong_attribute_is_destroyed() {
    let mut rig = Rig::ready();
    for (attribute, value) in [
        (CKA_SENSITIVE, 0),
        (CKA_EXTRACTABLE, 1),
        (CKA_SIGN, 0),
        (CKA_DECRYPT, 1),
        (CKA_ALWAYS_AUTHENTICATE, 1),
    ] {
        let before = rig.faults.calls("C_DestroyObject");
        rig.faults.set(
            "C_GetAttributeValue",
            &Fault::Replace(vec![(attribute, vec![value])]),
        );
        let refused = rig.worker.generate(KeyType::P256, Purpose::Sign);
        assert!(
            matches!(refused, Err(BackendError::KeyUnsafe(_))),
            "{attribute:#x}: {refused:?}"
        );
        assert_eq!(rig.faults.calls("C_DestroyObject") - before, 2);
        rig.faults.clear("C_GetAttributeValue");
    }
}

#[test]
fn attributes_that_a_token_does_not_know_are_tolerated_one_by_one() {
    let mut rig = Rig::ready();
    let unknown = vec![CKA_ALWAYS_AUTHENTICATE, CKA_DECRYPT, CKA_NEVER_EXTRACTABLE];
    rig.faults.set("C_GetAttributeValue", &Fault::Hide(unknown));
    let (id, report) = rig.worker.generate(KeyType::P256, Purpose::Sign).unwrap();
    assert!(report.local && report.always_sensitive && !report.never_extractable);
    assert!(rig.worker.sign(id, Algorithm::Esp256, MESSAGE).is_ok());
    rig.faults
        .set("C_GetAttributeValue", &Fault::Hide(vec![CKA_SENSITIVE]));
    let refused = rig.worker.generate(KeyType::P256, Purpose::Sign);
    assert!(
        matches!(refused, Err(BackendError::KeyUnsafe(_))),
        "{refused:?}"
    );
}

#[test]
fn a_key_that_wants_its_pin_each_time_is_refused_with_the_reason() {
    let mut rig = Rig::ready();
    let (id, _) = rig.worker.generate(KeyType::P256, Purpose::Sign).unwrap();
    let always = Fault::Replace(vec![(CKA_ALWAYS_AUTHENTICATE, vec![1])]);
    rig.faults.set("C_GetAttributeValue", &always);
    let refused = rig.worker.sign(id, Algorithm::Esp256, MESSAGE);
    let Err(BackendError::MechanismInvalid(text)) = refused else {
        panic!("{refused:?}")
    };
    assert!(text.contains("CKA_ALWAYS_AUTHENTICATE"));
}

// Sessions and devices

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
    // One look-up a thread: the private object and the public one.
    let searches = rig.faults.calls("C_FindObjectsInit");
    assert!(searches <= 4 * 2 + 2, "{searches} searches");
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
        peer: report.public,
    }));
    assert!(
        matches!(outcome, Outcome::Secret(ref secret) if secret.len() == 32),
        "{outcome:?}"
    );
    assert_eq!(rig.faults.calls("C_DeriveKey"), 2);
}

// The process

#[test]
fn inside_the_worker_the_module_reaches_only_what_is_listed() {
    let hsm = SoftHsm::new();
    let faults = FaultModule::new(&hsm);
    let secret = hsm.dir().join("secret");
    fs::write(&secret, "not for the module").unwrap();
    let probe = Fault::Probe(vec![secret.clone(), "/etc/passwd".into(), hsm.conf()]);
    for call in ["C_Initialize", "C_GenerateRandom"] {
        faults.set(call, &probe);
    }
    let mut worker = Worker::ready(&hsm, Some(&faults));
    assert!(matches!(worker.call(Work::Random(1)), Outcome::Secret(_)));
    // At once when it is loaded, and in a thread that serves.
    for call in ["C_Initialize", "C_GenerateRandom"] {
        let probed = faults.probed(call).unwrap();
        let result = |what: String| probed[&what].as_str();
        assert_eq!(result(format!("open {}", secret.display())), "EACCES");
        assert_eq!(result("open /etc/passwd".to_owned()), "EACCES");
        assert_eq!(result(format!("open {}", hsm.conf().display())), "ok");
        assert_eq!(result(format!("write {}", hsm.conf().display())), "EACCES");
        for what in ["socket inet", "socket unix", "execve"] {
            assert_eq!(result(what.to_owned()), "EPERM", "{what}");
        }
    }
    let report = worker.open().unwrap();
    assert!(
        report
            .protections
            .iter()
            .any(|p| p.name == "files" && p.holds)
    );
    assert!(
        report
            .protections
            .iter()
            .any(|p| p.name == "system calls" && p.holds)
    );
}

#[test]
fn the_end_of_the_connection_ends_the_worker_and_finalizes_the_module_once() {
    let mut rig = Rig::ready();
    rig.worker.hang_up();
    assert!(rig.worker.ended().success());
    assert_eq!(rig.faults.calls("C_Finalize"), 1);
}

#[test]
fn a_module_that_hangs_does_not_keep_the_worker_alive() {
    let mut rig = Rig::ready();
    let (id, _) = rig.worker.generate(KeyType::P256, Purpose::Sign).unwrap();
    rig.faults.set("C_Sign", &Fault::Hang);
    rig.worker.send(sign(id));
    assert!(wait_for(|| rig.faults.calls("C_Sign") == 1, LIMIT));
    rig.worker.hang_up();
    assert!(rig.worker.ended().success());
    assert_eq!(rig.faults.calls("C_Finalize"), 0);
}

#[test]
fn a_hanging_call_delays_no_other() {
    let mut rig = Rig::ready();
    let (id, _) = rig.worker.generate(KeyType::P256, Purpose::Sign).unwrap();
    rig.faults.set("C_Sign", &Fault::Hang);
    let hanging = rig.worker.send(sign(id));
    assert!(wait_for(|| rig.faults.calls("C_Sign") == 1, LIMIT));
    for _ in 0..8 {
        assert!(matches!(
            rig.worker.call(Work::Random(8)),
            Outcome::Secret(_)
        ));
    }
    rig.faults.clear("C_Sign");
    assert!(matches!(
        rig.worker.receive(hanging),
        Some(Outcome::Signature(_))
    ));
}

#[test]
fn a_crash_of_the_module_is_the_end_of_the_worker_only() {
    let mut rig = Rig::ready();
    let (id, _) = rig.worker.generate(KeyType::P256, Purpose::Sign).unwrap();
    rig.faults.set("C_Sign", &Fault::Crash);
    let call = rig.worker.send(sign(id));
    assert_eq!(rig.worker.receive(call), None);
    assert!(!rig.worker.ended().success());
    let mut worker = Worker::ready(&rig.hsm, Some(&rig.faults));
    assert!(worker.sign(id, Algorithm::Esp256, MESSAGE).is_ok());
}

#[test]
fn a_packet_that_is_no_call_ends_the_worker() {
    let whole = minicbor::to_vec(Call {
        id: 1,
        work: Work::Random(1),
    })
    .unwrap();
    let longer = [whole.as_slice(), &[0]].concat();
    for packet in [&[0xff][..], &whole[..whole.len() - 1], &longer] {
        let hsm = SoftHsm::new();
        let mut worker = Worker::start(&hsm, None);
        worker.open().unwrap();
        worker.send_bytes(packet);
        assert_eq!(worker.ended().code(), Some(1));
    }
}

#[test]
fn the_program_says_what_it_is_and_what_it_is_not() {
    let run = |arguments: &[&str]| {
        Command::new(worker::program())
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .unwrap()
    };
    let help = run(&["--help"]);
    assert!(help.status.success() && help.stdout.starts_with(b"keyward-worker: "));
    let version = run(&["--version"]);
    assert!(version.status.success() && version.stdout.starts_with(b"keyward-worker 0."));
    for arguments in [&["tpm", "x"][..], &[], &["pkcs11"], &["pkcs11", "test"]] {
        let refused = run(arguments);
        assert_eq!(refused.status.code(), Some(2), "{arguments:?}");
        let text = String::from_utf8(refused.stderr).unwrap();
        assert!(
            text.contains("error: ") && text.contains("hint: "),
            "{text}"
        );
    }
}

fn sign(id: keyward_backend::VersionId) -> Work {
    Work::Sign(Sign {
        id,
        algorithm: Algorithm::Esp256,
        input: SignInput::Message(MESSAGE.to_vec()),
    })
}

fn source_of(path: &Path) -> SourceIdentity {
    let stat = fs::metadata(path).unwrap();
    let nanoseconds = |seconds: i64, rest: i64| seconds * 1_000_000_000 + rest;
    SourceIdentity {
        device: stat.st_dev(),
        inode: stat.st_ino(),
        size: stat.st_size(),
        modified: nanoseconds(stat.st_mtime(), stat.st_mtime_nsec()),
        changed: nanoseconds(stat.st_ctime(), stat.st_ctime_nsec()),
    }
}
