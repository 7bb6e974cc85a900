//! What the agent tells without being asked, to those who subscribed.

use minicbor::{Decode, Decoder, Encode, Encoder, decode, encode};

/// The feature of hello and welcome that goes with events.
pub const FEATURE: &str = "events";

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
    /// How many events there were that this connection was too slow for.
    #[n(3)]
    pub count: Option<u64>,
    /// The number of the operation that it happened in.
    #[n(4)]
    pub operation: Option<u32>,
    /// Who asked for that.
    #[n(5)]
    pub caller: Option<EventCaller>,
}

/// The program whose request waits for a person. What it is besides its uid is a hint.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct EventCaller {
    /// Its user.
    #[n(0)]
    pub uid: u32,
    /// Its process, where that can be seen.
    #[n(1)]
    pub pid: Option<u32>,
    /// The system unit that it is in.
    #[n(2)]
    pub unit: Option<String>,
    /// The path of its program.
    #[n(3)]
    pub program: Option<String>,
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
    /// A token can be used.
    TokenUnlocked,
    /// A token needs its PIN.
    TokenLocked,
    /// Another token is in the place of the one that was enrolled.
    TokenChanged,
    /// There is a new key.
    KeyCreated,
    /// A key was destroyed.
    KeyDestroyed,
    /// There were events that this connection was too slow for: look how things are.
    Lost,
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
            Self::TokenUnlocked => 6,
            Self::TokenLocked => 7,
            Self::TokenChanged => 8,
            Self::KeyCreated => 9,
            Self::KeyDestroyed => 10,
            Self::Lost => 11,
            Self::Unknown(number) => number,
        }
    }

    /// Its name; none for one that only a newer agent knows.
    #[must_use]
    pub const fn name(self) -> Option<&'static str> {
        Some(match self {
            Self::TouchNeeded => "touch-needed",
            Self::TouchDone => "touch-done",
            Self::TokenInserted => "token-inserted",
            Self::TokenRemoved => "token-removed",
            Self::KeyStateChanged => "key-state-changed",
            Self::TokenUnlocked => "token-unlocked",
            Self::TokenLocked => "token-locked",
            Self::TokenChanged => "token-changed",
            Self::KeyCreated => "key-created",
            Self::KeyDestroyed => "key-destroyed",
            Self::Lost => "lost",
            Self::Unknown(_) => return None,
        })
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
            6 => Self::TokenUnlocked,
            7 => Self::TokenLocked,
            8 => Self::TokenChanged,
            9 => Self::KeyCreated,
            10 => Self::KeyDestroyed,
            11 => Self::Lost,
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
