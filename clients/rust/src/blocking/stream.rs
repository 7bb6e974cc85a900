//! Signing and verifying what is read from somewhere.

use std::io::{self, Read};

use keyward_protocol::operation::{Absorb, SignInput, Signature, Verified};

use super::{Client, Ticket};
use crate::error::Error;
use crate::message::{PART, Signing, Verifying, part};

/// The number of the stream that a client of one thread gives at a time.
const STREAM: u32 = u32::MAX;

impl Client {
    /// Signs all that a reader gives, however much it is, in constant memory.
    ///
    /// What does not fit into one request is given in parts and hashed by the agent; a key of type
    /// Ed25519 can't sign that.
    ///
    /// # Errors
    /// See [`Error`]; a connection that ends in the middle is not mended, since what was read can't
    /// be read again.
    pub fn sign_stream(
        &mut self,
        signing: Signing,
        message: impl Read,
    ) -> Result<Signature, Error> {
        let (input, generation) = self.give(message)?;
        let ticket = self.submit(signing.of(input))?;
        self.same(&ticket, generation)?;
        self.wait(ticket)
    }

    /// Verifies a signature of all that a reader gives, as [`Client::sign_stream`] makes it.
    ///
    /// # Errors
    /// As [`Client::sign_stream`].
    pub fn verify_stream(
        &mut self,
        verifying: Verifying,
        message: impl Read,
    ) -> Result<Verified, Error> {
        let (input, generation) = self.give(message)?;
        let ticket = self.submit(verifying.of(input))?;
        self.same(&ticket, generation)?;
        self.wait(ticket)
    }

    /// Gives a message to the agent, and what stands for it, with the connection that has it.
    fn give(&mut self, mut message: impl Read) -> Result<(SignInput, Option<u64>), Error> {
        let mut bytes = read(&mut message)?;
        if bytes.len() < PART {
            return Ok((SignInput::Message(bytes), None));
        }
        let mut offset = 0;
        let mut generation = None;
        while !bytes.is_empty() {
            let ticket: Ticket<Absorb> = self.submit(part(STREAM, &mut offset, bytes))?;
            self.same(&ticket, generation)?;
            generation = Some(ticket.generation);
            self.flush()?;
            // The agent hashes meanwhile.
            bytes = read(&mut message)?;
            self.wait(ticket)?;
        }
        Ok((SignInput::Absorbed(STREAM), generation))
    }

    /// Makes sure that a request went over the connection that has the message.
    fn same<O>(&mut self, ticket: &Ticket<O>, generation: Option<u64>) -> Result<(), Error> {
        if generation.is_none_or(|generation| generation == ticket.generation) {
            return Ok(());
        }
        // What was just submitted means nothing to the new connection.
        self.broken = true;
        Err(Error::Io(io::ErrorKind::ConnectionReset.into()))
    }
}

/// The next part of a message; a shorter one is the last.
fn read(message: &mut impl Read) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::with_capacity(PART);
    message
        .take(PART as u64)
        .read_to_end(&mut bytes)
        .map_err(Error::Message)?;
    Ok(bytes)
}
