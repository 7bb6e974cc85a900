//! Keys that exist already and are put into tokens.

use std::collections::BTreeMap;
use std::fmt;

use minicbor::{Decode, Decoder, Encode, Encoder, decode, encode};

use crate::algorithm::KeyType;
use crate::key::{Format, Purpose};
use crate::piv::PivChoice;
use crate::secret::SecretBytes;

use super::bound::BindPcrs;

/// Puts a key into tokens. It was outside, and may still be: the hardware can't promise that it is
/// the only copy, and `describe` shows it as not local.
#[derive(Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Import {
    /// What the key is for; it can't be changed later.
    #[n(0)]
    pub purpose: Purpose,
    /// The key.
    #[n(1)]
    pub material: KeyMaterial,
    /// A name for it.
    #[n(2)]
    pub alias: Option<String>,
    /// The tokens, each of which gets the same key; needed only where there are several.
    #[n(3)]
    pub tokens: Option<Vec<String>>,
    /// What a sign key may sign, in ascending order; `[raw]` if absent.
    #[n(4)]
    pub formats: Option<Vec<Format>>,
    /// Words of the owner's.
    #[cbor(n(5), with = "super::tags::optional", has_nil)]
    pub tags: Option<BTreeMap<String, String>>,
    /// The id or an alias of a key whose current version this is: it gets the tokens as further
    /// placements. Purpose, formats, alias and tags are the key's own then.
    #[n(6)]
    pub existing: Option<String>,
    /// What it is bound to on the tokens that are TPMs; on others it is not bound.
    #[n(7)]
    pub bind: Option<BindPcrs>,
    /// What is chosen of PIV cards among the tokens.
    #[n(8)]
    pub piv: Option<PivChoice>,
}

/// The private or secret part of a key, or data to be sealed: `[1, pkcs8]`, `[2, type, bytes]` or `[3, pem]`.
#[derive(Debug, PartialEq, Eq)]
pub enum KeyMaterial {
    /// A PrivateKeyInfo or OneAsymmetricKey (RFC 5958), DER, not encrypted.
    Pkcs8(SecretBytes),
    /// The bytes of a secret key, as long as its type says, or data.
    Secret(KeyType, SecretBytes),
    /// A TSS2 PRIVATE KEY in PEM: the file of a key that its TPM has encrypted.
    Tss2(SecretBytes),
}

impl KeyMaterial {
    /// How many bytes it has.
    #[must_use]
    pub fn length(&self) -> usize {
        match self {
            Self::Pkcs8(bytes) | Self::Secret(_, bytes) | Self::Tss2(bytes) => bytes.len(),
        }
    }
}

impl fmt::Display for KeyMaterial {
    /// Says the kind alone.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pkcs8(_) => f.write_str("PKCS#8"),
            Self::Tss2(_) => f.write_str("TSS2"),
            Self::Secret(key_type, _) => key_type.fmt(f),
        }
    }
}

impl<C> Encode<C> for KeyMaterial {
    fn encode<W: encode::Write>(
        &self,
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), encode::Error<W::Error>> {
        match self {
            Self::Pkcs8(bytes) => e.array(2)?.u8(1)?.bytes(bytes.expose())?.ok(),
            Self::Tss2(bytes) => e.array(2)?.u8(3)?.bytes(bytes.expose())?.ok(),
            Self::Secret(key_type, bytes) => e
                .array(3)?
                .u8(2)?
                .encode(key_type)?
                .bytes(bytes.expose())?
                .ok(),
        }
    }
}

impl<'b, C> Decode<'b, C> for KeyMaterial {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, decode::Error> {
        match (d.array()?, d.u8()?) {
            (Some(2), 1) => Ok(Self::Pkcs8(SecretBytes::copy_from(d.bytes()?))),
            (Some(2), 3) => Ok(Self::Tss2(SecretBytes::copy_from(d.bytes()?))),
            (Some(3), 2) => {
                let key_type: KeyType = d.decode()?;
                Ok(Self::Secret(key_type, SecretBytes::copy_from(d.bytes()?)))
            }
            _ => Err(decode::Error::message("unknown kind of key material")),
        }
    }
}
