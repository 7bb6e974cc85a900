//! The data objects of cards (ISO 7816-4 §5.2.2.1, BER-TLV), which are those of DER, too.
//!
//! Cards write lengths in more bytes than are needed, so that is taken; what is cut or left over is
//! not.

/// The longest value that anything here has: a card's objects end at about 3 KiB.
const MOST: usize = 16 * 1024;

/// Why bytes are no data objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TlvError {
    /// A tag, a length or a value goes beyond the end.
    #[error("it ends in the middle of a data object")]
    Cut,
    /// A tag of more than three bytes.
    #[error("it has a tag of no known form")]
    Tag,
    /// A length of indefinite form, of more than three bytes, or longer than anything real.
    #[error("it has a length of no known form")]
    Length,
    /// The object that must be there is not, or is not alone.
    #[error("the data object {0:x} is not there, or not alone")]
    Other(u32),
    /// The same object twice where one must be.
    #[error("the data object {0:x} is there twice")]
    Twice(u32),
}

/// A data object.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Tlv<'a> {
    /// Its tag, as its bytes are written: `7f49`.
    pub tag: u32,
    /// Its value.
    pub value: &'a [u8],
}

impl std::fmt::Debug for Tlv<'_> {
    /// Shows how long the value is: it may be a secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Tlv({:x}, {} bytes)", self.tag, self.value.len())
    }
}

/// The first data object and what is behind it.
///
/// # Errors
/// See [`TlvError`].
pub fn first(bytes: &[u8]) -> Result<(Tlv<'_>, &[u8]), TlvError> {
    let (tag, rest) = tag(bytes)?;
    let (length, rest) = length(rest)?;
    let (value, rest) = rest.split_at_checked(length).ok_or(TlvError::Cut)?;
    Ok((Tlv { tag, value }, rest))
}

/// All data objects, one behind the other.
///
/// # Errors
/// See [`TlvError`].
pub fn list(mut bytes: &[u8]) -> Result<Vec<Tlv<'_>>, TlvError> {
    let mut list = Vec::new();
    while !bytes.is_empty() {
        let (one, rest) = first(bytes)?;
        list.push(one);
        bytes = rest;
    }
    Ok(list)
}

/// The value of the one data object that the bytes are.
///
/// # Errors
/// See [`TlvError`].
pub fn only(bytes: &[u8], tag: u32) -> Result<&[u8], TlvError> {
    match first(bytes)? {
        (one, []) if one.tag == tag => Ok(one.value),
        _ => Err(TlvError::Other(tag)),
    }
}

/// The value of a data object among others.
///
/// # Errors
/// See [`TlvError`].
pub fn find(bytes: &[u8], tag: u32) -> Result<Option<&[u8]>, TlvError> {
    let mut found = None;
    for one in list(bytes)? {
        if one.tag == tag && found.replace(one.value).is_some() {
            return Err(TlvError::Twice(tag));
        }
    }
    Ok(found)
}

/// The value of a data object that must be among others.
///
/// # Errors
/// See [`TlvError`].
pub fn get(bytes: &[u8], tag: u32) -> Result<&[u8], TlvError> {
    find(bytes, tag)?.ok_or(TlvError::Other(tag))
}

/// Writes a data object behind others.
pub fn put(tag: u32, value: &[u8], out: &mut Vec<u8>) {
    let bytes = tag.to_be_bytes();
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    out.extend(bytes.get(zeros.min(3)..).unwrap_or_default());
    match u16::try_from(value.len()).map(u16::to_be_bytes) {
        Ok([0, short @ ..0x80]) => out.push(short),
        Ok([0, byte]) => out.extend([0x81, byte]),
        Ok([high, low]) => out.extend([0x82, high, low]),
        Err(_) => unreachable!("no object of a card is so long"),
    }
    out.extend(value);
}

/// A data object alone.
#[must_use]
pub fn of(tag: u32, value: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(value.len().saturating_add(8));
    put(tag, value, &mut out);
    out
}

fn tag(bytes: &[u8]) -> Result<(u32, &[u8]), TlvError> {
    let (first, mut rest) = bytes.split_first().ok_or(TlvError::Cut)?;
    let mut tag = u32::from(*first);
    if first & 0x1f != 0x1f {
        return Ok((tag, rest));
    }
    for _ in 0..2 {
        let (next, behind) = rest.split_first().ok_or(TlvError::Cut)?;
        tag = (tag << 8) | u32::from(*next);
        rest = behind;
        if next & 0x80 == 0 {
            return Ok((tag, rest));
        }
    }
    Err(TlvError::Tag)
}

fn length(bytes: &[u8]) -> Result<(usize, &[u8]), TlvError> {
    let (first, rest) = bytes.split_first().ok_or(TlvError::Cut)?;
    let count = match first {
        0..=0x7f => return Ok((usize::from(*first), rest)),
        0x81..=0x83 => usize::from(first & 0x0f),
        _ => return Err(TlvError::Length),
    };
    let (bytes, rest) = rest.split_at_checked(count).ok_or(TlvError::Cut)?;
    let length = bytes
        .iter()
        .fold(0usize, |length, byte| (length << 8) | usize::from(*byte));
    match length {
        0..=MOST => Ok((length, rest)),
        _ => Err(TlvError::Length),
    }
}

#[cfg(test)]
mod tests;
