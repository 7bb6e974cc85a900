//! The payload's chunks: the STREAM construction with ChaCha20-Poly1305.

use aws_lc_rs::aead::{Aad, LessSafeKey, NONCE_LEN, Nonce};

/// How much plaintext is in a chunk; in the last one it can be less.
pub(super) const CHUNK: usize = 64 * 1024;
/// What a chunk has besides.
pub(super) const TAG: usize = 16;
/// The room of a chunk in a buffer.
pub(super) const SLOT: usize = CHUNK + TAG;

/// Which way a payload goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    /// From plaintext to ciphertext.
    Seal,
    /// From ciphertext to plaintext.
    Open,
}

impl Direction {
    /// How much of the input makes a chunk.
    pub(super) fn unit(self) -> usize {
        match self {
            Self::Seal => CHUNK,
            Self::Open => SLOT,
        }
    }
}

/// Where a chunk stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Its number, counted from 0.
    pub(super) number: u64,
    /// Whether it is the last one.
    pub(super) last: bool,
}

/// Seals the first `length` bytes of a slot in place: how long they are then.
pub(super) fn seal(
    key: &LessSafeKey,
    place: Place,
    slot: &mut [u8],
    length: usize,
) -> Option<usize> {
    let (plaintext, rest) = slot.split_at_mut_checked(length)?;
    let tag = key
        .seal_in_place_separate_tag(nonce(place), Aad::empty(), plaintext)
        .ok()?;
    rest.get_mut(..TAG)?.copy_from_slice(tag.as_ref());
    length.checked_add(TAG)
}

/// Opens a chunk into `plaintext`: how long that is. The chunk stays as it is.
pub(super) fn open(
    key: &LessSafeKey,
    place: Place,
    chunk: &[u8],
    plaintext: &mut [u8],
) -> Option<usize> {
    let (sealed, tag) = chunk.split_last_chunk::<TAG>()?;
    // The last chunk is empty only where the whole payload is.
    if sealed.is_empty() && place.number > 0 {
        return None;
    }
    let plaintext = plaintext.get_mut(..sealed.len())?;
    key.open_separate_gather(nonce(place), Aad::empty(), sealed, tag, plaintext)
        .ok()?;
    Some(sealed.len())
}

/// Eleven bytes of a counter and one that marks the last chunk.
fn nonce(place: Place) -> Nonce {
    let counter = u128::from(place.number) << 8 | u128::from(place.last);
    let mut nonce = [0; NONCE_LEN];
    let bytes = counter.to_be_bytes();
    if let Some(bytes) = bytes.last_chunk::<NONCE_LEN>() {
        nonce = *bytes;
    }
    Nonce::assume_unique_for_key(nonce)
}
