//! `absorb`: messages that are larger than a frame, hashed part by part as they come.
//!
//! Which hash a signature needs is known only when it is asked for, so both are kept. What was
//! hashed belongs to its connection and goes with it.

use std::cell::RefCell;
use std::collections::BTreeMap;

use keyward_protocol::operation::{Absorb, Absorbed};
use keyward_protocol::{ErrorCode, Failure};
use sha2::{Digest, Sha256, Sha384};

/// How many streams a connection has at the most.
const MOST_STREAMS: usize = 4;
/// The longest message, in bytes.
const LONGEST: u64 = 1 << 48;

/// The messages that a connection is giving in parts.
#[derive(Default)]
pub(super) struct Streams(RefCell<BTreeMap<u32, Stream>>);

#[derive(Default)]
struct Stream {
    length: u64,
    sha256: Sha256,
    sha384: Sha384,
}

impl Streams {
    /// Takes the next part of a message.
    pub(super) fn absorb(&self, op: &Absorb) -> Result<Absorbed, Failure> {
        let mut streams = self.0.borrow_mut();
        if op.offset == 0 {
            if streams.len() >= MOST_STREAMS && !streams.contains_key(&op.stream) {
                return Err(Failure::new(
                    ErrorCode::Busy,
                    format!("this connection has {MOST_STREAMS} messages under way already"),
                ));
            }
            streams.insert(op.stream, Stream::default());
        }
        let stream = streams
            .get_mut(&op.stream)
            .ok_or_else(|| unknown(op.stream))?;
        if op.offset != stream.length {
            return Err(Failure::new(
                ErrorCode::Invalid,
                format!(
                    "a part at {}, where stream {} has {} bytes",
                    op.offset, op.stream, stream.length
                ),
            ));
        }
        let length = stream.length.saturating_add(op.bytes.len() as u64);
        if length > LONGEST {
            return Err(Failure::new(
                ErrorCode::TooLarge,
                format!("a message has {LONGEST} bytes at the most"),
            ));
        }
        stream.sha256.update(&*op.bytes);
        stream.sha384.update(&*op.bytes);
        stream.length = length;
        Ok(Absorbed { length })
    }

    /// Takes a message out, to be signed or verified.
    pub(super) fn take(&self, number: u32) -> Result<Taken<'_>, Failure> {
        let stream = self.0.borrow_mut().remove(&number);
        Ok(Taken {
            streams: self,
            number,
            stream: Some(stream.ok_or_else(|| unknown(number))?),
        })
    }
}

/// A message that was taken out; unless it is used up, it goes back when this is dropped, so that
/// nobody gives it again because a token was locked.
pub(super) struct Taken<'s> {
    streams: &'s Streams,
    number: u32,
    stream: Option<Stream>,
}

impl Taken<'_> {
    /// The message's SHA-256.
    pub(super) fn sha256(&self) -> [u8; 32] {
        let stream = self.stream.as_ref();
        stream.map_or_else(Default::default, |s| s.sha256.clone().finalize().into())
    }

    /// The message's SHA-384.
    pub(super) fn sha384(&self) -> [u8; 48] {
        let stream = self.stream.as_ref();
        stream.map_or([0; 48], |s| s.sha384.clone().finalize().into())
    }

    /// Ends the stream: it has served.
    pub(super) fn use_up(mut self) {
        self.stream = None;
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        let Some(stream) = self.stream.take() else {
            return;
        };
        // Its number or its place may have gone to another message meanwhile.
        let mut streams = self.streams.0.borrow_mut();
        if streams.len() < MOST_STREAMS {
            streams.entry(self.number).or_insert(stream);
        }
    }
}

fn unknown(stream: u32) -> Failure {
    Failure::new(
        ErrorCode::Invalid,
        format!("this connection has given no part of a stream {stream}"),
    )
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn part(stream: u32, offset: u64, bytes: &[u8]) -> Absorb {
        Absorb {
            stream,
            offset,
            bytes: bytes.to_vec().into(),
        }
    }

    fn code<T>(result: Result<T, Failure>) -> ErrorCode {
        result.err().unwrap().code
    }

    #[test]
    fn parts_are_hashed_as_one_message() {
        let streams = Streams::default();
        streams.absorb(&part(7, 0, b"ab")).unwrap();
        streams.absorb(&part(7, 2, b"")).unwrap();
        assert_eq!(streams.absorb(&part(7, 2, b"c")).unwrap().length, 3);
        let taken = streams.take(7).unwrap();
        assert_eq!(taken.sha256(), <[u8; 32]>::from(Sha256::digest(b"abc")));
        assert_eq!(taken.sha384(), <[u8; 48]>::from(Sha384::digest(b"abc")));
        taken.use_up();
        assert_eq!(code(streams.take(7)), ErrorCode::Invalid);
    }

    #[test]
    fn a_part_out_of_place_changes_nothing() {
        let streams = Streams::default();
        assert_eq!(
            code(streams.absorb(&part(1, 1, b"x"))),
            ErrorCode::Invalid,
            "it never began"
        );
        streams.absorb(&part(1, 0, b"ab")).unwrap();
        for offset in [1, 3, u64::MAX] {
            let wrong = streams.absorb(&part(1, offset, b"x"));
            assert_eq!(code(wrong), ErrorCode::Invalid);
        }
        assert_eq!(streams.absorb(&part(1, 2, b"c")).unwrap().length, 3);
        let digest: [u8; 32] = Sha256::digest(b"abc").into();
        assert_eq!(streams.take(1).unwrap().sha256(), digest);
    }

    #[test]
    fn a_connection_has_four_streams_and_a_part_at_0_begins_one_anew() {
        let streams = Streams::default();
        for number in 0..4 {
            streams.absorb(&part(number, 0, b"x")).unwrap();
        }
        assert_eq!(code(streams.absorb(&part(4, 0, b"x"))), ErrorCode::Busy);
        assert_eq!(streams.absorb(&part(3, 0, b"yz")).unwrap().length, 2);
        streams.take(0).unwrap().use_up();
        streams.absorb(&part(4, 0, b"x")).unwrap();
    }

    #[test]
    fn what_was_taken_and_not_used_goes_back_unless_its_place_is_taken() {
        let streams = Streams::default();
        streams.absorb(&part(1, 0, b"one")).unwrap();
        drop(streams.take(1).unwrap());
        let taken = streams.take(1).unwrap();
        streams.absorb(&part(1, 0, b"two!")).unwrap();
        drop(taken);
        assert_eq!(streams.absorb(&part(1, 4, b"")).unwrap().length, 4);
    }

    #[test]
    fn a_message_has_an_end() {
        let streams = Streams::default();
        streams.absorb(&part(1, 0, b"")).unwrap();
        if let Some(stream) = streams.0.borrow_mut().get_mut(&1) {
            stream.length = LONGEST;
        }
        let more = streams.absorb(&part(1, LONGEST, b"x"));
        assert_eq!(code(more), ErrorCode::TooLarge);
    }
}
