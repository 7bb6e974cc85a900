//! The fault module does what it says: each fault on a real SoftHSM token, in a process of its own.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]
use std::{
    env, fs,
    os::unix::process::ExitStatusExt,
    path::PathBuf,
    process::{Child, Output},
    time::Duration,
};

use cryptoki::{
    context::{CInitializeArgs, CInitializeFlags, Pkcs11},
    error::{Error, RvError},
    mechanism::{Mechanism, MechanismType},
    object::{Attribute, AttributeType, ObjectHandle},
    session::{Session, UserType},
    slot::Slot,
    types::AuthPin,
};
use keyward_tests::{Fault, FaultModule, SoftHsm, child, wait_for};

const LIMIT: Duration = Duration::from_secs(60);
const SIGABRT: i32 = 6;

const CKR_GENERAL_ERROR: u64 = 0x5;
const CKR_DEVICE_ERROR: u64 = 0x30;
const CKR_PIN_INCORRECT: u64 = 0xa0;
const CKM_ECDSA: u64 = 0x1041;
const CKA_SENSITIVE: u64 = 0x103;
const CKA_EXTRACTABLE: u64 = 0x162;
const CKF_USER_PIN_FINAL_TRY: u64 = 0x20000;

#[test]
fn without_faults_a_call_reaches_the_real_module_and_is_counted() {
    if child::is("without_faults_a_call_reaches_the_real_module_and_is_counted") {
        let rig = Rig::logged_in();
        let signature = rig.sign().unwrap();
        return assert!(rig.verifies(&signature));
    }
    let parent = Parent::new(&[]);
    parent.passes("without_faults_a_call_reaches_the_real_module_and_is_counted");
    // The query for the length, which cryptoki makes first, is no call.
    for call in [
        "C_Initialize",
        "C_OpenSession",
        "C_Login",
        "C_SignInit",
        "C_Sign",
        "C_GenerateKeyPair",
    ] {
        assert_eq!(parent.faults.calls(call), 1, "{call}");
    }
    assert_eq!(parent.faults.calls("C_Decrypt"), 0);
}

#[test]
fn a_call_hangs_until_its_fault_is_cleared() {
    if child::is("a_call_hangs_until_its_fault_is_cleared") {
        assert!(Rig::logged_in().sign().is_ok());
        return;
    }
    let parent = Parent::new(&[("C_Sign", Fault::Hang)]);
    let mut child = parent.start("a_call_hangs_until_its_fault_is_cleared");
    assert!(wait_for(|| parent.faults.calls("C_Sign") == 1, LIMIT));
    assert!(
        child.try_wait().unwrap().is_none(),
        "it ended in spite of the fault"
    );
    parent.faults.clear("C_Sign");
    child::assert_passed(&child.wait_with_output().unwrap());
}

#[test]
fn a_crash_happens_once_and_its_call_is_counted() {
    if child::is("a_crash_happens_once_and_its_call_is_counted") {
        assert!(Rig::logged_in().sign().is_ok());
        return;
    }
    let parent = Parent::new(&[("C_Sign", Fault::Crash)]);
    let crashed = parent.output("a_crash_happens_once_and_its_call_is_counted");
    assert_eq!(crashed.status.signal(), Some(SIGABRT));
    parent.passes("a_crash_happens_once_and_its_call_is_counted");
    assert_eq!(parent.faults.calls("C_Sign"), 2);
}

#[test]
fn a_crash_that_stays_happens_each_time() {
    if child::is("a_crash_that_stays_happens_each_time") {
        let _ = Rig::logged_in();
        return;
    }
    let parent = Parent::new(&[("C_Login", Fault::CrashAlways)]);
    for _ in 0..2 {
        assert_eq!(
            parent
                .output("a_crash_that_stays_happens_each_time")
                .status
                .signal(),
            Some(SIGABRT)
        );
    }
}

