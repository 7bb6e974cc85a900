//! Keys that can be used only while PCRs of the machine have approved values.

use minicbor::bytes::{ByteArray, ByteVec};
use minicbor::{Decode, Encode};

use crate::thumbprint::Thumbprint;

/// What a new key is to be bound to. Exactly one of `recovery_key` and `no_recovery` is given; neither
/// where an import has another place for the key, in which it is not bound.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct BindPcrs {
    /// The PCRs (0 to 23, SHA-256), in ascending order. Their values of now are approved.
    #[n(0)]
    pub pcrs: Vec<u8>,
    /// The id or an alias of the sign key that approves other values.
    #[n(1)]
    pub recovery_key: Option<String>,
    /// Nobody ever approves other values: once one changes for good, the key is lost.
    #[n(2)]
    pub no_recovery: bool,
}

/// What a placement is bound to.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct BoundDescription {
    /// The PCRs, in ascending order.
    #[n(0)]
    pub pcrs: Vec<u8>,
    /// The public key that approves other values; absent: none does.
    #[n(1)]
    pub recovery: Option<Thumbprint>,
    /// The id of the key that has it.
    #[n(2)]
    pub recovery_key: Option<String>,
}

/// Approves the values that the PCRs have now, for all placements of a key that are bound.
#[derive(Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Reseal {
    /// The key's id or one of its aliases.
    #[n(0)]
    pub key: String,
    /// `state` of the answer that a person has seen and agreed to; absent: only look.
    #[n(1)]
    pub state: Option<ByteVec>,
    /// Whether what was approved before goes.
    #[n(2)]
    pub drop_old: bool,
}

/// What is approved, and what the PCRs are.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Resealed {
    /// The id of the key.
    #[n(0)]
    pub key: String,
    /// The placements that are bound.
    #[n(1)]
    pub places: Vec<ResealedPlace>,
    /// Stands for all of this: who agrees to it sends it back.
    #[n(2)]
    pub state: ByteVec,
    /// Whether it was approved.
    #[n(3)]
    pub done: bool,
}

/// A placement that is bound.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct ResealedPlace {
    /// The version of the key.
    #[n(0)]
    pub version: u32,
    /// The token.
    #[n(1)]
    pub token: String,
    /// Its PCRs.
    #[n(2)]
    pub pcrs: Vec<PcrChange>,
    /// How many approvals there were.
    #[n(3)]
    pub approvals: u32,
    /// Whether the values of now were among them.
    #[n(4)]
    pub approved: bool,
    /// The id of the key that approves; absent: none does, or the agent has it not.
    #[n(5)]
    pub recovery_key: Option<String>,
}

/// A PCR and its values.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct PcrChange {
    /// Which one.
    #[n(0)]
    pub pcr: u8,
    /// The value that was approved last.
    #[n(1)]
    pub approved: ByteArray<32>,
    /// The value that it has.
    #[n(2)]
    pub current: ByteArray<32>,
}
