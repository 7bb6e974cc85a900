//! TPM2_Certify, and the attestation key that signs it.
//!
//! The key is made when it is needed first, and has a file beside those of the other keys, under an
//! id that no key has. It signs what the TPM made and nothing else, so it needs no authorization
//! value; what is certified is used with its own.

use std::sync::Arc;

use keyward_backend::message::Attest;
use keyward_backend::{BackendError, Result, VersionId};
use keyward_protocol::Purpose;
use keyward_protocol::attestation::{Identity, Statement, TpmIdentity, TpmStatement};
use tss_esapi::Error;
use tss_esapi::interface_types::session_handles::AuthSession;
use tss_esapi::structures::{Attest as Attested, Data, Public, Signature, SignatureScheme};
use tss_esapi::traits::Marshall;
use uuid::Uuid;

use super::device::{Device, Secrecy};
use super::error::answer;
use super::loaded::{Blob, Source, Wanted};
use super::make::key_file;
use super::session::{Session, not_loaded};
use super::store::{Entry, Held, Made, StoreError};
use super::{Failure, Repeat, State, Tpm, persistent, template};

/// The id of the attestation key's file: the UUID after the nil one, which no key has.
pub(super) fn id() -> VersionId {
    VersionId::from(Uuid::from_u128(1))
}

impl Session<'_> {
    pub(super) fn certify(&self, attest: &Attest) -> Result<Statement> {
        let tpm = self.tpm;
        let data = Data::try_from(attest.qualifying_data.as_slice()).map_err(answer)?;
        tpm.with(Repeat::Yes, |state, device| {
            tpm.check_login(state)?;
            let blob = self.meant(state, device, attest.id)?;
            if blob.key.is_none() {
                return Err(no_public_part().into());
            }
            let ak = tpm.attestation_key(state, device)?;
            let (attested, signature) = certify(state, device, (attest.id, &blob), &ak, &data)?;
            Ok(Statement::Tpm(TpmStatement {
                public: structure(&blob.public)?.into(),
                attest: attested.marshall()?.into(),
                signature: signature.marshall()?.into(),
                key: identity(device, &ak)?,
                chain: Vec::new(),
            }))
        })
    }

    pub(super) fn identify(&self) -> Result<Identity> {
        let tpm = self.tpm;
        tpm.with(Repeat::Yes, |state, device| {
            let ak = tpm.attestation_key(state, device)?;
            Ok(Identity::Tpm(identity(device, &ak)?))
        })
    }
}

impl Tpm {
    /// The attestation key, which is made if there is none.
    pub(super) fn attestation_key(
        &self,
        state: &mut State,
        device: &mut Device,
    ) -> std::result::Result<Arc<Blob>, Failure> {
        match self.blob(state, id()) {
            Err(BackendError::KeyNotFound) => {}
            found => return Ok(found?),
        }
        let public = template::attestation()?;
        let made = device.run(|device| {
            let srk = device.srk;
            let session = Some(AuthSession::Password);
            device.context.execute_with_session(session, |context| {
                context.create(srk, public.clone(), None, None, None, None)
            })
        })?;
        let entry = Entry {
            label: "what attests keys".to_owned(),
            made: Made::Generated,
            purpose: Purpose::Sign,
            bound: None,
            key: Held::File(key_file(&made.out_public, &made.out_private, true)?),
        };
        match self.store.put(id(), &entry) {
            // Another worker of the token was quicker.
            Ok(()) | Err(StoreError::Exists(_)) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(self.blob(state, id())?)
    }
}

fn certify(
    state: &State,
    device: &mut Device,
    (id, blob): (VersionId, &Arc<Blob>),
    ak: &Arc<Blob>,
    data: &Data,
) -> std::result::Result<(Attested, Signature), Failure> {
    if let Source::Handle(at) = blob.source {
        return persistent::used(device, at, blob, Secrecy::None, |device, key, session| {
            let srk = device.srk;
            let context = &mut device.context;
            let signer = device.loaded.handle(context, srk, self::id(), ak, None)?;
            let sessions = (Some(session), Some(AuthSession::Password), None);
            context.execute_with_sessions(sessions, |context| {
                context.certify(key, signer, data.clone(), SignatureScheme::Null)
            })
        });
    }
    let secret = state.secret.as_ref().filter(|_| blob.has_auth);
    let mut loaded = false;
    let done = device.run(|device| {
        loaded = false;
        let srk = device.srk;
        let (key, signer) = device.loaded.pair(
            &mut device.context,
            srk,
            &Wanted { id, blob, secret },
            &Wanted {
                id: self::id(),
                blob: ak,
                secret: None,
            },
        )?;
        loaded = true;
        let session = match blob.has_auth {
            true => device.session(Secrecy::None)?,
            false => AuthSession::Password,
        };
        let sessions = (Some(session), Some(AuthSession::Password), None);
        device.context.execute_with_sessions(sessions, |context| {
            context.certify(key.into(), signer, data.clone(), SignatureScheme::Null)
        })
    });
    done.map_err(|error| match loaded {
        true => error.into(),
        false => not_loaded(device, id, error),
    })
}

/// The attestation key, and what else there is to know about its TPM.
fn identity(device: &mut Device, ak: &Blob) -> std::result::Result<TpmIdentity, Failure> {
    let endorsement = device.endorsement()?;
    let certificates = endorsement.certificates.iter().cloned();
    Ok(TpmIdentity {
        ak: structure(&ak.public)?.into(),
        ek: match &endorsement.key {
            Some((public, _)) => Some(structure(public)?.into()),
            None => None,
        },
        ek_certificates: certificates.map(Into::into).collect(),
    })
}

/// TPMT_PUBLIC.
fn structure(public: &Public) -> std::result::Result<Vec<u8>, Error> {
    public.marshall()
}

fn no_public_part() -> BackendError {
    BackendError::MechanismInvalid(
        "a secret key has no public part that something could be said about".to_owned(),
    )
}