#[test]
fn an_error_stays_until_it_is_cleared() {
    if child::is("an_error_stays_until_it_is_cleared") {
        let rig = Rig::logged_in();
        assert_eq!(rv(rig.sign()), RvError::DeviceError);
        assert_eq!(rv(rig.sign()), RvError::DeviceError);
        return;
    }
    Parent::new(&[("C_SignInit", Fault::Error(CKR_DEVICE_ERROR))])
        .passes("an_error_stays_until_it_is_cleared");
}

#[test]
fn an_error_set_for_once_comes_once() {
    if child::is("an_error_set_for_once_comes_once") {
        let rig = Rig::new();
        assert_eq!(rv(rig.log_in()), RvError::PinIncorrect);
        rig.log_in().unwrap();
        return;
    }
    Parent::new(&[("C_Login", Fault::ErrorOnce(CKR_PIN_INCORRECT))])
        .passes("an_error_set_for_once_comes_once");
}

#[test]
fn initialize_and_finalize_can_fail() {
    if child::is("initialize_and_finalize_can_fail") {
        let pkcs11 = load();
        assert_eq!(rv(pkcs11.initialize(arguments())), RvError::GeneralError);
        pkcs11.initialize(arguments()).unwrap();
        assert_eq!(rv(pkcs11.finalize()), RvError::DeviceError);
        return;
    }
    let faults = [
        ("C_Initialize", Fault::ErrorOnce(CKR_GENERAL_ERROR)),
        ("C_Finalize", Fault::Error(CKR_DEVICE_ERROR)),
    ];
    Parent::new(&faults).passes("initialize_and_finalize_can_fail");
}

#[test]
fn a_garbled_signature_is_wrong_and_a_short_one_shorter() {
    if child::is("a_garbled_signature_is_wrong_and_a_short_one_shorter") {
        let rig = Rig::logged_in();
        let signature = rig.sign().unwrap();
        assert!(!rig.verifies(&signature));
        fs::remove_file(control("C_Sign.garble")).unwrap();
        fs::write(control("C_Sign.short"), "").unwrap();
        assert_eq!(rig.sign().unwrap().len(), signature.len() - 1);
        return;
    }
    Parent::new(&[("C_Sign", Fault::Garble)])
        .passes("a_garbled_signature_is_wrong_and_a_short_one_shorter");
}

#[test]
fn sessions_beyond_the_limit_are_refused_until_one_is_closed() {
    if child::is("sessions_beyond_the_limit_are_refused_until_one_is_closed") {
        let rig = Rig::new();
        let second = rig.pkcs11.open_ro_session(rig.slot).unwrap();
        assert_eq!(
            rv(rig.pkcs11.open_ro_session(rig.slot)),
            RvError::SessionCount
        );
        second.close().unwrap();
        rig.pkcs11.open_ro_session(rig.slot).unwrap();
        return;
    }
    Parent::new(&[("C_OpenSession", Fault::Limit(2))])
        .passes("sessions_beyond_the_limit_are_refused_until_one_is_closed");
}

#[test]
fn a_token_can_show_another_serial_number_and_more_flags() {
    if child::is("a_token_can_show_another_serial_number_and_more_flags") {
        let rig = Rig::new();
        let info = rig.pkcs11.get_token_info(rig.slot).unwrap();
        assert_eq!(info.serial_number(), "0123456789abcdef");
        assert!(info.user_pin_final_try());
        assert!(info.token_initialized());
        return;
    }
    let faults = [
        ("C_GetTokenInfo", Fault::Serial("0123456789abcdef")),
        ("C_GetTokenInfo", Fault::Flags(CKF_USER_PIN_FINAL_TRY)),
    ];
    Parent::new(&faults).passes("a_token_can_show_another_serial_number_and_more_flags");
}

