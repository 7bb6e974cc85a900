//! Keys wrapped by keys, and message authentication codes.

use minicbor::bytes::ByteVec;
use minicbor::{Decode, Encode};

use crate::algorithm::Algorithm;
use crate::secret::SecretBytes;

/// Wraps a key's bytes with the current version of a wrap key; `unwrap` opens them.
#[derive(Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Wrap {
    /// The key's id or one of its aliases.
    #[n(0)]
    pub key: String,
    /// The algorithm; the key's first if absent.
    #[n(1)]
    pub algorithm: Option<Algorithm>,
    /// What to wrap, 1 to 4,096 bytes; for KW a multiple of 8 and at least 16 (RFC 3394 §2).
    #[n(2)]
    pub plaintext: SecretBytes,
}

/// A wrapped key.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Wrapped {
    /// The wrapped bytes, as RFC 3394 or RFC 5649 make them.
    #[n(0)]
    pub ciphertext: ByteVec,
    /// The algorithm that made it.
    #[n(1)]
    pub algorithm: Algorithm,
    /// The id of the key.
    #[n(2)]
    pub key: String,
    /// The version of the key.
    #[n(3)]
    pub version: u32,
}

/// Makes an HMAC (RFC 2104) with the current version of a key.
#[derive(Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Mac {
    /// The key's id or one of its aliases.
    #[n(0)]
    pub key: String,
    /// The message.
    #[n(1)]
    pub message: SecretBytes,
}

/// A message authentication code.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct MacTag {
    /// The code, as long as the hash.
    #[n(0)]
    pub tag: ByteVec,
    /// The algorithm that made it.
    #[n(1)]
    pub algorithm: Algorithm,
    /// The id of the key.
    #[n(2)]
    pub key: String,
    /// The version of the key.
    #[n(3)]
    pub version: u32,
}

/// Verifies an HMAC, inside, in constant time.
#[derive(Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct VerifyMac {
    /// The key's id or one of its aliases.
    #[n(0)]
    pub key: String,
    /// The message.
    #[n(1)]
    pub message: SecretBytes,
    /// The code, whole: a shortened one is not valid.
    #[n(2)]
    pub tag: ByteVec,
    /// The version of the key; the current one if absent.
    #[n(3)]
    pub version: Option<u32>,
}
