//! Operations that change keys, tokens, or what the agent holds.

use std::collections::BTreeMap;

use minicbor::{Decode, Encode};

use crate::algorithm::KeyType;
use crate::key::{Format, Purpose};
use crate::piv::PivChoice;
use crate::secret::SecretBytes;

use super::bound::BindPcrs;

/// Makes a key in a token.
#[derive(Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Create {
    /// What the key is for; it can't be changed later.
    #[n(0)]
    pub purpose: Purpose,
    /// What kind of key.
    #[n(1)]
    pub key_type: KeyType,
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
    /// What it is to be bound to.
    #[n(6)]
    pub bind: Option<BindPcrs>,
    /// What is chosen of a PIV card.
    #[n(7)]
    pub piv: Option<PivChoice>,
}

/// Destroys a key in all its tokens; there is no way back.
#[derive(Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Destroy {
    /// The key's id or one of its aliases.
    #[n(0)]
    pub key: String,
    /// Must be true: without it the destruction would be scheduled, which needs the feature
    /// `scheduled-destruction`.
    #[n(1)]
    pub now: bool,
}

/// Gives a token its PIN.
#[derive(Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Unlock {
    /// The token; needed only where there are several.
    #[n(0)]
    pub token: Option<String>,
    /// The PIN as UTF-8; absent: from the source that the configuration names.
    #[n(1)]
    pub pin: Option<SecretBytes>,
    /// Spend a try that keyward holds back: the token's last one, or one whose outcome is unknown.
    #[n(2)]
    pub spend_withheld_try: bool,
}

/// Takes the PIN away from a token.
#[derive(Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Lock {
    /// The token; absent: all of them.
    #[n(0)]
    pub token: Option<String>,
}

/// Says that the token that is there now is the right one, and enrols it anew.
#[derive(Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct AcceptToken {
    /// The token's name in the configuration.
    #[n(0)]
    pub token: String,
}

/// Says that the registry as it is is the right one from now on, though the log knows another: it
/// was lost or put back, and a person knows. Wrong state where the two belong together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct AcceptRegistry {}

/// Changes a token's PIN. The old one counts as a try.
#[derive(Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct ChangePin {
    /// The token; needed only where there are several.
    #[n(0)]
    pub token: Option<String>,
    /// The PIN as it is, as UTF-8.
    #[n(1)]
    pub old: SecretBytes,
    /// The PIN as it is to be, as UTF-8.
    #[n(2)]
    pub new: SecretBytes,
    /// Spend a try that keyward holds back: the token's last one, or one whose outcome is unknown.
    #[n(3)]
    pub spend_withheld_try: bool,
}

/// A key is destroyed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Destroyed {
    /// The tokens that can't delete a key: one that nobody uses is in its place there.
    #[n(0)]
    pub overwritten: Option<Vec<String>>,
}

/// It was done; there is nothing more to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Done {}