#[test]
fn a_hidden_mechanism_is_neither_listed_nor_described() {
    if child::is("a_hidden_mechanism_is_neither_listed_nor_described") {
        let rig = Rig::new();
        let list = rig.pkcs11.get_mechanism_list(rig.slot).unwrap();
        assert!(!list.contains(&MechanismType::ECDSA) && list.contains(&MechanismType::RSA_PKCS));
        assert_eq!(
            rv(rig
                .pkcs11
                .get_mechanism_info(rig.slot, MechanismType::ECDSA)),
            RvError::MechanismInvalid
        );
        rig.pkcs11
            .get_mechanism_info(rig.slot, MechanismType::RSA_PKCS)
            .unwrap();
        return;
    }
    Parent::new(&[("C_GetMechanismList", Fault::Hide(vec![CKM_ECDSA]))])
        .passes("a_hidden_mechanism_is_neither_listed_nor_described");
}

#[test]
fn attributes_can_be_hidden_and_replaced() {
    if child::is("attributes_can_be_hidden_and_replaced") {
        let rig = Rig::logged_in();
        let (_, private) = rig.keys();
        let wanted = [
            AttributeType::Sensitive,
            AttributeType::Extractable,
            AttributeType::Sign,
        ];
        let found = rig.session.get_attributes(private, &wanted).unwrap();
        assert_eq!(found, [Attribute::Extractable(true), Attribute::Sign(true)]);
        return;
    }
    let faults = [
        ("C_GetAttributeValue", Fault::Hide(vec![CKA_SENSITIVE])),
        (
            "C_GetAttributeValue",
            Fault::Replace(vec![(CKA_EXTRACTABLE, vec![1])]),
        ),
    ];
    Parent::new(&faults).passes("attributes_can_be_hidden_and_replaced");
}

#[test]
fn a_probe_reports_what_it_was_allowed_and_a_free_exec_replaces_the_process() {
    const NAME: &str = "a_probe_reports_what_it_was_allowed_and_a_free_exec_replaces_the_process";
    if child::is(NAME) {
        load().initialize(arguments()).unwrap();
        unreachable!("an unsealed process is replaced by /bin/true");
    }
    let parent = Parent::new(&[(
        "C_Initialize",
        Fault::Probe(vec!["/etc/hostname".into(), "/nowhere".into()]),
    )]);
    let output = parent.output(NAME);
    assert!(
        output.status.success() && !String::from_utf8_lossy(&output.stdout).contains("passed"),
        "{output:?}"
    );
    assert_eq!(parent.faults.probed("C_Initialize"), None);
    let report = fs::read_to_string(parent.faults.dir().join("C_Initialize.probe.txt")).unwrap();
    assert!(report.starts_with("open /etc/hostname=ok\n"), "{report}");
    assert!(
        report.contains("open /nowhere=ENOENT\nwrite /nowhere=ENOENT\n"),
        "{report}"
    );
    assert!(
        report.ends_with("socket inet=ok\nsocket unix=ok\n"),
        "{report}"
    );
}

#[test]
fn without_its_environment_the_module_refuses_to_load() {
    if child::is("without_its_environment_the_module_refuses_to_load") {
        let library = env::var_os("TEST_LIBRARY").unwrap();
        assert_eq!(rv(Pkcs11::new(library)), RvError::GeneralError);
        return;
    }
    let parent = Parent::new(&[]);
    let mut command = child::command("without_its_environment_the_module_refuses_to_load");
    let output = command
        .env("TEST_LIBRARY", parent.faults.library())
        .output()
        .unwrap();
    child::assert_passed(&output);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(
        stderr.contains("the environment variable KEYWARD_FAULT_MODULE is not set"),
        "{stderr}"
    );
}

#[test]
#[should_panic(expected = "C_Verify can't have Hang")]
fn a_fault_for_a_call_that_never_fails_is_a_mistake() {
    Parent::new(&[("C_Verify", Fault::Hang)]);
}

