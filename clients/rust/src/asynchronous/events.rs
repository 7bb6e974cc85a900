//! What happens, as it happens.

use std::io;

use keyward_protocol::event::{Event as Happening, EventKind};
use keyward_protocol::operation::Subscribe;
use tokio::net::UnixStream;

use super::AsyncClient;
use super::driver::open;
use crate::connection::{Connection, Event};
use crate::error::{Error, ProtocolError};

/// How much is read at once.
const READ: usize = 4 * 1024;

/// What the agent tells, over a connection of its own. It ends with the connection: whoever wants
/// to go on subscribes again and looks how things are.
#[must_use = "events are read by `next`"]
pub struct Events {
    stream: UnixStream,
    connection: Connection,
}

impl AsyncClient {
    /// Subscribes to what happens to tokens and keys, over a new connection.
    ///
    /// An [`EventKind::Lost`] says that the reader was too slow for some.
    ///
    /// # Errors
    /// See [`Error`]; an agent without events answers `unsupported`.
    pub async fn subscribe(&self) -> Result<Events, Error> {
        let (stream, connection) = open(&self.shared.endpoint, &self.shared.software).await?;
        let mut events = Events { stream, connection };
        let request = Subscribe {}.into();
        let called = events.connection.call(request, None);
        called.map_err(|error| Error::TooLarge {
            size: error.claimed,
            limit: error.limit,
        })?;
        events.send().await?;
        loop {
            match events.connection.next_event().map_err(Error::Protocol)? {
                Some(Event::Reply { .. }) => return Ok(events),
                Some(Event::Failure { failure, .. }) => return Err(Error::Refused(failure)),
                Some(_) => return Err(Error::Protocol(ProtocolError::OutOfTurn)),
                None => events.receive().await?,
            }
        }
    }
}

impl Events {
    /// Waits for the next event. Nothing is lost if this is dropped in the middle.
    ///
    /// # Errors
    /// The connection ended.
    pub async fn next(&mut self) -> Result<Happening, Error> {
        loop {
            match self.connection.next_event().map_err(Error::Protocol)? {
                Some(Event::Happening(event)) => {
                    // Others are for newer clients.
                    if !matches!(event.kind, EventKind::Unknown(_)) {
                        return Ok(event);
                    }
                }
                Some(Event::Failure { failure, .. }) => return Err(Error::Refused(failure)),
                Some(_) => return Err(Error::Protocol(ProtocolError::OutOfTurn)),
                None => self.receive().await?,
            }
        }
    }

    async fn send(&mut self) -> Result<(), Error> {
        while !self.connection.outgoing().is_empty() {
            self.stream.writable().await.map_err(Error::Io)?;
            match self.stream.try_write(self.connection.outgoing()) {
                Ok(count) => self.connection.sent(count),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(Error::Io(error)),
            }
        }
        Ok(())
    }

    async fn receive(&mut self) -> Result<(), Error> {
        loop {
            self.stream.readable().await.map_err(Error::Io)?;
            match self.stream.try_read_buf(self.connection.space(READ)) {
                Ok(0) => return Err(Error::Io(io::ErrorKind::UnexpectedEof.into())),
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(Error::Io(error)),
            }
        }
    }
}
