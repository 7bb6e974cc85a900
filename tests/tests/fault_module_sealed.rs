//! In a sealed process the fault module still works, and its probe proves the seal.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::{
    env,
    path::PathBuf,
    process::{Command, Stdio},
    time::Duration,
};

use cryptoki::{
    context::{CInitializeArgs, CInitializeFlags, Pkcs11},
    error::{Error, RvError},
    session::UserType,
    types::AuthPin,
};
use keyward_sys::sandbox::{self, Requirement, Role, Sandbox, Sockets};
use keyward_tests::{Fault, FaultModule, SoftHsm, wait_for};

const LIMIT: Duration = Duration::from_secs(60);
const CKR_DEVICE_ERROR: u64 = 0x30;

fn main() {
    if env::var_os("TEST_SEALED").is_some() {
        sealed();
    } else {
        in_a_sealed_process_faults_work_and_a_probe_is_refused();
        println!("test in_a_sealed_process_faults_work_and_a_probe_is_refused ... ok");
    }
}

fn in_a_sealed_process_faults_work_and_a_probe_is_refused() {
    let hsm = SoftHsm::new();
    let faults = FaultModule::new(&hsm);
    faults.set("C_Initialize", &Fault::Probe(vec!["/etc/hostname".into()]));
    faults.set("C_Login", &Fault::Hang);
    faults.set("C_GenerateRandom", &Fault::ErrorOnce(CKR_DEVICE_ERROR));
    let mut child = Command::new(env::current_exe().unwrap())
        .envs(hsm.environment())
        .envs(faults.environment())
        .env("TEST_SEALED", "")
        .env("TEST_LIBRARY", faults.library())
        .env("TEST_PIN", hsm.pin())
        .env("TEST_TOKENS", hsm.token_dir())
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    let hangs = || faults.calls("C_Login") == 1;
    assert!(wait_for(
        || hangs() || child.try_wait().unwrap().is_some(),
        LIMIT
    ));
    faults.clear("C_Login");
    assert!(child.wait().unwrap().success());

    let probed = faults.probed("C_Initialize").unwrap();
    assert_eq!(probed.len(), 5);
    assert!(probed.values().all(|result| result != "ok"), "{probed:?}");
    assert_eq!(faults.calls("C_GenerateRandom"), 2);
}

/// The child: seals itself as a worker does, then uses the token.
fn sealed() {
    let variable = |name| PathBuf::from(env::var_os(name).unwrap());
    let library = variable("TEST_LIBRARY");
    let sandbox = Sandbox {
        read: vec![
            library.parent().unwrap().to_owned(),
            "/usr/lib".into(),
            "/etc/ld.so.cache".into(),
            "/etc/ssl".into(),
            variable("SOFTHSM2_CONF"),
        ],
        write: vec![variable("TEST_TOKENS"), variable("KEYWARD_FAULT_DIR")],
        remove: vec![],
        sockets: Sockets::None,
        role: Role::Worker,
    };
    sandbox::seal(&sandbox, Requirement::Enforce).unwrap();

    let pkcs11 = Pkcs11::new(library).unwrap();
    pkcs11
        .initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK))
        .unwrap();
    let slot = pkcs11.get_slots_with_initialized_token().unwrap()[0];
    let session = pkcs11.open_rw_session(slot).unwrap();
    let pin = AuthPin::new(env::var("TEST_PIN").unwrap().into());
    session.login(UserType::User, Some(&pin)).unwrap();
    let refused = session.generate_random_vec(16).unwrap_err();
    assert!(
        matches!(refused, Error::Pkcs11(RvError::DeviceError, _)),
        "{refused}"
    );
    session.generate_random_vec(16).unwrap();
}
