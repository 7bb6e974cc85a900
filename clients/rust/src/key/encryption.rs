//! Keys that encrypt small data and data keys.

use std::collections::BTreeMap;

use keyward_protocol::operation::{Decrypt, Encrypt, GenerateDataKey};
use keyward_protocol::{Purpose, SecretBytes};

use super::Agent;
use crate::error::Error;

/// Words that are bound to a ciphertext without being in it: whoever decrypts gives the same ones.
pub type Context = BTreeMap<String, String>;

/// An encrypt key.
#[derive(Clone)]
pub struct EncryptionKey {
    agent: Agent,
    id: String,
}

impl EncryptionKey {
    pub(super) fn open(agent: &Agent, name: &str) -> Result<Self, Error> {
        let found = agent.describe(name, Purpose::Encrypt)?;
        Ok(Self {
            agent: agent.clone(),
            id: found.id,
        })
    }

    /// The id of the key.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Encrypts at most 4,096 bytes. What is larger is encrypted under a
    /// [data key](Self::data_key).
    ///
    /// # Errors
    /// See [`Error`].
    pub fn encrypt(&self, plaintext: &SecretBytes, context: &Context) -> Result<Vec<u8>, Error> {
        let encrypted = self.agent.call(Encrypt {
            key: self.id.clone(),
            plaintext: SecretBytes::copy_from(plaintext.expose()),
            context: Some(context.clone()),
            algorithm: None,
        })?;
        Ok(encrypted.ciphertext.into())
    }

    /// Opens what [`encrypt`](Self::encrypt) or [`data_key`](Self::data_key) made with any version
    /// of this key.
    ///
    /// # Errors
    /// See [`Error`]; `unwrap-failed`, whatever makes it not open.
    pub fn decrypt(&self, ciphertext: &[u8], context: &Context) -> Result<SecretBytes, Error> {
        let decrypted = self.agent.call(Decrypt {
            ciphertext: ciphertext.to_vec().into(),
            key: Some(self.id.clone()),
            context: Some(context.clone()),
        })?;
        Ok(decrypted.plaintext)
    }

    /// A new random data key, and its ciphertext to be kept beside what it encrypts.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn data_key(
        &self,
        length: u32,
        context: &Context,
    ) -> Result<(SecretBytes, Vec<u8>), Error> {
        let made = self.agent.call(GenerateDataKey {
            key: self.id.clone(),
            context: Some(context.clone()),
            length: Some(length),
            with_plaintext: true,
        })?;
        let plaintext = made.plaintext.filter(|key| key.len() == length as usize);
        let plaintext = plaintext.ok_or(Error::NotWhatWasAsked {
            operation: keyward_protocol::OperationCode::GenerateDataKey,
        })?;
        Ok((plaintext, made.ciphertext.into()))
    }
}
