//! The messages inside the frames: hello, requests, replies, failures, events.

use std::fmt;

use minicbor::{Decode, Decoder, Encode};

use crate::cbor::{self, CborError};
use crate::error::Failure;
use crate::event::Event;
use crate::frame;
use crate::operation::{OperationCode, Request};

/// The version of the protocol that this crate speaks.
pub const VERSION: u32 = 1;

/// The first frame of a client.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Hello {
    /// Always [`KIND_HELLO`].
    #[n(0)]
    pub kind: u32,
    /// The oldest version that the client speaks.
    #[n(1)]
    pub oldest: u32,
    /// The newest version that the client speaks.
    #[n(2)]
    pub newest: u32,
    /// Features that the client would use if they were offered.
    #[n(3)]
    pub features: Vec<String>,
    /// The client's software and its version, for people who read a log.
    #[n(4)]
    pub software: String,
    /// The largest frame that the client takes; [`frame::MAX_FRAME`] if absent.
    #[n(5)]
    pub max_frame: Option<u32>,
}

impl Hello {
    /// The hello of a client that speaks this version alone.
    pub fn new(software: impl Into<String>) -> Self {
        Self {
            kind: KIND_HELLO,
            oldest: VERSION,
            newest: VERSION,
            features: Vec::new(),
            software: software.into(),
            max_frame: None,
        }
    }
}

/// The agent's answer to the hello.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Welcome {
    /// Always [`KIND_HELLO`].
    #[n(0)]
    pub kind: u32,
    /// The version that both will speak.
    #[n(1)]
    pub version: u32,
    /// Those of the client's features that the agent offers.
    #[n(2)]
    pub features: Vec<String>,
    /// The agent's software and its version.
    #[n(3)]
    pub software: String,
    /// The largest frame in either direction.
    #[n(4)]
    pub max_frame: u32,
}

/// Kind 0: hello and welcome.
pub const KIND_HELLO: u32 = 0;
/// Kind 1: a request, or its reply.
pub const KIND_CALL: u32 = 1;
/// Kind 2: from the client a cancellation, from the agent a failure.
pub const KIND_END: u32 = 2;
/// Kind 3: an event.
pub const KIND_EVENT: u32 = 3;

/// What a client sends.
#[derive(Debug, PartialEq, Eq)]
pub enum ClientMessage {
    /// The first frame, and only that.
    Hello(Hello),
    /// Something to be done.
    Call(Call),
    /// The answer to this id is not wanted any more.
    Cancel {
        /// The id of the request.
        id: u64,
    },
}

/// A request with its id.
#[derive(Debug, PartialEq, Eq)]
pub struct Call {
    /// Chosen by the client, not in use by another request of this connection.
    pub id: u64,
    /// How long the client waits, in milliseconds.
    pub deadline_ms: Option<u32>,
    /// Whether it waits until then for a token that is not there or is locked.
    pub wait: bool,
    /// What is to be done.
    pub request: Request,
}

/// Why a frame of a client is not a message, and whom to tell.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ClientMessageError {
    /// Not a message at all, or one of an unknown kind.
    #[error("not a message: {0}")]
    Malformed(CborError),
    /// A request whose id is known and whose body is not right.
    #[error("{operation:?} with a body that is not right: {error}")]
    Body {
        /// The id to answer.
        id: u64,
        /// What was asked for.
        operation: OperationCode,
        /// What is wrong with it.
        error: CborError,
    },
    /// A request for an operation that this version does not know.
    #[error("unknown operation {code}")]
    UnknownOperation {
        /// The id to answer.
        id: u64,
        /// The number that was asked for.
        code: u32,
    },
}

impl ClientMessage {
    /// Decodes a frame.
    ///
    /// # Errors
    /// The frame is no message; the error says whether it has an id to be answered.
    pub fn decode(frame: &[u8]) -> Result<Self, ClientMessageError> {
        use ClientMessageError::Malformed;
        cbor::validate(frame).map_err(Malformed)?;
        match kind(frame).map_err(Malformed)? {
            // A newer client's hello may say more than this version knows.
            KIND_HELLO => cbor::decode_known(frame)
                .map(Self::Hello)
                .map_err(Malformed),
            KIND_CALL => call(frame),
            KIND_END => cbor::decode_exact::<Cancel>(frame)
                .map(|cancel| Self::Cancel { id: cancel.id })
                .map_err(Malformed),
            _ => Err(Malformed(CborError::Shape)),
        }
    }

