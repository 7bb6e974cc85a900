//! Operations that read what there is.

use std::collections::BTreeMap;

use minicbor::bytes::ByteVec;
use minicbor::{Decode, Encode};

use crate::algorithm::{Algorithm, KeyType};
use crate::cose_key::CoseKey;
use crate::key::{Format, KeyState, Purpose};
use crate::thumbprint::Thumbprint;

use super::bound::BoundDescription;

/// The public part of a key.
#[derive(Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct GetPublicKey {
    /// The key's id or one of its aliases.
    #[n(0)]
    pub key: String,
    /// The version of the key; the current one if absent.
    #[n(1)]
    pub version: Option<u32>,
}

/// A public key in both forms that travel.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct PublicKey {
    /// As COSE_Key (RFC 9052 §7).
    #[n(0)]
    pub cose_key: CoseKey,
    /// As SubjectPublicKeyInfo (RFC 5280 §4.1.2.7), DER.
    #[n(1)]
    pub spki: ByteVec,
    /// Its identity.
    #[n(2)]
    pub thumbprint: Thumbprint,
    /// The id of the key.
    #[n(3)]
    pub key: String,
    /// The version of the key.
    #[n(4)]
    pub version: u32,
}

/// The keys that the caller may see, in the order of their ids.
#[derive(Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct List {
    /// Begin behind this id: `next` of the answer before.
    #[n(0)]
    pub after: Option<String>,
}

/// A page of keys.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct KeyList {
    /// The keys.
    #[n(0)]
    pub keys: Vec<KeySummary>,
    /// Where the next page begins; absent on the last.
    #[n(1)]
    pub next: Option<String>,
}

/// A key in a list.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct KeySummary {
    /// Its id, a UUID.
    #[n(0)]
    pub id: String,
    /// Its names.
    #[n(1)]
    pub aliases: Vec<String>,
    /// What it is for.
    #[n(2)]
    pub purpose: Purpose,
    /// What kind of key it is.
    #[n(3)]
    pub key_type: KeyType,
    /// Where it is in its life.
    #[n(4)]
    pub state: KeyState,
    /// The tokens that its current version is on.
    #[n(5)]
    pub tokens: Vec<String>,
}

/// All that is known about a key.
#[derive(Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Describe {
    /// The key's id or one of its aliases.
    #[n(0)]
    pub key: String,
}

/// A key with its versions.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct KeyDescription {
    /// Its id, a UUID.
    #[n(0)]
    pub id: String,
    /// Its names.
    #[n(1)]
    pub aliases: Vec<String>,
    /// What it is for.
    #[n(2)]
    pub purpose: Purpose,
    /// What kind of key it is.
    #[n(3)]
    pub key_type: KeyType,
    /// Where it is in its life.
    #[n(4)]
    pub state: KeyState,
    /// What it can do, the default first.
    #[n(5)]
    pub algorithms: Vec<Algorithm>,
    /// What it may sign; empty unless it is a sign key.
    #[n(6)]
    pub formats: Vec<Format>,
    /// The owner's words.
    #[cbor(n(7), with = "super::tags")]
    pub tags: BTreeMap<String, String>,
    /// When it was made, in seconds since 1970 (UTC).
    #[n(8)]
    pub created: u64,
    /// The versions, oldest first; the last is the current one.
    #[n(9)]
    pub versions: Vec<VersionDescription>,
    /// Its destruction was begun and has not ended, and what it waits for, in words: it is out of
    /// use, whatever its state.
    #[n(10)]
    pub destruction: Option<String>,
}

/// One hardware key under a key.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct VersionDescription {
    /// Counts from 1.
    #[n(0)]
    pub version: u32,
    /// Where it is in its life.
    #[n(1)]
    pub state: KeyState,
    /// When it was made, in seconds since 1970 (UTC).
    #[n(2)]
    pub created: u64,
    /// Its identity; a secret key has none but its id.
    #[n(3)]
    pub thumbprint: Option<Thumbprint>,
    /// Where it lives.
    #[n(4)]
    pub placements: Vec<PlacementDescription>,
    /// Its id, a UUID: the CKA_ID of its objects.
    #[n(5)]
    pub id: String,
}

