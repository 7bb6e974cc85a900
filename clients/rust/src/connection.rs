//! The protocol without I/O: bytes in, events out; calls in, bytes out.

use std::collections::HashMap;
use std::time::Duration;

use keyward_protocol::event::{Event as Happening, FEATURE};
use keyward_protocol::frame::{self, FrameReader, FrameTooLarge, MAX_FRAME};
use keyward_protocol::message::{Call, ClientMessage, Hello, ServerMessage, VERSION, Welcome};
use keyward_protocol::operation::OperationClass;
use keyward_protocol::{Failure, OperationCode, Request};
use zeroize::Zeroize;

use crate::error::ProtocolError;

/// One connection, from the hello to the end.
///
/// Whoever drives it sends [`Connection::outgoing`] and reports how much went out, puts what
/// arrives into [`Connection::space`], and asks for events until there are none. After an error
/// the connection must be closed.
///
/// ```
/// use keyward_client::connection::{Connection, Event};
/// use keyward_client::protocol::operation::{Operation, OperationCode, Status};
///
/// let mut connection = Connection::new("example/1.0");
/// assert!(!connection.outgoing().is_empty(), "the hello waits to be sent");
/// let sent = connection.outgoing().len();
/// connection.sent(sent);
/// assert!(matches!(connection.next_event(), Ok(None)), "the agent has not answered yet");
/// let id = connection.call(Status {}.into(), None)?;
/// assert_eq!(connection.pending(id), Some(OperationCode::Status));
/// # Ok::<(), keyward_client::protocol::frame::FrameTooLarge>(())
/// ```
pub struct Connection {
    reader: FrameReader,
    outgoing: Vec<u8>,
    /// How much of `outgoing` is sent; what is sent is wiped.
    sent: usize,
    welcomed: bool,
    limit: usize,
    next_id: u64,
    pending: HashMap<u64, OperationCode>,
    waits: Option<Duration>,
}

/// What the agent said.
#[derive(Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event<'b> {
    /// It answered the hello; calls can be sent.
    Welcome(Welcome),
    /// It answered a call.
    Reply {
        /// The call.
        id: u64,
        /// What was asked for.
        operation: OperationCode,
        /// The operation's reply, to be decoded with [`decode`].
        body: &'b [u8],
    },
    /// It refused a call; without an id it refuses the connection and closes it.
    Failure {
        /// The call.
        id: Option<u64>,
        /// What went wrong.
        failure: Failure,
    },
    /// Something happened that was subscribed to.
    Happening(Happening),
}

impl Connection {
    /// A connection whose hello waits to be sent; `software` names the client in the agent's log.
    #[must_use]
    pub fn new(software: &str) -> Self {
        let mut connection = Self {
            reader: FrameReader::default(),
            outgoing: Vec::new(),
            sent: 0,
            welcomed: false,
            limit: MAX_FRAME,
            next_id: 1,
            pending: HashMap::new(),
            waits: None,
        };
        // A name is cut rather than refused: it is for people who read a log.
        let software = software.chars().take(128).collect::<String>();
        let mut hello = Hello::new(software);
        // Whoever does not subscribe gets none.
        hello.features.push(FEATURE.to_owned());
        let hello = ClientMessage::Hello(hello);
        if connection.write(&hello).is_err() {
            unreachable!("a hello of 128 characters fits into a frame");
        }
        connection
    }

    /// Has each use of a key that is called for from now on wait for a token that is not there or is
    /// locked: until its deadline, which is this where the call names none.
    pub fn wait_for_tokens(&mut self, at_most: Option<Duration>) {
        self.waits = at_most;
    }

    /// Queues a request and gives its id.
    ///
    /// # Errors
    /// The request does not fit into a frame; nothing is queued.
    pub fn call(
        &mut self,
        request: Request,
        deadline: Option<Duration>,
    ) -> Result<u64, FrameTooLarge> {
        let operation = request.code();
        let id = self.next_id;
        let wait = self
            .waits
            .filter(|_| operation.class() == OperationClass::Use);
        let deadline_ms = deadline
            .or(wait)
            .map(|deadline| u32::try_from(deadline.as_millis()).unwrap_or(u32::MAX));
        self.write(&ClientMessage::Call(Call {
            id,
            deadline_ms,
            wait: wait.is_some(),
            request,
        }))?;
        self.next_id = self.next_id.wrapping_add(1);
        self.pending.insert(id, operation);
        Ok(id)
    }

