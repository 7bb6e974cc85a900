//! Login.

use super::*;

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
