//! `ecdh`: the raw secret, or through HKDF inside the agent.

use std::rc::Rc;

use hkdf::Hkdf;
use keyward_backend::message::{self, Outcome, Work};
use keyward_protocol::operation::{Ecdh, Kdf, SharedSecret};
use keyward_protocol::{Algorithm, CoseKey, ErrorCode, Failure, Purpose, SecretBytes};
use sha2::{Sha256, Sha384};

use super::place::Repeat;
use super::{Use, check_state, misbehaved, numbered, protecting, usable};
use crate::registry::{Key, Version};
use crate::request::{Entry, With};
use crate::worker::Token;

impl With<'_> {
    pub(in crate::request) async fn ecdh(
        &self,
        key: &Key,
        op: Ecdh,
        entry: &mut Entry,
    ) -> Result<SharedSecret, Failure> {
        let wanted = op.kdf.as_ref().map_or(Algorithm::EcdhRaw, |k| k.algorithm);
        let algorithm = usable(key, Purpose::Agree, Some(wanted), Use::Protect)?;
        // An older version agrees with who has agreed with it before.
        let version = match op.version {
            None => protecting(key)?,
            some => numbered(key, some)?,
        };
        check_state(key, version.state, Use::Process)?;
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
        let z = self.derive(key, version, op.peer, entry).await?;
        let secret = match &op.kdf {
            Some(kdf) => expand(&z, kdf)?,
            None => z,
        };
        Ok(SharedSecret {
            secret,
            key: key.id_text.clone(),
            version: version.number,
        })
    }

    /// The x coordinate that the version and a peer on its curve share, at full width.
    pub(super) async fn derive(
        &self,
        key: &Key,
        version: &Version,
        peer: CoseKey,
        entry: &mut Entry,
    ) -> Result<SecretBytes, Failure> {
        let id = version.id;
        let work = Rc::new(Work::Derive(message::Derive { id, peer }));
        let check = |token: &Token, outcome| match outcome {
            Outcome::Secret(z) if Some(z.len()) == key.key_type.coordinate_length() => Ok(z),
            _ => Err(misbehaved(token)),
        };
        self.on_token(version, Repeat::Always, entry, || Ok(work.clone()), check)
            .await
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
fn expand(z: &SecretBytes, kdf: &Kdf) -> Result<SecretBytes, Failure> {
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
