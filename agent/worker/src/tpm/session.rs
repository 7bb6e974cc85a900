//! What one thread works with: the operations, each with its key loaded and its secrets covered.

use std::sync::Arc;

use keyward_backend::message::{
    Activate, Attest, Derive, Generate, Import, Mac, Place, ScanPage, Seal, Sealed, Sign, Unseal,
    Unwrap, Wrap,
};
use keyward_backend::pcr::{Approve, BoundReport, MakeBound, PcrValue};
use keyward_backend::{BackendError, KeyReport, Result, VersionId};
use keyward_protocol::attestation::{Identity, Statement};
use keyward_protocol::{KeyType, Purpose, SecretBytes};
use tss_esapi::handles::KeyHandle;
use tss_esapi::interface_types::session_handles::AuthSession;
use tss_esapi::structures::Private;
use tss_esapi::{Context, Error};

use super::device::{Device, Secrecy};
use super::error::{Next, describe, gone, is_forged, next};
use super::loaded::Blob;
use super::policy::Bound;
use super::report::{self, kind};
use super::store::Entry;
use super::{Failure, MOST_BLOBS, Repeat, State, Tpm, about_file, pin};

/// What one thread works with.
pub struct Session<'a> {
    pub(super) tpm: &'a Tpm,
}

impl std::fmt::Debug for Session<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Session").field(self.tpm).finish()
    }
}

impl Session<'_> {
    /// Does something with a key. `plan` looks at the key first and refuses what it is not for.
    pub(super) fn with_key<P, T>(
        &self,
        id: VersionId,
        secrecy: Secrecy,
        plan: impl Fn(&Blob) -> Result<P>,
        act: impl Fn(&mut Context, KeyHandle, &P) -> std::result::Result<T, Error>,
    ) -> Result<T> {
        let tpm = self.tpm;
        tpm.with(Repeat::Yes, |state, device| {
            tpm.check_login(state)?;
            let blob = tpm.blob(state, id)?;
            let plan = plan(&blob)?;
            use_key(state, device, id, &blob, secrecy, |context, handle| {
                act(context, handle, &plan)
            })
        })
    }
}

/// Loads a key and does something with it in a session that proves its authorization value and
/// covers what is secret.
fn use_key<T>(
    state: &State,
    device: &mut Device,
    id: VersionId,
    blob: &Arc<Blob>,
    secrecy: Secrecy,
    act: impl Fn(&mut Context, KeyHandle) -> std::result::Result<T, Error>,
) -> std::result::Result<T, Failure> {
    let secret = state.secret.as_ref().filter(|_| blob.has_auth);
    let mut loaded = false;
    let done = device.run(|device| {
        loaded = false;
        let srk = device.srk;
        let handle = device
            .loaded
            .handle(&mut device.context, srk, id, blob, secret)?;
        loaded = true;
        let session = match (&blob.bound, secrecy, blob.has_auth) {
            (Some(bound), _, has_auth) => match bound.session(device, id, has_auth, secrecy)? {
                Some(session) => session,
                None => return Ok(None),
            },
            (None, Secrecy::None, false) => AuthSession::Password,
            _ => device.session(secrecy)?,
        };
        device
            .context
            .execute_with_session(Some(session), |context| act(context, handle))
            .map(Some)
    });
    match done {
        Ok(Some(done)) => Ok(done),
        Ok(None) => Err(match &blob.bound {
            Some(bound) => bound.mismatch(device),
            None => BackendError::KeyNotFound.into(),
        }),
        Err(error) if !loaded => Err(not_loaded(device, id, error)),
        Err(error) if blob.bound.is_some() && is_forged(error) => {
            Err(BackendError::Refused(format!(
                "an approval in the file of {id} is not its recovery key's: {}",
                describe(error)
            ))
            .into())
        }
        Err(error) => Err(error.into()),
    }
}

/// Loads a key, and no more.
pub(super) fn load(
    state: &State,
    device: &mut Device,
    id: VersionId,
    blob: &Arc<Blob>,
) -> std::result::Result<(), Failure> {
    let secret = state.secret.as_ref().filter(|_| blob.has_auth);
    let loaded = device.run(|device| {
        let srk = device.srk;
        let context = &mut device.context;
        device.loaded.handle(context, srk, id, blob, secret)
    });
    match loaded {
        Ok(_) => Ok(()),
        Err(error) => Err(not_loaded(device, id, error)),
    }
}

/// What hinders the loading of a key.
pub(super) fn not_loaded(device: &mut Device, id: VersionId, error: Error) -> Failure {
    if !matches!(next(error), Next::Refused | Next::LoadAgain) {
        return error.into();
    }
    match device.is_same() {
        Ok(true) => about_file(id, error).into(),
        Ok(false) => Failure::Tpm(gone()),
        Err(error) => error.into(),
    }
}

impl Tpm {
    /// Forgets what is known of a key: it is asked of the disk and the TPM again.
    fn forget(&self, id: VersionId) {
        let mut state = self.lock();
        state.blobs.remove(&id);
        if let Some(device) = &mut state.device {
            device.loaded.remove(&mut device.context, id);
        }
    }

