//! What can go wrong, by what the caller does next.

use std::io;
use std::path::PathBuf;

use keyward_protocol::cbor::CborError;
use keyward_protocol::frame::FrameTooLarge;
use keyward_protocol::{Failure, OperationCode, Purpose};

/// Why a call has no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No agent answers at the socket: start it, or name another socket. Nothing was sent.
    #[error("can't reach the agent at {}", path.display())]
    Unreachable {
        /// The socket that was tried.
        path: PathBuf,
        /// What is the matter with it.
        #[source]
        reason: Unreachable,
    },
    /// The socket belongs to somebody who is not trusted: find out who. Nothing was sent.
    #[error("the server at {} runs as uid {uid}, which is not trusted", path.display())]
    Untrusted {
        /// The socket that was tried.
        path: PathBuf,
        /// The user that serves it.
        uid: u32,
        /// The users that may.
        trusted: Vec<u32>,
    },
    /// The configuration of the client can't be used: mend it. Nothing was sent.
    #[error("{variable} is not usable: {problem}")]
    Environment {
        /// The environment variable.
        variable: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// The agent answered no: look at the code.
    #[error(transparent)]
    Refused(Failure),
    /// The request does not fit into a frame: send less. Nothing was sent.
    #[error("the request takes {size} bytes, and the agent takes {limit}")]
    TooLarge {
        /// The size of the encoded request.
        size: usize,
        /// The most that may be sent.
        limit: usize,
    },
    /// The agent does not speak as agreed: update the older side.
    #[error("the agent broke the protocol")]
    Protocol(#[source] ProtocolError),
    /// The connection failed and nothing of the request was sent: try again.
    #[error("the connection to the agent failed")]
    Io(#[source] io::Error),
    /// The message that is to be signed or verified can't be read to its end. Nothing was done.
    #[error("the message can't be read")]
    Message(#[source] io::Error),
    /// The key has another purpose than what it is opened for: use another key. Nothing was done.
    #[error("the key {key} is of purpose {purpose}, and this needs {wanted}")]
    WrongPurpose {
        /// The id of the key.
        key: String,
        /// What it is for.
        purpose: Purpose,
        /// What it should be for.
        wanted: Purpose,
    },
    /// The key can't do anything that this library knows: update the library, or use another key.
    #[error("the key {key} has no algorithm that can be used")]
    NoAlgorithm {
        /// The id of the key.
        key: String,
    },
    /// The key was rotated since it was opened: open it again. The signature is not given out,
    /// since it does not belong to the public key that the handle shows.
    #[error("the key {key} was opened at version {opened} and signs with version {current} now")]
    Rotated {
        /// The id of the key.
        key: String,
        /// The version that the handle shows.
        opened: u32,
        /// The version that signed.
        current: u32,
    },
    /// The agent answered something else than was asked for: update the older side.
    #[error("the answer to {operation} is not what was asked for", operation = operation.name())]
    NotWhatWasAsked {
        /// What was asked for.
        operation: OperationCode,
    },
    /// The connection ended between request and answer: look whether it was done before trying again.
    #[error("the connection ended before the answer to {operation}, which may or may not have been done", operation = operation.name())]
    OutcomeUnknown {
        /// What was asked for.
        operation: OperationCode,
        /// How the connection ended; absent: the agent closed it.
        #[source]
        cause: Option<io::Error>,
    },
}

impl Error {
    /// What a person can type next, where there is something.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Unreachable { path, reason } => reason.hint(path),
            Self::Untrusted { uid, .. } => Some(format!(
                "if that user runs your agent: KEYWARD_SERVER_UID={uid}"
            )),
            Self::Refused(failure) => failure.hint.clone(),
            Self::WrongPurpose { .. } => Some("keyward key list".into()),
            Self::Protocol(ProtocolError::Version(_)) | Self::NotWhatWasAsked { .. } => {
                Some("compare `keyward --version` with `keywardd --version`".into())
            }
            _ => None,
        }
    }
}

/// Why no agent answers.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Unreachable {
    /// Nothing is there.
    #[error("there is no such socket")]
    Missing,
    /// Something is there that is no socket.
    #[error("it is not a socket")]
    NotASocket,
    /// A socket that no process listens on any more.
    #[error("no process listens on it: the agent that made it is gone")]
    Stale,
    /// The caller may not connect.
    #[error("permission denied")]
    Denied,
    /// The path does not fit into a socket address.
    #[error("the path has {length} bytes, and a socket's path has 107 at the most")]
    PathTooLong {
        /// How long it is.
        length: usize,
    },
    /// It accepts connections and says nothing.
    #[error("it accepted the connection and did not say hello within {seconds} s")]
    Silent {
        /// How long the client waited.
        seconds: u64,
    },
    /// It closed the connection before it said hello.
    #[error("it closed the connection without a word")]
    HungUp,
    /// Something else.
    #[error(transparent)]
    Io(io::Error),
}

impl Unreachable {
    fn hint(&self, path: &std::path::Path) -> Option<String> {
        let system = path.starts_with("/run/keyward");
        match self {
            Self::Missing | Self::Stale if system => {
                Some("sudo systemctl start keyward  (or set KEYWARD_SOCK to another socket)".into())
            }
            Self::Missing | Self::Stale => Some(
                "systemctl --user start keyward  (or run `keywardd`, or set KEYWARD_SOCK to another socket)"
                    .into(),
            ),
            Self::Denied if system => Some("sudo usermod -aG keyward \"$USER\"  (then log in anew)".into()),
            Self::Denied => Some(format!("ls -l {}", path.display())),
            Self::NotASocket | Self::PathTooLong { .. } => {
                Some("KEYWARD_SOCK=/run/keyward/agent.sock keyward status".into())
            }
            Self::Silent { .. } | Self::HungUp => Some(if system {
                "journalctl -u keyward".into()
            } else {
                "journalctl --user -u keyward".into()
            }),
            Self::Io(_) => None,
        }
    }
}

/// How the agent broke the protocol.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProtocolError {
    /// A frame above the limit.
    #[error(transparent)]
    Frame(#[from] FrameTooLarge),
    /// Bytes that are no message of an agent.
    #[error("a message that can't be read: {0}")]
    Message(#[from] CborError),
    /// A version that was not offered.
    #[error("the agent speaks version {0}, which was not offered")]
    Version(u32),
    /// Something else where the answer to the hello was due, or that answer a second time.
    #[error("a message out of turn")]
    OutOfTurn,
    /// An answer that nobody waits for.
    #[error("an answer to request {0}, which was not sent or is answered already")]
    UnknownId(u64),
    /// An answer that is not the operation's.
    #[error("an answer to {} that can't be read: {error}", operation.name())]
    Reply {
        /// What was asked for.
        operation: OperationCode,
        /// What is wrong with the answer.
        error: CborError,
    },
}
