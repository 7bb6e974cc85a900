//! Keys that open what was encrypted to their public part.

use keyward_protocol::operation::{PublicKey, Unwrap};
use keyward_protocol::{Algorithm, Purpose, SecretBytes};

use super::Agent;
use crate::error::Error;

/// An unwrap key.
#[derive(Clone)]
pub struct UnwrappingKey {
    agent: Agent,
    public: PublicKey,
}

impl UnwrappingKey {
    pub(super) fn open(agent: &Agent, name: &str) -> Result<Self, Error> {
        let found = agent.describe(name, Purpose::Unwrap)?;
        Ok(Self {
            agent: agent.clone(),
            public: agent.public_key(&found.id)?,
        })
    }

    /// Its public part, with the id and the version of the key.
    #[must_use]
    pub fn public_key(&self) -> &PublicKey {
        &self.public
    }

    /// Opens RSAES-OAEP with SHA-256 (RFC 8017 §7.1) by the version that was current when the key
    /// was opened.
    ///
    /// # Errors
    /// See [`Error`]; `unwrap-failed`, whatever makes it not open.
    pub fn unwrap(&self, ciphertext: &[u8]) -> Result<SecretBytes, Error> {
        self.unwrap_with(Algorithm::RsaOaepSha256, ciphertext, &[])
    }

    /// The same with another algorithm of the key, and a label.
    ///
    /// # Errors
    /// As [`unwrap`](Self::unwrap).
    pub fn unwrap_with(
        &self,
        algorithm: Algorithm,
        ciphertext: &[u8],
        label: &[u8],
    ) -> Result<SecretBytes, Error> {
        let unwrapped = self.agent.call(Unwrap {
            key: self.public.key.clone(),
            algorithm: Some(algorithm),
            ciphertext: ciphertext.to_vec().into(),
            label: (!label.is_empty()).then(|| label.to_vec().into()),
            version: Some(self.public.version),
        })?;
        Ok(unwrapped.plaintext)
    }
}
