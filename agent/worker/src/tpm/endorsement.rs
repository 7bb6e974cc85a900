//! The endorsement key: what the manufacturer's certificate is about, and what opens a challenge to
//! the attestation key.
//!
//! It is where somebody has made it persistent, or is made again from the template that everybody
//! uses (TCG EK Credential Profile §B).

use std::sync::Arc;

use keyward_backend::message::Activate;
use keyward_backend::{BackendError, Result};
use keyward_protocol::SecretBytes;
use tss_esapi::abstraction::AsymmetricAlgorithmSelection as Kind;
use tss_esapi::abstraction::ek::create_ek_public_from_default_template_2 as template;
use tss_esapi::constants::{CapabilityType, PropertyTag, SessionType};
use tss_esapi::handles::{
    AuthHandle, KeyHandle, NvIndexHandle, NvIndexTpmHandle, ObjectHandle, PersistentTpmHandle,
    SessionHandle, TpmHandle,
};
use tss_esapi::interface_types::ecc::EccCurve;
use tss_esapi::interface_types::key_bits::RsaKeyBits;
use tss_esapi::interface_types::resource_handles::{Hierarchy, NvAuth};
use tss_esapi::interface_types::session_handles::{AuthSession, PolicySession};
use tss_esapi::structures::{
    CapabilityData, Digest, EncryptedSecret, IdObject, Nonce, Public, SymmetricDefinition,
};
use tss_esapi::{Context, Error, WrapperErrorKind};

use super::device::{Device, Secrecy};
use super::error::{Next, base, next, number};
use super::session::Session;
use super::{Repeat, attest};

/// Where manufacturers leave certificates, and of what key (TCG EK Credential Profile §2.2.1.4,
/// §2.2.1.5). The quickest first.
const CERTIFICATES: [(u32, Kind); 5] = [
    (0x01c0_000a, Kind::Ecc(EccCurve::NistP256)),
    (0x01c0_0016, Kind::Ecc(EccCurve::NistP384)),
    (0x01c0_0002, Kind::Rsa(RsaKeyBits::Rsa2048)),
    (0x01c0_001c, Kind::Rsa(RsaKeyBits::Rsa3072)),
    (0x01c0_001e, Kind::Rsa(RsaKeyBits::Rsa4096)),
];
/// What is tried where there is no certificate.
const WITHOUT: [Kind; 2] = [
    Kind::Ecc(EccCurve::NistP256),
    Kind::Rsa(RsaKeyBits::Rsa2048),
];
/// Persistent objects of the endorsement hierarchy (TCG Provisioning Guidance §7.8).
const PERSISTENT: std::ops::RangeInclusive<u32> = 0x8101_0000..=0x8101_ffff;
/// How many handles are asked for.
const MOST_HANDLES: u32 = 64;
/// The longest certificate that is read, and the most that are, as a bundle has them.
const MOST_BYTES: usize = 4096;
const MOST_CERTIFICATES: usize = 4;

/// What is known of the endorsement key.
#[derive(Debug, Default)]
pub(super) struct Endorsement {
    /// The key, and how to get at it; the one that a certificate is about, if there is one.
    pub(super) key: Option<(Public, Place)>,
    /// What the manufacturer left, DER.
    pub(super) certificates: Vec<Vec<u8>>,
}

/// Where the key is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Place {
    Persistent(u32),
    /// It is made again from its template.
    Template(Kind),
}

impl Device {
    /// The endorsement key, looked for once.
    pub(super) fn endorsement(&mut self) -> std::result::Result<Arc<Endorsement>, Error> {
        if let Some(known) = &self.endorsement {
            return Ok(Arc::clone(known));
        }
        // A primary key needs room.
        self.loaded.forget(&mut self.context);
        let found = Arc::new(self.run(|device| find(&mut device.context))?);
        self.endorsement = Some(Arc::clone(&found));
        Ok(found)
    }
}

impl Session<'_> {
    pub(super) fn activate_credential(&self, activate: &Activate) -> Result<SecretBytes> {
        let tpm = self.tpm;
        let none = || BackendError::UnwrapFailed;
        let blob = IdObject::try_from(activate.credential.to_vec()).map_err(|_| none())?;
        let secret = EncryptedSecret::try_from(activate.secret.to_vec()).map_err(|_| none())?;
        tpm.with(Repeat::Yes, |state, device| {
            let ak = tpm.attestation_key(state, device)?;
            let endorsement = device.endorsement()?;
            let Some((ek, place)) = &endorsement.key else {
                return Err(no_key().into());
            };
            device.loaded.forget(&mut device.context);
            let opened = device.run(|device| {
                let srk = device.srk;
                let context = &mut device.context;
                let signer = device
                    .loaded
                    .handle(context, srk, attest::id(), &ak, None)?;
                let own = device.session(Secrecy::Answer)?;
                let handle = open(&mut device.context, *place)?;
                let opened = activate_with(
                    &mut device.context,
                    (signer, own),
                    (handle, ek),
                    &blob,
                    &secret,
                );
                close(&mut device.context, handle, *place);
                opened
            })?;
            Ok(opened.ok_or_else(none)?)
        })
    }
}

