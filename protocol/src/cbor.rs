//! Deterministic CBOR (RFC 8949 §4.2.1), in the profile of SPEC.md.
//!
//! `minicbor` decodes what it is given; it does not ask whether the bytes are the only possible
//! encoding. [`validate`] does, in one pass that allocates nothing, so that two readers of the
//! same bytes can't understand different things.

use std::convert::Infallible;

use minicbor::encode::{Error as EncodeError, Write};
use minicbor::{Decode, Encode, Encoder};

use crate::frame;

/// How deep arrays and maps may nest.
pub const MAX_DEPTH: usize = 16;

/// Why bytes are not one deterministic CBOR item of the profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CborError {
    /// The item ends after the bytes do.
    #[error("the item is cut short")]
    Truncated,
    /// Bytes follow the item.
    #[error("bytes follow the item")]
    Trailing,
    /// An integer or a length is not in its shortest form.
    #[error("an integer or a length is not in its shortest form")]
    NotShortest,
    /// A string, array or map has no definite length.
    #[error("a string, array or map has no definite length")]
    Indefinite,
    /// The keys of a map are not in bytewise order, or one is there twice.
    #[error("the keys of a map are not in bytewise order, or one is there twice")]
    KeyOrder,
    /// A text string is not UTF-8.
    #[error("a text string is not UTF-8")]
    Utf8,
    /// Arrays and maps nest deeper than [`MAX_DEPTH`].
    #[error("arrays and maps nest deeper than {MAX_DEPTH}")]
    TooDeep,
    /// A tag, a float, or a simple value other than false and true.
    #[error("a tag, a float, or a simple value other than false and true")]
    Unsupported,
    /// Deterministic CBOR, but not of the shape that is wanted here: a field is missing, unknown,
    /// or of the wrong type.
    #[error("a field is missing, unknown, or of the wrong type")]
    Shape,
}

/// Checks that `bytes` are exactly one deterministic item.
///
/// # Errors
/// The first rule of the profile that is broken.
pub fn validate(bytes: &[u8]) -> Result<(), CborError> {
    let rest = skip_item(bytes, MAX_DEPTH)?;
    if rest.is_empty() {
        Ok(())
    } else {
        Err(CborError::Trailing)
    }
}

/// Decodes one item that must be deterministic and hold nothing that `T` does not know.
///
/// What a peer asks for is decoded so: a field that is ignored could be the one that limits
/// what it wants.
///
/// # Errors
/// The rule of the profile that is broken, or [`CborError::Shape`].
pub fn decode_exact<'b, T>(bytes: &'b [u8]) -> Result<T, CborError>
where
    T: Decode<'b, ()> + Encode<()>,
{
    let value = decode_known(bytes)?;
    let mut again = Compare(bytes);
    let same = minicbor::encode(&value, &mut again).is_ok() && again.0.is_empty();
    same.then_some(value).ok_or(CborError::Shape)
}

/// Decodes one item that must be deterministic; fields that `T` does not know are ignored.
///
/// What a peer answers is decoded so, that an agent can say more than an old client knows.
///
/// # Errors
/// The rule of the profile that is broken, or [`CborError::Shape`].
pub fn decode_known<'b, T: Decode<'b, ()>>(bytes: &'b [u8]) -> Result<T, CborError> {
    validate(bytes)?;
    minicbor::decode(bytes).map_err(|_| CborError::Shape)
}

/// Encodes a value of this crate, whose derives write keys in order and lengths in full.
#[must_use]
pub fn encode<T: Encode<()>>(value: &T) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(128);
    encode_into(value, &mut bytes);
    bytes
}

/// Encodes a value at the end of `bytes`.
///
/// The value may be a secret: where `bytes` must grow, what they held is wiped.
pub fn encode_into<T: Encode<()>>(value: &T, bytes: &mut Vec<u8>) {
    write(bytes, |e| e.encode(value)?.ok());
}

/// Writes items at the end of `bytes`.
pub(crate) fn write(
    bytes: &mut Vec<u8>,
    items: impl FnOnce(&mut Encoder<Grow<'_>>) -> Result<(), EncodeError<Infallible>>,
) {
    match items(&mut Encoder::new(Grow(bytes))) {
        Ok(()) => {}
        Err(error) => unreachable!("writing to a Vec does not fail: {error}"),
    }
}

/// A writer to the end of a `Vec`, which leaves no copy behind where that must grow.
pub(crate) struct Grow<'b>(&'b mut Vec<u8>);

