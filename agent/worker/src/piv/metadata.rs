//! GET METADATA (Yubico's extension, from firmware 5.3), and the public keys and policies in it.

use keyward_protocol::piv::{PinPolicy, TouchPolicy};
use keyward_protocol::{CoseKey, KeyType};

use super::tlv::{self, TlvError};

/// Why an answer says nothing about a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MetadataError {
    /// It is no list of data objects, or one is missing.
    #[error(transparent)]
    Tlv(#[from] TlvError),
    /// A data object has a value that it can't have.
    #[error("the data object {0:x} has a value of no known form")]
    Value(u32),
}

/// The PIN policy of its number (tag `aa`). Those that take a fingerprint in its place take the PIN,
/// too.
#[must_use]
pub const fn pin_policy(number: u8) -> Option<PinPolicy> {
    match number {
        1 => Some(PinPolicy::Never),
        2 | 4 => Some(PinPolicy::Once),
        3 | 5 => Some(PinPolicy::Always),
        _ => None,
    }
}

/// The touch policy of its number (tag `ab`).
#[must_use]
pub const fn touch_policy(number: u8) -> Option<TouchPolicy> {
    match number {
        1 => Some(TouchPolicy::Never),
        2 => Some(TouchPolicy::Always),
        3 => Some(TouchPolicy::Cached),
        _ => None,
    }
}

/// The number of a PIN policy.
#[must_use]
pub const fn pin_number(policy: PinPolicy) -> u8 {
    match policy {
        PinPolicy::Never => 1,
        PinPolicy::Once => 2,
        PinPolicy::Always => 3,
    }
}

/// The number of a touch policy.
#[must_use]
pub const fn touch_number(policy: TouchPolicy) -> u8 {
    match policy {
        TouchPolicy::Never => 1,
        TouchPolicy::Always => 2,
        TouchPolicy::Cached => 3,
    }
}

/// The number of a kind of key (SP 800-78-4 Table 6-2, and Yubico's).
#[must_use]
pub const fn algorithm(key_type: KeyType) -> Option<u8> {
    match key_type {
        KeyType::Rsa2048 => Some(0x07),
        KeyType::Rsa3072 => Some(0x05),
        KeyType::Rsa4096 => Some(0x16),
        KeyType::P256 => Some(0x11),
        KeyType::P384 => Some(0x14),
        KeyType::Ed25519 => Some(0xe0),
        _ => None,
    }
}

/// What GET METADATA says about a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlotMetadata {
    /// When it wants a PIN.
    pub pin_policy: PinPolicy,
    /// When it wants a touch.
    pub touch_policy: TouchPolicy,
    /// Whether the card made it.
    pub generated: bool,
    /// Its public part; `None` for a kind that keyward does not use.
    pub public: Option<CoseKey>,
}

impl SlotMetadata {
    /// Parses the answer.
    ///
    /// # Errors
    /// See [`MetadataError`].
    pub fn parse(answer: &[u8]) -> Result<Self, MetadataError> {
        let number = byte(answer, 0x01)?;
        let (pin, touch) = policies(tlv::get(answer, 0x02)?, 0x02)?;
        let generated = match byte(answer, 0x03)? {
            1 => true,
            2 => false,
            _ => return Err(MetadataError::Value(0x03)),
        };
        let public = tlv::get(answer, 0x04)?;
        let used = KeyType::ALL
            .into_iter()
            .any(|key_type| algorithm(key_type) == Some(number));
        Ok(Self {
            pin_policy: pin,
            touch_policy: touch,
            generated,
            public: match used {
                true => Some(public_key(public, number)?),
                false => None,
            },
        })
    }
}

/// The two policies of a key, as they stand in metadata and in attestations.
///
/// # Errors
/// A policy that is not known.
pub fn policies(value: &[u8], tag: u32) -> Result<(PinPolicy, TouchPolicy), MetadataError> {
    match value {
        [pin, touch] => pin_policy(*pin).zip(touch_policy(*touch)),
        _ => None,
    }
    .ok_or(MetadataError::Value(tag))
}

/// The public key of GENERATE ASYMMETRIC KEY PAIR and of metadata (SP 800-73-4 Part 2 Table 13).
///
/// # Errors
/// It is none of the kind.
pub fn public_key(bytes: &[u8], number: u8) -> Result<CoseKey, MetadataError> {
    let key = match number {
        0x05 | 0x07 | 0x16 => {
            let (n, e) = (tlv::get(bytes, 0x81)?, tlv::get(bytes, 0x82)?);
            CoseKey::rsa(n, e)
        }
        0xe0 => {
            let point = tlv::get(bytes, 0x86)?.try_into();
            point.ok().map(|x| CoseKey::Ed25519 { x })
        }
        _ => CoseKey::from_sec1(tlv::get(bytes, 0x86)?),
    };
    let fits = |key: &CoseKey| key.key_type().and_then(algorithm) == Some(number);
    key.filter(fits).ok_or(MetadataError::Value(0x86))
}

/// What GET METADATA says about PIN or PUK.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PinMetadata {
    /// Whether it is the one of the factory.
    pub is_default: bool,
    /// How many tries there are.
    pub total: u8,
    /// How many are left.
    pub left: u8,
}

impl PinMetadata {
    /// Parses the answer.
    ///
    /// # Errors
    /// See [`MetadataError`].
    pub fn parse(answer: &[u8]) -> Result<Self, MetadataError> {
        match tlv::get(answer, 0x06)? {
            [total, left] if left <= total => Ok(Self {
                is_default: flag(answer)?,
                total: *total,
                left: *left,
            }),
            _ => Err(MetadataError::Value(0x06)),
        }
    }
}

/// What GET METADATA says about the management key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ManagementMetadata {
    /// Its algorithm.
    pub algorithm: u8,
    /// Whether it wants a touch.
    pub touch: bool,
    /// Whether it is the one of the factory.
    pub is_default: bool,
}

impl ManagementMetadata {
    /// Parses the answer.
    ///
    /// # Errors
    /// See [`MetadataError`].
    pub fn parse(answer: &[u8]) -> Result<Self, MetadataError> {
        let touch = match tlv::get(answer, 0x02)? {
            [_, touch] => touch_policy(*touch).ok_or(MetadataError::Value(0x02))?,
            _ => return Err(MetadataError::Value(0x02)),
        };
        Ok(Self {
            algorithm: byte(answer, 0x01)?,
            touch: touch != TouchPolicy::Never,
            is_default: flag(answer)?,
        })
    }
}

fn flag(answer: &[u8]) -> Result<bool, MetadataError> {
    Ok(byte(answer, 0x05)? != 0)
}

fn byte(answer: &[u8], tag: u32) -> Result<u8, MetadataError> {
    match tlv::get(answer, tag)? {
        [byte] => Ok(*byte),
        _ => Err(MetadataError::Value(tag)),
    }
}
