//! What a worker does when its token, its module or its agent does wrong.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]

mod attributes;
mod devices;
mod login;
mod process;
mod which_token;

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
