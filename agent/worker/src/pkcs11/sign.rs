//! Signing.

use cryptoki::mechanism::eddsa::{EddsaParams, EddsaSignatureScheme};
use cryptoki::mechanism::rsa::{PkcsMgfType, PkcsPssParams};
use cryptoki::mechanism::{Mechanism, MechanismType};
use keyward_backend::message::Sign;
use keyward_backend::{BackendError, Result};
use keyward_protocol::operation::SignInput;
use keyward_protocol::{Algorithm, KeyType};

use super::session::{Key, Session};
use crate::digest::digest;

/// DigestInfo of SHA-256 without the digest (RFC 8017 §9.2, note 1).
const SHA256_INFO: [u8; 19] = [
    0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05,
    0x00, 0x04, 0x20,
];

impl Session<'_> {
    pub(super) fn sign_input(&mut self, sign: &Sign) -> Result<Vec<u8>> {
        let data = to_be_signed(sign)?;
        let mechanism = mechanism(sign.algorithm)?;
        self.with_key(sign.id, |session, key| {
            let length = signature_length(sign.algorithm, key)?;
            let signature = session.sign(&mechanism, key.handle, &data)?;
            Ok(full_width(signature, length, sign.algorithm)?)
        })
    }
}

/// What the token gets: the digest where it is to be hashed, so that all tokens get the same.
fn to_be_signed(sign: &Sign) -> Result<Vec<u8>> {
    Ok(match (&sign.input, sign.algorithm) {
        (SignInput::Message(message), Algorithm::Ed25519) => message.clone(),
        (_, Algorithm::Rs256) => [SHA256_INFO.as_slice(), &digest(sign)?].concat(),
        _ => digest(sign)?,
    })
}

fn mechanism(algorithm: Algorithm) -> Result<Mechanism<'static>> {
    Ok(match algorithm {
        Algorithm::Esp256 | Algorithm::Esp384 => Mechanism::Ecdsa,
        Algorithm::Ed25519 => Mechanism::Eddsa(EddsaParams::new(EddsaSignatureScheme::Ed25519)),
        Algorithm::Rs256 => Mechanism::RsaPkcs,
        Algorithm::Ps256 => Mechanism::RsaPkcsPss(PkcsPssParams {
            hash_alg: MechanismType::SHA256,
            mgf: PkcsMgfType::MGF1_SHA256,
            s_len: 32.into(),
        }),
        other => {
            return Err(BackendError::MechanismInvalid(format!(
                "{other} does not sign"
            )));
        }
    })
}

/// How long the signature must be; also whether the key is one for the algorithm.
fn signature_length(algorithm: Algorithm, key: &Key) -> Result<usize> {
    match (algorithm, key.kind) {
        (Algorithm::Esp256, KeyType::P256) | (Algorithm::Ed25519, KeyType::Ed25519) => Ok(64),
        (Algorithm::Esp384, KeyType::P384) => Ok(96),
        (Algorithm::Ps256 | Algorithm::Rs256, kind) if kind.rsa_bits().is_some() => {
            Ok(key.modulus.len())
        }
        (algorithm, kind) => Err(BackendError::MechanismInvalid(format!(
            "a key of type {kind} does not sign with {algorithm}"
        ))),
    }
}

/// A signature at its full width: some tokens leave leading zeros out.
fn full_width(signature: Vec<u8>, length: usize, algorithm: Algorithm) -> Result<Vec<u8>> {
    if signature.len() == length {
        return Ok(signature);
    }
    let wrong = || {
        BackendError::DeviceFailed(format!(
            "it made a signature of {} bytes where {length} are right",
            signature.len()
        ))
    };
    let half = length.checked_div(2).unwrap_or_default();
    match algorithm {
        Algorithm::Esp256 | Algorithm::Esp384 if signature.len().is_multiple_of(2) => {
            let width = signature.len().checked_div(2).unwrap_or_default();
            let (r, s) = signature.split_at_checked(width).ok_or_else(wrong)?;
            let zeros = half.checked_sub(width).ok_or_else(wrong)?;
            let zeros = vec![0; zeros];
            Ok([&zeros, r, &zeros, s].concat())
        }
        Algorithm::Ps256 | Algorithm::Rs256 => {
            let zeros = length.checked_sub(signature.len()).ok_or_else(wrong)?;
            Ok([vec![0; zeros], signature].concat())
        }
        _ => Err(wrong()),
    }
}

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]
mod tests {
    use keyward_backend::VersionId;
    use sha2::{Digest, Sha256};

    use super::*;

    fn sign(algorithm: Algorithm, input: SignInput) -> Sign {
        Sign {
            id: VersionId::random(),
            algorithm,
            input,
        }
    }

    #[test]
    fn a_digest_of_another_length_is_refused() {
        for (algorithm, length) in [
            (Algorithm::Esp256, 48),
            (Algorithm::Esp384, 32),
            (Algorithm::Rs256, 20),
            (Algorithm::Ps256, 0),
            (Algorithm::Ed25519, 32),
        ] {
            let result = to_be_signed(&sign(algorithm, SignInput::Digest(vec![0; length])));
            assert!(
                matches!(result, Err(BackendError::Invalid(_))),
                "{algorithm}"
            );
        }
    }

    #[test]
    fn a_message_and_its_digest_give_the_token_the_same() {
        let message = b"message".to_vec();
        for algorithm in [Algorithm::Esp256, Algorithm::Ps256, Algorithm::Rs256] {
            let digest = Sha256::digest(&message).to_vec();
            let one = to_be_signed(&sign(algorithm, SignInput::Message(message.clone())));
            let other = to_be_signed(&sign(algorithm, SignInput::Digest(digest)));
            assert_eq!(one, other);
        }
    }

    #[test]
    fn short_signatures_get_their_zeros_back() {
        let padded = full_width(vec![1, 2], 64, Algorithm::Esp256).unwrap();
        assert_eq!((padded.len(), padded[31], padded[63]), (64, 1, 2));
        let padded = full_width(vec![7; 255], 256, Algorithm::Rs256).unwrap();
        assert_eq!((padded.len(), padded[0], padded[1]), (256, 0, 7));
    }

    #[test]
    fn signatures_that_are_too_long_are_refused() {
        assert!(full_width(vec![1; 66], 64, Algorithm::Esp256).is_err());
        assert!(full_width(vec![1; 63], 64, Algorithm::Esp256).is_err());
        assert!(full_width(vec![1; 257], 256, Algorithm::Ps256).is_err());
        assert!(full_width(vec![1; 63], 64, Algorithm::Ed25519).is_err());
    }
}
