//! ECDH: the x coordinate of the shared point.

use std::sync::atomic::Ordering;

use cryptoki::error::RvError;
use cryptoki::mechanism::Mechanism;
use cryptoki::mechanism::elliptic_curve::{EcKdf, Ecdh1DeriveParams};
use cryptoki::object::{
    Attribute, AttributeType, KeyType as RawKeyType, ObjectClass, ObjectHandle,
};
use cryptoki::session::Session as RawSession;
use keyward_backend::message::Derive;
use keyward_backend::{BackendError, Result};
use keyward_protocol::SecretBytes;

use super::error::{Attempt, code, describe, is_stale};
use super::opening::take;
use super::session::{Key, Session};
use crate::point::is_on_curve;

impl Session<'_> {
    pub(super) fn derive_ecdh(&mut self, derive: &Derive) -> Result<SecretBytes> {
        let invalid = |what: &str| BackendError::Invalid(what.to_owned());
        let point = derive
            .peer
            .to_sec1()
            .ok_or_else(|| invalid("the peer's key is no EC key"))?;
        // A point on another curve would tell the key bit by bit (CVE-2015-7940 and its like).
        if !is_on_curve(&derive.peer) {
            return Err(invalid("the peer's key is no point on its curve"));
        }
        let token = self.token;
        self.with_key(derive.id, |session, key| {
            if derive.peer.key_type() != Some(key.kind) {
                return Err(invalid("the peer's key is on another curve").into());
            }
            let width = key.kind.coordinate_length().unwrap_or_default();
            let der_first = token.der_points.load(Ordering::Relaxed);
            let secret = match shared_secret(session, key, &form(&point, der_first), width) {
                Err(failure) if failure.code().is_some_and(is_about_point) => {
                    let other = shared_secret(session, key, &form(&point, !der_first), width)?;
                    token.der_points.store(!der_first, Ordering::Relaxed);
                    other
                }
                secret => secret?,
            };
            value(session, secret, width)
        })
    }
}

/// The peer's point bare, as the standard says, or in an OCTET STRING, as Luna wants it.
fn form(point: &[u8], der: bool) -> Vec<u8> {
    match u8::try_from(point.len()) {
        Ok(length) if der => [&[0x04, length], point].concat(),
        _ => point.to_vec(),
    }
}

fn is_about_point(code: RvError) -> bool {
    matches!(
        code,
        RvError::MechanismParamInvalid
            | RvError::ArgumentsBad
            | RvError::DataInvalid
            | RvError::DataLenRange
            | RvError::PublicKeyInvalid
            | RvError::DomainParamsInvalid
    )
}

/// Has the token derive a session object that can be read.
fn shared_secret(
    session: &RawSession,
    key: &Key,
    point: &[u8],
    width: usize,
) -> Attempt<ObjectHandle> {
    let mechanism = Mechanism::Ecdh1Derive(Ecdh1DeriveParams::new(EcKdf::null(), point));
    let width = u64::try_from(width).unwrap_or_default();
    let template = [
        Attribute::Class(ObjectClass::SECRET_KEY),
        Attribute::KeyType(RawKeyType::GENERIC_SECRET),
        Attribute::Token(false),
        Attribute::Sensitive(false),
        Attribute::Extractable(true),
        Attribute::ValueLen(width.into()),
    ];
    Ok(session.derive_key(&mechanism, key.handle, &template)?)
}

/// Reads and destroys a derived secret, and gives it back its leading zeros.
fn value(session: &RawSession, secret: ObjectHandle, width: usize) -> Attempt<SecretBytes> {
    let read = session.get_attributes(secret, &[AttributeType::Value]);
    let read = read.map(|mut attributes| match attributes.pop() {
        Some(Attribute::Value(bytes)) => Some(take(bytes)),
        _ => None,
    });
    // Before anything that may have gone wrong with the reading: the secret must not stay.
    if let Err(error) = session.destroy_object(secret) {
        // A session that has ended took the secret with it.
        return match code(&error) {
            Some(stale) if is_stale(stale) => Err(error.into()),
            _ => Err(BackendError::DeviceFailed(format!(
                "a derived secret could not be destroyed: {}",
                describe(&error)
            ))
            .into()),
        };
    }
    let bytes = read?.ok_or_else(|| {
        BackendError::MechanismInvalid("the token does not let a derived secret be read".to_owned())
    })?;
    let mut full = SecretBytes::zeroed(width);
    let zeros = width.checked_sub(bytes.len()).filter(|_| !bytes.is_empty());
    let place = zeros.and_then(|zeros| full.expose_mut().get_mut(zeros..));
    let Some(place) = place else {
        return Err(BackendError::DeviceFailed(format!(
            "it derived a secret of {} bytes where {width} are right",
            bytes.len()
        ))
        .into());
    };
    place.copy_from_slice(bytes.expose());
    Ok(full)
}
