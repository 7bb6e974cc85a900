//! Data objects in BER-TLV (ISO/IEC 8825-1), as commands and answers hold them.

/// One data object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tlv<'a> {
    /// The tag, its bytes as a number: 0x5c, 0x7f49.
    pub tag: u32,
    /// The value.
    pub value: &'a [u8],
}

/// Takes bytes that are data objects from the first to the last. `None` if they are not: a length
/// beyond the end, an indefinite one, one of more than two bytes, a tag of more than three.
#[must_use]
pub fn parse(mut bytes: &[u8]) -> Option<Vec<Tlv<'_>>> {
    let mut objects = Vec::new();
    while !bytes.is_empty() {
        let (tag, rest) = tag(bytes)?;
        let (length, rest) = length(rest)?;
        let (value, rest) = rest.split_at_checked(length)?;
        objects.push(Tlv { tag, value });
        bytes = rest;
    }
    Some(objects)
}

/// The value of the only data object that the bytes are, if it has this tag.
#[must_use]
pub fn only(bytes: &[u8], tag: u32) -> Option<&[u8]> {
    match parse(bytes)?.as_slice() {
        [object] if object.tag == tag => Some(object.value),
        _ => None,
    }
}

/// The value of the first object with this tag.
#[must_use]
pub fn find<'a>(objects: &[Tlv<'a>], tag: u32) -> Option<&'a [u8]> {
    let object = objects.iter().find(|object| object.tag == tag)?;
    Some(object.value)
}

/// Makes a data object, with the shortest length. A value of 65,536 bytes or more can't be.
#[must_use]
pub fn object(tag: u32, value: &[u8]) -> Vec<u8> {
    let tag = tag.to_be_bytes();
    let start = tag.iter().position(|byte| *byte != 0).unwrap_or(3);
    let mut bytes = tag.get(start..).unwrap_or_default().to_vec();
    let length = u16::try_from(value.len()).unwrap_or(u16::MAX);
    match length.to_be_bytes() {
        [0, short @ ..=0x7f] => bytes.push(short),
        [0, long] => bytes.extend([0x81, long]),
        [high, low] => bytes.extend([0x82, high, low]),
    }
    bytes.extend_from_slice(value);
    bytes
}

fn tag(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let (first, mut rest) = bytes.split_first()?;
    let mut tag = u32::from(*first);
    if first & 0x1f != 0x1f {
        return Some((tag, rest));
    }
    for _ in 0..2 {
        let (next, behind) = rest.split_first()?;
        tag = (tag << 8) | u32::from(*next);
        rest = behind;
        if next & 0x80 == 0 {
            return Some((tag, rest));
        }
    }
    None
}

fn length(bytes: &[u8]) -> Option<(usize, &[u8])> {
    match bytes {
        [short @ ..=0x7f, rest @ ..] => Some((usize::from(*short), rest)),
        [0x81, length, rest @ ..] => Some((usize::from(*length), rest)),
        [0x82, high, low, rest @ ..] => {
            Some((usize::from(u16::from_be_bytes([*high, *low])), rest))
        }
        _ => None,
    }
}
