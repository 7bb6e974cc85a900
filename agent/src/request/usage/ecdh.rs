//! `ecdh`: the raw secret, or through HKDF inside the agent.

use hkdf::Hkdf;
use keyward_backend::message::{self, Outcome, Work};
use keyward_protocol::operation::{Ecdh, Kdf, SharedSecret};
use keyward_protocol::{Algorithm, ErrorCode, Failure, Purpose, SecretBytes};
use sha2::{Sha256, Sha384};

use super::{misbehaved, numbered, usable};
use crate::registry::Key;
use crate::request::{Entry, With};

impl With<'_> {
    pub(in crate::request) async fn ecdh(
        &self,
        key: &Key,
        op: Ecdh,
        entry: &mut Entry,
    ) -> Result<SharedSecret, Failure> {
        let wanted = op.kdf.as_ref().map_or(Algorithm::EcdhRaw, |k| k.algorithm);
        let algorithm = usable(key, Purpose::Agree, Some(wanted))?;
        let version = numbered(key, op.version)?;
        entry.algorithm = Some(algorithm);
        if op.peer.key_type() != Some(key.key_type) {
            return Err(Failure::new(
                ErrorCode::Invalid,
                format!(
                    "the peer's key is not on the curve of this key, {}",
                    key.key_type
                ),
            ));
        }
        if let Some(kdf) = &op.kdf {
            check_kdf_length(kdf)?;
        }
        let work = Work::Derive(message::Derive {
            id: version.id,
            peer: op.peer,
        });
        let token = self.place(version, entry)?;
        let Outcome::Secret(z) = token.call(self.authorised, work, self.deadline).await? else {
            return Err(misbehaved(token));
        };
        if Some(z.len()) != key.key_type.coordinate_length() {
            return Err(misbehaved(token));
        }
        let secret = match &op.kdf {
            Some(kdf) => derive(&z, kdf)?,
            None => z,
        };
        Ok(SharedSecret {
            secret,
            key: key.id_text.clone(),
            version: version.number,
        })
    }
}

fn check_kdf_length(kdf: &Kdf) -> Result<(), Failure> {
    let most = match kdf.algorithm {
        Algorithm::EcdhHkdfSha384 => 255 * 48,
        _ => 255 * 32,
    };
    if (1..=most).contains(&kdf.length) {
        return Ok(());
    }
    Err(Failure::new(
        ErrorCode::Invalid,
        format!(
            "{} bytes, where {} gives 1 to {most}",
            kdf.length, kdf.algorithm
        ),
    ))
}

/// HKDF (RFC 5869) of the shared secret, which is wiped.
fn derive(z: &SecretBytes, kdf: &Kdf) -> Result<SecretBytes, Failure> {
    let salt = kdf.salt.as_ref().map(|salt| salt.as_slice());
    let info = kdf.info.as_ref().map_or(&[][..], |info| info.as_slice());
    let mut secret = SecretBytes::zeroed(kdf.length as usize);
    let okm = secret.expose_mut();
    let derived = match kdf.algorithm {
        Algorithm::EcdhHkdfSha384 => Hkdf::<Sha384>::new(salt, z.expose()).expand(info, okm),
        _ => Hkdf::<Sha256>::new(salt, z.expose()).expand(info, okm),
    };
    derived.map_err(|_| Failure::new(ErrorCode::Invalid, "a length that HKDF can't give"))?;
    Ok(secret)
}

#[cfg(test)]
mod tests;
