//! What the agent tells without being asked, to those who subscribed.

use minicbor::{Decode, Decoder, Encode, Encoder, decode, encode};

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

/// What can happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EventKind {
    /// A token waits for a person's touch.
    TouchNeeded,
    /// The touch came, or nobody waits for it any more.
    TouchDone,
    /// A token was found.
    TokenInserted,
    /// A token is gone.
    TokenRemoved,
    /// A key changed its state.
    KeyStateChanged,
    /// Something that only a newer agent knows; to be ignored.
    Unknown(u32),
}

impl EventKind {
    /// The number on the wire.
    #[must_use]
    pub const fn number(self) -> u32 {
        match self {
            Self::TouchNeeded => 1,
            Self::TouchDone => 2,
            Self::TokenInserted => 3,
            Self::TokenRemoved => 4,
            Self::KeyStateChanged => 5,
            Self::Unknown(number) => number,
        }
    }

    /// The kind of a number.
    #[must_use]
    pub const fn from_number(number: u32) -> Self {
        match number {
            1 => Self::TouchNeeded,
            2 => Self::TouchDone,
            3 => Self::TokenInserted,
            4 => Self::TokenRemoved,
            5 => Self::KeyStateChanged,
            _ => Self::Unknown(number),
        }
    }
}

impl<C> Encode<C> for EventKind {
    fn encode<W: encode::Write>(
        &self,
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), encode::Error<W::Error>> {
        e.u32(self.number())?.ok()
    }
}

impl<'b, C> Decode<'b, C> for EventKind {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, decode::Error> {
        d.u32().map(Self::from_number)
    }
}
