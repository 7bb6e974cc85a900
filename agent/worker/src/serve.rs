//! The loop around a backend: threads that each block in `recv` on the same socket.

mod thread;

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use keyward_backend::message::{Answer, Call, MAX_PACKET, Outcome};
use keyward_backend::{Backend, BackendError};
use keyward_sys::fd::{receive_blocking, send_blocking};
use zeroize::Zeroize;

use crate::credential::Credentials;
use thread::Shared;

/// How long requests may still run after the agent has gone.
const GRACE: Duration = Duration::from_secs(2);

/// How many threads serve, and how they wait.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    threads: u32,
    spin: Duration,
}

impl Settings {
    /// The settings of the monitor's first packet, in their bounds.
    #[must_use]
    pub fn new(threads: u32, spin_us: u32) -> Self {
        Self {
            threads: threads.clamp(1, 64),
            spin: Duration::from_micros(u64::from(spin_us.min(10_000))),
        }
    }
}

/// How serving ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The agent has gone and no thread is inside the backend.
    Idle,
    /// The agent has gone, and a thread is still inside the backend.
    Busy,
}

/// Why serving can't go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// keywardd and this program are not of the same version, or one has a fault.
    #[error(
        "the agent sent a packet that is no call; are keywardd and keyward-worker of the same version?"
    )]
    Malformed,
    /// A request broke this program.
    #[error("a request ended in a panic, see above")]
    Panicked,
    /// The socket failed.
    #[error("the socket to the agent failed: {0}")]
    Socket(#[from] io::Error),
}

/// Serves until the agent has gone.
///
/// # Errors
/// See [`ServeError`]. Threads may still be inside the backend: the process must end.
pub fn serve<B: Backend>(
    socket: OwnedFd,
    backend: &'static B,
    credentials: Credentials,
    settings: Settings,
) -> Result<End, ServeError> {
    let shared: &'static Shared<B> = Box::leak(Box::new(Shared::new(
        socket,
        backend,
        credentials,
        settings.spin,
    )));
    shared.watch();
    let (ended, ends) = mpsc::channel();
    for number in 0..settings.threads {
        let ended = ended.clone();
        std::thread::Builder::new()
            .name(format!("serve-{number}"))
            .spawn(move || {
                // Nobody to tell: the process is ending.
                let _ = ended.send(shared.run());
            })?;
    }
    drop(ended);
    ends.recv().unwrap_or(Err(ServeError::Panicked))?;
    let until = Instant::now().checked_add(GRACE);
    for _ in 1..settings.threads {
        let left = until.map_or(Duration::ZERO, |until| {
            until.saturating_duration_since(Instant::now())
        });
        match ends.recv_timeout(left) {
            Ok(end) => end?,
            Err(RecvTimeoutError::Timeout) => return Ok(End::Busy),
            Err(RecvTimeoutError::Disconnected) => return Err(ServeError::Panicked),
        }
    }
    Ok(End::Idle)
}

/// Answers every call with the same error, until the agent has gone. Where the token is not there,
/// the first call only: the next worker may find it.
///
/// # Errors
/// See [`ServeError`].
pub fn refuse(socket: OwnedFd, error: &BackendError) -> Result<End, ServeError> {
    let mut packet = vec![0; MAX_PACKET];
    let mut reply = Vec::new();
    loop {
        let length = receive_blocking(socket.as_fd(), &mut packet)?;
        if length == 0 {
            return Ok(End::Idle);
        }
        let bytes = packet.get_mut(..length).unwrap_or_default();
        let id = decode(bytes)?.id;
        bytes.zeroize();
        encode(id, Outcome::Failed(error.clone()), &mut reply);
        match send_blocking(socket.as_fd(), &reply) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(End::Idle),
            sent => sent?,
        }
        if matches!(error, BackendError::TokenAbsent(_)) {
            return Ok(End::Idle);
        }
    }
}

/// Decodes a packet of the agent.
///
/// # Errors
/// [`ServeError::Malformed`].
pub fn decode(packet: &[u8]) -> Result<Call, ServeError> {
    let mut decoder = minicbor::Decoder::new(packet);
    match decoder.decode() {
        Ok(call) if decoder.position() == packet.len() => Ok(call),
        _ => Err(ServeError::Malformed),
    }
}

/// Encodes an answer into a buffer that is used again and again.
fn encode(id: u64, outcome: Outcome, reply: &mut Vec<u8>) {
    reply.clear();
    let answer = Answer { id, outcome };
    match minicbor::encode(&answer, &mut *reply) {
        Ok(()) => {}
        Err(error) => unreachable!("writing to a Vec does not fail: {error}"),
    }
    if reply.len() > MAX_PACKET {
        reply.zeroize();
        encode(
            id,
            Outcome::Failed(BackendError::Refused(
                "the answer is too long for a packet".to_owned(),
            )),
            reply,
        );
    }
}
