//! RSAES-OAEP: the raw RSA operation in the card, and the decoding here.

use keyward_backend::message::Unwrap;
use keyward_backend::{BackendError, Result};
use keyward_protocol::{Algorithm, CoseKey, Purpose, SecretBytes};
use sha1::Sha1;
use sha2::Sha256;

use super::session::{Input, Session, is_for};
use crate::oaep;

impl Session<'_> {
    pub(super) fn unwrap_oaep(&self, unwrap: &Unwrap) -> Result<SecretBytes> {
        let decode = match unwrap.algorithm {
            Algorithm::RsaOaepSha256 => oaep::decode::<Sha256>,
            Algorithm::RsaOaepSha1 => oaep::decode::<Sha1>,
            other => {
                return Err(BackendError::MechanismInvalid(format!(
                    "a PIV card does not unwrap with {other}"
                )));
            }
        };
        let (output, key) = self.use_key(unwrap.id, |key| {
            is_for(key, &[Purpose::Unwrap, Purpose::Encrypt], "unwrap")?;
            match &key.public {
                CoseKey::Rsa { n, .. } => {
                    Ok(Input::Challenge(oaep::in_range(&unwrap.ciphertext, n)))
                }
                _ => Err(BackendError::MechanismInvalid(format!(
                    "a key of type {} does not unwrap",
                    key.key_type
                ))),
            }
        })?;
        let width = match &key.public {
            CoseKey::Rsa { n, .. } => n.len(),
            _ => output.len(),
        };
        let encoded = oaep::full_width(&output, width);
        decode(encoded.expose(), &unwrap.label)
            .map_err(|oaep::DecodeFailed| BackendError::UnwrapFailed)
    }
}
