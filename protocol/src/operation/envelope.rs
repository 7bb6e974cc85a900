//! Envelope encryption: small data and data keys under a key of purpose `encrypt`.
//!
//! What was encrypted carries its key, version and algorithm in its protected header (SPEC.md §12).
//! The context is not in it: whoever decrypts gives the same one. Whatever is wrong (context, key,
//! version, a flipped bit), the answer is one and the same `unwrap-failed`.

use std::collections::BTreeMap;

use minicbor::bytes::ByteVec;
use minicbor::{Decode, Encode};

use crate::algorithm::Algorithm;
use crate::secret::SecretBytes;

/// Encrypts with the current version of a key.
#[derive(Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Encrypt {
    /// The key's id or one of its aliases.
    #[n(0)]
    pub key: String,
    /// What to encrypt, at most 4,096 bytes.
    #[n(1)]
    pub plaintext: SecretBytes,
    /// The encryption context: authenticated, not kept in the ciphertext.
    #[cbor(n(2), with = "super::tags::optional", has_nil)]
    pub context: Option<BTreeMap<String, String>>,
    /// The algorithm; the key's first if absent.
    #[n(3)]
    pub algorithm: Option<Algorithm>,
}

/// What was made of a plaintext.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Encrypted {
    /// The ciphertext (SPEC.md §12).
    #[n(0)]
    pub ciphertext: ByteVec,
    /// The id of the key.
    #[n(1)]
    pub key: String,
    /// The version of the key.
    #[n(2)]
    pub version: u32,
}

/// Opens a ciphertext of `encrypt`, `generate-data-key` or `re-encrypt`.
#[derive(Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Decrypt {
    /// The ciphertext.
    #[n(0)]
    pub ciphertext: ByteVec,
    /// The key that it must be of; absent: the one that it names.
    #[n(1)]
    pub key: Option<String>,
    /// The context that it was encrypted with.
    #[cbor(n(2), with = "super::tags::optional", has_nil)]
    pub context: Option<BTreeMap<String, String>>,
}

/// What was inside.
#[derive(Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Decrypted {
    /// The plaintext.
    #[n(0)]
    pub plaintext: SecretBytes,
    /// The id of the key.
    #[n(1)]
    pub key: String,
    /// The version of the key that opened it.
    #[n(2)]
    pub version: u32,
}

/// Makes random bytes and encrypts them with the current version of a key.
#[derive(Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct GenerateDataKey {
    /// The key's id or one of its aliases.
    #[n(0)]
    pub key: String,
    /// The context of its ciphertext.
    #[cbor(n(1), with = "super::tags::optional", has_nil)]
    pub context: Option<BTreeMap<String, String>>,
    /// How many bytes, 1 to 1,024; 32 (AES-256) if absent.
    #[n(2)]
    pub length: Option<u32>,
    /// Whether to answer the data key itself too.
    #[n(3)]
    pub with_plaintext: bool,
}

/// A data key.
#[derive(Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct DataKey {
    /// The data key itself, if it was asked for.
    #[n(0)]
    pub plaintext: Option<SecretBytes>,
    /// The data key encrypted.
    #[n(1)]
    pub ciphertext: ByteVec,
    /// The id of the key.
    #[n(2)]
    pub key: String,
    /// The version of the key.
    #[n(3)]
    pub version: u32,
}

/// Decrypts, and encrypts with the current version of a key, inside the agent.
#[derive(Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct ReEncrypt {
    /// The ciphertext.
    #[n(0)]
    pub ciphertext: ByteVec,
    /// The key that it must be of; absent: the one that it names.
    #[n(1)]
    pub source_key: Option<String>,
    /// The context that it was encrypted with.
    #[cbor(n(2), with = "super::tags::optional", has_nil)]
    pub source_context: Option<BTreeMap<String, String>>,
    /// The key to encrypt with: its id or one of its aliases; absent: the one that it was of.
    #[n(3)]
    pub key: Option<String>,
    /// The new context; absent: the one that it was encrypted with.
    #[cbor(n(4), with = "super::tags::optional", has_nil)]
    pub context: Option<BTreeMap<String, String>>,
}

/// What was encrypted again.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct ReEncrypted {
    /// The new ciphertext.
    #[n(0)]
    pub ciphertext: ByteVec,
    /// The id of the key that it is of now.
    #[n(1)]
    pub key: String,
    /// The version of that key.
    #[n(2)]
    pub version: u32,
    /// The id of the key that it was of.
    #[n(3)]
    pub source_key: String,
    /// The version of that key.
    #[n(4)]
    pub source_version: u32,
}

/// Opens what was sealed to a P-256 key in HPKE's base mode (RFC 9180 §6.1), with one message.
#[derive(Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct HpkeOpen {
    /// The key's id or one of its aliases; its purpose is `encrypt`.
    #[n(0)]
    pub key: String,
    /// [`Algorithm::Hpke7`] or [`Algorithm::Hpke0`]; the first if absent.
    #[n(1)]
    pub algorithm: Option<Algorithm>,
    /// The encapsulated key: a point, uncompressed (SEC 1 §2.3.3).
    #[n(2)]
    pub enc: ByteVec,
    /// The ciphertext with its tag.
    #[n(3)]
    pub ciphertext: ByteVec,
    /// What the exchange is for; empty if absent.
    #[n(4)]
    pub info: Option<ByteVec>,
    /// What was authenticated beside; empty if absent.
    #[n(5)]
    pub aad: Option<ByteVec>,
    /// The version of the key; the current one if absent.
    #[n(6)]
    pub version: Option<u32>,
}
