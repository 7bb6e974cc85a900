//! Commands and answers (ISO 7816-4 §5.1): in pieces of 255 bytes, so that every reader takes them.

use zeroize::Zeroizing;

use super::status::Status;

/// How much of a command's data goes into one piece.
const PIECE: usize = 255;
/// The longest answer that is put together: a card's objects end at about 3 KiB.
pub const MOST_ANSWER: usize = 16 * 1024;
/// The longest piece of an answer: 256 bytes and the status.
pub const MOST_PIECE: usize = 258;
/// CLA of a piece that is followed by another (SP 800-73-4 Part 2 §2.4).
const CHAINED: u8 = 0x10;
const GET_RESPONSE: u8 = 0xc0;

/// A command. Its data may be a secret, and is wiped.
pub struct Command {
    /// INS.
    pub instruction: u8,
    /// P1.
    pub p1: u8,
    /// P2.
    pub p2: u8,
    data: Zeroizing<Vec<u8>>,
}

impl std::fmt::Debug for Command {
    /// Shows how long the data is.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "Command({:02x} {:02x} {:02x}, {} bytes)",
            self.instruction,
            self.p1,
            self.p2,
            self.data.len()
        )
    }
}

impl Command {
    /// A command without data.
    #[must_use]
    pub fn new(instruction: u8, p1: u8, p2: u8) -> Self {
        Self::with(instruction, p1, p2, Vec::new())
    }

    /// A command with data.
    #[must_use]
    pub fn with(instruction: u8, p1: u8, p2: u8, data: Vec<u8>) -> Self {
        Self {
            instruction,
            p1,
            p2,
            data: Zeroizing::new(data),
        }
    }

    /// The pieces that are sent one after the other. The last one asks for all that there is.
    pub fn pieces(&self) -> impl Iterator<Item = Zeroizing<Vec<u8>>> + '_ {
        let count = self.data.len().div_ceil(PIECE).max(1);
        (1..=count).zip(0..).map(move |(number, before)| {
            let last = number == count;
            let start = PIECE.saturating_mul(before);
            let end = PIECE.saturating_mul(number).min(self.data.len());
            let data = self.data.get(start..end).unwrap_or_default();
            let mut piece = Zeroizing::new(Vec::with_capacity(data.len().saturating_add(6)));
            let class = if last { 0 } else { CHAINED };
            piece.extend([class, self.instruction, self.p1, self.p2]);
            if let Some(length) = u8::try_from(data.len()).ok().filter(|length| *length > 0) {
                piece.push(length);
                piece.extend(data);
            }
            if last {
                piece.push(0);
            }
            piece
        })
    }
}

/// What a card answers. The data may be a secret, and is wiped.
pub struct Answer {
    /// The data, put together.
    pub data: Zeroizing<Vec<u8>>,
    /// The status word.
    pub status: Status,
}

impl std::fmt::Debug for Answer {
    /// Shows how long the data is.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Answer({} bytes, {:?})", self.data.len(), self.status)
    }
}

/// Why an exchange of commands and answers ended without one.
#[derive(Debug)]
pub enum ExchangeError<E> {
    /// The way to the card.
    Transmit(E),
    /// Not what a card answers.
    Malformed(&'static str),
}

/// Sends a command in its pieces, and puts the answer together.
///
/// # Errors
/// See [`ExchangeError`].
pub fn exchange<E>(
    command: &Command,
    mut transmit: impl FnMut(&[u8]) -> Result<Zeroizing<Vec<u8>>, E>,
) -> Result<Answer, ExchangeError<E>> {
    let mut status = Status::SUCCESS;
    let mut data = Zeroizing::new(Vec::new());
    for piece in command.pieces() {
        // A piece that is refused ends the chain; an answer before its end is none.
        if !status.is_success() || !data.is_empty() {
            break;
        }
        let answer = transmit(&piece).map_err(ExchangeError::Transmit)?;
        let (bytes, end) = split(&answer)?;
        (data, status) = (gather(bytes), end);
    }
    while let Some(more) = status.more() {
        let answer = transmit(&[0, GET_RESPONSE, 0, 0, more]).map_err(ExchangeError::Transmit)?;
        let (bytes, end) = split(&answer)?;
        status = end;
        if bytes.is_empty() && status.more().is_some() {
            return Err(ExchangeError::Malformed(
                "it has more to say, and says nothing",
            ));
        }
        append(&mut data, bytes)?;
    }
    Ok(Answer { data, status })
}

/// A buffer that does not move while it grows, so that no copy of a secret is left behind.
fn gather(bytes: &[u8]) -> Zeroizing<Vec<u8>> {
    let capacity = match bytes.len() {
        0..256 => bytes.len(),
        _ => MOST_ANSWER,
    };
    let mut data = Zeroizing::new(Vec::with_capacity(capacity));
    data.extend(bytes);
    data
}

fn append<E>(data: &mut Zeroizing<Vec<u8>>, bytes: &[u8]) -> Result<(), ExchangeError<E>> {
    if data.len().saturating_add(bytes.len()) > MOST_ANSWER {
        return Err(ExchangeError::Malformed("its answer is longer than any"));
    }
    if data.capacity() < MOST_ANSWER {
        let mut roomy = Zeroizing::new(Vec::with_capacity(MOST_ANSWER));
        roomy.extend(data.iter());
        *data = roomy;
    }
    data.extend(bytes);
    Ok(())
}

/// The data and the status of one answer.
fn split<E>(answer: &[u8]) -> Result<(&[u8], Status), ExchangeError<E>> {
    match answer {
        [data @ .., high, low] => Ok((data, Status(u16::from_be_bytes([*high, *low])))),
        _ => Err(ExchangeError::Malformed("its answer has no status")),
    }
}

#[cfg(test)]
mod tests;
