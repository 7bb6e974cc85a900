//! Hexadecimal digits in JSON.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A SHA-256 hash that is written as 64 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hex(pub [u8; 32]);

impl fmt::Display for Hex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl Serialize for Hex {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        optional(&Some(&self.0), serializer)
    }
}

impl<'de> Deserialize<'de> for Hex {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        keyward_protocol::Thumbprint::from_hex(&text)
            .map(|hash| Self(hash.0))
            .ok_or_else(|| de::Error::custom("not 64 lower-case hexadecimal digits"))
    }
}

/// For `#[serde(with)]` on a hash.
pub(super) mod hash {
    use super::{Deserialize, Deserializer, Hex, Serialize, Serializer};

    pub(in super::super) fn serialize<S: Serializer>(
        hash: &[u8; 32],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        Hex(*hash).serialize(serializer)
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<[u8; 32], D::Error> {
        Hex::deserialize(deserializer).map(|hex| hex.0)
    }
}

/// The digits of at most 64 bytes, without allocating.
pub(super) fn optional<S: Serializer>(
    bytes: &Option<&[u8]>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| DIGITS.get(usize::from(nibble)).copied().unwrap_or(b'?');
    let mut buffer = [[0; 2]; 64];
    let bytes = bytes.unwrap_or_default();
    for (pair, byte) in buffer.iter_mut().zip(bytes) {
        *pair = [digit(byte >> 4), digit(byte & 0x0f)];
    }
    let used = buffer.get(..bytes.len().min(64)).unwrap_or_default();
    serializer.serialize_str(str::from_utf8(used.as_flattened()).unwrap_or_default())
}
