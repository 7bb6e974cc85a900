//! When a key wants the PIN, and when a touch.

use super::Reply;
use super::model::Model;
use super::status::Status;
use super::tlv::{self, Tlv};

/// When the PIN must have been verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PinPolicy {
    Never = 1,
    Once = 2,
    Always = 3,
}

/// When somebody must touch the card.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TouchPolicy {
    Never = 1,
    Always = 2,
    /// Not within some seconds of the last touch.
    Cached = 3,
}

/// The policies of a key. They stay what they were when it was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Policies {
    pub(super) pin: PinPolicy,
    pub(super) touch: TouchPolicy,
}

impl Policies {
    /// From the tags AA and AB, which a plain card does not know. Those of biometric keys (4, 5) are
    /// refused.
    pub(super) fn parse(objects: &[Tlv<'_>], slot: u8, model: Model) -> Reply<Self> {
        let (pin, touch) = (tlv::find(objects, 0xaa), tlv::find(objects, 0xab));
        if model.is_generic() && (pin.is_some() || touch.is_some()) {
            return Err(Status::WRONG_DATA);
        }
        let pin = match pin {
            None | Some([0]) => Self::of_slot(slot),
            Some([1]) => PinPolicy::Never,
            Some([2]) => PinPolicy::Once,
            Some([3]) => PinPolicy::Always,
            _ => return Err(Status::WRONG_DATA),
        };
        let touch = match touch {
            None | Some([0 | 1]) => TouchPolicy::Never,
            Some([2]) => TouchPolicy::Always,
            Some([3]) => TouchPolicy::Cached,
            _ => return Err(Status::WRONG_DATA),
        };
        Ok(Self { pin, touch })
    }

    /// The two bytes of metadata and attestation.
    pub(super) fn bytes(self) -> [u8; 2] {
        [self.pin as u8, self.touch as u8]
    }

    /// The access rules of SP 800-73-4 Part 1 Table 4b.
    fn of_slot(slot: u8) -> PinPolicy {
        match slot {
            0x9c => PinPolicy::Always,
            0x9e => PinPolicy::Never,
            _ => PinPolicy::Once,
        }
    }
}
