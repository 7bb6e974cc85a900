//! Frames: a length in four bytes, big-endian, then that many bytes of CBOR.

use zeroize::Zeroize;

/// The largest frame, without its length, unless the hello agrees on more.
pub const MAX_FRAME: usize = 64 * 1024;

const PREFIX: usize = 4;
const FIRST_CAPACITY: usize = 4096;

/// A frame that breaks the limit; the stream can't be read any further.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a frame of {claimed} bytes, where {limit} are allowed")]
pub struct FrameTooLarge {
    /// What the length says.
    pub claimed: usize,
    /// What was agreed.
    pub limit: usize,
}

/// Puts the length before `body` and both at the end of `out`.
///
/// # Errors
/// `body` is larger than `limit`.
pub fn write(body: &[u8], limit: usize, out: &mut Vec<u8>) -> Result<(), FrameTooLarge> {
    let too_large = FrameTooLarge {
        claimed: body.len(),
        limit,
    };
    let length = u32::try_from(body.len()).map_err(|_| too_large)?;
    if body.len() > limit {
        return Err(too_large);
    }
    reserve_wiped(out, body.len().saturating_add(PREFIX));
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(body);
    Ok(())
}

/// Collects what a stream brings and hands out whole frames.
///
/// Frames can hold PINs and plaintexts: what was consumed is wiped, also when the buffer grows
/// or is dropped. It grows with the bytes that arrived, never with a length that was claimed.
#[derive(Default)]
pub struct FrameReader {
    bytes: Vec<u8>,
    consumed: usize,
}

impl FrameReader {
    /// Where the next read goes: its spare capacity is at least `least` bytes.
    ///
    /// Append what came and no more than the spare capacity, so that it does not grow by itself.
    pub fn space(&mut self, least: usize) -> &mut Vec<u8> {
        self.compact();
        reserve_wiped(&mut self.bytes, least.max(FIRST_CAPACITY));
        &mut self.bytes
    }

    /// Adds bytes that were read elsewhere; wiping the source is the caller's duty.
    pub fn push(&mut self, bytes: &[u8]) {
        self.space(bytes.len()).extend_from_slice(bytes);
    }

    /// The next whole frame, without its length; `None` if more bytes are needed.
    ///
    /// # Errors
    /// The frame's length is above `limit`.
    pub fn next_frame(&mut self, limit: usize) -> Result<Option<&[u8]>, FrameTooLarge> {
        let pending = self.bytes.get(self.consumed..).unwrap_or_default();
        let Some((prefix, _)) = pending.split_first_chunk::<PREFIX>() else {
            return Ok(None);
        };
        let claimed = u32::from_be_bytes(*prefix) as usize;
        if claimed > limit {
            return Err(FrameTooLarge { claimed, limit });
        }
        let start = self.consumed.saturating_add(PREFIX);
        let end = start.saturating_add(claimed);
        if self.bytes.len() < end {
            return Ok(None);
        }
        self.consumed = end;
        Ok(self.bytes.get(start..end))
    }

    /// Whether a frame has begun that is not whole yet.
    #[must_use]
    pub fn is_partial(&self) -> bool {
        self.consumed < self.bytes.len()
    }

    /// Wipes what was consumed, and gives the memory back if nothing is left.
    pub fn compact(&mut self) {
        let consumed = self.consumed.min(self.bytes.len());
        if consumed == 0 {
            return;
        }
        self.bytes.copy_within(consumed.., 0);
        let left = self.bytes.len().saturating_sub(consumed);
        if let Some(stale) = self.bytes.get_mut(left..) {
            stale.zeroize();
        }
        self.bytes.truncate(left);
        self.consumed = 0;
        if left == 0 && self.bytes.capacity() > FIRST_CAPACITY {
            self.bytes = Vec::new();
        }
    }

    /// Gives the memory back if nothing is waiting: for a connection that goes idle.
    pub fn release(&mut self) {
        self.compact();
        if self.bytes.is_empty() {
            self.bytes = Vec::new();
        }
    }
}

impl Drop for FrameReader {
    fn drop(&mut self) {
        self.bytes.zeroize();
    }
}

/// Makes room without leaving a copy behind, as `Vec::reserve` would.
pub fn reserve_wiped(bytes: &mut Vec<u8>, additional: usize) {
    let needed = bytes.len().saturating_add(additional);
    if needed <= bytes.capacity() {
        return;
    }
    let mut larger = Vec::with_capacity(needed.max(bytes.capacity().saturating_mul(2)));
    larger.extend_from_slice(bytes);
    bytes.zeroize();
    *bytes = larger;
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_reserves_nothing() {
        let mut reader = FrameReader::default();
        reader.push(&u32::MAX.to_be_bytes());
        assert_eq!(reader.next_frame(usize::MAX), Ok(None));
        assert!(reader.is_partial());
        assert!(reader.space(1).capacity() <= 2 * FIRST_CAPACITY);
    }

    #[test]
    fn a_long_frame_is_refused_when_its_length_is_there() {
        let mut reader = FrameReader::default();
        reader.push(&[0, 1, 0, 1]);
        let error = reader.next_frame(MAX_FRAME).unwrap_err();
        assert_eq!((error.claimed, error.limit), (65_537, MAX_FRAME));
        assert!(write(&[0; 17], 16, &mut Vec::new()).is_err());
    }

    #[test]
    fn what_was_consumed_is_wiped() {
        let mut reader = FrameReader::default();
        reader.push(b"\0\0\0\x041234\0\0");
        assert_eq!(reader.next_frame(MAX_FRAME), Ok(Some(&b"1234"[..])));
        reader.compact();
        assert_eq!(reader.bytes, b"\0\0");
        // What the bytes were moved away from is spare capacity now, and was wiped before.
        reader.bytes.resize(10, 1);
        assert_eq!(reader.bytes.get(..2), Some(&[0, 0][..]));
    }

    #[test]
    fn an_idle_reader_holds_no_memory() {
        let mut reader = FrameReader::default();
        reader.push(b"\0\0\0\x01x");
        assert_eq!(reader.next_frame(MAX_FRAME), Ok(Some(&b"x"[..])));
        reader.release();
        assert_eq!(reader.bytes.capacity(), 0);
    }
}
