//! What the agent tells without being asked, to those who subscribed.

use minicbor::{Decode, Encode};

/// Something that happened. An agent that offers them says `events` in its hello.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Event {
    /// What happened.
    #[n(0)]
    pub kind: EventKind,
    /// The token it happened to.
    #[n(1)]
    pub token: Option<String>,
    /// The key it happened to.
    #[n(2)]
    pub key: Option<String>,
}

/// What can happen. Kinds that a client does not know are to be ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Encode, Decode)]
#[cbor(index_only)]
#[non_exhaustive]
pub enum EventKind {
    /// A token waits for a person's touch.
    #[n(1)]
    TouchNeeded,
    /// The touch came, or nobody waits for it any more.
    #[n(2)]
    TouchDone,
    /// A token was found.
    #[n(3)]
    TokenInserted,
    /// A token is gone.
    #[n(4)]
    TokenRemoved,
    /// A key changed its state.
    #[n(5)]
    KeyStateChanged,
}