#[test]
#[should_panic(expected = "C_Login can't have Garble")]
fn a_fault_that_the_call_does_not_know_is_a_mistake() {
    Parent::new(&[("C_Login", Fault::Garble)]);
}

/// A token, and a fault module in front of it.
struct Parent {
    hsm: SoftHsm,
    faults: FaultModule,
}

impl Parent {
    #[track_caller]
    fn new(faults: &[(&str, Fault)]) -> Self {
        let hsm = SoftHsm::new();
        let module = FaultModule::new(&hsm);
        faults
            .iter()
            .for_each(|(call, fault)| module.set(call, fault));
        Self {
            hsm,
            faults: module,
        }
    }

    fn start(&self, test: &str) -> Child {
        let mut command = child::command(test);
        command
            .envs(self.hsm.environment())
            .envs(self.faults.environment());
        command
            .env("TEST_LIBRARY", self.faults.library())
            .env("TEST_PIN", self.hsm.pin());
        command.spawn().unwrap()
    }

    fn output(&self, test: &str) -> Output {
        self.start(test).wait_with_output().unwrap()
    }

    #[track_caller]
    fn passes(&self, test: &str) {
        child::assert_passed(&self.output(test));
    }
}

/// The token as the child sees it.
struct Rig {
    session: Session,
    slot: Slot,
    pkcs11: Pkcs11,
}

impl Rig {
    fn new() -> Self {
        let pkcs11 = load();
        pkcs11.initialize(arguments()).unwrap();
        let slot = pkcs11.get_slots_with_initialized_token().unwrap()[0];
        Self {
            session: pkcs11.open_rw_session(slot).unwrap(),
            slot,
            pkcs11,
        }
    }

    fn logged_in() -> Self {
        let rig = Self::new();
        rig.log_in().unwrap();
        rig
    }

    fn log_in(&self) -> Result<(), Error> {
        self.session.login(
            UserType::User,
            Some(&AuthPin::new(env::var("TEST_PIN").unwrap().into())),
        )
    }

    /// A P-256 key pair: the one of the session, or a new one.
    fn keys(&self) -> (ObjectHandle, ObjectHandle) {
        let find = |class| {
            self.session
                .find_objects(&[Attribute::Class(class)])
                .unwrap()
                .first()
                .copied()
        };
        let found = (
            find(cryptoki::object::ObjectClass::PUBLIC_KEY),
            find(cryptoki::object::ObjectClass::PRIVATE_KEY),
        );
        if let (Some(public), Some(private)) = found {
            return (public, private);
        }
        let p256 = vec![0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
        let public = [Attribute::EcParams(p256), Attribute::Verify(true)];
        let private = [
            Attribute::Sign(true),
            Attribute::Sensitive(true),
            Attribute::Extractable(false),
        ];
        self.session
            .generate_key_pair(&Mechanism::EccKeyPairGen, &public, &private)
            .unwrap()
    }

    fn sign(&self) -> Result<Vec<u8>, Error> {
        self.session
            .sign(&Mechanism::Ecdsa, self.keys().1, &[7; 32])
    }

    fn verifies(&self, signature: &[u8]) -> bool {
        self.session
            .verify(&Mechanism::Ecdsa, self.keys().0, &[7; 32], signature)
            .is_ok()
    }
}

fn load() -> Pkcs11 {
    Pkcs11::new(env::var_os("TEST_LIBRARY").unwrap()).unwrap()
}

fn arguments() -> CInitializeArgs {
    CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)
}

fn control(name: &str) -> PathBuf {
    PathBuf::from(env::var_os("KEYWARD_FAULT_DIR").unwrap()).join(name)
}

/// The CKR code of a call that must fail.
#[track_caller]
fn rv<T>(result: Result<T, Error>) -> RvError {
    match result {
        Err(Error::Pkcs11(rv, _)) => rv,
        Err(error) => panic!("not a CKR code: {error}"),
        Ok(_) => panic!("it succeeded"),
    }
}
