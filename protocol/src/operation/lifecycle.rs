//! What happens to keys after they were made.

use std::collections::BTreeMap;

use minicbor::{Decode, Encode};

use crate::algorithm::KeyType;
use crate::key::Purpose;

macro_rules! on_a_key {
    ($($(#[$doc:meta])+ $name:ident;)+) => {
        $(
            $(#[$doc])+
            #[derive(Debug, PartialEq, Eq, Encode, Decode)]
            #[cbor(map)]
            pub struct $name {
                /// The key's id or one of its aliases.
                #[n(0)]
                pub key: String,
            }
        )+
    };
}

on_a_key! {
    /// Makes a new version of a key, on the token of the current one. New uses take it; what the
    /// old ones sealed, they still open.
    Rotate;
    /// Lets a suspended or recovered key be used.
    Enable;
    /// Suspends a key until it is enabled.
    Disable;
    /// Says that somebody else may have the key. It can't be used any more but to verify, and to
    /// encrypt again with another key what it encrypted; there is no way back.
    MarkCompromised;
}

/// Gives and takes names, all or none of them.
#[derive(Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Alias {
    /// The key's id or one of its aliases.
    #[n(0)]
    pub key: String,
    /// Names that it gets; one that another key has is refused.
    #[n(1)]
    pub add: Vec<String>,
    /// Names that it loses; one that it does not have is refused.
    #[n(2)]
    pub remove: Vec<String>,
}

/// Sets and removes tags, all or none of them.
#[derive(Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Tag {
    /// The key's id or one of its aliases.
    #[n(0)]
    pub key: String,
    /// Tags that it gets, instead of those of the same name.
    #[cbor(n(1), with = "super::tags")]
    pub set: BTreeMap<String, String>,
    /// Tags that it loses; one that it does not have is refused.
    #[n(2)]
    pub remove: Vec<String>,
}

/// Looks for keys that keyward made on a token and that the registry does not have: after its loss,
/// or on another machine. They come back suspended.
#[derive(Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Rescan {
    /// The token; needed only where there are several.
    #[n(0)]
    pub token: Option<String>,
}

/// What was found on a token.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Rescanned {
    /// The versions that were taken into the registry, or that got the token as a placement.
    #[n(0)]
    pub recovered: Vec<Recovered>,
    /// How many of the token's keys the registry had already.
    #[n(1)]
    pub known: u64,
    /// How many keys of the token are not keyward's.
    #[n(2)]
    pub foreign: u64,
    /// What looked like keyward's but could not be taken in, and why.
    #[n(3)]
    pub refused: Vec<String>,
    /// The ids of keys that should be on the token and are not there. Nothing was changed about them.
    #[n(4)]
    pub missing: Vec<String>,
}

/// A version that was found again.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Recovered {
    /// The id of its key.
    #[n(0)]
    pub key: String,
    /// Its number.
    #[n(1)]
    pub version: u32,
    /// What the key is for.
    #[n(2)]
    pub purpose: Purpose,
    /// What kind of key it is.
    #[n(3)]
    pub key_type: KeyType,
}
