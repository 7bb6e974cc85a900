//! The suite that every backend must pass, on PKCS#11: a real keyward-worker with SoftHSM.

#![allow(clippy::arithmetic_side_effects)]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use keyward_backend::conformance::Fixture;
use keyward_protocol::SecretBytes;
use keyward_tests::{Fault, FaultModule, RemoteBackend, SoftHsm, Worker, wait_for};

const CKR_DEVICE_REMOVED: u64 = 0x32;
const CKR_TOKEN_NOT_PRESENT: u64 = 0xe0;
/// What a token that is not there does not do.
const OF_THE_TOKEN: [&str; 8] = [
    "C_GetSessionInfo",
    "C_FindObjectsInit",
    "C_GetAttributeValue",
    "C_SignInit",
    "C_EncryptInit",
    "C_DecryptInit",
    "C_DeriveKey",
    "C_WrapKey",
];
/// What each use of a key calls one of.
const USES: [&str; 5] = [
    "C_SignInit",
    "C_EncryptInit",
    "C_DecryptInit",
    "C_DeriveKey",
    "C_WrapKey",
];

struct Pkcs11 {
    backend: RemoteBackend,
    faults: FaultModule,
    hsm: SoftHsm,
    /// How many uses there were when the token began to be slow.
    uses: AtomicUsize,
}

impl Pkcs11 {
    fn uses(&self) -> usize {
        USES.iter().map(|call| self.faults.calls(call)).sum()
    }
}

impl Fixture for Pkcs11 {
    type Backend = RemoteBackend;

    fn new() -> Self {
        let hsm = SoftHsm::new();
        let faults = FaultModule::new(&hsm);
        let backend = RemoteBackend::new(Worker::start(&hsm, Some(&faults)));
        Self {
            backend,
            faults,
            hsm,
            uses: AtomicUsize::new(0),
        }
    }

    fn backend(&self) -> &RemoteBackend {
        &self.backend
    }

    fn pin(&self) -> SecretBytes {
        SecretBytes::copy_from(self.hsm.pin().as_bytes())
    }

    fn pins_sent(&self) -> usize {
        self.faults.calls("C_Login") + self.faults.calls("C_SetPIN")
    }

    fn remove(&self) {
        self.faults
            .set("C_GetTokenInfo", &Fault::Error(CKR_TOKEN_NOT_PRESENT));
        for call in OF_THE_TOKEN {
            self.faults.set(call, &Fault::Error(CKR_DEVICE_REMOVED));
        }
    }

    fn replace(&self) {
        self.faults.set("C_GetTokenInfo", &Fault::Serial("other"));
    }

    fn put_back(&self) {
        self.faults.clear("C_GetTokenInfo");
        for call in OF_THE_TOKEN {
            self.faults.clear(call);
        }
    }

    fn stall(&self) {
        self.uses.store(self.uses(), Ordering::SeqCst);
        for call in USES {
            self.faults.set(call, &Fault::Hang);
        }
    }

    fn wait_until_stalled(&self) {
        let before = self.uses.load(Ordering::SeqCst);
        assert!(wait_for(|| self.uses() > before, Duration::from_secs(60)));
    }

    fn resume(&self) {
        for call in USES {
            self.faults.clear(call);
        }
    }
}

keyward_backend::conformance!(Pkcs11);
