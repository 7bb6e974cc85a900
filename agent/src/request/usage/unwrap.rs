//! `unwrap`: RSAES-OAEP by unwrap keys, AES-KW and AES-KWP by wrap keys.

use std::rc::Rc;

use keyward_backend::message::{self, Outcome, Work};
use keyward_protocol::operation::{Unwrap, Unwrapped};
use keyward_protocol::{Algorithm, ErrorCode, Failure, Purpose, SecretBytes};
use sha2::{Digest, Sha256};

use super::place::Repeat;
use super::wrap::unwrapped_length;
use super::{Use, check_state, misbehaved, numbered, usable};
use crate::registry::{Key, Version};
use crate::request::{Entry, With};
use crate::worker::Token;

impl With<'_> {
    pub(in crate::request) async fn unwrap(
        &self,
        key: &Key,
        op: Unwrap,
        entry: &mut Entry,
    ) -> Result<Unwrapped, Failure> {
        let purpose = match key.purpose {
            Purpose::Wrap => Purpose::Wrap,
            _ => Purpose::Unwrap,
        };
        let algorithm = usable(key, purpose, op.algorithm, Use::Process)?;
        let version = numbered(key, op.version)?;
        check_state(key, version.state, Use::Process)?;
        entry.algorithm = Some(algorithm);
        entry.digest = Some(Sha256::digest(&*op.ciphertext).into());
        let label = op.label.unwrap_or_else(|| Vec::new().into());
        if purpose == Purpose::Wrap && !label.is_empty() {
            return Err(Failure::new(
                ErrorCode::Invalid,
                format!("{algorithm} has no label"),
            ));
        }
        self.may_try_to_open()?;
        let unwrap = message::Unwrap {
            id: version.id,
            algorithm,
            ciphertext: op.ciphertext,
            label,
        };
        let plaintext = self.unwrap_with(key, version, unwrap, entry).await;
        Ok(Unwrapped {
            plaintext: self.opened(plaintext)?,
            key: key.id_text.clone(),
            version: version.number,
        })
    }

    /// Has the version open what was encrypted to it or wrapped by it.
    pub(super) async fn unwrap_with(
        &self,
        key: &Key,
        version: &Version,
        unwrap: message::Unwrap,
        entry: &mut Entry,
    ) -> Result<SecretBytes, Failure> {
        let (algorithm, length) = (unwrap.algorithm, unwrap.ciphertext.len());
        let fits = |plaintext: usize| match algorithm {
            Algorithm::RsaOaepSha256 | Algorithm::RsaOaepSha1 => {
                let most = key.key_type.rsa_bits().map_or(0, |bits| bits / 8) as usize;
                plaintext < most
            }
            _ => unwrapped_length(algorithm, length).contains(&plaintext),
        };
        let work = Rc::new(Work::Unwrap(unwrap));
        let check = |token: &Token, outcome| match outcome {
            Outcome::Secret(plaintext) if fits(plaintext.len()) => Ok(plaintext),
            _ => Err(misbehaved(token)),
        };
        self.on_token(version, Repeat::Always, entry, || Ok(work.clone()), check)
            .await
    }
}
