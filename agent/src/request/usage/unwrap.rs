//! `unwrap`: RSAES-OAEP.

use keyward_backend::message::{self, Outcome, Work};
use keyward_protocol::operation::{Unwrap, Unwrapped};
use keyward_protocol::{ErrorCode, Failure, Purpose};
use sha2::{Digest, Sha256};

use super::{misbehaved, numbered, usable};
use crate::registry::Key;
use crate::request::{Entry, With};
use crate::worker::failure::unwrap_failed;

impl With<'_> {
    pub(in crate::request) async fn unwrap(
        &self,
        key: &Key,
        op: Unwrap,
        entry: &mut Entry,
    ) -> Result<Unwrapped, Failure> {
        let uid = self.origin.caller.uid;
        let algorithm = usable(key, Purpose::Unwrap, op.algorithm)?;
        let version = numbered(key, op.version)?;
        entry.algorithm = Some(algorithm);
        entry.digest = Some(Sha256::digest(&*op.ciphertext).into());
        if let Some(wait) = self.agent.unwrap_failures.wait(uid) {
            return Err(Failure::new(
                ErrorCode::Busy,
                format!(
                    "too many ciphertexts of yours did not open; try again in {} seconds",
                    wait.as_secs().saturating_add(1)
                ),
            ));
        }
        let work = Work::Unwrap(message::Unwrap {
            id: version.id,
            algorithm,
            ciphertext: op.ciphertext,
            label: op.label.unwrap_or_else(|| Vec::new().into()),
        });
        let token = self.place(version, entry)?;
        let plaintext = match token.call(self.authorised, work, self.deadline).await {
            Ok(Outcome::Secret(plaintext)) => plaintext,
            Ok(_) => return Err(misbehaved(token)),
            Err(failure) => {
                if failure.code == ErrorCode::UnwrapFailed {
                    self.agent.unwrap_failures.failed(uid);
                    return Err(unwrap_failed());
                }
                return Err(failure);
            }
        };
        let most = key.key_type.rsa_bits().map_or(0, |bits| bits / 8) as usize;
        if plaintext.len() >= most {
            return Err(misbehaved(token));
        }
        Ok(Unwrapped {
            plaintext,
            key: key.id_text.clone(),
            version: version.number,
        })
    }
}
