//! The agent, as commands talk to it: with a word to those who wait, and an ear for Ctrl-C.

use std::io::{ErrorKind, IsTerminal, Write};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use keyward_client::age::agent::Ask;
use keyward_client::blocking::Events;
use keyward_client::{Client, Endpoint, Error as ClientError, Ticket};
use keyward_protocol::operation::{Operation, OperationClass, Request};
use keyward_protocol::{ErrorCode, OperationCode};
use rustix::event::Timespec;

use crate::error::Error;
use crate::exit::Exit;
use crate::signals::{Held, Woken, end_by};

/// How long nobody wonders.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often the line for those who wait changes.
const TICK: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 100_000_000,
};

/// For how many seconds a use of a key waits for its token, as the command line says.
static WAIT: OnceLock<u32> = OnceLock::new();

/// Has each connection from now on wait for tokens.
pub(crate) fn wait_for_tokens(seconds: Option<u32>) {
    if let Some(seconds) = seconds {
        // It is said once, before there is a connection.
        let _ = WAIT.set(seconds);
    }
}

/// A connection under this program's name.
pub(crate) fn connect() -> Result<Agent, Error> {
    let software = concat!("keyward/", env!("CARGO_PKG_VERSION"));
    let mut client = Client::connect_as(Endpoint::from_environment()?, software)?;
    let wait = WAIT.get().copied().map(u64::from).map(Duration::from_secs);
    client.wait_for_tokens(wait);
    Ok(Agent { client })
}

/// A connection.
pub(crate) struct Agent {
    client: Client,
}

impl Agent {
    /// Asks and waits for the answer. Ctrl-C takes the request back.
    pub(crate) fn call<O: Operation + Into<Request>>(
        &mut self,
        operation: O,
    ) -> Result<O::Reply, Error> {
        Ok(self.ask(operation)?)
    }

    /// What happens from now on.
    pub(crate) fn subscribe(self) -> Result<Events, Error> {
        Ok(self.client.subscribe()?)
    }

    /// Says what became of a request that is not wanted any more, and ends by the signal.
    fn take_back<O: Operation>(&mut self, ticket: Ticket<O>, signal: i32) {
        let name = O::CODE.name();
        let error = match self.client.cancel_and_wait(ticket) {
            Err(ClientError::Refused(failure)) if failure.code == ErrorCode::Cancelled => {
                let error = Error::new(Exit::TryAgain, format!("cancelled: {name}"));
                if O::CODE.class() == OperationClass::Manage {
                    error
                        .cause("what a token had begun, it may have done")
                        .hint("keyward key list")
                } else {
                    error
                }
            }
            Ok(_) if O::CODE.class() == OperationClass::Manage => {
                let done = format!("{name} was done before it could be cancelled");
                Error::new(Exit::TryAgain, done).hint("keyward key list")
            }
            Ok(_) => Error::new(
                Exit::TryAgain,
                format!("{name} was answered before it could be cancelled; the answer is dropped"),
            ),
            Err(other) => other.into(),
        };
        error.print();
        end_by(signal);
    }
}

impl Ask for Agent {
    fn ask<O: Operation + Into<Request>>(&mut self, operation: O) -> Result<O::Reply, ClientError> {
        let Ok(held) = Held::new() else {
            return self.client.call(operation);
        };
        let ticket = self.client.submit(operation)?;
        // What is wrong with the connection, the answer will say.
        let _ = self.client.flush();
        let started = Instant::now();
        let mut line = Line::default();
        while !self.client.is_ready(&ticket) {
            match held.wait(&self.client, Some(TICK)) {
                Ok(Woken::Readable) => {}
                Ok(Woken::Time) if started.elapsed() >= PATIENCE => {
                    line.show(O::CODE, started.elapsed());
                }
                Ok(Woken::Time) => {}
                Ok(Woken::Signal(signal)) => {
                    line.clear();
                    // A second one ends the program at once.
                    drop(held);
                    self.take_back(ticket, signal);
                    return Err(ClientError::Io(ErrorKind::Interrupted.into()));
                }
                Err(error) => return Err(ClientError::Io(error)),
            }
        }
        self.client.wait(ticket)
    }
}

/// A line on a terminal that says what is waited for; none where stderr is no terminal.
#[derive(Default)]
struct Line {
    ticks: usize,
    shown: bool,
}

impl Line {
    fn show(&mut self, operation: OperationCode, waited: Duration) {
        if !std::io::stderr().is_terminal() {
            return;
        }
        self.shown = true;
        self.ticks = self.ticks.wrapping_add(1) & 3;
        let wheel = ["-", "\\", "|", "/"].iter().cycle().nth(self.ticks);
        let line = format!(
            "\r\x1b[K{} keyward: {}, {} s (Ctrl-C cancels)",
            wheel.unwrap_or(&"-"),
            operation.name(),
            waited.as_secs(),
        );
        // It is a courtesy.
        let _ = std::io::stderr().write_all(line.as_bytes());
    }

    fn clear(&mut self) {
        if std::mem::take(&mut self.shown) {
            let _ = std::io::stderr().write_all(b"\r\x1b[K");
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.clear();
    }
}
