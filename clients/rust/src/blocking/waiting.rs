//! Waiting for an answer together with other things.

use std::time::Instant;

use keyward_protocol::Operation;
use rustix::event::PollFlags;

use super::{Client, Ticket, unknown, wait_for};
use crate::error::Error;

impl Client {
    /// Takes what has arrived, without waiting for more, and says whether [`Client::wait`] would
    /// answer at once.
    ///
    /// What was submitted is sent by [`Client::flush`] before. Between two calls of this, the
    /// socket can be waited for together with other descriptors.
    pub fn is_ready<O: Operation>(&mut self, ticket: &Ticket<O>) -> bool {
        let key = (ticket.generation, ticket.id);
        loop {
            let gone = self.broken || ticket.generation != self.generation;
            if gone || self.answers.contains_key(&key) {
                return true;
            }
            let received = match wait_for(&self.stream, PollFlags::IN, Some(Instant::now())) {
                Ok(flags) if flags.is_empty() => return false,
                Ok(_) => self.receive(None),
                Err(error) => Err(error),
            };
            if let Err(error) = received {
                self.broken = true;
                let error = match error {
                    Error::Io(cause) => unknown(O::CODE, Some(cause)),
                    other => other,
                };
                self.answers.insert(key, Err(error));
            }
        }
    }
}
