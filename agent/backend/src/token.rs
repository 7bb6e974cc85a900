//! Tokens and the keys on them, as workers report them.

use std::fmt;

use keyward_protocol::{CoseKey, KeyType};
use minicbor::bytes::{ByteArray, ByteVec};
use minicbor::{Decode, Encode};
use uuid::Uuid;

use crate::pcr::BoundTo;

/// The id of a key version: what the agent writes to CKA_ID, or its like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Encode, Decode)]
#[cbor(transparent)]
pub struct VersionId(#[n(0)] ByteArray<16>);

impl VersionId {
    /// A new random id.
    #[must_use]
    pub fn random() -> Self {
        Self::from(Uuid::new_v4())
    }

    /// The 16 bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// The id as a UUID.
    #[must_use]
    pub fn uuid(&self) -> Uuid {
        Uuid::from_bytes(*self.0)
    }
}

impl From<Uuid> for VersionId {
    fn from(uuid: Uuid) -> Self {
        Self(ByteArray::from(*uuid.as_bytes()))
    }
}

impl fmt::Display for VersionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.uuid().fmt(f)
    }
}

/// What a token is pinned to at enrolment.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Encode, Decode)]
pub struct TokenIdentity {
    /// CK_TOKEN_INFO.manufacturerID, or its like.
    #[n(0)]
    pub manufacturer: String,
    /// CK_TOKEN_INFO.model.
    #[n(1)]
    pub model: String,
    /// CK_TOKEN_INFO.serialNumber.
    #[n(2)]
    pub serial: String,
}

impl fmt::Display for TokenIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.manufacturer, self.model, self.serial)
    }
}

/// A token as it is now.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct TokenReport {
    /// Which token it is.
    #[n(0)]
    pub identity: TokenIdentity,
    /// Its label, without the padding.
    #[n(1)]
    pub label: String,
    /// Whether private keys need a login first.
    #[n(2)]
    pub login_required: bool,
    /// Whether a login is in force.
    #[n(3)]
    pub logged_in: bool,
    /// What the token says about tries at its PIN.
    #[n(4)]
    pub pin_tries: PinTries,
    /// The COSE numbers of the algorithms that keys on it can do.
    #[n(5)]
    pub algorithms: Vec<keyward_protocol::Algorithm>,
    /// The types of keys that it can have.
    #[n(6)]
    pub key_types: Vec<KeyType>,
    /// The worker's protections: name, whether it holds, detail.
    #[n(7)]
    pub protections: Vec<Protection>,
    /// For how many seconds more, at the most, the token takes no PIN, where that ends by itself.
    #[n(8)]
    pub lockout_seconds: Option<u64>,
    /// What a person should change about it, each with what to type.
    #[n(9)]
    pub warnings: Vec<String>,
    /// Whether the token does not show its keys, so that another program can put one in the place of
    /// another unseen: each signature is looked at then.
    #[n(10)]
    pub hides_keys: bool,
}

/// A protection of the worker's process.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Protection {
    /// `landlock`, `seccomp`, …
    #[n(0)]
    pub name: String,
    /// Whether it holds.
    #[n(1)]
    pub holds: bool,
    /// What is missing.
    #[n(2)]
    pub detail: Option<String>,
}

/// What a token says about tries at its PIN.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum PinTries {
    /// It shows no wrong try, or no counter at all.
    #[n(1)]
    Unknown,
    /// CKF_USER_PIN_COUNT_LOW: there was at least one wrong try.
    #[n(2)]
    Low,
    /// CKF_USER_PIN_FINAL_TRY: one try is left.
    #[n(3)]
    Final,
    /// CKF_USER_PIN_LOCKED: none is left.
    #[n(4)]
    Blocked,
    /// The token tells its counter, and it is above one.
    #[n(5)]
    Several,
}

/// How a token has got rid of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Destroyed {
    /// Nothing of it is there.
    Removed,
    /// The token can't delete keys: a key that nobody uses is in its place.
    Overwritten,
}

/// A key version as its token shows it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct KeyReport {
    /// The public part; a secret key has none.
    #[n(0)]
    pub public: Option<CoseKey>,
    /// Where it lives: an RFC 7512 URI or its like.
    #[n(1)]
    pub locator: String,
    /// CKA_LOCAL.
    #[n(2)]
    pub local: bool,
    /// CKA_ALWAYS_SENSITIVE.
    #[n(3)]
    pub always_sensitive: bool,
    /// CKA_NEVER_EXTRACTABLE.
    #[n(4)]
    pub never_extractable: bool,
    /// What kind of key it is; `None` for one that keyward does not use.
    #[n(5)]
    pub key_type: Option<KeyType>,
    /// The key's own file, encrypted by its device (TSS2 PRIVATE KEY), where it lives in one.
    #[n(6)]
    pub blob: Option<ByteVec>,
    /// What it is bound to, if it is.
    #[n(7)]
    pub bound: Option<BoundTo>,
}

/// The longest file of a key.
pub const MOST_BLOB: usize = 16 * 1024;
