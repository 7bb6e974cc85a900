//! Which card it is: GET VERSION and GET SERIAL (Yubico's extensions), or the CHUID of any PIV card
//! (SP 800-73-4 Part 1 §3.1.2).

use std::fmt;

use keyward_backend::TokenIdentity;
use sha2::{Digest, Sha256};

use super::tlv;

/// The version of a YubiKey's PIV application.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(pub [u8; 3]);

impl Version {
    /// Parses the answer of GET VERSION.
    #[must_use]
    pub fn parse(answer: &[u8]) -> Option<Self> {
        answer.try_into().ok().map(Self)
    }

    /// Whether it is at least that one.
    #[must_use]
    pub fn is_at_least(self, major: u8, minor: u8) -> bool {
        self >= Self([major, minor, 0])
    }

    /// GET SERIAL.
    #[must_use]
    pub fn tells_serial(self) -> bool {
        self.is_at_least(5, 0)
    }

    /// GET METADATA.
    #[must_use]
    pub fn has_metadata(self) -> bool {
        self.is_at_least(5, 3)
    }

    /// ATTEST.
    #[must_use]
    pub fn attests(self) -> bool {
        self.is_at_least(4, 3)
    }

    /// RSA keys of 3072 and 4096 bits, Ed25519, and deletion of keys.
    #[must_use]
    pub fn deletes(self) -> bool {
        self.is_at_least(5, 7)
    }

    /// Policies for PIN and touch, and slots of retired keys.
    #[must_use]
    pub fn has_policies(self) -> bool {
        self.is_at_least(4, 0)
    }

    /// Whether RSA keys that it makes can be factored (CVE-2017-15361).
    #[must_use]
    pub fn makes_weak_rsa(self) -> bool {
        self.is_at_least(4, 2) && self < Self([4, 3, 5])
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [major, minor, patch] = self.0;
        write!(f, "{major}.{minor}.{patch}")
    }
}

/// Parses the answer of GET SERIAL.
#[must_use]
pub fn serial(answer: &[u8]) -> Option<u32> {
    answer.try_into().ok().map(u32::from_be_bytes)
}

/// The identity of a YubiKey.
#[must_use]
pub fn yubikey(version: Version, serial: u32) -> TokenIdentity {
    TokenIdentity {
        manufacturer: "Yubico".to_owned(),
        // Firmware can't be changed, so it belongs to the card.
        model: format!("YubiKey PIV {version}"),
        serial: serial.to_string(),
    }
}

/// The identity of another card by its CHUID: the GUID in it, or the digest of the whole where that
/// is missing or zero.
#[must_use]
pub fn by_chuid(chuid: &[u8]) -> Option<TokenIdentity> {
    if chuid.is_empty() {
        return None;
    }
    let guid = tlv::find(chuid, 0x34).ok().flatten();
    let guid = guid.filter(|guid| guid.len() == 16 && guid.iter().any(|byte| *byte != 0));
    let serial = match guid {
        Some(guid) => hex(guid),
        None => hex(Sha256::digest(chuid).get(..16).unwrap_or_default()),
    };
    Some(TokenIdentity {
        manufacturer: "PIV".to_owned(),
        model: "PIV card".to_owned(),
        serial,
    })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_version_says_what_a_card_can_do() {
        let of = |major, minor, patch| Version([major, minor, patch]);
        assert!(of(5, 3, 0).has_metadata() && !of(5, 2, 9).has_metadata());
        assert!(of(4, 3, 0).attests() && !of(4, 2, 9).attests());
        assert!(of(5, 7, 0).deletes() && !of(5, 6, 9).deletes());
        assert!(of(4, 3, 4).makes_weak_rsa() && !of(4, 3, 5).makes_weak_rsa());
        assert!(!of(4, 1, 9).makes_weak_rsa());
    }

    #[test]
    fn what_has_another_length_is_no_version_and_no_serial() {
        assert_eq!(Version::parse(&[5, 7]), None);
        assert_eq!(Version::parse(&[5, 7, 1, 0]), None);
        assert_eq!(serial(&[1, 2, 3]), None);
        assert_eq!(serial(&[0, 0, 1, 0]), Some(256));
    }

    #[test]
    fn a_card_without_a_serial_number_is_known_by_its_chuid() {
        let with = |guid: &[u8]| tlv::of(0x34, guid);
        assert_eq!(by_chuid(&with(&[7; 16])).unwrap().serial, "07".repeat(16));
        // A GUID of zeros is none, and neither is one of another length or two of them.
        let twice = [with(&[7; 16]), with(&[8; 16])].concat();
        let others = [with(&[0; 16]), with(&[7; 15]), twice, vec![0x34]];
        let serials: Vec<_> = others
            .iter()
            .map(|chuid| by_chuid(chuid).unwrap().serial)
            .collect();
        for (serial, chuid) in serials.iter().zip(&others) {
            assert_eq!(serial.len(), 32);
            assert_eq!(serials.iter().filter(|other| *other == serial).count(), 1);
            assert_ne!(*serial, "07".repeat(16), "{chuid:x?}");
        }
        assert_eq!(by_chuid(&[]), None);
    }
}
