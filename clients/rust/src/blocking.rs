//! The client that blocks.

mod events;
mod stream;
mod waiting;

pub use events::Events;

use std::collections::{HashMap, VecDeque};
use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use keyward_protocol::event::Event as Happening;
use keyward_protocol::operation::OperationClass;
use keyward_protocol::{Operation, OperationCode, Request, cbor};
use rustix::buffer::spare_capacity;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};
use zeroize::Zeroizing;

use crate::connection::{Connection, Event, decode};
use crate::error::{Error, ProtocolError, Unreachable};
use crate::socket::{Endpoint, HELLO_TIMEOUT};

/// How a client is named in the agent's log.
pub(crate) const SOFTWARE: &str = concat!("keyward-client/", env!("CARGO_PKG_VERSION"));
/// How much longer than a deadline the client waits for the agent to say that it has passed.
pub(crate) const GRACE: Duration = Duration::from_secs(2);
/// How many requests of [`Client::pipeline`] are under way at a time.
const WINDOW: usize = 32;
/// How many bytes are gathered before they are sent without being asked for.
const GATHERED: usize = 32 * 1024;
/// How much is read at once.
const READ: usize = 16 * 1024;

/// A connection to the agent that is made anew when it is found broken.
///
/// A connection that broke before a request was sent is replaced at once, and the request goes
/// over the new one. A request that was sent and not answered is repeated only if it is a read;
/// for any other the error is [`Error::OutcomeUnknown`].
pub struct Client {
    endpoint: Endpoint,
    software: String,
    stream: UnixStream,
    connection: Connection,
    /// Which connection it is, counted; a ticket of an older one has no answer.
    generation: u64,
    broken: bool,
    /// By generation and id.
    answers: HashMap<(u64, u64), Answer>,
    /// What was subscribed to, if it was.
    happened: Option<VecDeque<Happening>>,
    waits: Option<Duration>,
}

/// What came back, for whoever asks: the body, or why there is none.
type Answer = Result<Zeroizing<Vec<u8>>, Error>;

/// A request that was submitted; [`Client::wait`] exchanges it for the answer.
#[derive(Debug)]
#[must_use = "a ticket is exchanged for the answer by `wait`"]
pub struct Ticket<O> {
    id: u64,
    generation: u64,
    give_up: Option<Instant>,
    operation: PhantomData<fn() -> O>,
}

impl Client {
    /// Connects to the agent that the environment names: see [`Endpoint::from_environment`].
    ///
    /// # Errors
    /// The agent can't be reached or is not trusted.
    pub fn connect() -> Result<Self, Error> {
        Self::connect_to(Endpoint::from_environment()?)
    }

    /// Connects to an agent.
    ///
    /// # Errors
    /// The agent can't be reached or is not trusted.
    pub fn connect_to(endpoint: Endpoint) -> Result<Self, Error> {
        Self::connect_as(endpoint, SOFTWARE)
    }

    /// Connects to an agent under the name of a program and its version, for the agent's log.
    ///
    /// # Errors
    /// The agent can't be reached or is not trusted.
    pub fn connect_as(endpoint: Endpoint, software: &str) -> Result<Self, Error> {
        let (stream, connection) = open(&endpoint, software)?;
        Ok(Self {
            endpoint,
            software: software.to_owned(),
            stream,
            connection,
            generation: 0,
            broken: false,
            answers: HashMap::new(),
            happened: None,
            waits: None,
        })
    }

    /// Has each use of a key wait from now on, for so long at the most, for a token that is not there
    /// or is locked. Else such a use is refused at once.
    pub fn wait_for_tokens(&mut self, at_most: Option<Duration>) {
        self.waits = at_most;
        self.connection.wait_for_tokens(at_most);
    }

