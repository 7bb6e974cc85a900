//! A copy of all that the agent keeps: registry, key blobs and policy. No private key that lives in
//! hardware is in it, and no PIN.

use minicbor::bytes::{ByteArray, ByteVec};
use minicbor::{Decode, Encode};

/// Asks for a part of a copy. The first makes the copy, which this connection keeps until its last
/// part was given.
#[derive(Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Backup {
    /// Where the part begins: 0, or `next` of the part before.
    #[n(0)]
    pub offset: u64,
}

/// A part of a copy.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct BackupPart {
    /// The bytes.
    #[n(0)]
    pub bytes: ByteVec,
    /// Where the next part begins; absent on the last.
    #[n(1)]
    pub next: Option<u64>,
    /// How many bytes the copy has.
    #[n(2)]
    pub total: u64,
}

/// Gives a part of a copy; with the last one it is taken over.
#[derive(Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Restore {
    /// Where the part belongs: parts are given in order.
    #[n(0)]
    pub offset: u64,
    /// The bytes.
    #[n(1)]
    pub bytes: ByteVec,
    /// How many bytes the copy has.
    #[n(2)]
    pub total: u64,
    /// SHA-256 of the whole copy.
    #[n(3)]
    pub digest: ByteArray<32>,
    /// Only check it and say what would happen.
    #[n(4)]
    pub dry_run: bool,
}

/// How far a restoration is, and after the last part what it did.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Restored {
    /// Whether the copy is whole and was taken over (or would be, for a dry run).
    #[n(0)]
    pub complete: bool,
    /// How many keys came back that the registry did not have.
    #[n(1)]
    pub added: u64,
    /// How many keys the registry had already, and that got what they lacked.
    #[n(2)]
    pub merged: u64,
    /// What was not taken over, and why; what is stricter in the registry stays.
    #[n(3)]
    pub kept: Vec<String>,
    /// What of the copy's is bound to PCRs, and to which.
    #[n(4)]
    pub bound: Option<Vec<String>>,
}
