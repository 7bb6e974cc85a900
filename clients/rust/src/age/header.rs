//! The textual header: a version line, stanzas, a MAC.

use std::io::{BufRead, Read};

use aws_lc_rs::hmac;
use base64ct::{Base64Unpadded, Encoding};

use super::error::HeaderError;
use super::file_key::FileKey;

/// The longest header that is taken, in bytes.
pub const MAX_HEADER: usize = 64 * 1024;
/// The most stanzas that are taken.
pub const MAX_STANZAS: usize = 32;

const MAGIC: &[u8] = b"age-encryption.org/";
const VERSION_LINE: &[u8] = b"age-encryption.org/v1";
const ARMOR: &[u8] = b"-----BEGIN AGE ENCRYPTED FILE-----";
const STANZA: &[u8] = b"-> ";
const END: &[u8] = b"---";
/// How many characters a full line of a body has, and of how many bytes.
const COLUMNS: usize = 64;
const BYTES: usize = 48;

/// One recipient's way to the file key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stanza {
    /// The type, then what the type wants: visible ASCII without spaces.
    pub arguments: Vec<String>,
    /// The wrapped file key.
    pub body: Vec<u8>,
}

/// A header that follows the grammar. Only [`Header::verify`] says that it is as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    stanzas: Vec<Stanza>,
    /// What the MAC is of: all up to and including the three dashes.
    covered: Vec<u8>,
    mac: Vec<u8>,
}

impl Header {
    /// A new header with its MAC.
    ///
    /// # Errors
    /// No stanzas, or more or larger ones than a header may have.
    pub fn new(file_key: &FileKey, stanzas: Vec<Stanza>) -> Result<Self, HeaderError> {
        let mut covered = VERSION_LINE.to_vec();
        covered.push(b'\n');
        check_count(stanzas.len(), 2)?;
        for (stanza, line) in stanzas.iter().zip(2..) {
            write_stanza(stanza, line, &mut covered)?;
        }
        covered.extend_from_slice(END);
        let mac = hmac::sign(&file_key.mac_key(), &covered).as_ref().to_vec();
        let header = Self {
            stanzas,
            covered,
            mac,
        };
        match header.to_bytes().len() {
            ..=MAX_HEADER => Ok(header),
            _ => Err(TOO_LONG),
        }
    }

    /// Reads a header, and nothing after it.
    ///
    /// # Errors
    /// See [`HeaderError`].
    pub fn read(input: &mut impl BufRead) -> Result<Self, HeaderError> {
        let mut lines = Lines {
            input,
            text: Vec::new(),
            count: 0,
        };
        version_line(&mut lines)?;
        let mut stanzas = Vec::new();
        loop {
            let (start, line) = lines.next()?;
            if line.starts_with(STANZA) {
                let arguments = arguments(line).ok_or_else(|| lines.wrong(ARGUMENTS))?;
                check_count(stanzas.len().saturating_add(1), lines.count)?;
                let body = body(&mut lines)?;
                stanzas.push(Stanza { arguments, body });
                continue;
            }
            let Some(mac) = line.strip_prefix(END) else {
                return Err(lines.wrong("neither a stanza nor the end of the header"));
            };
            let mac = mac.strip_prefix(b" ").and_then(decode);
            let mac = mac.filter(|mac| mac.len() == 32);
            let mac = mac.ok_or_else(|| lines.wrong("not a MAC of 32 bytes in base64"))?;
            check_count(stanzas.len(), lines.count)?;
            let mut covered = lines.text;
            covered.truncate(start.saturating_add(END.len()));
            return Ok(Self {
                stanzas,
                covered,
                mac,
            });
        }
    }

    /// The stanzas, in their order.
    #[must_use]
    pub fn stanzas(&self) -> &[Stanza] {
        &self.stanzas
    }

    /// Whether the header is as it was written with this file key.
    ///
    /// # Errors
    /// It is not.
    pub fn verify(&self, file_key: &FileKey) -> Result<(), HeaderError> {
        hmac::verify(&file_key.mac_key(), &self.covered, &self.mac)
            .map_err(|_| HeaderError::Changed)
    }

    /// The header as it stands in a file.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = self.covered.clone();
        bytes.push(b' ');
        bytes.extend_from_slice(Base64Unpadded::encode_string(&self.mac).as_bytes());
        bytes.push(b'\n');
        bytes
    }
}

const ARGUMENTS: &str = "not arguments of visible ASCII with one space between two";
const TOO_LONG: HeaderError = HeaderError::TooLarge {
    limit: MAX_HEADER,
    unit: "bytes",
};

