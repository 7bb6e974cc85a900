//! The task that owns a connection of [`AsyncClient`](super::AsyncClient).

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use keyward_protocol::Request;
use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot};
use zeroize::Zeroizing;

use crate::blocking;
use crate::connection::{Connection, Event};
use crate::error::Error;
use crate::socket::Endpoint;

/// What came back: the reply's body, or why there is none.
pub(super) type Answer = Result<Zeroizing<Vec<u8>>, Error>;

/// How much is read at once.
const READ: usize = 16 * 1024;

/// Tells connections apart.
static NUMBERS: AtomicU64 = AtomicU64::new(0);

/// The way to the task.
pub(super) struct Driver {
    commands: mpsc::UnboundedSender<Command>,
    next_token: u64,
    number: u64,
    next_stream: u32,
}

enum Command {
    Call {
        /// Names the call before it has an id.
        token: u64,
        request: Box<Request>,
        deadline: Option<Duration>,
        answer: oneshot::Sender<Answer>,
    },
    Cancel {
        token: u64,
    },
}

/// Connects and starts the task.
pub(super) async fn start(
    endpoint: &Endpoint,
    software: &str,
    waits: Option<Duration>,
) -> Result<Driver, Error> {
    let (stream, mut connection) = open(endpoint, software).await?;
    connection.wait_for_tokens(waits);
    let (commands, receiver) = mpsc::unbounded_channel();
    tokio::spawn(
        Task {
            stream,
            connection,
            calls: HashMap::new(),
            ids: HashMap::new(),
        }
        .run(receiver),
    );
    Ok(Driver {
        commands,
        next_token: 0,
        number: NUMBERS.fetch_add(1, Ordering::Relaxed),
        next_stream: 0,
    })
}

/// Connects and greets.
pub(super) async fn open(
    endpoint: &Endpoint,
    software: &str,
) -> Result<(UnixStream, Connection), Error> {
    let (endpoint, software) = (endpoint.clone(), software.to_owned());
    // A listener whose queue is full makes connect() wait, which only a thread can.
    let opened = tokio::task::spawn_blocking(move || blocking::open(&endpoint, &software)).await;
    let (stream, connection) = opened.map_err(|e| Error::Io(io::Error::other(e)))??;
    stream.set_nonblocking(true).map_err(Error::Io)?;
    let stream = UnixStream::from_std(stream).map_err(Error::Io)?;
    Ok((stream, connection))
}

impl Driver {
    /// Whether the connection has ended.
    pub(super) fn is_gone(&self) -> bool {
        self.commands.is_closed()
    }

    /// Which connection it is.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// The number of a stream that no other has, counted down from the highest: callers who choose
    /// their own begin at the other end.
    pub(super) fn next_stream(&mut self) -> u32 {
        self.next_stream = self.next_stream.wrapping_add(1);
        u32::MAX.wrapping_sub(self.next_stream)
    }

    pub(super) fn submit(
        &mut self,
        request: Request,
        deadline: Option<Duration>,
    ) -> Result<(oneshot::Receiver<Answer>, CancelOnDrop), Error> {
        let token = self.next_token;
        self.next_token = token.wrapping_add(1);
        let (answer, receiver) = oneshot::channel();
        let call = Command::Call {
            token,
            request: Box::new(request),
            deadline,
            answer,
        };
        match self.commands.send(call) {
            Ok(()) => Ok((
                receiver,
                CancelOnDrop {
                    commands: self.commands.clone(),
                    token,
                },
            )),
            Err(_) => Err(Error::Io(io::ErrorKind::BrokenPipe.into())),
        }
    }
}

/// Takes the call back when its future goes; does nothing if it has its answer.
pub(super) struct CancelOnDrop {
    commands: mpsc::UnboundedSender<Command>,
    token: u64,
}

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        // A task that is gone has nothing to cancel.
        let _ = self.commands.send(Command::Cancel { token: self.token });
    }
}

struct Task {
    stream: UnixStream,
    connection: Connection,
    /// By the connection's id.
    calls: HashMap<u64, (u64, oneshot::Sender<Answer>)>,
    /// The connection's id by token.
    ids: HashMap<u64, u64>,
}

impl Task {
    /// Runs until the connection ends or nobody can call any more; calls without an answer then
    /// learn it from their channel.
    async fn run(mut self, mut commands: mpsc::UnboundedReceiver<Command>) {
        loop {
            let interest = if self.connection.outgoing().is_empty() {
                Interest::READABLE
            } else {
                Interest::READABLE | Interest::WRITABLE
            };
            let going_on = tokio::select! {
                biased;
                command = commands.recv() => match command {
                    Some(command) => {
                        self.obey(command);
                        // What came at the same time is sent at the same time.
                        while let Ok(command) = commands.try_recv() {
                            self.obey(command);
                        }
                        self.send()
                    }
                    None => Err(Error::Io(io::ErrorKind::NotConnected.into())),
                },
                ready = self.stream.ready(interest) => match ready {
                    Ok(ready) if ready.is_readable() || ready.is_read_closed() => {
                        self.receive().and_then(|()| self.send())
                    }
                    Ok(_) => self.send(),
                    Err(error) => Err(Error::Io(error)),
                },
            };
            if let Err(error) = going_on {
                self.end(error);
                return;
            }
        }
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Call {
                token,
                request,
                deadline,
                answer,
            } => match self.connection.call(*request, deadline) {
                Ok(id) => {
                    self.calls.insert(id, (token, answer));
                    self.ids.insert(token, id);
                }
                Err(e) => {
                    let _ = answer.send(Err(Error::TooLarge {
                        size: e.claimed,
                        limit: e.limit,
                    }));
                }
            },
            Command::Cancel { token } => {
                if let Some(id) = self.ids.get(&token) {
                    self.connection.cancel(*id);
                }
            }
        }
    }

    fn send(&mut self) -> Result<(), Error> {
        while !self.connection.outgoing().is_empty() {
            match self.stream.try_write(self.connection.outgoing()) {
                Ok(count) => self.connection.sent(count),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(Error::Io(error)),
            }
        }
        Ok(())
    }

    fn receive(&mut self) -> Result<(), Error> {
        match self.stream.try_read_buf(self.connection.space(READ)) {
            Ok(0) => return Err(Error::Io(io::ErrorKind::UnexpectedEof.into())),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(Error::Io(error)),
        }
        loop {
            let (id, answer) = match self.connection.next_event().map_err(Error::Protocol)? {
                None => return Ok(()),
                Some(Event::Reply { id, body, .. }) => (id, Ok(Zeroizing::new(body.to_vec()))),
                Some(Event::Failure {
                    id: Some(id),
                    failure,
                }) => (id, Err(Error::Refused(failure))),
                Some(Event::Failure { id: None, failure }) => return Err(Error::Refused(failure)),
                // Nothing was subscribed to, and there is one welcome.
                Some(Event::Happening(_) | Event::Welcome(_)) => continue,
            };
            if let Some((token, waiting)) = self.calls.remove(&id) {
                self.ids.remove(&token);
                // Whoever dropped the future does not want it; the body is wiped.
                let _ = waiting.send(answer);
            }
        }
    }

    /// Tells the calls why, if it is worth telling; the rest see their channel closed.
    fn end(self, error: Error) {
        for (_, answer) in self.calls.into_values() {
            let told = match &error {
                Error::Refused(failure) => Error::Refused(failure.clone()),
                Error::Protocol(error) => Error::Protocol(error.clone()),
                _ => continue,
            };
            let _ = answer.send(Err(told));
        }
    }
}