    /// Queues the word that the answer to `id` is not wanted any more.
    ///
    /// An answer comes nevertheless: the failure `cancelled`, or the reply if it was on its way.
    pub fn cancel(&mut self, id: u64) {
        if self.pending.contains_key(&id) && self.write(&ClientMessage::Cancel { id }).is_err() {
            unreachable!("a cancellation fits into a frame");
        }
    }

    /// What waits to be sent.
    #[must_use]
    pub fn outgoing(&self) -> &[u8] {
        self.outgoing.get(self.sent..).unwrap_or_default()
    }

    /// Says that the first `count` bytes of [`Connection::outgoing`] were sent; they are wiped.
    pub fn sent(&mut self, count: usize) {
        let end = self.sent.saturating_add(count).min(self.outgoing.len());
        if let Some(sent) = self.outgoing.get_mut(self.sent..end) {
            sent.zeroize();
        }
        self.sent = end;
        if self.sent == self.outgoing.len() {
            self.outgoing.clear();
            self.sent = 0;
        }
    }

    /// Room for at least `least` bytes that arrive, to be put at the end of the vector.
    pub fn space(&mut self, least: usize) -> &mut Vec<u8> {
        self.reader.space(least)
    }

    /// The next thing that the agent said; `None` if more bytes are needed.
    ///
    /// # Errors
    /// The agent broke the protocol; the connection must be closed.
    pub fn next_event(&mut self) -> Result<Option<Event<'_>>, ProtocolError> {
        let Some(frame) = self.reader.next_frame(self.limit)? else {
            return Ok(None);
        };
        let event = match ServerMessage::decode(frame)? {
            ServerMessage::Welcome(welcome) => {
                if std::mem::replace(&mut self.welcomed, true) {
                    return Err(ProtocolError::OutOfTurn);
                }
                if welcome.version != VERSION {
                    return Err(ProtocolError::Version(welcome.version));
                }
                let offered = usize::try_from(welcome.max_frame).unwrap_or(usize::MAX);
                self.limit = offered.min(MAX_FRAME);
                Event::Welcome(welcome)
            }
            ServerMessage::Failure { id: None, failure } => Event::Failure { id: None, failure },
            _ if !self.welcomed => return Err(ProtocolError::OutOfTurn),
            ServerMessage::Reply { id, body } => Event::Reply {
                id,
                operation: self
                    .pending
                    .remove(&id)
                    .ok_or(ProtocolError::UnknownId(id))?,
                body,
            },
            ServerMessage::Failure {
                id: Some(id),
                failure,
            } => {
                self.pending
                    .remove(&id)
                    .ok_or(ProtocolError::UnknownId(id))?;
                Event::Failure {
                    id: Some(id),
                    failure,
                }
            }
            ServerMessage::Event(happening) => Event::Happening(happening),
        };
        Ok(Some(event))
    }

    /// What was asked under an id that has no answer yet.
    #[must_use]
    pub fn pending(&self, id: u64) -> Option<OperationCode> {
        self.pending.get(&id).copied()
    }

    /// How many requests have no answer yet.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.pending.len()
    }

    /// Whether the agent has answered the hello.
    #[must_use]
    pub fn is_welcomed(&self) -> bool {
        self.welcomed
    }

    fn write(&mut self, message: &ClientMessage) -> Result<(), FrameTooLarge> {
        let mut body = message.encode();
        let written = frame::write(&body, self.limit, &mut self.outgoing);
        body.zeroize();
        written
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.outgoing.zeroize();
    }
}

/// Decodes the reply of an operation.
///
/// # Errors
/// The bytes are not that operation's reply.
pub fn decode<O: keyward_protocol::Operation>(body: &[u8]) -> Result<O::Reply, ProtocolError> {
    keyward_protocol::cbor::decode_known(body).map_err(|error| ProtocolError::Reply {
        operation: O::CODE,
        error,
    })
}