    /// Encodes the message, without the frame's length.
    ///
    /// The bytes can hold a PIN: wipe them after use.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(256);
        match self {
            Self::Hello(hello) => cbor::encode_into(hello, &mut bytes),
            Self::Call(call) => call.encode_into(&mut bytes),
            Self::Cancel { id } => cbor::encode_into(
                &Cancel {
                    kind: KIND_END,
                    id: *id,
                },
                &mut bytes,
            ),
        }
        bytes
    }
}

#[derive(Encode, Decode)]
#[cbor(map)]
struct Cancel {
    #[n(0)]
    kind: u32,
    #[n(1)]
    id: u64,
}

impl Call {
    fn encode_into(&self, bytes: &mut Vec<u8>) {
        let fields = match (self.deadline_ms, self.wait) {
            (None, false) => 4,
            (Some(_), true) => 6,
            _ => 5,
        };
        cbor::write(bytes, |e| {
            e.map(fields)?.u8(0)?.u32(KIND_CALL)?.u8(1)?.u64(self.id)?;
            e.u8(2)?.u32(self.request.code().number())?.u8(3)?.ok()
        });
        self.request.encode_body_into(bytes);
        if let Some(deadline) = self.deadline_ms {
            cbor::write(bytes, |e| e.u8(4)?.u32(deadline)?.ok());
        }
        if self.wait {
            cbor::write(bytes, |e| e.u8(5)?.bool(true)?.ok());
        }
    }
}

/// Decodes a request of a frame that is known to be deterministic.
fn call(frame: &[u8]) -> Result<ClientMessage, ClientMessageError> {
    let mut header = CallHeader::default();
    header
        .read(frame)
        .map_err(|_| ClientMessageError::Malformed(CborError::Shape))?;
    let CallHeader {
        id: Some(id),
        code: Some(code),
        body: Some(body),
        deadline_ms,
        wait,
    } = header
    else {
        return Err(ClientMessageError::Malformed(CborError::Shape));
    };
    let operation = OperationCode::from_number(code)
        .ok_or(ClientMessageError::UnknownOperation { id, code })?;
    let request =
        Request::decode_body(operation, body).map_err(|error| ClientMessageError::Body {
            id,
            operation,
            error,
        })?;
    Ok(ClientMessage::Call(Call {
        id,
        deadline_ms,
        wait,
        request,
    }))
}

#[derive(Default)]
struct CallHeader<'b> {
    id: Option<u64>,
    code: Option<u32>,
    body: Option<&'b [u8]>,
    deadline_ms: Option<u32>,
    wait: bool,
}

impl<'b> CallHeader<'b> {
    fn read(&mut self, frame: &'b [u8]) -> Result<(), minicbor::decode::Error> {
        let mut d = Decoder::new(frame);
        for _ in 0..d.map()?.unwrap_or(0) {
            match d.u32()? {
                0 => d.skip()?,
                1 => self.id = Some(d.u64()?),
                2 => self.code = Some(d.u32()?),
                3 => {
                    let start = d.position();
                    d.skip()?;
                    self.body = frame.get(start..d.position());
                }
                4 => self.deadline_ms = Some(d.u32()?),
                5 => self.wait = d.bool()?,
                _ => return Err(minicbor::decode::Error::message("unknown field")),
            }
        }
        Ok(())
    }
}

/// What the agent sends.
#[derive(Clone, PartialEq, Eq)]
pub enum ServerMessage<'b> {
    /// The answer to the hello.
    Welcome(Welcome),
    /// The answer to a request: the operation's reply, still encoded.
    Reply {
        /// The id of the request.
        id: u64,
        /// One item, to be decoded with [`cbor::decode_known`] as the operation's reply.
        body: &'b [u8],
    },
    /// A request failed; without an id, the connection did, and is closed.
    Failure {
        /// The id of the request.
        id: Option<u64>,
        /// What went wrong.
        failure: Failure,
    },
    /// Something happened.
    Event(Event),
}

