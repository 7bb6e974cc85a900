//! HMAC (FIPS 198-1), whole.

use cryptoki::mechanism::Mechanism;
use keyward_backend::message::Mac;
use keyward_backend::{BackendError, Result};
use keyward_protocol::{Algorithm, KeyType};

use super::error::Attempt;
use super::session::{Key, Session};

impl Session<'_> {
    pub(super) fn make_mac(&mut self, mac: &Mac) -> Result<Vec<u8>> {
        self.with_key(mac.id, |session, key| {
            let (mechanism, length) = mechanism(mac.algorithm, key)?;
            let tag = session.sign(&mechanism, key.handle, mac.message.expose())?;
            if tag.len() != length {
                return Err(BackendError::DeviceFailed(format!(
                    "it made an HMAC of {} bytes where {length} are right",
                    tag.len()
                ))
                .into());
            }
            Ok(tag)
        })
    }
}

/// The mechanism and the length of what it makes, if the key is one for the algorithm.
fn mechanism(algorithm: Algorithm, key: &Key) -> Attempt<(Mechanism<'static>, usize)> {
    match (algorithm, key.kind) {
        (Algorithm::HmacSha256, KeyType::HmacSha256) => Ok((Mechanism::Sha256Hmac, 32)),
        (Algorithm::HmacSha384, KeyType::HmacSha384) => Ok((Mechanism::Sha384Hmac, 48)),
        (Algorithm::HmacSha512, KeyType::HmacSha512) => Ok((Mechanism::Sha512Hmac, 64)),
        (algorithm, kind) => Err(BackendError::MechanismInvalid(format!(
            "a key of type {kind} makes no {algorithm}"
        ))
        .into()),
    }
}
