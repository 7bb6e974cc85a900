//! Keys as values: each knows its agent, its purpose and its public part.
//!
//! A handle is cheap to clone and can be used from several threads. Its requests go over one
//! connection, one at a time; whoever wants many under way uses [`Client::pipeline`] or a client
//! for each thread.

mod agreement;
mod encryption;
#[cfg(feature = "signature")]
mod signature;
mod signing;
mod unwrapping;

use std::sync::{Arc, Mutex, PoisonError};

use keyward_protocol::operation::{Describe, GetPublicKey, KeyDescription, PublicKey};
use keyward_protocol::{Operation, Purpose, Request};

use crate::blocking::Client;
use crate::error::Error;

pub use agreement::AgreementKey;
pub use encryption::{Context, EncryptionKey};
#[cfg(feature = "signature")]
pub use signature::RsaSignature;
pub use signing::SigningKey;
pub use unwrapping::UnwrappingKey;

/// A connection that several handles share.
#[derive(Clone)]
pub struct Agent(Arc<Mutex<Client>>);

impl Agent {
    /// Connects to the agent that the environment names.
    ///
    /// # Errors
    /// The agent can't be reached or is not trusted.
    pub fn connect() -> Result<Self, Error> {
        Client::connect().map(Self::from)
    }

    /// Asks and waits for the answer.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn call<O: Operation + Into<Request>>(&self, operation: O) -> Result<O::Reply, Error> {
        // A client whose thread panicked is as good as before: it notices a broken connection.
        let mut client = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        client.call(operation)
    }

    /// A key that signs.
    ///
    /// # Errors
    /// There is none of this name, or it has another purpose.
    pub fn signing_key(&self, name: &str) -> Result<SigningKey, Error> {
        SigningKey::open(self, name)
    }

    /// A key that agrees on secrets.
    ///
    /// # Errors
    /// There is none of this name, or it has another purpose.
    pub fn agreement_key(&self, name: &str) -> Result<AgreementKey, Error> {
        AgreementKey::open(self, name)
    }

    /// A key that opens what was encrypted to its public part.
    ///
    /// # Errors
    /// There is none of this name, or it has another purpose.
    pub fn unwrapping_key(&self, name: &str) -> Result<UnwrappingKey, Error> {
        UnwrappingKey::open(self, name)
    }

    /// A key that encrypts small data and data keys.
    ///
    /// # Errors
    /// There is none of this name, or it has another purpose.
    pub fn encryption_key(&self, name: &str) -> Result<EncryptionKey, Error> {
        EncryptionKey::open(self, name)
    }

    /// What is known about a key, if it has the purpose.
    fn describe(&self, name: &str, purpose: Purpose) -> Result<KeyDescription, Error> {
        let key = name.to_owned();
        let found = self.call(Describe { key })?;
        if found.purpose == purpose {
            return Ok(found);
        }
        Err(Error::WrongPurpose {
            key: found.id,
            purpose: found.purpose,
            wanted: purpose,
        })
    }

    fn public_key(&self, id: &str) -> Result<PublicKey, Error> {
        self.call(GetPublicKey {
            key: id.to_owned(),
            version: None,
        })
    }
}

impl From<Client> for Agent {
    fn from(client: Client) -> Self {
        Self(Arc::new(Mutex::new(client)))
    }
}