impl Write for Grow<'_> {
    type Error = Infallible;

    fn write_all(&mut self, written: &[u8]) -> Result<(), Infallible> {
        frame::reserve_wiped(self.0, written.len());
        self.0.extend_from_slice(written);
        Ok(())
    }
}

/// A writer that accepts only the bytes that it was made with.
struct Compare<'b>(&'b [u8]);

impl Write for Compare<'_> {
    type Error = ();

    fn write_all(&mut self, written: &[u8]) -> Result<(), ()> {
        self.0 = self.0.strip_prefix(written).ok_or(())?;
        Ok(())
    }
}

/// Skips one item and returns what follows it.
fn skip_item(bytes: &[u8], depth: usize) -> Result<&[u8], CborError> {
    let (major, argument, rest) = head(bytes)?;
    match major {
        0 | 1 => Ok(rest),
        2 => Ok(string(rest, argument)?.1),
        3 => {
            let (text, rest) = string(rest, argument)?;
            std::str::from_utf8(text).map_err(|_| CborError::Utf8)?;
            Ok(rest)
        }
        4 => {
            let depth = depth.checked_sub(1).ok_or(CborError::TooDeep)?;
            let mut rest = rest;
            for _ in 0..claimed(rest, argument, 1)? {
                rest = skip_item(rest, depth)?;
            }
            Ok(rest)
        }
        5 => {
            let depth = depth.checked_sub(1).ok_or(CborError::TooDeep)?;
            let mut rest = rest;
            let mut last: &[u8] = &[];
            for _ in 0..claimed(rest, argument, 2)? {
                let after = skip_item(rest, depth)?;
                let key = rest
                    .get(..rest.len().saturating_sub(after.len()))
                    .unwrap_or_default();
                if key <= last {
                    return Err(CborError::KeyOrder);
                }
                last = key;
                rest = skip_item(after, depth)?;
            }
            Ok(rest)
        }
        7 if matches!(argument, 20 | 21) => Ok(rest),
        _ => Err(CborError::Unsupported),
    }
}

/// The major type and the argument of an item's head (RFC 8949 §3).
fn head(bytes: &[u8]) -> Result<(u8, u64, &[u8]), CborError> {
    let (&first, rest) = bytes.split_first().ok_or(CborError::Truncated)?;
    let (major, info) = (first >> 5, first & 0x1f);
    let (argument, least, rest) = match info {
        0..=23 => (u64::from(info), 0, rest),
        // Floats and two-byte simple values are outside the profile, whatever they hold.
        24..=27 if major == 7 => return Err(CborError::Unsupported),
        24 => widen::<1>(rest, 24)?,
        25 => widen::<2>(rest, 1 << 8)?,
        26 => widen::<4>(rest, 1 << 16)?,
        27 => widen::<8>(rest, 1 << 32)?,
        31 if matches!(major, 2..=5) => return Err(CborError::Indefinite),
        _ => return Err(CborError::Unsupported),
    };
    if argument < least {
        return Err(CborError::NotShortest);
    }
    Ok((major, argument, rest))
}

/// An argument of `N` bytes, the least value that needs them, and what follows.
fn widen<const N: usize>(bytes: &[u8], least: u64) -> Result<(u64, u64, &[u8]), CborError> {
    let (argument, rest) = bytes.split_first_chunk::<N>().ok_or(CborError::Truncated)?;
    let value = argument
        .iter()
        .fold(0u64, |value, byte| (value << 8) | u64::from(*byte));
    Ok((value, least, rest))
}

/// A string of a claimed length, and what follows.
fn string(bytes: &[u8], length: u64) -> Result<(&[u8], &[u8]), CborError> {
    usize::try_from(length)
        .ok()
        .and_then(|length| bytes.split_at_checked(length))
        .ok_or(CborError::Truncated)
}

/// A claimed count of items, if that many can be there at all.
fn claimed(bytes: &[u8], count: u64, least_each: usize) -> Result<usize, CborError> {
    usize::try_from(count)
        .ok()
        .filter(|count| count.saturating_mul(least_each) <= bytes.len())
        .ok_or(CborError::Truncated)
}
