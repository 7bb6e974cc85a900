//! Commands that come in pieces, and answers that go in pieces (ISO/IEC 7816-4 §5.3.3 and §5.3.4).

use zeroize::Zeroizing;

use super::Reply;
use super::apdu::Command;
use super::status::Status;

/// The most data that the pieces of one command bring.
const MOST: usize = 3_072;
/// GET RESPONSE.
const GET_RESPONSE: u8 = 0xc0;

/// A command of which all pieces are there.
pub(super) struct Whole {
    pub(super) instruction: u8,
    pub(super) p1: u8,
    pub(super) p2: u8,
    pub(super) data: Zeroizing<Vec<u8>>,
    pub(super) expected: usize,
}

/// What a command was.
pub(super) enum Accepted {
    /// A piece, or it asked for the rest of an answer: this is all that there is to do.
    Answered(Vec<u8>),
    /// It is to be done.
    Whole(Whole),
}

/// What has come and what has not gone yet.
#[derive(Default)]
pub(super) struct Chain {
    pieces: Option<Pieces>,
    waiting: Vec<u8>,
}

struct Pieces {
    header: [u8; 3],
    data: Zeroizing<Vec<u8>>,
}

impl Chain {
    pub(super) fn accept(&mut self, command: &Command<'_>) -> Accepted {
        let refused = |status| Accepted::Answered(only(status));
        if command.class & !0x10 != 0 {
            self.pieces = None;
            return refused(Status::CLASS_NOT_SUPPORTED);
        }
        if command.instruction == GET_RESPONSE && !command.is_chained() {
            return Accepted::Answered(self.rest(command.expected));
        }
        self.waiting.clear();
        let header = [command.instruction, command.p1, command.p2];
        // A piece of another command ends what was begun: whoever began it has gone.
        let begun = self.pieces.take().filter(|pieces| pieces.header == header);
        let mut data = begun.map_or_else(Zeroizing::default, |pieces| pieces.data);
        if data.len().saturating_add(command.data.len()) > MOST {
            return refused(Status::WRONG_LENGTH);
        }
        data.extend_from_slice(command.data);
        if command.is_chained() {
            self.pieces = Some(Pieces { header, data });
            return refused(Status::OK);
        }
        Accepted::Whole(Whole {
            instruction: command.instruction,
            p1: command.p1,
            p2: command.p2,
            data,
            expected: command.expected,
        })
    }

    /// The answer to a command that was done, or the first piece of it.
    pub(super) fn answer(&mut self, reply: Reply, expected: usize) -> Vec<u8> {
        match reply {
            Ok(data) => {
                self.waiting = data;
                self.rest(expected)
            }
            Err(status) => only(status),
        }
    }

    fn rest(&mut self, expected: usize) -> Vec<u8> {
        let now = expected.min(self.waiting.len());
        let mut answer: Vec<u8> = self.waiting.drain(..now).collect();
        let status = match self.waiting.len() {
            0 => Status::OK,
            left => Status::more(left),
        };
        answer.extend(status.0.to_be_bytes());
        answer
    }
}

/// An answer that is a status word alone.
pub(super) fn only(status: Status) -> Vec<u8> {
    status.0.to_be_bytes().to_vec()
}
