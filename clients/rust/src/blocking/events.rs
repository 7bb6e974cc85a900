//! What happens, as it happens.

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd};

use keyward_protocol::event::{Event, EventKind};
use keyward_protocol::operation::Subscribe;

use super::Client;
use crate::error::Error;

/// What the agent tells, one after the other; waits for the next one. It ends with the connection,
/// by an error that says why: whoever wants to go on subscribes again and looks how things are.
#[must_use = "events are read by iterating"]
pub struct Events {
    client: Client,
    ended: bool,
}

impl Client {
    /// Subscribes to what happens to tokens and keys; the connection serves nothing else then.
    ///
    /// An [`EventKind::Lost`] says that the reader was too slow for some.
    ///
    /// # Errors
    /// See [`Error`]; an agent without events answers `unsupported`.
    pub fn subscribe(mut self) -> Result<Events, Error> {
        self.happened = Some(VecDeque::new());
        self.call(Subscribe {})?;
        Ok(Events {
            client: self,
            ended: false,
        })
    }
}

impl Iterator for Events {
    type Item = Result<Event, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let happened = self.client.happened.as_mut();
            match happened.and_then(VecDeque::pop_front) {
                // For newer clients.
                Some(event) if matches!(event.kind, EventKind::Unknown(_)) => {}
                Some(event) => return Some(Ok(event)),
                None if self.ended => return None,
                None => {
                    if let Err(error) = self.client.receive(None) {
                        self.ended = true;
                        return Some(Err(error));
                    }
                }
            }
        }
    }
}

impl AsFd for Events {
    /// The socket, to wait for it together with others; reading from it breaks the connection.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.client.as_fd()
    }
}
