//! `encrypt`, `decrypt`, `generate-data-key` and `re-encrypt`.

mod open;
mod seal;

use std::collections::BTreeMap;
use std::rc::Rc;

use keyward_protocol::ciphertext::Context;
use keyward_protocol::operation::{
    DataKey, Decrypt, Decrypted, Encrypt, Encrypted, GenerateDataKey, OperationCode, ReEncrypt,
    ReEncrypted,
};
use keyward_protocol::{ErrorCode, Failure, Purpose, SecretBytes};
use sha2::{Digest, Sha256};

use self::open::Opens;
use super::{Use, usable};
use crate::registry::Key;
use crate::request::{Entry, With, destruction, not_found};

/// The most bytes that are encrypted; what is larger is encrypted with a data key.
const MOST_PLAINTEXT: usize = 4096;
/// The longest data key.
const MOST_DATA_KEY: u32 = 1024;
/// How long a data key is if nobody says.
const DATA_KEY: u32 = 32;

impl With<'_> {
    pub(in crate::request) async fn encrypt(
        &self,
        key: &Key,
        op: Encrypt,
        entry: &mut Entry,
    ) -> Result<Encrypted, Failure> {
        let algorithm = usable(key, Purpose::Encrypt, op.algorithm, Use::Protect)?;
        let length = op.plaintext.len();
        entry.length = Some(length);
        if length > MOST_PLAINTEXT {
            return Err(Failure::new(
                ErrorCode::Invalid,
                format!("{length} bytes, where {MOST_PLAINTEXT} are the most"),
            )
            .hint("encrypt larger data with a data key: keyward encrypt does so with files"));
        }
        let context = context(op.context)?;
        let sealed = self.seal(key, algorithm, &context, op.plaintext, entry);
        let (ciphertext, version) = sealed.await?;
        Ok(Encrypted {
            ciphertext: ciphertext.into(),
            key: key.id_text.clone(),
            version,
        })
    }

    pub(in crate::request) async fn generate_data_key(
        &self,
        key: &Key,
        op: GenerateDataKey,
        entry: &mut Entry,
    ) -> Result<DataKey, Failure> {
        let algorithm = usable(key, Purpose::Encrypt, None, Use::Protect)?;
        let length = op.length.unwrap_or(DATA_KEY);
        entry.length = Some(length as usize);
        if !(1..=MOST_DATA_KEY).contains(&length) {
            return Err(Failure::new(
                ErrorCode::Invalid,
                format!("a data key of {length} bytes, where 1 to {MOST_DATA_KEY} can be had"),
            ));
        }
        let context = context(op.context)?;
        let mut data_key = SecretBytes::zeroed(length as usize);
        seal::fill(data_key.expose_mut())?;
        let plaintext = op
            .with_plaintext
            .then(|| SecretBytes::copy_from(data_key.expose()));
        let sealed = self.seal(key, algorithm, &context, data_key, entry);
        let (ciphertext, version) = sealed.await?;
        Ok(DataKey {
            plaintext,
            ciphertext: ciphertext.into(),
            key: key.id_text.clone(),
            version,
        })
    }

    /// `key` is the one that the caller or the ciphertext names, if there is one.
    pub(in crate::request) async fn decrypt(
        &self,
        key: Option<Rc<Key>>,
        op: Decrypt,
        entry: &mut Entry,
    ) -> Result<Decrypted, Failure> {
        entry.digest = Some(Sha256::digest(&*op.ciphertext).into());
        let context = context(op.context)?;
        let opens = match op.key {
            Some(_) => Opens::Named,
            None => Opens::Found,
        };
        let opened = self.open(key.as_deref(), opens, &op.ciphertext, &context, entry);
        let opened = opened.await?;
        Ok(Decrypted {
            plaintext: opened.plaintext,
            key: opened.key,
            version: opened.version,
        })
    }

    /// `source` is the key that the caller or the ciphertext names, if there is one.
    pub(in crate::request) async fn re_encrypt(
        &self,
        source: Option<Rc<Key>>,
        op: ReEncrypt,
        entry: &mut Entry,
    ) -> Result<ReEncrypted, Failure> {
        entry.digest = Some(Sha256::digest(&*op.ciphertext).into());
        let old_context = context(op.source_context)?;
        let new_context = match op.context {
            None => old_context.clone(),
            some => context(some)?,
        };
        let target = match &op.key {
            Some(name) => {
                let key = self.agent.registry.borrow().key(name);
                let key = key.ok_or_else(|| not_found(name))?;
                destruction::refuse(self.agent, &key, OperationCode::ReEncrypt)?;
                Some(key)
            }
            None => source.clone(),
        };
        // Nothing is opened that can't be closed again.
        let algorithm = match &target {
            Some(key) if op.key.is_some() || key.purpose == Purpose::Encrypt => {
                Some(usable(key, Purpose::Encrypt, None, Use::Protect)?)
            }
            _ => None,
        };
        let opens = match op.source_key {
            Some(_) => Opens::NamedToReEncrypt,
            None => Opens::FoundToReEncrypt,
        };
        let source = source.as_deref();
        let opened = self.open(source, opens, &op.ciphertext, &old_context, entry);
        let opened = opened.await?;
        let (Some(target), Some(algorithm)) = (target, algorithm) else {
            return Err(self.did_not_open());
        };
        // The record is of the key that opened, with the other one in its words.
        let mut sealing = Entry::default();
        let sealed = self.seal(
            &target,
            algorithm,
            &new_context,
            opened.plaintext,
            &mut sealing,
        );
        let sealed = sealed.await;
        entry.note(&format!(
            "encrypted again with key {}{}{}",
            target.id_text,
            sealing
                .version
                .map_or(String::new(), |id| format!(" version {}", id.uuid())),
            sealing
                .token
                .map_or(String::new(), |token| format!(" on {token}")),
        ));
        if let Some(detail) = sealing.detail {
            entry.note(&detail);
        }
        let (ciphertext, version) = sealed?;
        Ok(ReEncrypted {
            ciphertext: ciphertext.into(),
            key: target.id_text.clone(),
            version,
            source_key: opened.key,
            source_version: opened.version,
        })
    }
}

fn context(entries: Option<BTreeMap<String, String>>) -> Result<Context, Failure> {
    Context::new(entries.unwrap_or_default())
        .map_err(|error| Failure::new(ErrorCode::Invalid, error.to_string()))
}
