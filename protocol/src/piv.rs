//! What a key on a PIV card asks of a person (Yubico's extensions to SP 800-73).

use std::fmt;
use std::str::FromStr;

use minicbor::{Decode, Encode};

use crate::key::named;

/// What a person chose of a card for a new key; what is absent, keyward chooses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct PivChoice {
    /// The key reference of the slot (SP 800-73-4 Part 1 Table 4b), such as 0x9a; one that has a key
    /// is never chosen.
    #[n(0)]
    pub slot: Option<u8>,
    /// When the card wants its PIN.
    #[n(1)]
    pub pin_policy: Option<PinPolicy>,
    /// When it wants to be touched.
    #[n(2)]
    pub touch_policy: Option<TouchPolicy>,
}

/// Where a key is on which card, and what it asks of a person: the locator of a placement.
///
/// ```
/// use keyward_protocol::piv::{PinPolicy, PivLocator};
///
/// let text = "piv:serial=12345678;slot=9a;pin-policy=once";
/// let locator: PivLocator = text.parse()?;
/// assert_eq!((locator.slot, locator.pin_policy), (0x9a, Some(PinPolicy::Once)));
/// assert_eq!(locator.to_string(), text);
/// # Ok::<(), keyward_protocol::piv::NoLocator>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PivLocator {
    /// The card's serial number as the token is pinned to it.
    pub serial: String,
    /// The key reference.
    pub slot: u8,
    /// When the card wants its PIN; absent where it does not say.
    pub pin_policy: Option<PinPolicy>,
    /// When it wants to be touched; absent where it does not say.
    pub touch_policy: Option<TouchPolicy>,
    /// Whether another program has put the key there, so that it is not keyward's to remove.
    pub adopted: bool,
}

/// The text is no locator of a key on a PIV card.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not the place of a key on a PIV card")]
pub struct NoLocator;

impl PivLocator {
    /// The choice that makes another key which asks the same of a person, in some free slot.
    #[must_use]
    pub fn alike(&self) -> PivChoice {
        PivChoice {
            slot: None,
            pin_policy: self.pin_policy,
            touch_policy: self.touch_policy,
        }
    }
}

impl fmt::Display for PivLocator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "piv:serial={};slot={:02x}", self.serial, self.slot)?;
        if let Some(policy) = self.pin_policy {
            write!(f, ";pin-policy={policy}")?;
        }
        if let Some(policy) = self.touch_policy {
            write!(f, ";touch-policy={policy}")?;
        }
        match self.adopted {
            true => f.write_str(";adopted=yes"),
            false => Ok(()),
        }
    }
}

impl FromStr for PivLocator {
    type Err = NoLocator;

    fn from_str(text: &str) -> Result<Self, NoLocator> {
        let attributes = text.strip_prefix("piv:").ok_or(NoLocator)?.split(';');
        let mut attributes = attributes
            .map(|attribute| attribute.split_once('='))
            .peekable();
        let serial = match attributes.next() {
            Some(Some(("serial", serial))) if is_serial(serial) => serial.to_owned(),
            _ => return Err(NoLocator),
        };
        let slot = match attributes.next() {
            Some(Some(("slot", slot))) => parse_slot(slot).ok_or(NoLocator)?,
            _ => return Err(NoLocator),
        };
        let mut optional = |name| match attributes.peek() {
            Some(Some((other, value))) if *other == name => {
                let value = *value;
                attributes.next();
                Some(value)
            }
            _ => None,
        };
        let pin_policy = optional("pin-policy")
            .map(|name| PinPolicy::from_name(name).ok_or(NoLocator))
            .transpose()?;
        let touch_policy = optional("touch-policy")
            .map(|name| TouchPolicy::from_name(name).ok_or(NoLocator))
            .transpose()?;
        let adopted = match optional("adopted") {
            None => false,
            Some("yes") => true,
            Some(_) => return Err(NoLocator),
        };
        match attributes.next() {
            None => Ok(Self {
                serial,
                slot,
                pin_policy,
                touch_policy,
                adopted,
            }),
            Some(_) => Err(NoLocator),
        }
    }
}

/// A slot as people write it: two hexadecimal digits.
#[must_use]
pub fn parse_slot(text: &str) -> Option<u8> {
    let lower = text.len() == 2
        && text
            .bytes()
            .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    u8::from_str_radix(text, 16).ok().filter(|_| lower)
}

/// Decimal for a card that says its serial number, else hexadecimal.
fn is_serial(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric())
}

/// When a card wants its PIN before it uses a key. The numbers are those of the card.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Encode, Decode)]
#[cbor(index_only)]
pub enum PinPolicy {
    /// It does not.
    #[n(1)]
    Never,
    /// Once, as long as the application stays selected.
    #[n(2)]
    Once,
    /// Right before each use.
    #[n(3)]
    Always,
}

named!(PinPolicy {
    Never = "never",
    Once = "once",
    Always = "always",
});

/// When a card wants to be touched before it uses a key. The numbers are those of the card.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Encode, Decode)]
#[cbor(index_only)]
pub enum TouchPolicy {
    /// It does not.
    #[n(1)]
    Never,
    /// For each use.
    #[n(2)]
    Always,
    /// For a use that is more than 15 seconds behind the last touch.
    #[n(3)]
    Cached,
}

named!(TouchPolicy {
    Never = "never",
    Always = "always",
    Cached = "cached",
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_locator_is_read_as_it_was_written() {
        for pin_policy in [None, Some(PinPolicy::Never), Some(PinPolicy::Always)] {
            for touch_policy in [None, Some(TouchPolicy::Cached)] {
                for adopted in [false, true] {
                    let locator = PivLocator {
                        serial: "4294967295".to_owned(),
                        slot: 0x82,
                        pin_policy,
                        touch_policy,
                        adopted,
                    };
                    assert_eq!(locator.to_string().parse(), Ok(locator));
                }
            }
        }
    }

    #[test]
    fn what_is_no_locator_is_refused() {
        for text in [
            "",
            "piv:",
            "piv:slot=9a",
            "piv:serial=;slot=9a",
            "piv:serial=1 2;slot=9a",
            "piv:serial=12;slot=9",
            "piv:serial=12;slot=9A",
            "piv:serial=12;slot=+9",
            "piv:slot=9a;serial=12",
            "piv:serial=12;slot=9a;",
            "piv:serial=12;slot=9a;pin-policy=never;pin-policy=never",
            "piv:serial=12;slot=9a;touch-policy=never;pin-policy=never",
            "piv:serial=12;slot=9a;pin-policy=match",
            "piv:serial=12;slot=9a;adopted=no",
            "piv:serial=12;slot=9a;adopted=yes;pin-policy=never",
            "tpm:name=000b",
        ] {
            assert_eq!(text.parse::<PivLocator>(), Err(NoLocator), "{text}");
        }
    }
}
