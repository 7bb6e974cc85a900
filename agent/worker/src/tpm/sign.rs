//! Signing.

use keyward_backend::message::Sign;
use keyward_backend::{BackendError, Result};
use keyward_protocol::{Algorithm, KeyType, Purpose};
use tss_esapi::Error;
use tss_esapi::constants::tss::{TPM2_RH_NULL, TPM2_ST_HASHCHECK};
use tss_esapi::interface_types::algorithm::HashingAlgorithm;
use tss_esapi::structures::{Digest, HashScheme, HashcheckTicket, Signature, SignatureScheme};
use tss_esapi::tss2_esys::TPMT_TK_HASHCHECK;

use super::device::Secrecy;
use super::error::answer;
use super::report::full_width;
use super::session::{Session, is_for};
use crate::digest::digest;

impl Session<'_> {
    pub(super) fn sign_input(&self, sign: &Sign) -> Result<Vec<u8>> {
        let algorithm = sign.algorithm;
        if algorithm == Algorithm::Ed25519 {
            return Err(BackendError::MechanismInvalid(
                "a TPM has no Ed25519 keys".to_owned(),
            ));
        }
        let digest = Digest::try_from(digest(sign)?).map_err(answer)?;
        let (signature, width) = self.with_key(
            sign.id,
            Secrecy::None,
            |blob| {
                let key_type = is_for(blob, &[Purpose::Sign], "sign")?;
                scheme(algorithm, key_type)
            },
            |context, handle, (scheme, width)| {
                let signature = context.sign(handle, digest.clone(), *scheme, no_ticket()?)?;
                Ok((signature, *width))
            },
        )?;
        bytes(signature, width)
    }
}

/// How the TPM is to sign, and how long a number in its signature is.
pub(super) fn scheme(algorithm: Algorithm, key_type: KeyType) -> Result<(SignatureScheme, usize)> {
    let sha256 = HashScheme::new(HashingAlgorithm::Sha256);
    let rsa = key_type
        .rsa_bits()
        .and_then(|bits| usize::try_from(bits / 8).ok());
    Ok(match (algorithm, key_type, rsa) {
        (Algorithm::Esp256, KeyType::P256, _) => (
            SignatureScheme::EcDsa {
                hash_scheme: sha256,
            },
            32,
        ),
        (Algorithm::Esp384, KeyType::P384, _) => {
            let hash_scheme = HashScheme::new(HashingAlgorithm::Sha384);
            (SignatureScheme::EcDsa { hash_scheme }, 48)
        }
        (Algorithm::Ps256, _, Some(width)) => (
            SignatureScheme::RsaPss {
                hash_scheme: sha256,
            },
            width,
        ),
        (Algorithm::Rs256, _, Some(width)) => (
            SignatureScheme::RsaSsa {
                hash_scheme: sha256,
            },
            width,
        ),
        (algorithm, key_type, _) => {
            return Err(BackendError::MechanismInvalid(format!(
                "a key of type {key_type} does not sign with {algorithm}"
            )));
        }
    })
}

/// The digest was not made by the TPM, which a key that is not restricted does not want.
pub(super) fn no_ticket() -> std::result::Result<HashcheckTicket, Error> {
    TPMT_TK_HASHCHECK {
        tag: TPM2_ST_HASHCHECK,
        hierarchy: TPM2_RH_NULL,
        digest: Default::default(),
    }
    .try_into()
}

/// A signature in COSE's form.
fn bytes(signature: Signature, width: usize) -> Result<Vec<u8>> {
    match signature {
        Signature::EcDsa(signature) => {
            let r = full_width(signature.signature_r().value(), width)?;
            let s = full_width(signature.signature_s().value(), width)?;
            Ok([r, s].concat())
        }
        Signature::RsaPss(signature) | Signature::RsaSsa(signature) => {
            full_width(signature.signature().value(), width)
        }
        _ => Err(BackendError::DeviceFailed(
            "it made a signature of another kind".to_owned(),
        )),
    }
}
