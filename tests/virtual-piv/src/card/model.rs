//! What cards there are, and in what they differ.

use super::key::Algorithm;

/// A kind of card.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Model {
    /// A YubiKey 4 with firmware 4.3.5: no metadata, its serial number in the OTP application.
    YubiKey4,
    /// A YubiKey 5 with firmware 5.4.3: metadata, management keys of AES.
    YubiKey5,
    /// A YubiKey 5 with firmware 5.7.1: AES from the factory, larger RSA, Curve25519, keys that move.
    YubiKey57,
    /// A card by SP 800-73 alone, as an issuer hands it out: no serial number, version, metadata,
    /// attestation or import.
    Generic,
}

impl Model {
    /// Each of them.
    pub const ALL: [Self; 4] = [
        Self::YubiKey4,
        Self::YubiKey5,
        Self::YubiKey57,
        Self::Generic,
    ];

    /// The version of the firmware, where the card says one.
    #[must_use]
    pub fn version(self) -> Option<[u8; 3]> {
        match self {
            Self::YubiKey4 => Some([4, 3, 5]),
            Self::YubiKey5 => Some([5, 4, 3]),
            Self::YubiKey57 => Some([5, 7, 1]),
            Self::Generic => None,
        }
    }

    /// Answer to reset. T=1 in each, with the name of the card in the historical bytes.
    #[must_use]
    pub fn atr(self) -> Vec<u8> {
        let atr: &[u8] = match self {
            Self::YubiKey4 => b"\x3b\xf8\x13\x00\x00\x81\x31\xfe\x15\x59\x75\x62\x69\x6b\x65\x79\x34\xd4",
            Self::YubiKey5 | Self::YubiKey57 => {
                b"\x3b\xfd\x13\x00\x00\x81\x31\xfe\x15\x80\x73\xc0\x21\xc0\x57\x59\x75\x62\x69\x4b\x65\x79\x40"
            }
            Self::Generic => b"\x3b\xf7\x13\x00\x00\x81\x31\xfe\x45\x53\x50\x38\x30\x30\x37\x33\x89",
        };
        checked(atr)
    }

    /// Whether it is by SP 800-73 alone.
    #[must_use]
    pub fn is_generic(self) -> bool {
        self == Self::Generic
    }

    pub(super) fn has_serial_instruction(self) -> bool {
        self.is_at_least(5, 0)
    }

    pub(super) fn has_metadata(self) -> bool {
        self.is_at_least(5, 3)
    }

    pub(super) fn has_aes_management_keys(self) -> bool {
        self.is_at_least(5, 4)
    }

    /// MOVE KEY, large RSA, Curve25519, a management key of AES from the factory.
    pub(super) fn is_5_7(self) -> bool {
        self.is_at_least(5, 7)
    }

    pub(super) fn has(self, algorithm: Algorithm) -> bool {
        match algorithm {
            Algorithm::Rsa1024 | Algorithm::Rsa2048 | Algorithm::P256 | Algorithm::P384 => true,
            Algorithm::Rsa3072 | Algorithm::Rsa4096 | Algorithm::Ed25519 | Algorithm::X25519 => {
                self.is_5_7()
            }
        }
    }

    fn is_at_least(self, major: u8, minor: u8) -> bool {
        self.version()
            .is_some_and(|[has, point, _]| (has, point) >= (major, minor))
    }
}

/// With the check byte TCK that T=1 wants: all from T0 on is zero in sum (XOR).
fn checked(atr: &[u8]) -> Vec<u8> {
    let mut atr = atr.to_vec();
    atr.pop();
    let check = atr.iter().skip(1).fold(0, |sum, byte| sum ^ byte);
    atr.push(check);
    atr
}
