//! AES-GCM (SP 800-38D) with an IV of 96 bits and a tag of 128.

use cryptoki::mechanism::Mechanism;
use cryptoki::mechanism::aead::GcmParams;
use keyward_backend::message::{Seal, Sealed, Unseal};
use keyward_backend::{BackendError, Result};
use keyward_protocol::{Algorithm, KeyType, SecretBytes};

use super::error::Attempt;
use super::opening::{finish, take};
use super::session::{Key, Session};

const TAG_BITS: u64 = 128;
const TAG: usize = 16;

impl Session<'_> {
    pub(super) fn seal_gcm(&mut self, seal: &Seal) -> Result<Sealed> {
        self.with_key(seal.id, |session, key| {
            is_for(key, seal.algorithm)?;
            let mut iv = *seal.iv;
            let params = GcmParams::new(&mut iv, &seal.aad, TAG_BITS.into())?;
            let plaintext = seal.plaintext.expose();
            let ciphertext = session.encrypt(&Mechanism::AesGcm(params), key.handle, plaintext)?;
            let length = plaintext.len().saturating_add(TAG);
            if ciphertext.len() != length {
                return Err(BackendError::DeviceFailed(format!(
                    "it made a ciphertext of {} bytes where {length} are right",
                    ciphertext.len()
                ))
                .into());
            }
            // A token that makes its own IVs has written one over ours.
            Ok(Sealed {
                iv: iv.into(),
                ciphertext: ciphertext.into(),
            })
        })
    }

    pub(super) fn unseal_gcm(&mut self, unseal: &Unseal) -> Result<SecretBytes> {
        let token = self.token;
        self.with_key(unseal.id, |session, key| {
            is_for(key, unseal.algorithm)?;
            let Some(length) = unseal.ciphertext.len().checked_sub(TAG) else {
                return Err(BackendError::UnwrapFailed.into());
            };
            let mut iv = *unseal.iv;
            let params = GcmParams::new(&mut iv, &unseal.aad, TAG_BITS.into())?;
            let opened =
                session.decrypt(&Mechanism::AesGcm(params), key.handle, &unseal.ciphertext);
            let opened = finish(token, session, opened.map(take))?;
            if opened.len() != length {
                return Err(BackendError::DeviceFailed(format!(
                    "it opened {} bytes where {length} are right",
                    opened.len()
                ))
                .into());
            }
            Ok(opened)
        })
    }
}

/// Whether the key is one for the algorithm.
fn is_for(key: &Key, algorithm: Algorithm) -> Attempt<()> {
    match (algorithm, key.kind) {
        (Algorithm::A128Gcm, KeyType::Aes128) | (Algorithm::A256Gcm, KeyType::Aes256) => Ok(()),
        (algorithm, kind) => Err(BackendError::MechanismInvalid(format!(
            "a key of type {kind} does not encrypt with {algorithm}"
        ))
        .into()),
    }
}
