//! A worker on a TPM, and a recovery key in software.

use keyward_backend::message::{Generate, Outcome, Work};
use keyward_backend::pcr::{
    Approval, Approve, Binding, BoundReport, MakeBound, PcrValue, approval_message,
};
use keyward_backend::{BackendError, KeyReport, VersionId};
use keyward_protocol::operation::SignInput;
use keyward_protocol::{Algorithm, CoseKey, KeyType, Purpose};
use keyward_tests::{TpmToken, Worker, swtpm::tpm2};
use p256::ecdsa::{Signature, SigningKey, signature::Signer as _};

/// PCRs that a test can extend.
pub(crate) const PCRS: [u8; 2] = [7, 11];

pub(crate) struct Rig {
    pub(crate) worker: Worker,
    pub(crate) token: TpmToken,
    pub(crate) recovery: SigningKey,
    _dir: tempfile::TempDir,
}

impl Rig {
    pub(crate) fn new(pin: bool) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let token = TpmToken::new(&dir.path().join("keys"), pin);
        let worker = ready(&token);
        Self {
            worker,
            token,
            recovery: SigningKey::from_slice(&[1; 32]).unwrap(),
            _dir: dir,
        }
    }

    pub(crate) fn start_again(&mut self) {
        self.worker.hang_up();
        self.worker.ended();
        self.worker = ready(&self.token);
    }

    /// As when the machine starts again: PCRs are as at first.
    pub(crate) fn reset(&mut self) {
        self.token.reset();
        assert!(self.values().iter().all(|pcr| *pcr.value == [0; 32]));
    }

    pub(crate) fn recovery_public(&self) -> CoseKey {
        public_of(&self.recovery)
    }

    pub(crate) fn values(&mut self) -> Vec<PcrValue> {
        match self.worker.call(Work::ReadPcrs(PCRS.to_vec())) {
            Outcome::Pcrs(values) => values,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn order(
        &mut self,
        id: VersionId,
        key_type: KeyType,
        purpose: Purpose,
    ) -> MakeBound {
        let values = self.values();
        let signature = sign_with(&self.recovery, &approval_message(id, &values));
        MakeBound {
            generate: Generate {
                id,
                label: "keyward test".to_owned(),
                key_type,
                purpose,
                piv: None,
            },
            binding: Binding {
                values,
                approval: Some(Approval {
                    authority: self.recovery_public(),
                    signature: signature.into(),
                }),
            },
            material: None,
        }
    }

    pub(crate) fn order_of(&mut self, make: MakeBound) -> Result<KeyReport, BackendError> {
        match self.worker.call(Work::MakeBound(make)) {
            Outcome::Key(Some(report)) => Ok(report),
            Outcome::Failed(error) => Err(error),
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn make(
        &mut self,
        key_type: KeyType,
        purpose: Purpose,
    ) -> Result<VersionId, BackendError> {
        let id = VersionId::random();
        let make = self.order(id, key_type, purpose);
        let report = self.order_of(make)?;
        assert_eq!(report.bound.unwrap().pcrs, PCRS);
        Ok(id)
    }

    pub(crate) fn sign(&mut self, id: VersionId) -> Result<Vec<u8>, BackendError> {
        let work = keyward_backend::message::Sign {
            id,
            algorithm: Algorithm::Esp256,
            input: SignInput::Digest(vec![7; 32]),
        };
        match self.worker.call(Work::Sign(work)) {
            Outcome::Signature(signature) => Ok(signature.to_vec()),
            Outcome::Failed(error) => Err(error),
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn inspect(&mut self, id: VersionId) -> KeyReport {
        match self.worker.call(Work::Inspect(id)) {
            Outcome::Key(Some(report)) => report,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn bound(&mut self, id: VersionId) -> Option<BoundReport> {
        match self.worker.call(Work::Bound(id)) {
            Outcome::Bound(report) => report,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn approve(&mut self, id: VersionId, drop_old: bool) -> Result<(), BackendError> {
        let values = self.values();
        let signature = sign_with(&self.recovery, &approval_message(id, &values));
        self.approve_with(id, values, signature, drop_old)
    }

    pub(crate) fn approve_with(
        &mut self,
        id: VersionId,
        values: Vec<PcrValue>,
        signature: Vec<u8>,
        drop_old: bool,
    ) -> Result<(), BackendError> {
        match self.worker.call(Work::Approve(Approve {
            id,
            values,
            signature: signature.into(),
            drop_old,
        })) {
            Outcome::Key(Some(_)) => Ok(()),
            Outcome::Failed(error) => Err(error),
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn extend(&self, pcr: u8) {
        let what = format!("{pcr}:sha256={}", "5a".repeat(32));
        let done = tpm2(&self.token.proxy().tcti(), "tpm2_pcrextend", &[&what]);
        assert!(done.status.success(), "{done:?}");
    }
}

pub(crate) fn ready(token: &TpmToken) -> Worker {
    let mut worker = Worker::start_tpm(token);
    if worker.open().unwrap().login_required {
        worker.login(token.pin()).unwrap();
    }
    worker
}

pub(crate) fn other_key() -> SigningKey {
    SigningKey::from_slice(&[2; 32]).unwrap()
}

pub(crate) fn public_of(key: &SigningKey) -> CoseKey {
    CoseKey::from_sec1(key.verifying_key().to_sec1_point(false).as_bytes()).unwrap()
}

pub(crate) fn sign_with(key: &SigningKey, message: &[u8]) -> Vec<u8> {
    let signature: Signature = key.sign(message);
    signature.to_bytes().to_vec()
}
