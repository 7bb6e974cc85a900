//! Making keys.

use keyward_backend::message::Generate;
use keyward_backend::{BackendError, KeyReport, Result};
use keyward_protocol::{KeyType, Purpose};
use tss_esapi::Error;
use tss_esapi::interface_types::session_handles::AuthSession;
use tss_esapi::structures::{Auth, Private, Public, SensitiveData};
use tss_esapi::traits::{Marshall, UnMarshall};

use super::device::{Device, Secrecy};
use super::error::answer;
use super::key_file::{KeyFile, Kind};
use super::policy::Bound;
use super::report::report;
use super::session::Session;
use super::store::{Entry, Held, Made};
use super::template::{Origin, Unique, template};
use super::{Failure, Repeat, State, Tpm, pin, storage_root};

impl Session<'_> {
    pub(super) fn make(&self, generate: &Generate, bound: Option<&Bound>) -> Result<KeyReport> {
        let tpm = self.tpm;
        tpm.with(Repeat::Yes, |state, device| {
            tpm.check_login(state)?;
            is_possible(device, generate)?;
            tpm.is_free(generate)?;
            let has_auth = state.secret.is_some();
            let policy = bound.map(|bound| bound.auth_policy(generate.id, None, has_auth));
            if generate.purpose == Purpose::Seal {
                return Err(BackendError::MechanismInvalid(
                    "data is sealed as it is given, and not made".to_owned(),
                )
                .into());
            }
            let wanted = template(
                generate.key_type,
                generate.purpose,
                Origin::Tpm,
                Unique::Empty,
                policy,
            )?;
            let (public, private) = create(state, device, &wanted, None)?;
            let same = public.object_attributes() == wanted.object_attributes()
                && auth_policy(&public) == auth_policy(&wanted);
            if !same {
                return Err(BackendError::KeyUnsafe(
                    "it has other attributes than were asked for".to_owned(),
                )
                .into());
            }
            let file = key_file(&public, &private, state.secret.is_none())?;
            tpm.keep(device, generate, Made::Generated, &public, file, bound)
        })
    }
}

/// Has the TPM make a key, or take one in, below the storage root key.
pub(super) fn create(
    state: &State,
    device: &mut Device,
    public: &Public,
    data: Option<&SensitiveData>,
) -> std::result::Result<(Public, Private), Error> {
    device.run(|device| {
        device.loaded.leave_room(&mut device.context);
        let srk = device.srk;
        let secret = state
            .secret
            .as_ref()
            .map(|secret| Auth::try_from(secret.expose()));
        let auth = secret.transpose()?;
        // Also where nothing is secret: its answer is the TPM's, whose storage root key is known.
        let session = device.session(Secrecy::Question)?;
        let made = device
            .context
            .execute_with_session(Some(session), |context| {
                context.create(srk, public.clone(), auth, data.cloned(), None, None)
            })?;
        Ok((made.out_public, made.out_private))
    })
}

impl Tpm {
    /// That nothing has the id: a second key in its place is somebody's mistake.
    pub(super) fn is_free(&self, generate: &Generate) -> Result<()> {
        if generate.id == pin::id() {
            return Err(BackendError::Invalid("the nil UUID is no key's".to_owned()));
        }
        match self.store.get(generate.id)? {
            None => Ok(()),
            Some(_) => Err(BackendError::Exists(generate.id.to_string())),
        }
    }

    /// Has the TPM load a key that it has wrapped, and writes its file to the disk. Only then it is
    /// there.
    pub(super) fn keep(
        &self,
        device: &mut Device,
        generate: &Generate,
        made: Made,
        public: &Public,
        key: KeyFile,
        bound: Option<&Bound>,
    ) -> std::result::Result<KeyReport, Failure> {
        let mut report = report(public)?;
        report.bound = bound.map(Bound::to_report);
        if report.key_type != Some(generate.key_type) {
            return Err(BackendError::KeyUnsafe(format!(
                "it is no key of type {}",
                generate.key_type
            ))
            .into());
        }
        proves_loadable(device, &key)?;
        let entry = Entry {
            label: generate.label.clone(),
            made,
            purpose: generate.purpose,
            bound: bound.map(Bound::to_stored).transpose()?,
            key: Held::File(KeyFile {
                kind: match generate.key_type {
                    KeyType::Data => Kind::Sealed,
                    _ => key.kind,
                },
                ..key
            }),
        };
        self.store
            .put(generate.id, &entry)
            .map_err(BackendError::from)?;
        report.blob = self.file_of(generate.id)?;
        Ok(report)
    }
}

/// That the TPM takes back what it gave.
fn proves_loadable(device: &mut Device, key: &KeyFile) -> std::result::Result<(), Failure> {
    let public = public_of(key)?;
    let private = Private::try_from(key.private.get(2..).unwrap_or_default())?;
    Ok(device.run(|device| {
        device.loaded.leave_room(&mut device.context);
        let srk = device.srk;
        let session = Some(AuthSession::Password);
        let handle = device.context.execute_with_session(session, |context| {
            context.load(srk, private.clone(), public.clone())
        })?;
        device.context.flush_context(handle.into())
    })?)
}

/// Whether the TPM can make such a key, and then do anything with it.
pub(super) fn is_possible(device: &Device, generate: &Generate) -> Result<()> {
    let (key_type, purpose) = (generate.key_type, generate.purpose);
    if !purpose.fits(key_type) {
        return Err(BackendError::MechanismInvalid(format!(
            "a key of type {key_type} can't have the purpose {purpose}"
        )));
    }
    match device.abilities.key_types.contains(&key_type) {
        true => Ok(()),
        false => Err(BackendError::MechanismInvalid(format!(
            "the TPM makes no keys of type {key_type}"
        ))),
    }
}

/// The digest of what authorizes a key.
pub(super) fn auth_policy(public: &Public) -> &[u8] {
    match public {
        Public::Rsa { auth_policy, .. }
        | Public::KeyedHash { auth_policy, .. }
        | Public::Ecc { auth_policy, .. }
        | Public::SymCipher { auth_policy, .. } => auth_policy.value(),
    }
}

/// The file of a key below the storage root key.
pub(super) fn key_file(public: &Public, private: &Private, empty_auth: bool) -> Result<KeyFile> {
    Ok(KeyFile {
        kind: Kind::Loadable,
        empty_auth,
        parent: storage_root::HANDLE,
        public: sized(&public.marshall().map_err(answer)?),
        private: sized(private.value()),
        policy: Vec::new(),
        description: None,
    })
}

/// The public area of a key file.
pub(super) fn public_of(file: &KeyFile) -> std::result::Result<Public, Error> {
    Public::unmarshall(file.public.get(2..).unwrap_or_default())
}

/// A TPM2B: two bytes of length, and the bytes. What a TPM gives is never longer than 65,535.
fn sized(bytes: &[u8]) -> Vec<u8> {
    let length = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
    [&length.to_be_bytes(), bytes].concat()
}
