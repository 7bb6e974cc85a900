//! The agent's side: asks the monitor, any number of things at a time.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use keyward_protocol::SecretBytes;
use tokio::io::Interest;
use tokio::net::UnixDatagram;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

use super::Link;
use super::message::{MAX_PIN, MAX_REPLY, Outcome, Program, Reply, Request, Task, encode_secret};

/// Longer than the monitor takes to kill a worker and start another.
const START_PATIENCE: Duration = Duration::from_secs(20);
/// Longer than the monitor takes to read and hash a large program.
const PATIENCE: Duration = Duration::from_secs(10);

/// A worker that was started.
#[derive(Debug)]
pub struct Worker {
    /// The agent's end of the packet socket, blocking.
    pub socket: OwnedFd,
    /// The process: to be killed by, and readable once it has ended.
    pub pidfd: OwnedFd,
    /// Its number, for people.
    pub pid: u32,
}

/// Why the monitor did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MonitorError {
    /// It has ended, and so must the agent.
    #[error("the monitor has ended")]
    Gone,
    /// The monitor's configuration has no such token, or other settings: a mistake in the agent, or
    /// the file changed since the start.
    #[error("the monitor refuses: {0}; restart keywardd if keyward.toml changed")]
    Refused(String),
    /// The process that was asked about has ended.
    #[error("the process has ended")]
    ProcessGone,
    /// It did not work this time.
    #[error("{0}")]
    Failed(String),
    /// No answer in time.
    #[error("the monitor did not answer within {} s", .0.as_secs())]
    TimedOut(Duration),
}

/// Asks the monitor. Dropping it ends the monitor and its workers.
#[derive(Debug)]
pub struct Client {
    shared: Arc<Shared>,
    reader: JoinHandle<()>,
    closed: watch::Receiver<bool>,
    pid: u32,
}

#[derive(Debug)]
struct Shared {
    /// A packet socket: tokio has no type for it, and only readiness and [`keyward_sys::fd`] are used.
    socket: UnixDatagram,
    waiting: Mutex<Waiting>,
}

/// Who waits for which answer.
#[derive(Debug, Default)]
struct Waiting {
    last: u64,
    by_id: HashMap<u64, oneshot::Sender<(Outcome, Vec<OwnedFd>)>>,
    closed: bool,
}

impl Client {
    /// Takes over the link. To be called inside the runtime.
    ///
    /// # Errors
    /// An error of the kernel.
    pub fn new(link: Link) -> io::Result<Self> {
        Self::over(link.socket, link.child.id())
    }

