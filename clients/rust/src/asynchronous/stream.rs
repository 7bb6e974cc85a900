//! Signing and verifying what is read from somewhere.

use std::io;

use keyward_protocol::operation::{SignInput, Signature, Verified};
use keyward_protocol::{Operation, Request};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::sync::SemaphorePermit;

use super::AsyncClient;
use crate::connection::decode;
use crate::error::Error;
use crate::message::{PART, Signing, Verifying, part};

/// How many messages a connection can have under way; who wants more waits.
pub(super) const STREAMS: usize = 4;

/// A message that the agent has, or that goes along with the request.
struct Given<'c> {
    input: SignInput,
    /// Which connection has it.
    connection: Option<u64>,
    _permit: SemaphorePermit<'c>,
}

impl AsyncClient {
    /// Signs all that a reader gives, however much it is, in constant memory.
    ///
    /// What does not fit into one request is given in parts and hashed by the agent; a key of type
    /// Ed25519 can't sign that.
    ///
    /// # Errors
    /// See [`Error`]; a connection that ends in the middle is not mended, since what was read can't
    /// be read again.
    pub async fn sign_stream(
        &self,
        signing: Signing,
        message: impl AsyncRead + Unpin,
    ) -> Result<Signature, Error> {
        let Given {
            input,
            connection,
            _permit,
        } = self.give(message).await?;
        self.ask_of(signing.of(input), connection).await
    }

    /// Verifies a signature of all that a reader gives, as [`AsyncClient::sign_stream`] makes it.
    ///
    /// # Errors
    /// As [`AsyncClient::sign_stream`].
    pub async fn verify_stream(
        &self,
        verifying: Verifying,
        message: impl AsyncRead + Unpin,
    ) -> Result<Verified, Error> {
        let Given {
            input,
            connection,
            _permit,
        } = self.give(message).await?;
        self.ask_of(verifying.of(input), connection).await
    }

    async fn give(&self, mut message: impl AsyncRead + Unpin) -> Result<Given<'_>, Error> {
        let permit = self.shared.streams.acquire().await;
        let permit = permit.map_err(|error| Error::Io(io::Error::other(error)))?;
        let mut bytes = read(&mut message).await?;
        if bytes.len() < PART {
            return Ok(Given {
                input: SignInput::Message(bytes),
                connection: None,
                _permit: permit,
            });
        }
        let (connection, stream) = {
            let mut driver = self.shared.driver().await?;
            (driver.number(), driver.next_stream())
        };
        let mut offset = 0;
        while !bytes.is_empty() {
            let absorb = self.ask_of(part(stream, &mut offset, bytes), Some(connection));
            // The agent hashes meanwhile.
            let (absorbed, next) = tokio::join!(absorb, read(&mut message));
            absorbed?;
            bytes = next?;
        }
        Ok(Given {
            input: SignInput::Absorbed(stream),
            connection: Some(connection),
            _permit: permit,
        })
    }

    /// Asks over a certain connection, if that is needed, and never twice.
    async fn ask_of<O: Operation + Into<Request>>(
        &self,
        operation: O,
        connection: Option<u64>,
    ) -> Result<O::Reply, Error> {
        let answer = self.ask(operation.into(), None, connection).await;
        decode::<O>(&answer?).map_err(Error::Protocol)
    }
}

/// The next part of a message; a shorter one is the last.
async fn read(message: &mut (impl AsyncRead + Unpin)) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::with_capacity(PART);
    message
        .take(PART as u64)
        .read_to_end(&mut bytes)
        .await
        .map_err(Error::Message)?;
    Ok(bytes)
}