/// What the challenge has; `None` if it was not for both of these keys.
fn activate_with(
    context: &mut Context,
    (ak, own): (KeyHandle, AuthSession),
    (ek, public): (KeyHandle, &Public),
    blob: &IdObject,
    secret: &EncryptedSecret,
) -> std::result::Result<Option<SecretBytes>, Error> {
    let policy = match public.object_attributes().user_with_auth() {
        true => None,
        false => Some(endorsement_policy(context, public)?),
    };
    let sessions = (Some(own), policy.or(Some(AuthSession::Password)), None);
    let opened = context.execute_with_sessions(sessions, |context| {
        context.activate_credential(ak, ek, blob.clone(), secret.clone())
    });
    if let (Some(policy), Err(_)) = (policy, &opened) {
        // It ends with the command, but not if that failed.
        let _ = context.flush_context(SessionHandle::from(policy).into());
    }
    match opened {
        Ok(opened) => Ok(Some(SecretBytes::copy_from(opened.value()))),
        Err(error) if is_refusal(context, error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// TPM_RC_INTEGRITY counts elsewhere as a saved context of before a reset. swtpm gives TPM_RC_FAILURE
/// for what is encrypted to another RSA key, and goes on working.
fn is_refusal(context: &mut Context, error: Error) -> bool {
    let integrity = number(error).is_some_and(|number| base(number) == 0x09f);
    integrity
        || match next(error) {
            Next::Refused => true,
            Next::Failed => context.get_random(1).is_ok(),
            _ => false,
        }
}

/// A session in which the endorsement hierarchy's authorization value, which is empty, is proved.
fn endorsement_policy(
    context: &mut Context,
    public: &Public,
) -> std::result::Result<AuthSession, Error> {
    let session = context
        .start_auth_session(
            None,
            None,
            None,
            SessionType::Policy,
            SymmetricDefinition::AES_128_CFB,
            public.name_hashing_algorithm(),
        )?
        .ok_or(Error::WrapperError(WrapperErrorKind::WrongValueFromTpm))?;
    let policy = PolicySession::try_from(session)?;
    let proved = context.execute_with_session(Some(AuthSession::Password), |context| {
        context.policy_secret(
            policy,
            AuthHandle::Endorsement,
            Nonce::default(),
            Digest::default(),
            Nonce::default(),
            None,
        )
    });
    match proved {
        Ok(_) => Ok(session),
        Err(error) => {
            let _ = context.flush_context(SessionHandle::from(session).into());
            Err(error)
        }
    }
}

fn find(context: &mut Context) -> std::result::Result<Endorsement, Error> {
    let indices = handles(context, CERTIFICATES.iter().map(|(index, _)| *index).min())?;
    let mut certificates = Vec::new();
    let mut kinds = Vec::new();
    for (index, kind) in CERTIFICATES {
        if !indices.contains(&index) || certificates.len() >= MOST_CERTIFICATES {
            continue;
        }
        match read(context, index) {
            Ok(Some(certificate)) => {
                certificates.push(certificate);
                kinds.push(kind);
            }
            Ok(None) => {}
            // Somebody has protected it, which is no reason to attest nothing.
            Err(error) if matches!(next(error), Next::Refused | Next::WrongAuth) => {}
            Err(error) => return Err(error),
        }
    }
    let persistent = handles(context, Some(*PERSISTENT.start()))?;
    let persistent = persistent.into_iter().filter(|h| PERSISTENT.contains(h));
    let mut places: Vec<_> = persistent.map(Place::Persistent).collect();
    places.extend(kinds.into_iter().map(Place::Template));
    places.extend(WITHOUT.map(Place::Template));
    let mut key = None;
    for place in places {
        let Some(public) = look(context, place)? else {
            continue;
        };
        if certificates.iter().any(|c| is_about(c, &public)) {
            key = Some((public, place));
            break;
        }
        if let Place::Template(_) = place {
            key.get_or_insert((public, place));
        }
        if certificates.is_empty() && key.is_some() {
            break;
        }
    }
    Ok(Endorsement { key, certificates })
}

/// Whether a certificate is about a key, as far as can be seen without reading it: the verifier reads
/// it.
fn is_about(certificate: &[u8], public: &Public) -> bool {
    let number = match public {
        Public::Ecc { unique, .. } => unique.x().value(),
        Public::Rsa { unique, .. } => unique.value(),
        _ => return false,
    };
    !number.is_empty() && certificate.windows(number.len()).any(|w| w == number)
}

/// The public area of what is in a place, if it is there and the TPM can make it.
fn look(context: &mut Context, place: Place) -> std::result::Result<Option<Public>, Error> {
    let handle = match open(context, place) {
        Ok(handle) => handle,
        Err(error) if matches!(next(error), Next::Refused | Next::WrongAuth) => return Ok(None),
        Err(error) => return Err(error),
    };
    let public = context.read_public(handle);
    close(context, handle, place);
    Ok(Some(public?.0))
}

fn open(context: &mut Context, place: Place) -> std::result::Result<KeyHandle, Error> {
    match place {
        Place::Persistent(handle) => {
            let handle = TpmHandle::Persistent(PersistentTpmHandle::new(handle)?);
            context.tr_from_tpm_public(handle).map(Into::into)
        }
        Place::Template(kind) => {
            let public = template(kind, None)?;
            let session = Some(AuthSession::Password);
            let made = context.execute_with_session(session, |context| {
                context.create_primary(Hierarchy::Endorsement, public, None, None, None, None)
            })?;
            Ok(made.key_handle)
        }
    }
}

fn close(context: &mut Context, handle: KeyHandle, place: Place) {
    let mut handle = ObjectHandle::from(handle);
    // What stays is put away with the rest.
    let _ = match place {
        Place::Persistent(_) => context.tr_close(&mut handle),
        Place::Template(_) => context.flush_context(handle),
    };
}

/// The handles of one kind, from one of them on.
fn handles(context: &mut Context, first: Option<u32>) -> std::result::Result<Vec<u32>, Error> {
    let first = first.unwrap_or_default();
    let (data, _) = context.get_capability(CapabilityType::Handles, first, MOST_HANDLES)?;
    let CapabilityData::Handles(list) = data else {
        return Ok(Vec::new());
    };
    Ok(list.iter().map(|handle| u32::from(*handle)).collect())
}

/// A certificate out of an index that anybody may read; `None` if it is none.
fn read(context: &mut Context, index: u32) -> std::result::Result<Option<Vec<u8>>, Error> {
    let handle = TpmHandle::NvIndex(NvIndexTpmHandle::new(index)?);
    let mut object = context.tr_from_tpm_public(handle)?;
    let bytes = read_all(context, object.into());
    let _ = context.tr_close(&mut object);
    Ok(bytes?.as_deref().and_then(der))
}

fn read_all(
    context: &mut Context,
    index: NvIndexHandle,
) -> std::result::Result<Option<Vec<u8>>, Error> {
    let size = context.nv_read_public(index)?.0.data_size();
    if !(1..=MOST_BYTES).contains(&size) {
        return Ok(None);
    }
    let most = context.get_tpm_property(PropertyTag::NvBufferMax)?;
    let most = usize::try_from(most.unwrap_or(512)).unwrap_or(512);
    let most = most.clamp(64, 1024);
    let mut bytes = Vec::with_capacity(size);
    while bytes.len() < size {
        let wanted = size.saturating_sub(bytes.len()).min(most);
        let (wanted, offset) = (
            u16::try_from(wanted).unwrap_or_default(),
            u16::try_from(bytes.len()).unwrap_or_default(),
        );
        let part = context.execute_with_session(Some(AuthSession::Password), |context| {
            context.nv_read(NvAuth::NvIndex(index), index, wanted, offset)
        })?;
        if part.value().is_empty() {
            return Ok(None);
        }
        bytes.extend_from_slice(part.value());
    }
    Ok(Some(bytes))
}

/// The DER at the beginning: an index may be longer than what is in it.
fn der(bytes: &[u8]) -> Option<Vec<u8>> {
    let (&[0x30, 0x82, high, low], _) = bytes.split_first_chunk()? else {
        return None;
    };
    let length = usize::from(u16::from_be_bytes([high, low])).checked_add(4)?;
    bytes.get(..length).map(<[u8]>::to_vec)
}

fn no_key() -> BackendError {
    BackendError::MechanismInvalid(
        "the TPM makes no endorsement key; does its endorsement hierarchy have an authorization value?"
            .to_owned(),
    )
}
