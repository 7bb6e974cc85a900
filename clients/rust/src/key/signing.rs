//! Keys that sign.

use keyward_protocol::operation::{PublicKey, Sign, SignInput};
use keyward_protocol::{Algorithm, Purpose};

use super::Agent;
use crate::error::Error;

/// A sign key, with the version that was current when it was opened.
///
/// With the feature `signature` it implements `Signer` and `Keypair` for ECDSA, Ed25519 and RSA
/// signatures, and `PrehashSigner` for those of a digest.
#[derive(Clone)]
pub struct SigningKey {
    agent: Agent,
    algorithm: Algorithm,
    public: PublicKey,
}

impl SigningKey {
    pub(super) fn open(agent: &Agent, name: &str) -> Result<Self, Error> {
        let found = agent.describe(name, Purpose::Sign)?;
        let algorithm = found.algorithms.first().copied();
        Ok(Self {
            agent: agent.clone(),
            algorithm: algorithm.ok_or(Error::NoAlgorithm {
                key: found.id.clone(),
            })?,
            public: agent.public_key(&found.id)?,
        })
    }

    /// The same key with another of its algorithms; the agent refuses one that it does not have.
    #[must_use]
    pub fn with_algorithm(mut self, algorithm: Algorithm) -> Self {
        self.algorithm = algorithm;
        self
    }

    /// How it signs.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Its public part, with the id and the version of the key.
    #[must_use]
    pub fn public_key(&self) -> &PublicKey {
        &self.public
    }

    /// Signs a message; the signature has COSE's form (RFC 9053 §2).
    ///
    /// # Errors
    /// See [`Error`]; [`Error::Rotated`] if the key has a new version by now, whose public part is
    /// not the one that this handle shows: open it again.
    pub fn sign_message(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        self.sign_input(SignInput::Message(message.to_vec()))
    }

    /// Signs a digest of the algorithm's own hash; the key needs the format `digest`.
    ///
    /// # Errors
    /// As [`sign_message`](Self::sign_message).
    pub fn sign_digest(&self, digest: &[u8]) -> Result<Vec<u8>, Error> {
        self.sign_input(SignInput::Digest(digest.to_vec()))
    }

    fn sign_input(&self, input: SignInput) -> Result<Vec<u8>, Error> {
        let signature = self.agent.call(Sign {
            key: self.public.key.clone(),
            algorithm: Some(self.algorithm),
            input,
        })?;
        if signature.version != self.public.version {
            return Err(Error::Rotated {
                key: signature.key,
                opened: self.public.version,
                current: signature.version,
            });
        }
        Ok(signature.signature.into())
    }
}