fn check_count(count: usize, line: usize) -> Result<(), HeaderError> {
    match count {
        0 => Err(HeaderError::Malformed {
            line,
            problem: "the end of the header, and there was no stanza",
        }),
        1..=MAX_STANZAS => Ok(()),
        _ => Err(HeaderError::TooLarge {
            limit: MAX_STANZAS,
            unit: "stanzas",
        }),
    }
}

fn write_stanza(stanza: &Stanza, line: usize, text: &mut Vec<u8>) -> Result<(), HeaderError> {
    text.extend_from_slice(b"->");
    for argument in &stanza.arguments {
        text.push(b' ');
        text.extend_from_slice(argument.as_bytes());
    }
    text.push(b'\n');
    if stanza.arguments.is_empty() || !stanza.arguments.iter().all(|a| is_argument(a.as_bytes())) {
        let problem = ARGUMENTS;
        return Err(HeaderError::Malformed { line, problem });
    }
    let mut chunks = stanza.body.chunks_exact(BYTES);
    for chunk in &mut chunks {
        text.extend_from_slice(Base64Unpadded::encode_string(chunk).as_bytes());
        text.push(b'\n');
    }
    text.extend_from_slice(Base64Unpadded::encode_string(chunks.remainder()).as_bytes());
    text.push(b'\n');
    Ok(())
}

/// Lines of a header that may not become too long.
struct Lines<'a, R> {
    input: &'a mut R,
    text: Vec<u8>,
    count: usize,
}

impl<R: BufRead> Lines<'_, R> {
    /// The next line without its end, and where it starts in the text.
    fn next(&mut self) -> Result<(usize, &[u8]), HeaderError> {
        let start = self.text.len();
        let room = MAX_HEADER.saturating_sub(start);
        let limit = u64::try_from(room).unwrap_or(u64::MAX);
        let mut line = (&mut *self.input).take(limit);
        let read = line.read_until(b'\n', &mut self.text);
        self.count = self.count.saturating_add(1);
        let count = read.map_err(HeaderError::Io)?;
        match self.text.get(start..).and_then(|l| l.strip_suffix(b"\n")) {
            Some(line) => Ok((start, line)),
            None if count == room => Err(TOO_LONG),
            None => Err(HeaderError::Truncated),
        }
    }

    fn wrong(&self, problem: &'static str) -> HeaderError {
        HeaderError::Malformed {
            line: self.count,
            problem,
        }
    }
}

fn version_line<R: BufRead>(lines: &mut Lines<'_, R>) -> Result<(), HeaderError> {
    let whole = match lines.next() {
        Ok(_) => Ok(()),
        // Anything at all may have been read: what it begins with says what it is.
        Err(error @ (HeaderError::Truncated | HeaderError::TooLarge { .. })) => Err(error),
        Err(error) => return Err(error),
    };
    let text = lines.text.as_slice();
    if text.starts_with(ARMOR) {
        return Err(HeaderError::Armored);
    }
    let Some(version) = text.strip_prefix(MAGIC) else {
        return Err(HeaderError::NotAge);
    };
    whole?;
    if version == b"v1\n" {
        return Ok(());
    }
    let version = version.strip_suffix(b"\n").unwrap_or(version);
    let shown = version.get(..32).unwrap_or(version);
    Err(HeaderError::Version(
        String::from_utf8_lossy(shown).into_owned(),
    ))
}

fn arguments(line: &[u8]) -> Option<Vec<String>> {
    let arguments = line.strip_prefix(STANZA)?.split(|byte| *byte == b' ');
    arguments
        .map(|argument| {
            is_argument(argument)
                .then(|| String::from_utf8(argument.to_vec()).ok())
                .flatten()
        })
        .collect()
}

fn is_argument(argument: &[u8]) -> bool {
    !argument.is_empty() && argument.iter().all(u8::is_ascii_graphic)
}

/// Full lines, and one that is shorter and can be empty.
fn body<R: BufRead>(lines: &mut Lines<'_, R>) -> Result<Vec<u8>, HeaderError> {
    let mut body = Vec::new();
    loop {
        let (_, line) = lines.next()?;
        let columns = line.len();
        let bytes = decode(line).filter(|_| columns <= COLUMNS);
        let bytes = bytes.ok_or_else(|| lines.wrong("not base64 of at most 64 characters"))?;
        body.extend_from_slice(&bytes);
        if columns < COLUMNS {
            return Ok(body);
        }
    }
}

/// Canonical base64 without padding.
fn decode(text: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(text).ok()?;
    Base64Unpadded::decode_vec(text).ok()
}
