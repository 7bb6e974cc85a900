//! Which token.

use super::*;

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
