//! What one thread works with: the operations, each with its key loaded and its secrets covered.

use std::sync::Arc;

use keyward_backend::message::{
    Activate, Adopt, Attest, Derive, Expected, Generate, Import, Mac, Place, ScanPage, Seal,
    Sealed, Sign, Unseal, Unwrap, Wrap,
};
use keyward_backend::pcr::{Approve, BoundReport, MakeBound, PcrValue};
use keyward_backend::{BackendError, Destroyed, KeyReport, Result, VersionId};
use keyward_protocol::attestation::{Identity, Statement};
use keyward_protocol::{KeyType, Purpose, SecretBytes};
use tss_esapi::handles::KeyHandle;
use tss_esapi::interface_types::session_handles::AuthSession;
use tss_esapi::structures::{Private, Public};
use tss_esapi::traits::UnMarshall;
use tss_esapi::{Context, Error};

use super::device::{Device, Secrecy, digits};
use super::error::{Next, describe, gone, is_forged, next};
use super::loaded::{Blob, Source};
use super::policy::{Bound, command_of};
use super::report::{kind, name_of};
use super::store::{Entry, Held};
use super::{Failure, MOST_BLOBS, Repeat, State, Tpm, about_file, persistent, pin};

/// What one thread works with.
pub struct Session<'a> {
    pub(super) tpm: &'a Tpm,
    /// The Name of the key that the next use is for, if the agent has said it.
    pub(super) expected: Option<String>,
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
            let blob = self.meant(state, device, id)?;
            let plan = plan(&blob)?;
            use_key(state, device, id, &blob, secrecy, |context, handle| {
                act(context, handle, &plan)
            })
        })
    }

    /// The key of an id, if it is the one that the registry means: files can be exchanged by whoever
    /// may write to the folder.
    pub(super) fn meant(
        &self,
        state: &mut State,
        device: &mut Device,
        id: VersionId,
    ) -> Result<Arc<Blob>> {
        let blob = self.tpm.blob(state, id)?;
        let is = |blob: &Blob| {
            let name = digits(&blob.name);
            self.expected.as_ref().is_none_or(|wanted| *wanted == name)
        };
        if is(&blob) {
            return Ok(blob);
        }
        // What is known may be of before the right file was put back.
        state.blobs.remove(&id);
        device.loaded.remove(&mut device.context, id);
        let blob = self.tpm.blob(state, id)?;
        match is(&blob) {
            true => Ok(blob),
            false => Err(BackendError::KeyChanged(format!(
                "{} is the file of another key, with the Name {}; remove it, and keyward puts its copy of the right one there",
                self.tpm.store.path(id).display(),
                digits(&blob.name)
            ))),
        }
    }
}

/// The Name in a locator.
fn name_in(locator: &str) -> Option<&str> {
    let mut parts = locator.strip_prefix("tpm:")?.split(';');
    parts.find_map(|part| part.strip_prefix("name="))
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
    if let Source::Handle(at) = blob.source {
        return persistent::used(device, at, blob, secrecy, |device, object, session| {
            device
                .context
                .execute_with_session(Some(session), |context| act(context, object.into()))
        });
    }
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
            (Some(bound), ..) => match bound.session(device, id, blob, secrecy)? {
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

/// Loads a key, and no more; one that is in the TPM is looked at.
pub(super) fn load(
    state: &State,
    device: &mut Device,
    id: VersionId,
    blob: &Arc<Blob>,
) -> std::result::Result<(), Failure> {
    if let Source::Handle(at) = blob.source {
        return persistent::check(device, at, blob);
    }
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
    let (public, source) = match &entry.key {
        Held::File(file) => {
            let private = file.private.get(2..).unwrap_or_default();
            let private = Private::try_from(private).map_err(unread)?;
            let parent = file.parent;
            let public = super::make::public_of(file).map_err(unread)?;
            (public, Source::File { private, parent })
        }
        Held::Handle(at) => {
            let public = Public::unmarshall(&at.public).map_err(unread)?;
            if name_of(&public).map_err(unread)? != at.name {
                return Err(BackendError::Refused(format!(
                    "the file of {id} is damaged: its Name is not that of its public area"
                )));
            }
            (public, Source::Handle(at.handle))
        }
    };
    let (key_type, key) = kind(&public)?;
    let key_type = key_type.ok_or_else(|| {
        BackendError::MechanismInvalid(
            "the key is of a kind or size that keyward does not use".to_owned(),
        )
    })?;
    let bound = entry.bound.as_ref().map(|bound| Bound::of(id, bound));
    // What a pair from elsewhere is used with is part of its policy.
    let command = match public.object_attributes().fixed_tpm() {
        false if bound.is_some() => Some(command_of(entry.purpose, key_type)?),
        _ => None,
    };
    Ok(Blob {
        bound: bound.transpose()?,
        command,
        name: name_of(&public).map_err(unread)?,
        public,
        source,
        has_auth: entry.key.has_auth(),
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
            let mut report = blob.report()?;
            report.blob = tpm.file_of(id)?;
            Ok(report)
        });
        match shown {
            Err(BackendError::KeyNotFound) => Ok(None),
            shown => shown.map(Some),
        }
    }

    fn destroy(&mut self, id: VersionId) -> Result<Destroyed> {
        let tpm = self.tpm;
        tpm.with(Repeat::Yes, |state, device| {
            tpm.check_login(state)?;
            if id == pin::id() {
                return Ok(Destroyed::Removed);
            }
            tpm.store.remove(id)?;
            state.blobs.remove(&id);
            device.loaded.remove(&mut device.context, id);
            Ok(Destroyed::Removed)
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

    fn unseal_data(&mut self, id: VersionId) -> Result<SecretBytes> {
        self.give_back(id)
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

    fn expect(&mut self, expected: Option<&Expected>) {
        let name = expected.and_then(|expected| name_in(&expected.locator));
        self.expected = name.map(str::to_owned);
    }

    fn adopt(&mut self, adopt: &Adopt) -> Result<KeyReport> {
        self.adopt_at(adopt)
    }

    fn place(&mut self, place: &Place) -> Result<KeyReport> {
        self.place_file(place)
    }
}
