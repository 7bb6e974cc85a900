//! A whole file: header, nonce, payload.

use std::io::{BufRead, Read, Write};

use aws_lc_rs::aead::LessSafeKey;
use aws_lc_rs::rand;

use super::error::{HeaderError, NoRandomness, PayloadError};
use super::file_key::FileKey;
use super::header::{Header, Stanza};
use super::payload::Direction;
use super::pipeline;

/// How long the payload's nonce is.
const NONCE: usize = 16;

/// Writes one file.
pub struct Encryptor {
    header: Header,
    nonce: [u8; NONCE],
    key: LessSafeKey,
}

impl Encryptor {
    /// A file with this key, which the stanzas hold in wrapped form.
    ///
    /// # Errors
    /// The stanzas make no header.
    pub fn new(file_key: &FileKey, stanzas: Vec<Stanza>) -> Result<Self, EncryptorError> {
        let mut nonce = [0; NONCE];
        rand::fill(&mut nonce).map_err(|_| NoRandomness)?;
        Ok(Self {
            header: Header::new(file_key, stanzas)?,
            nonce,
            key: file_key.payload_key(&nonce),
        })
    }

    /// Encrypts all of `input`; `progress` is told how many bytes of plaintext are done. Returns
    /// how many there were.
    ///
    /// # Errors
    /// Input or output failed; what was written is no complete file.
    pub fn encrypt(
        self,
        input: impl Read + Send,
        mut output: impl Write + Send,
        progress: impl FnMut(u64) + Send,
    ) -> Result<u64, PayloadError> {
        let mut start = self.header.to_bytes();
        start.extend_from_slice(&self.nonce);
        output.write_all(&start).map_err(PayloadError::Write)?;
        pipeline::run(Direction::Seal, &self.key, input, output, progress)
    }
}

/// Why no file can be begun.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EncryptorError {
    /// The stanzas make no header.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// The system gives no random bytes.
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
}

/// A file whose header was read, and whose file key is still to be found.
#[derive(Debug)]
pub struct Decryptor<R> {
    header: Header,
    nonce: [u8; NONCE],
    input: R,
}

impl<R: BufRead> Decryptor<R> {
    /// Reads the header.
    ///
    /// # Errors
    /// See [`HeaderError`].
    pub fn read(mut input: R) -> Result<Self, HeaderError> {
        let header = Header::read(&mut input)?;
        let mut nonce = [0; NONCE];
        input.read_exact(&mut nonce).map_err(|error| {
            if error.kind() == std::io::ErrorKind::UnexpectedEof {
                HeaderError::Truncated
            } else {
                HeaderError::Io(error)
            }
        })?;
        Ok(Self {
            header,
            nonce,
            input,
        })
    }

    /// What can be tried to get the file key.
    #[must_use]
    pub fn stanzas(&self) -> &[Stanza] {
        self.header.stanzas()
    }

    /// Checks the header with the file key.
    ///
    /// # Errors
    /// [`HeaderError::Changed`]: it is not as it was written with this key.
    pub fn open(self, file_key: &FileKey) -> Result<Payload<R>, HeaderError> {
        self.header.verify(file_key)?;
        Ok(Payload {
            key: file_key.payload_key(&self.nonce),
            input: self.input,
        })
    }
}

/// The payload of a file whose header is authentic.
#[derive(Debug)]
pub struct Payload<R> {
    key: LessSafeKey,
    input: R,
}

impl<R: Read + Send> Payload<R> {
    /// Decrypts all of it; `progress` is told how many bytes of plaintext are done. Nothing is
    /// written that is not authentic, and the end is authentic only if this returns `Ok`.
    ///
    /// # Errors
    /// Input or output failed, or the payload is not as it was written.
    pub fn write_to(
        self,
        output: impl Write + Send,
        progress: impl FnMut(u64) + Send,
    ) -> Result<u64, PayloadError> {
        pipeline::run(Direction::Open, &self.key, self.input, output, progress)
    }
}