/// A version on a token.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct PlacementDescription {
    /// The token's name in the configuration.
    #[n(0)]
    pub token: String,
    /// Where on the token: an RFC 7512 URI.
    #[n(1)]
    pub locator: String,
    /// CKA_LOCAL: the token made it.
    #[n(2)]
    pub local: bool,
    /// CKA_ALWAYS_SENSITIVE: its value was never readable.
    #[n(3)]
    pub always_sensitive: bool,
    /// CKA_NEVER_EXTRACTABLE: it could never be wrapped out.
    #[n(4)]
    pub never_extractable: bool,
    /// What it is bound to, if it is.
    #[n(5)]
    pub bound: Option<BoundDescription>,
}

/// How the agent and its tokens are.
#[derive(Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Status {}

/// The state of the agent.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct StatusReport {
    /// The agent's software and its version.
    #[n(0)]
    pub software: String,
    /// `user` or `system`.
    #[n(1)]
    pub mode: String,
    /// When it started, in seconds since 1970 (UTC).
    #[n(2)]
    pub started: u64,
    /// Its tokens.
    #[n(3)]
    pub tokens: Vec<TokenStatus>,
    /// The protections of the agent and whether they hold.
    #[n(4)]
    pub protections: Vec<Holding>,
    /// How many keys the registry has.
    #[n(5)]
    pub keys: u64,
    /// How many records the log has.
    #[n(6)]
    pub audit_records: u64,
    /// Why management is refused, if it is.
    #[n(7)]
    pub management_refused: Option<String>,
    /// How many connections are open.
    #[n(8)]
    pub connections: u64,
}

/// A protection, and whether it holds on this machine.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Holding {
    /// What is protected: `agent landlock`, `worker main seccomp`, `pidfd`, …
    #[n(0)]
    pub name: String,
    /// Whether it is.
    #[n(1)]
    pub holds: bool,
    /// What is missing, or what exactly holds.
    #[n(2)]
    pub detail: Option<String>,
}

/// The state of a token.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct TokenStatus {
    /// Its name in the configuration.
    #[n(0)]
    pub name: String,
    /// `pkcs11`, `tpm` or `piv`.
    #[n(1)]
    pub kind: String,
    /// Whether it can be used.
    #[n(2)]
    pub login: LoginState,
    /// Manufacturer, model and serial as pinned; absent before the token was first seen.
    #[n(3)]
    pub identity: Option<String>,
    /// What is wrong, and what to do about it.
    #[n(4)]
    pub problem: Option<String>,
    /// How many requests wait or are under way.
    #[n(5)]
    pub pending: u64,
    /// How often its worker was started again.
    #[n(6)]
    pub restarts: u64,
    /// The worker's process id, while it runs.
    #[n(7)]
    pub worker_pid: Option<u32>,
    /// For how many seconds more, at the most, it takes no PIN, after too many wrong ones.
    #[n(8)]
    pub lockout_seconds: Option<u64>,
}

/// Whether a token can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Encode, Decode)]
#[cbor(index_only)]
#[non_exhaustive]
pub enum LoginState {
    /// Its worker is starting.
    #[n(1)]
    Starting,
    /// It is there and needs its PIN.
    #[n(2)]
    Locked,
    /// It can be used.
    #[n(3)]
    Unlocked,
    /// It is not there, or its worker does not come up.
    #[n(4)]
    Absent,
    /// Another token is in its place.
    #[n(5)]
    Changed,
}

crate::key::named!(LoginState {
    Starting = "starting",
    Locked = "locked",
    Unlocked = "unlocked",
    Absent = "absent",
    Changed = "changed",
});
