//! Key references (SP 800-73-4 Part 1 Table 4b) and what belongs to each.

use std::fmt;

/// The place of a key on a card.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Slot(u8);

impl Slot {
    /// PIV Authentication.
    pub const AUTHENTICATION: Self = Self(0x9a);
    /// Digital Signature: the PIN is wanted for each use.
    pub const SIGNATURE: Self = Self(0x9c);
    /// Key Management.
    pub const KEY_MANAGEMENT: Self = Self(0x9d);
    /// Card Authentication: no PIN is wanted.
    pub const CARD_AUTHENTICATION: Self = Self(0x9e);
    /// The first of the 20 retired key management keys.
    const RETIRED: u8 = 0x82;
    const LAST_RETIRED: u8 = 0x95;

    /// The slot of a key reference; `None` for what is none.
    #[must_use]
    pub const fn new(reference: u8) -> Option<Self> {
        match reference {
            0x9a | 0x9c..=0x9e | Self::RETIRED..=Self::LAST_RETIRED => Some(Self(reference)),
            _ => None,
        }
    }

    /// Every slot, those of the retired keys last.
    pub fn all() -> impl Iterator<Item = Self> {
        let named = [
            Self::AUTHENTICATION,
            Self::SIGNATURE,
            Self::KEY_MANAGEMENT,
            Self::CARD_AUTHENTICATION,
        ];
        named.into_iter().chain(Self::retired())
    }

    /// The slots of retired keys: no program of the desktop uses them by itself.
    pub fn retired() -> impl Iterator<Item = Self> {
        (Self::RETIRED..=Self::LAST_RETIRED).map(Self)
    }

    /// The key reference.
    #[must_use]
    pub const fn reference(self) -> u8 {
        self.0
    }

    /// The tag of its certificate (SP 800-73-4 Part 1 Table 3).
    #[must_use]
    pub fn certificate(self) -> u32 {
        match self {
            Self::AUTHENTICATION => 0x5f_c105,
            Self::SIGNATURE => 0x5f_c10a,
            Self::KEY_MANAGEMENT => 0x5f_c10b,
            Self::CARD_AUTHENTICATION => 0x5f_c101,
            Self(retired) => {
                0x5f_c10d_u32.saturating_add(u32::from(retired.saturating_sub(Self::RETIRED)))
            }
        }
    }

    /// The tag of keyward's note about its key.
    #[must_use]
    pub fn note(self) -> u32 {
        0x5f_4b00 | u32::from(self.0)
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02x}", self.0)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_is_one_of_twenty_four() {
        assert_eq!(Slot::all().count(), 24);
        assert_eq!((0..=255).filter_map(Slot::new).count(), 24);
        for other in [0x00, 0x81, 0x96, 0x99, 0x9b, 0x9f, 0xf9] {
            assert_eq!(Slot::new(other), None);
        }
    }

    #[test]
    fn a_slot_has_the_certificate_of_the_table() {
        let of = |reference| Slot::new(reference).unwrap().certificate();
        assert_eq!(of(0x9a), 0x5f_c105);
        assert_eq!(of(0x82), 0x5f_c10d);
        assert_eq!(of(0x95), 0x5f_c120);
    }
}