impl fmt::Debug for ServerMessage<'_> {
    /// Shows a reply's length alone: it can hold a plaintext or a shared secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Welcome(welcome) => f.debug_tuple("Welcome").field(welcome).finish(),
            Self::Reply { id, body } => write!(f, "Reply {{ id: {id}, {} bytes }}", body.len()),
            Self::Failure { id, failure } => f
                .debug_struct("Failure")
                .field("id", id)
                .field("failure", failure)
                .finish(),
            Self::Event(event) => f.debug_tuple("Event").field(event).finish(),
        }
    }
}

impl<'b> ServerMessage<'b> {
    /// Decodes a frame.
    ///
    /// # Errors
    /// The frame is no message of an agent. Fields that are not known are ignored.
    pub fn decode(frame: &'b [u8]) -> Result<Self, CborError> {
        cbor::validate(frame)?;
        if kind(frame)? == KIND_HELLO {
            return cbor::decode_known(frame).map(Self::Welcome);
        }
        server_message(frame).map_err(|_| CborError::Shape)
    }

    /// Encodes the message at the end of `bytes`, without the frame's length.
    pub fn encode_into(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Welcome(welcome) => cbor::encode_into(welcome, bytes),
            Self::Reply { id, body } => {
                cbor::write(bytes, |e| {
                    e.map(3)?.u8(0)?.u32(KIND_CALL)?;
                    e.u8(1)?.u64(*id)?.u8(2)?.ok()
                });
                frame::reserve_wiped(bytes, body.len());
                bytes.extend_from_slice(body);
            }
            Self::Failure { id, failure } => {
                cbor::write(bytes, |e| {
                    e.map(if id.is_some() { 3 } else { 2 })?;
                    e.u8(0)?.u32(KIND_END)?;
                    if let Some(id) = id {
                        e.u8(1)?.u64(*id)?;
                    }
                    e.u8(2)?.encode(failure)?.ok()
                });
            }
            Self::Event(event) => cbor::write(bytes, |e| {
                e.map(2)?.u8(0)?.u32(KIND_EVENT)?;
                e.u8(2)?.encode(event)?.ok()
            }),
        }
    }
}

/// Decodes a reply, failure or event of a frame that is known to be deterministic.
fn server_message(frame: &[u8]) -> Result<ServerMessage<'_>, minicbor::decode::Error> {
    let (mut kind, mut id, mut body) = (None, None, None);
    let mut d = Decoder::new(frame);
    for _ in 0..d.map()?.unwrap_or(0) {
        match d.u32()? {
            0 => kind = Some(d.u32()?),
            1 => id = Some(d.u64()?),
            2 => {
                let start = d.position();
                d.skip()?;
                body = frame.get(start..d.position());
            }
            _ => d.skip()?,
        }
    }
    match (kind, id, body) {
        (Some(KIND_CALL), Some(id), Some(body)) => Ok(ServerMessage::Reply { id, body }),
        (Some(KIND_END), id, Some(body)) => Ok(ServerMessage::Failure {
            id,
            failure: minicbor::decode(body)?,
        }),
        (Some(KIND_EVENT), _, Some(body)) => Ok(ServerMessage::Event(minicbor::decode(body)?)),
        _ => Err(minicbor::decode::Error::message("not a message")),
    }
}

/// The kind of a message: the value of its first key, which must be 0.
fn kind(frame: &[u8]) -> Result<u32, CborError> {
    let mut d = Decoder::new(frame);
    let kind = match (d.map(), d.u32()) {
        (Ok(Some(1..)), Ok(0)) => d.u32(),
        _ => return Err(CborError::Shape),
    };
    kind.map_err(|_| CborError::Shape)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operation::{Sign, SignInput, Unlock};
    use crate::secret::SecretBytes;

    #[test]
    fn debug_shows_no_content() {
        let sign = Sign {
            key: "k".into(),
            algorithm: None,
            input: SignInput::Message(b"geheim".into()),
        };
        let unlock = Unlock {
            token: None,
            pin: Some(SecretBytes::copy_from(b"geheim")),
            spend_withheld_try: false,
        };
        let reply = ServerMessage::Reply {
            id: 7,
            body: b"geheim",
        };
        let shown = format!(
            "{:?} {:?} {reply:?}",
            Request::from(sign),
            Request::from(unlock)
        );
        assert!(shown.contains("6 bytes"), "{shown}");
        // Neither as text nor as a list of numbers.
        assert!(
            !shown.contains("geheim") && !shown.contains("103, 101"),
            "{shown}"
        );
    }
}
