//! `mac` and `verify-mac`.

use std::rc::Rc;

use keyward_backend::message::{self, Outcome, Work};
use keyward_protocol::operation::{Mac, MacTag, Verified, VerifyMac};
use keyward_protocol::{Algorithm, Failure, Purpose, SecretBytes};
use minicbor::bytes::ByteVec;
use subtle::ConstantTimeEq as _;

use super::place::Repeat;
use super::{Use, check_state, misbehaved, numbered, protecting, usable};
use crate::registry::{Key, Version};
use crate::request::{Entry, With};
use crate::worker::Token;

impl With<'_> {
    pub(in crate::request) async fn mac(
        &self,
        key: &Key,
        op: Mac,
        entry: &mut Entry,
    ) -> Result<MacTag, Failure> {
        let algorithm = usable(key, Purpose::Mac, None, Use::Protect)?;
        let version = protecting(key)?;
        let tag = self.code(version, algorithm, op.message, entry).await?;
        Ok(MacTag {
            tag,
            algorithm,
            key: key.id_text.clone(),
            version: version.number,
        })
    }

    pub(in crate::request) async fn verify_mac(
        &self,
        key: &Key,
        op: VerifyMac,
        entry: &mut Entry,
    ) -> Result<Verified, Failure> {
        let algorithm = usable(key, Purpose::Mac, None, Use::Process)?;
        let version = numbered(key, op.version)?;
        check_state(key, version.state, Use::Process)?;
        let tag = self.code(version, algorithm, op.message, entry).await?;
        Ok(Verified {
            // A shortened one is not equal.
            valid: tag.ct_eq(&op.tag).into(),
            version: version.number,
        })
    }

    async fn code(
        &self,
        version: &Version,
        algorithm: Algorithm,
        message: SecretBytes,
        entry: &mut Entry,
    ) -> Result<ByteVec, Failure> {
        entry.algorithm = Some(algorithm);
        entry.length = Some(message.len());
        let work = Rc::new(Work::Mac(message::Mac {
            id: version.id,
            algorithm,
            message,
        }));
        let check = |token: &Token, outcome| match outcome {
            Outcome::Mac(tag) if tag.len() == tag_length(algorithm) => Ok(tag),
            _ => Err(misbehaved(token)),
        };
        self.on_token(version, Repeat::Always, entry, || Ok(work.clone()), check)
            .await
    }
}

/// How long a whole code is.
const fn tag_length(algorithm: Algorithm) -> usize {
    match algorithm {
        Algorithm::HmacSha384 => 48,
        Algorithm::HmacSha512 => 64,
        _ => 32,
    }
}