    /// Asks and waits for the answer.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn call<O: Operation + Into<Request>>(&mut self, operation: O) -> Result<O::Reply, Error> {
        self.call_once_or_twice(operation, None)
    }

    /// Asks and waits for the answer, which the agent gives up on after `deadline`.
    ///
    /// # Errors
    /// See [`Error`]; a deadline that passed is a failure of the agent's, `deadline-exceeded`.
    pub fn call_with_deadline<O: Operation + Into<Request>>(
        &mut self,
        operation: O,
        deadline: Duration,
    ) -> Result<O::Reply, Error> {
        self.call_once_or_twice(operation, Some(deadline))
    }

    /// Asks many things and waits for all the answers, in the order of the questions.
    ///
    /// Some dozens are under way at a time, so that the agent's queues are kept busy and not full.
    pub fn pipeline<O: Operation + Into<Request>>(
        &mut self,
        operations: impl IntoIterator<Item = O>,
    ) -> Vec<Result<O::Reply, Error>> {
        let mut answers = Vec::new();
        let mut under_way = VecDeque::with_capacity(WINDOW);
        for operation in operations {
            under_way.push_back(self.submit(operation));
            if under_way.len() >= WINDOW {
                // The first wait reads what has come; those whose answers came with it are free.
                while let Some(submitted) = under_way.pop_front() {
                    answers.push(submitted.and_then(|ticket| self.wait(ticket)));
                    if !under_way.front().is_some_and(|next| self.is_answered(next)) {
                        break;
                    }
                }
            }
        }
        for submitted in under_way {
            answers.push(submitted.and_then(|ticket| self.wait(ticket)));
        }
        answers
    }

    /// Queues a request; it is sent by the next [`Client::flush`] or [`Client::wait`], or when
    /// many have gathered.
    ///
    /// # Errors
    /// The request does not fit into a frame, or the connection is broken and can't be replaced.
    pub fn submit<O: Operation + Into<Request>>(
        &mut self,
        operation: O,
    ) -> Result<Ticket<O>, Error> {
        self.submit_with_deadline(operation, None)
    }

    /// Like [`Client::submit`], with a deadline for the agent.
    ///
    /// # Errors
    /// As [`Client::submit`].
    pub fn submit_with_deadline<O: Operation + Into<Request>>(
        &mut self,
        operation: O,
        deadline: Option<Duration>,
    ) -> Result<Ticket<O>, Error> {
        self.replace_if_broken()?;
        let id = self
            .connection
            .call(operation.into(), deadline)
            .map_err(|e| Error::TooLarge {
                size: e.claimed,
                limit: e.limit,
            })?;
        if self.connection.outgoing().len() >= GATHERED {
            // What is wrong with the connection, the answers will say.
            let _ = self.flush();
        }
        Ok(Ticket {
            id,
            generation: self.generation,
            give_up: deadline
                .and_then(|deadline| Instant::now().checked_add(deadline.saturating_add(GRACE))),
            operation: PhantomData,
        })
    }

    /// Sends what was submitted.
    ///
    /// # Errors
    /// The connection failed.
    pub fn flush(&mut self) -> Result<(), Error> {
        let sent = self.send_all();
        self.note(sent)
    }

    /// Waits for the answer to a request.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn wait<O: Operation>(&mut self, ticket: Ticket<O>) -> Result<O::Reply, Error> {
        let key = (ticket.generation, ticket.id);
        loop {
            if let Some(answer) = self.answers.remove(&key) {
                return decode::<O>(&answer?).map_err(Error::Protocol);
            }
            if self.broken || ticket.generation != self.generation {
                return Err(unknown(O::CODE, None));
            }
            let unsent = self.connection.outgoing().len();
            let progress = self.send_all();
            // What waits is sent as a whole or not at all, unless the connection breaks.
            let untouched = self.connection.in_flight() == 1
                && unsent > 0
                && self.connection.outgoing().len() == unsent;
            let progress = progress.and_then(|()| self.receive(ticket.give_up));
            match self.note(progress) {
                Err(Error::Io(error)) if !untouched => return Err(unknown(O::CODE, Some(error))),
                Err(error) => return Err(error),
                Ok(()) => {}
            }
        }
    }

    /// Takes a request back: the agent drops it if it has not begun, and its answer is discarded.
    ///
    /// # Errors
    /// The connection failed.
    pub fn cancel<O: Operation>(&mut self, ticket: Ticket<O>) -> Result<(), Error> {
        match self.cancel_and_wait(ticket) {
            Ok(_) | Err(Error::Refused(_) | Error::OutcomeUnknown { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Takes a request back, and says what became of it: it was cancelled if the error is
    /// [`Error::Refused`] with `cancelled`, else it was done or failed before.
    ///
    /// # Errors
    /// As [`Client::wait`].
    pub fn cancel_and_wait<O: Operation>(&mut self, ticket: Ticket<O>) -> Result<O::Reply, Error> {
        if ticket.generation == self.generation && !self.broken {
            self.connection.cancel(ticket.id);
        }
        self.wait(ticket)
    }

    /// How many requests have no answer yet.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.connection.in_flight()
    }

    fn call_once_or_twice<O: Operation + Into<Request>>(
        &mut self,
        operation: O,
        deadline: Option<Duration>,
    ) -> Result<O::Reply, Error> {
        // Only a read is ever repeated: anything else may have been done.
        let again = (O::CODE.class() == OperationClass::Read).then(|| cbor::encode(&operation));
        let answer = self
            .submit_with_deadline(operation, deadline)
            .and_then(|ticket| self.wait(ticket));
        match (answer, again) {
            (Err(Error::OutcomeUnknown { .. } | Error::Io(_)), Some(again)) => {
                let operation = cbor::decode_known::<O>(&again).map_err(|error| {
                    let operation = O::CODE;
                    Error::Protocol(ProtocolError::Reply { operation, error })
                })?;
                let ticket = self.submit_with_deadline(operation, deadline)?;
                self.wait(ticket)
            }
            (answer, _) => answer,
        }
    }

    fn is_answered<O>(&self, submitted: &Result<Ticket<O>, Error>) -> bool {
        submitted.as_ref().map_or(true, |ticket| {
            self.answers.contains_key(&(ticket.generation, ticket.id))
        })
    }

    /// Connects anew if the connection is known to be broken, or turns out to be.
    fn replace_if_broken(&mut self) -> Result<(), Error> {
        let idle = self.connection.in_flight() == 0 && self.connection.outgoing().is_empty();
        while idle && !self.broken {
            match recv(
                &self.stream,
                &mut [0u8; 1],
                RecvFlags::PEEK | RecvFlags::DONTWAIT,
            ) {
                Err(Errno::AGAIN) => return Ok(()),
                Err(Errno::INTR) => {}
                Ok((1.., _)) => {
                    // An event, or the agent's last words.
                    let received = self.receive(None);
                    let _ = self.note(received);
                }
                Ok(_) | Err(_) => self.broken = true,
            }
        }
        if self.broken {
            let (stream, connection) = open(&self.endpoint, &self.software)?;
            self.stream = stream;
            self.connection = connection;
            self.connection.wait_for_tokens(self.waits);
            self.generation = self.generation.wrapping_add(1);
            self.broken = false;
        }
        Ok(())
    }

    /// After any error the connection is not used any more.
    fn note(&mut self, progress: Result<(), Error>) -> Result<(), Error> {
        self.broken |= progress.is_err();
        progress
    }

    /// Sends everything, and reads meanwhile if the agent waits for that.
    fn send_all(&mut self) -> Result<(), Error> {
        while !self.connection.outgoing().is_empty() {
            let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
            match send(&self.stream, self.connection.outgoing(), flags) {
                Ok(count) => self.connection.sent(count),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => {
                    let both = PollFlags::IN | PollFlags::OUT;
                    if wait_for(&self.stream, both, None)?.contains(PollFlags::IN) {
                        self.receive(None)?;
                    }
                }
                Err(error) => {
                    // The agent may have said why before it hung up.
                    if let Err(refused @ Error::Refused(_)) = self.receive(None) {
                        return Err(refused);
                    }
                    return Err(Error::Io(error.into()));
                }
            }
        }
        Ok(())
    }

    /// Waits until something arrives, and sorts the answers in it.
    fn receive(&mut self, give_up: Option<Instant>) -> Result<(), Error> {
        if give_up.is_some() && wait_for(&self.stream, PollFlags::IN, give_up)?.is_empty() {
            return Err(Error::Io(io::ErrorKind::TimedOut.into()));
        }
        read_once(&self.stream, &mut self.connection)?;
        loop {
            match self.connection.next_event().map_err(Error::Protocol)? {
                None => return Ok(()),
                Some(Event::Reply { id, body, .. }) => {
                    let answer = Ok(Zeroizing::new(body.to_vec()));
                    self.answers.insert((self.generation, id), answer);
                }
                Some(Event::Failure {
                    id: Some(id),
                    failure,
                }) => {
                    let answer = Err(Error::Refused(failure));
                    self.answers.insert((self.generation, id), answer);
                }
                Some(Event::Failure { id: None, failure }) => return Err(Error::Refused(failure)),
                Some(Event::Happening(event)) => {
                    if let Some(happened) = &mut self.happened {
                        happened.push_back(event);
                    }
                }
                // There is one welcome.
                Some(Event::Welcome(_)) => {}
            }
        }
    }
}

impl AsFd for Client {
    /// The socket, to wait for it together with others; reading from it breaks the connection.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

/// Connects and greets.
pub(crate) fn open(endpoint: &Endpoint, software: &str) -> Result<(UnixStream, Connection), Error> {
    let stream = endpoint.connect()?;
    let mut connection = Connection::new(software);
    let silent = Unreachable::Silent {
        seconds: HELLO_TIMEOUT.as_secs(),
    };
    let give_up = Instant::now().checked_add(HELLO_TIMEOUT);
    // An error here shows again when the answer is read, and there may be an answer.
    while let Ok(count @ 1..) = send(&stream, connection.outgoing(), SendFlags::NOSIGNAL) {
        connection.sent(count);
    }
    loop {
        if wait_for(&stream, PollFlags::IN, give_up)?.is_empty() {
            return Err(endpoint.unreachable(silent));
        }
        read_once(&stream, &mut connection).map_err(|error| match error {
            Error::Io(_) => endpoint.unreachable(Unreachable::HungUp),
            error => error,
        })?;
        match connection.next_event().map_err(Error::Protocol)? {
            None => {}
            Some(Event::Welcome(_)) => return Ok((stream, connection)),
            Some(Event::Failure { failure, .. }) => return Err(Error::Refused(failure)),
            Some(_) => return Err(Error::Protocol(ProtocolError::OutOfTurn)),
        }
    }
}

/// One read, as much as is there.
fn read_once(stream: &UnixStream, connection: &mut Connection) -> Result<(), Error> {
    loop {
        let space = connection.space(READ);
        match recv(stream, spare_capacity(space), RecvFlags::empty()) {
            Ok((_, 0)) => return Err(Error::Io(io::ErrorKind::UnexpectedEof.into())),
            Ok(_) => return Ok(()),
            Err(Errno::INTR) => {}
            Err(error) => return Err(Error::Io(error.into())),
        }
    }
}

/// What the stream is ready for; empty if it is not until `give_up`.
fn wait_for(
    stream: &UnixStream,
    interest: PollFlags,
    give_up: Option<Instant>,
) -> Result<PollFlags, Error> {
    loop {
        let timeout = give_up.map(|at| {
            let left = at.saturating_duration_since(Instant::now());
            Timespec::try_from(left).unwrap_or(Timespec {
                tv_sec: i32::MAX.into(),
                tv_nsec: 0,
            })
        });
        let mut fds = [PollFd::new(stream, interest)];
        match poll(&mut fds, timeout.as_ref()) {
            Err(Errno::INTR) => {}
            Err(error) => return Err(Error::Io(error.into())),
            Ok(_) => return Ok(fds.first().map_or(PollFlags::empty(), PollFd::revents)),
        }
    }
}

/// The end of a request whose answer did not come; that the agent hung up needs no words.
fn unknown(operation: OperationCode, cause: Option<io::Error>) -> Error {
    let cause = cause.filter(|error| error.kind() != io::ErrorKind::UnexpectedEof);
    Error::OutcomeUnknown { operation, cause }
}