    /// The file of a key, read once.
    pub(super) fn blob(&self, state: &mut State, id: VersionId) -> Result<Arc<Blob>> {
        if id == pin::id() {
            return Err(BackendError::KeyNotFound);
        }
        if let Some(blob) = state.blobs.get(&id) {
            return Ok(Arc::clone(blob));
        }
        let entry = self.store.get(id)?.ok_or(BackendError::KeyNotFound)?;
        let blob = Arc::new(parse(id, &entry)?);
        if state.blobs.len() >= MOST_BLOBS {
            state.blobs.clear();
        }
        state.blobs.insert(id, Arc::clone(&blob));
        Ok(blob)
    }
}

/// A key as its file has it.
pub(super) fn parse(id: VersionId, entry: &Entry) -> Result<Blob> {
    let unread = |error| about_file(id, error);
    let public = super::make::public_of(&entry.key).map_err(unread)?;
    let private = entry.key.private.get(2..).unwrap_or_default();
    let (key_type, key) = kind(&public)?;
    let key_type = key_type.ok_or_else(|| {
        BackendError::MechanismInvalid(
            "the key is of a kind or size that keyward does not use".to_owned(),
        )
    })?;
    let bound = entry.bound.as_ref().map(|bound| Bound::of(id, bound));
    Ok(Blob {
        bound: bound.transpose()?,
        private: Private::try_from(private).map_err(unread)?,
        public,
        parent: entry.key.parent,
        has_auth: !entry.key.empty_auth,
        key_type,
        purpose: entry.purpose,
        key,
    })
}

/// That a key is for an operation at all.
pub(super) fn is_for(blob: &Blob, purposes: &[Purpose], what: &str) -> Result<KeyType> {
    match purposes.contains(&blob.purpose) {
        true => Ok(blob.key_type),
        false => Err(BackendError::MechanismInvalid(format!(
            "a key of type {} and purpose {} does not {what}",
            blob.key_type, blob.purpose
        ))),
    }
}

fn no_cipher<T>() -> Result<T> {
    Err(BackendError::MechanismInvalid(
        "a TPM has neither AES-GCM nor AES key wrap".to_owned(),
    ))
}

impl keyward_backend::Session for Session<'_> {
    fn generate(&mut self, generate: &Generate) -> Result<KeyReport> {
        self.make(generate, None)
    }

    fn import(&mut self, import: &Import) -> Result<KeyReport> {
        self.take_in(&import.generate, &import.material, None)
    }

    fn inspect(&mut self, id: VersionId) -> Result<Option<KeyReport>> {
        // That its file is there and the TPM loads it is part of how it is.
        self.tpm.forget(id);
        let tpm = self.tpm;
        let shown = tpm.with(Repeat::Yes, |state, device| {
            tpm.check_login(state)?;
            let blob = tpm.blob(state, id)?;
            load(state, device, id, &blob)?;
            let mut report = report::report(&blob.public)?;
            report.bound = blob.bound.as_ref().map(Bound::to_report);
            report.blob = tpm.file_of(id)?;
            Ok(report)
        });
        match shown {
            Err(BackendError::KeyNotFound) => Ok(None),
            shown => shown.map(Some),
        }
    }

    fn destroy(&mut self, id: VersionId) -> Result<()> {
        let tpm = self.tpm;
        tpm.with(Repeat::Yes, |state, device| {
            tpm.check_login(state)?;
            if id == pin::id() {
                return Ok(());
            }
            tpm.store.remove(id)?;
            state.blobs.remove(&id);
            device.loaded.remove(&mut device.context, id);
            Ok(())
        })
    }

    fn sign(&mut self, sign: &Sign) -> Result<Vec<u8>> {
        self.sign_input(sign)
    }

    fn unwrap(&mut self, unwrap: &Unwrap) -> Result<SecretBytes> {
        self.unwrap_oaep(unwrap)
    }

    fn derive(&mut self, derive: &Derive) -> Result<SecretBytes> {
        self.derive_z(derive)
    }

    fn seal(&mut self, _: &Seal) -> Result<Sealed> {
        no_cipher()
    }

    fn unseal(&mut self, _: &Unseal) -> Result<SecretBytes> {
        no_cipher()
    }

    fn wrap(&mut self, _: &Wrap) -> Result<Vec<u8>> {
        no_cipher()
    }

    fn mac(&mut self, mac: &Mac) -> Result<Vec<u8>> {
        self.make_mac(mac)
    }

    fn attest(&mut self, attest: &Attest) -> Result<Statement> {
        self.certify(attest)
    }

    fn attestation_key(&mut self) -> Result<Identity> {
        self.identify()
    }

    fn activate(&mut self, activate: &Activate) -> Result<SecretBytes> {
        self.activate_credential(activate)
    }

    fn scan(&mut self, after: Option<VersionId>) -> Result<ScanPage> {
        self.scan_keys(after)
    }

    fn random(&mut self, length: u32) -> Result<SecretBytes> {
        self.random_bytes(length)
    }

    fn make_bound(&mut self, make: &MakeBound) -> Result<KeyReport> {
        self.make_bound_key(make)
    }

    fn read_pcrs(&mut self, pcrs: &[u8]) -> Result<Vec<PcrValue>> {
        self.pcr_values(pcrs)
    }

    fn bound(&mut self, id: VersionId) -> Result<Option<BoundReport>> {
        self.bound_report(id)
    }

    fn approve(&mut self, approve: &Approve) -> Result<KeyReport> {
        self.approve_values(approve)?;
        self.inspect(approve.id)?.ok_or(BackendError::KeyNotFound)
    }

    fn place(&mut self, place: &Place) -> Result<KeyReport> {
        self.place_file(place)
    }
}
