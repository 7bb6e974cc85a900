//! Keys that other programs have made in a token, at a place that the token itself knows.

use std::collections::BTreeMap;

use minicbor::{Decode, Encode};

use crate::algorithm::KeyType;
use crate::key::{Format, Purpose};

/// Takes in a key that is in a token already. Nothing in the token is changed, and whoever else may
/// use the token can go on using the key without the agent.
#[derive(Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Adopt {
    /// What the key is for; it can't be changed later.
    #[n(0)]
    pub purpose: Purpose,
    /// Where it is: a persistent handle of a TPM such as `0x81000010`, a slot of a card such as `9a`.
    #[n(1)]
    pub place: String,
    /// A name for it.
    #[n(2)]
    pub alias: Option<String>,
    /// The token; needed only where there are several.
    #[n(3)]
    pub token: Option<String>,
    /// What a sign key may sign, in ascending order; `[raw]` if absent.
    #[n(4)]
    pub formats: Option<Vec<Format>>,
    /// Words of the owner's.
    #[cbor(n(5), with = "super::tags::optional", has_nil)]
    pub tags: Option<BTreeMap<String, String>>,
    /// What kind of key it is, if whoever asks knows that; else as the token says.
    #[n(6)]
    pub key_type: Option<KeyType>,
}
