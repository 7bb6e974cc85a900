//! Keys that agree on secrets.

use keyward_protocol::operation::{Ecdh, Kdf, PublicKey};
use keyward_protocol::{Algorithm, CoseKey, Purpose, SecretBytes};

use super::Agent;
use crate::error::Error;

/// An agree key.
#[derive(Clone)]
pub struct AgreementKey {
    agent: Agent,
    public: PublicKey,
}

impl AgreementKey {
    pub(super) fn open(agent: &Agent, name: &str) -> Result<Self, Error> {
        let found = agent.describe(name, Purpose::Agree)?;
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

    /// The secret shared with a peer, through HKDF-SHA256 (RFC 5869) inside the agent. `info` says
    /// what it is for: two uses with different words get independent secrets.
    ///
    /// # Errors
    /// See [`Error`]; `invalid` for a peer on another curve.
    pub fn agree(
        &self,
        peer: &CoseKey,
        salt: Option<&[u8]>,
        info: &[u8],
        length: u32,
    ) -> Result<SecretBytes, Error> {
        self.derive(
            peer,
            Some(Kdf {
                algorithm: Algorithm::EcdhHkdfSha256,
                salt: salt.map(|salt| salt.to_vec().into()),
                info: Some(info.to_vec().into()),
                length,
            }),
        )
    }

    /// The raw shared secret: the x coordinate (SP 800-56A §5.7.1.2). It is not uniform; derive
    /// keys from it, and rather [`agree`](Self::agree), which never gives it out.
    ///
    /// # Errors
    /// As [`agree`](Self::agree).
    pub fn agree_raw(&self, peer: &CoseKey) -> Result<SecretBytes, Error> {
        self.derive(peer, None)
    }

    fn derive(&self, peer: &CoseKey, kdf: Option<Kdf>) -> Result<SecretBytes, Error> {
        let shared = self.agent.call(Ecdh {
            key: self.public.key.clone(),
            peer: peer.clone(),
            kdf,
            version: Some(self.public.version),
        })?;
        Ok(shared.secret)
    }
}
