//! Signing. A card does the operation with the private key; what is encoded before, is encoded here.

use keyward_backend::message::Sign;
use keyward_backend::{BackendError, Result};
use keyward_protocol::operation::SignInput;
use keyward_protocol::{Algorithm, CoseKey, KeyType, Purpose};

use super::failure::malformed;
use super::key::Key;
use super::session::{Input, Session, full_width, is_for};
use super::signature::ecdsa;
use crate::digest::digest;
use crate::emsa;

impl Session<'_> {
    pub(super) fn sign_input(&self, sign: &Sign) -> Result<Vec<u8>> {
        let bytes = match (sign.algorithm, &sign.input) {
            (Algorithm::Ed25519, SignInput::Message(message)) => message.clone(),
            _ => digest(sign)?,
        };
        let (output, key) = self.use_key(sign.id, |key| {
            is_for(key, &[Purpose::Sign], "sign")?;
            encode(sign.algorithm, key, &bytes).map(Input::Challenge)
        })?;
        signature(&output, &key)
    }
}

/// What the private key works on.
fn encode(algorithm: Algorithm, key: &Key, bytes: &[u8]) -> Result<Vec<u8>> {
    match (algorithm, key.key_type, &key.public) {
        (Algorithm::Esp256, KeyType::P256, _)
        | (Algorithm::Esp384, KeyType::P384, _)
        | (Algorithm::Ed25519, KeyType::Ed25519, _) => Ok(bytes.to_vec()),
        (Algorithm::Ps256, _, CoseKey::Rsa { n, .. }) => emsa::pss_sha256(bytes, n.len()),
        (Algorithm::Rs256, _, CoseKey::Rsa { n, .. }) => emsa::pkcs1_sha256(bytes, n.len()),
        (algorithm, key_type, _) => Err(BackendError::MechanismInvalid(format!(
            "a key of type {key_type} does not sign with {algorithm}"
        ))),
    }
}

/// A signature in COSE's form.
fn signature(output: &[u8], key: &Key) -> Result<Vec<u8>> {
    let full = |number: &[u8], width: usize| {
        let full = full_width(number, width).map_err(BackendError::from)?;
        Ok::<_, BackendError>(full.to_vec())
    };
    match (&key.public, key.key_type.coordinate_length()) {
        (CoseKey::Rsa { n, .. }, _) => full(output, n.len()),
        (_, Some(width)) => {
            let (r, s) = ecdsa(output)
                .map_err(|_| BackendError::from(malformed("it is no ECDSA signature")))?;
            Ok([full(r, width)?, full(s, width)?].concat())
        }
        (_, None) => full(output, 64),
    }
}
