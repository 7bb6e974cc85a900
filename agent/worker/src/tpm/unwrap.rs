//! RSAES-OAEP: the raw RSA operation in the TPM, and the decoding here.
//!
//! The TPM can decode OAEP itself, but only with a label that ends in a zero byte, and what other
//! programs encrypt has none or another.

use keyward_backend::message::Unwrap;
use keyward_backend::{BackendError, Result};
use keyward_protocol::{Algorithm, CoseKey, Purpose, SecretBytes};
use sha1::Sha1;
use sha2::Sha256;
use tss_esapi::structures::{Data, PublicKeyRsa, RsaDecryptionScheme};

use super::device::Secrecy;
use super::session::{Session, is_for};
use crate::oaep;

impl Session<'_> {
    pub(super) fn unwrap_oaep(&self, unwrap: &Unwrap) -> Result<SecretBytes> {
        let decode = match unwrap.algorithm {
            Algorithm::RsaOaepSha256 => oaep::decode::<Sha256>,
            Algorithm::RsaOaepSha1 => oaep::decode::<Sha1>,
            other => {
                return Err(BackendError::MechanismInvalid(format!(
                    "a TPM does not unwrap with {other}"
                )));
            }
        };
        let encoded = self.with_key(
            unwrap.id,
            Secrecy::Answer,
            |blob| {
                is_for(blob, &[Purpose::Unwrap, Purpose::Encrypt], "unwrap")?;
                match &blob.key {
                    Some(CoseKey::Rsa { n, .. }) => {
                        Ok((oaep::in_range(&unwrap.ciphertext, n), n.len()))
                    }
                    _ => Err(BackendError::MechanismInvalid(format!(
                        "a key of type {} does not unwrap",
                        blob.key_type
                    ))),
                }
            },
            |context, handle, (ciphertext, width)| {
                let ciphertext = PublicKeyRsa::try_from(ciphertext.as_slice())?;
                let raw = context.rsa_decrypt(
                    handle,
                    ciphertext,
                    RsaDecryptionScheme::Null,
                    Data::default(),
                )?;
                Ok(oaep::full_width(raw.value(), *width))
            },
        )?;
        decode(encoded.expose(), &unwrap.label)
            .map_err(|oaep::DecodeFailed| BackendError::UnwrapFailed)
    }
}