    /// A client over the agent's end of a socket.
    pub(super) fn over(socket: OwnedFd, pid: u32) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&socket, true)?;
        let shared = Arc::new(Shared {
            socket: UnixDatagram::from_std(socket.into())?,
            waiting: Mutex::default(),
        });
        let (sender, closed) = watch::channel(false);
        let reader = tokio::spawn({
            let shared = Arc::clone(&shared);
            async move {
                let end = shared.read_replies().await;
                tracing::debug!(%end, "the monitor's socket is at its end");
                // Whoever waits learns it from its dropped sender.
                let mut waiting = shared.waiting();
                waiting.closed = true;
                waiting.by_id.clear();
                drop(waiting);
                sender.send_replace(true);
            }
        });
        Ok(Self {
            shared,
            reader,
            closed,
            pid,
        })
    }

    /// The monitor's pid.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Starts the worker of a token. One that lives is killed first.
    ///
    /// # Errors
    /// See [`MonitorError`].
    pub async fn start_worker(&self, token: &str) -> Result<Worker, MonitorError> {
        let task = Task::StartWorker {
            token: token.to_owned(),
        };
        match self.ask(task, None, START_PATIENCE).await? {
            (Outcome::Worker { pid }, fds) => match <[OwnedFd; 2]>::try_from(fds) {
                Ok([socket, pidfd]) => Ok(Worker { socket, pidfd, pid }),
                Err(_) => Err(unexpected()),
            },
            (outcome, _) => Err(refusal(outcome)),
        }
    }

    /// Asks what program a process runs. Without a pidfd the caller compares the start time with the
    /// one that it knows.
    ///
    /// # Errors
    /// See [`MonitorError`].
    pub async fn identify(
        &self,
        pid: u32,
        pidfd: Option<BorrowedFd<'_>>,
    ) -> Result<Program, MonitorError> {
        match self.ask(Task::Identify { pid }, pidfd, PATIENCE).await? {
            (Outcome::Program { program }, _) => Ok(program),
            (outcome, _) => Err(refusal(outcome)),
        }
    }

    /// Has the monitor keep a PIN that the token accepted.
    ///
    /// # Errors
    /// See [`MonitorError`]; refused unless the token has `remember_pin = true`.
    pub async fn remember(&self, token: &str, pin: SecretBytes) -> Result<(), MonitorError> {
        if pin.len() > MAX_PIN {
            return Err(MonitorError::Failed(format!(
                "a PIN of more than {MAX_PIN} bytes cannot be remembered"
            )));
        }
        let token = token.to_owned();
        self.ask_done(Task::Remember { token, pin }).await
    }

    /// Has the monitor forget the PIN of a token.
    ///
    /// # Errors
    /// See [`MonitorError`].
    pub async fn forget(&self, token: &str) -> Result<(), MonitorError> {
        let token = token.to_owned();
        self.ask_done(Task::Forget { token }).await
    }

    /// Resolves when the monitor has ended.
    pub async fn closed(&self) {
        let mut closed = self.closed.clone();
        // An error means that the reader is gone, which is the same.
        let _ = closed.wait_for(|closed| *closed).await;
    }

    async fn ask_done(&self, task: Task) -> Result<(), MonitorError> {
        match self.ask(task, None, PATIENCE).await? {
            (Outcome::Done, _) => Ok(()),
            (outcome, _) => Err(refusal(outcome)),
        }
    }

    async fn ask(
        &self,
        task: Task,
        fd: Option<BorrowedFd<'_>>,
        patience: Duration,
    ) -> Result<(Outcome, Vec<OwnedFd>), MonitorError> {
        let (sender, answer) = oneshot::channel();
        let id = self.shared.expect(sender)?;
        let packet = encode_secret(&Request { id, task });
        let exchange = async {
            self.shared.send(packet, fd).await?;
            answer.await.map_err(|_| MonitorError::Gone)
        };
        tokio::time::timeout(patience, exchange)
            .await
            .unwrap_or(Err(MonitorError::TimedOut(patience)))
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

impl Shared {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes who waits, and returns the id to ask with.
    fn expect(
        &self,
        sender: oneshot::Sender<(Outcome, Vec<OwnedFd>)>,
    ) -> Result<u64, MonitorError> {
        let mut waiting = self.waiting();
        if waiting.closed {
            return Err(MonitorError::Gone);
        }
        waiting.last = waiting.last.wrapping_add(1);
        let id = waiting.last;
        waiting.by_id.insert(id, sender);
        Ok(id)
    }

    async fn send(
        &self,
        packet: SecretBytes,
        fd: Option<BorrowedFd<'_>>,
    ) -> Result<(), MonitorError> {
        let fds = fd.as_slice();
        self.socket
            .async_io(Interest::WRITABLE, || {
                keyward_sys::fd::send_packet(self.socket.as_fd(), packet.expose(), fds)
            })
            .await
            .map_err(|error| match error.kind() {
                io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => MonitorError::Gone,
                _ => MonitorError::Failed(format!("the monitor cannot be asked: {error}")),
            })
    }

    /// Hands out answers until there are no more, and says why.
    async fn read_replies(&self) -> String {
        let mut buffer = vec![0; MAX_REPLY];
        loop {
            let received = self
                .socket
                .async_io(Interest::READABLE, || {
                    keyward_sys::fd::receive_packet(self.socket.as_fd(), &mut buffer)
                })
                .await;
            let (length, fds) = match received {
                Ok((0, _)) => return "closed".to_owned(),
                Ok(received) => received,
                Err(error) => return error.to_string(),
            };
            match Reply::decode(buffer.get(..length).unwrap_or_default()) {
                Ok(reply) => {
                    let sender = self.waiting().by_id.remove(&reply.id);
                    // Who gave up waiting leaves the descriptors to be closed.
                    if let Some(sender) = sender {
                        let _ = sender.send((reply.outcome, fds));
                    }
                }
                Err(error) => return format!("an answer of the monitor is wrong: {error}"),
            }
        }
    }
}

fn refusal(outcome: Outcome) -> MonitorError {
    match outcome {
        Outcome::UnknownToken => MonitorError::Refused("it knows no such token".to_owned()),
        Outcome::MayNotRemember => {
            MonitorError::Refused("the token does not have remember_pin = true".to_owned())
        }
        Outcome::ProcessGone => MonitorError::ProcessGone,
        Outcome::Failed { reason } => MonitorError::Failed(reason),
        Outcome::Worker { .. } | Outcome::Program { .. } | Outcome::Done => unexpected(),
    }
}

fn unexpected() -> MonitorError {
    MonitorError::Failed("the monitor answered something else than it was asked".to_owned())
}
