//! What agent and monitor say to each other: one deterministic CBOR item a packet.

#[cfg(test)]
mod tests;

use keyward_protocol::SecretBytes;
use keyward_protocol::cbor::{self, CborError};
use minicbor::{Decode, Encode};

/// The longest request, a PIN and all that is around it included.
pub const MAX_REQUEST: usize = 4096;
/// The longest answer.
pub const MAX_REPLY: usize = 64 * 1024;
/// The longest PIN that can be remembered.
pub const MAX_PIN: usize = 1024;
/// The longest path that is reported, by `PATH_MAX`.
pub const MAX_PATH: usize = 4096;
/// How many ancestors of a process are reported.
pub const MAX_PARENTS: usize = 16;
/// The longest path that is reported of an ancestor.
pub const MAX_PARENT_PATH: usize = 1024;
/// The longest reason for a refusal.
pub const MAX_REASON: usize = 1024;

/// What the agent asks.
#[derive(Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Request {
    /// Chosen by the agent; the answer has the same.
    #[n(0)]
    pub id: u64,
    /// What is to be done.
    #[n(1)]
    pub task: Task,
}

/// What the monitor can do.
#[derive(Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub enum Task {
    /// Start the worker of a token; one that lives is killed first.
    #[n(1)]
    StartWorker {
        /// The token's name in the configuration.
        #[n(0)]
        token: String,
    },
    /// Say what program a process runs. Its pidfd comes along where the kernel gave one.
    #[n(2)]
    Identify {
        /// The process.
        #[n(0)]
        pid: u32,
    },
    /// Keep a PIN that the token accepted, for the next start of its worker.
    #[n(3)]
    Remember {
        /// The token's name in the configuration.
        #[n(0)]
        token: String,
        /// The PIN.
        #[n(1)]
        pin: SecretBytes,
    },
    /// Forget the PIN.
    #[n(4)]
    Forget {
        /// The token's name in the configuration.
        #[n(0)]
        token: String,
    },
}

/// What the monitor answers.
#[derive(Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Reply {
    /// The request's.
    #[n(0)]
    pub id: u64,
    /// What became of it.
    #[n(1)]
    pub outcome: Outcome,
}

/// What became of a request.
#[derive(Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub enum Outcome {
    /// The worker was started. Its socket and its pidfd come along, in this order.
    #[n(1)]
    Worker {
        /// Its process.
        #[n(0)]
        pid: u32,
    },
    /// What the process runs.
    #[n(2)]
    Program {
        /// It.
        #[n(0)]
        program: Program,
    },
    /// It is done.
    #[n(3)]
    Done,
    /// The configuration has no such token.
    #[n(4)]
    UnknownToken,
    /// The token's configuration does not have `remember_pin`.
    #[n(5)]
    MayNotRemember,
    /// There is no such process any more.
    #[n(6)]
    ProcessGone,
    /// It failed.
    #[n(7)]
    Failed {
        /// Why.
        #[n(0)]
        reason: String,
    },
}

/// What a process runs. What is absent could not be read: the process is another user's, or hides.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Program {
    /// When the process started, in clock ticks since boot.
    #[n(0)]
    pub start_time: u64,
    /// The path of its executable; ` (deleted)` follows if that was removed or replaced.
    #[n(1)]
    pub exe: Option<String>,
    /// Which file that is.
    #[n(2)]
    pub file: Option<FileId>,
    /// The file's SHA-256; absent for a file that cannot be read, that is longer than 256 MiB, or that
    /// changed meanwhile.
    #[cbor(n(3), with = "minicbor::bytes")]
    pub sha256: Option<[u8; 32]>,
    /// Its ancestors, the nearest first.
    #[n(4)]
    pub parents: Vec<Parent>,
    /// Whether the monitor is this process or one of its ancestors: a worker, or what a worker started.
    #[n(5)]
    pub descends_from_monitor: bool,
}

/// Which file, whatever its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Encode, Decode)]
#[cbor(map)]
pub struct FileId {
    /// The file system.
    #[n(0)]
    pub device: u64,
    /// The file in it.
    #[n(1)]
    pub inode: u64,
}

/// An ancestor of a process.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Parent {
    /// Its pid.
    #[n(0)]
    pub pid: u32,
    /// The name that it gave itself.
    #[n(1)]
    pub comm: String,
    /// The path of its executable.
    #[n(2)]
    pub exe: Option<String>,
}

impl Request {
    /// Decodes a packet of the agent.
    ///
    /// # Errors
    /// The packet is not exactly one request within the limits.
    pub fn decode(packet: &[u8]) -> Result<Self, CborError> {
        if packet.len() > MAX_REQUEST {
            return Err(CborError::Trailing);
        }
        let request: Self = cbor::decode_exact(packet)?;
        match &request.task {
            Task::Remember { pin, .. } if pin.len() > MAX_PIN => Err(CborError::Shape),
            _ => Ok(request),
        }
    }
}

impl Reply {
    /// Encodes an answer. One that is too long becomes a failure.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let packet = cbor::encode(self);
        if packet.len() <= MAX_REPLY {
            return packet;
        }
        cbor::encode(&Self {
            id: self.id,
            outcome: Outcome::failed("the answer is too long for a packet"),
        })
    }

    /// Decodes a packet of the monitor.
    ///
    /// # Errors
    /// The packet is not exactly one answer within the limits.
    pub fn decode(packet: &[u8]) -> Result<Self, CborError> {
        if packet.len() > MAX_REPLY {
            return Err(CborError::Trailing);
        }
        cbor::decode_exact(packet)
    }
}

impl Outcome {
    /// A failure for a reason.
    #[must_use]
    pub fn failed(reason: impl std::fmt::Display) -> Self {
        let reason = reason.to_string();
        // A character has four bytes at the most.
        let reason = reason.chars().take(MAX_REASON / 4).collect();
        Self::Failed { reason }
    }
}

/// A value's encoding in memory that is wiped, for what holds a PIN.
pub(super) fn encode_secret<T: Encode<()>>(value: &T) -> SecretBytes {
    let mut length = Count(0);
    let mut bytes = match minicbor::encode(value, &mut length) {
        Ok(()) => SecretBytes::zeroed(length.0),
        Err(error) => unreachable!("counting does not fail: {error}"),
    };
    match minicbor::encode(value, &mut *bytes.expose_mut()) {
        Ok(()) => bytes,
        Err(error) => unreachable!("the room was counted: {error}"),
    }
}

struct Count(usize);

impl minicbor::encode::Write for Count {
    type Error = std::convert::Infallible;

    fn write_all(&mut self, bytes: &[u8]) -> Result<(), Self::Error> {
        self.0 = self.0.saturating_add(bytes.len());
        Ok(())
    }
}
