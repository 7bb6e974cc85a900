//! The life of one worker process, as the agent sees it.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use keyward_backend::BackendError;
use keyward_backend::message::{Answer, MAX_PACKET, Outcome, Work};
use keyward_protocol::Failure;
use keyward_sys::{fd, process};
use rustix::process::Signal;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;
use zeroize::Zeroize;

use super::reply;
use crate::watch::watch;

/// The connection to a worker process.
pub(crate) struct Link {
    /// Watched for packets alone: what finds no room is sent after the next answer.
    socket: AsyncFd<OwnedFd>,
    pidfd: OwnedFd,
    pid: u32,
    next_id: Cell<u64>,
    under_way: RefCell<BTreeMap<u64, UnderWay>>,
    /// Wakes the watchdog when something is under way again.
    begun: Notify,
    packet: RefCell<Vec<u8>>,
    /// Its life has ended: nothing is sent that nobody would answer.
    closed: Cell<bool>,
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lost {
    /// The worker never got the call.
    NotSent,
    /// It got it, and its life ended before it answered.
    NoAnswer,
}

struct UnderWay {
    sent: Instant,
    reply: oneshot::Sender<Result<Outcome, Failure>>,
}

/// Why a packet was not sent.
pub(crate) enum SendError {
    /// No room in the socket.
    WouldBlock,
    /// The worker is gone.
    Broken,
    /// No packet may be so large.
    TooLarge,
}

type Reply = oneshot::Sender<Result<Outcome, Failure>>;

/// Why the life of a worker ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Ended {
    /// It closed its end, or died.
    #[error("it died")]
    Closed,
    /// It sent what no worker sends.
    #[error("it sent {0}")]
    Misbehaved(&'static str),
    /// It took too long over one call.
    #[error("it took too long over one call")]
    Hung,
    /// It said that its device or module is in an unknown state.
    #[error("{0}")]
    Failed(String),
    /// The socket failed.
    #[error("its socket failed: {0}")]
    Socket(io::Error),
}

impl Link {
    pub(crate) fn new(socket: OwnedFd, pidfd: OwnedFd, pid: u32) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&socket, true)?;
        Ok(Self {
            socket: watch(socket, Interest::READABLE)?,
            pidfd,
            pid,
            next_id: Cell::new(1),
            under_way: RefCell::default(),
            begun: Notify::new(),
            packet: RefCell::default(),
            closed: Cell::new(false),
        })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// How many calls have no answer yet.
    pub(crate) fn under_way(&self) -> usize {
        self.under_way.borrow().len()
    }

    /// Sends a call; the answer comes through `reply`.
    pub(crate) fn send(&self, work: &Work, reply: Reply) -> Result<(), (SendError, Reply)> {
        if self.closed.get() {
            return Err((SendError::Broken, reply));
        }
        let id = self.next_id.get();
        let mut packet = self.packet.borrow_mut();
        encode(id, work, &mut packet);
        let sent = if packet.len() > MAX_PACKET {
            Err(SendError::TooLarge)
        } else {
            fd::try_send(self.socket.as_fd(), &packet).map_err(|error| match error.kind() {
                io::ErrorKind::WouldBlock => SendError::WouldBlock,
                _ => SendError::Broken,
            })
        };
        packet.zeroize();
        if let Err(error) = sent {
            return Err((error, reply));
        }
        self.next_id.set(id.wrapping_add(1));
        let mut under_way = self.under_way.borrow_mut();
        if under_way.is_empty() {
            self.begun.notify_one();
        }
        let sent = Instant::now();
        under_way.insert(id, UnderWay { sent, reply });
        Ok(())
    }

    /// Sends a call past the queue: for what the agent itself asks of a worker.
    pub(crate) async fn ask(&self, work: &Work) -> Result<Outcome, Lost> {
        let (reply, answer) = oneshot::channel();
        self.send(work, reply).map_err(|_| Lost::NotSent)?;
        match answer.await {
            Ok(Ok(outcome)) => Ok(outcome),
            _ => Err(Lost::NoAnswer),
        }
    }

    /// Hands out answers until the worker's life ends. `notice` sees each failure, also where nobody
    /// waits for it any more; after each batch, `more` may send more.
    pub(crate) async fn receive(&self, notice: impl Fn(&BackendError), more: impl Fn()) -> Ended {
        let mut buffer = vec![0; MAX_PACKET];
        loop {
            let mut ready = match self.socket.readable().await {
                Ok(ready) => ready,
                Err(error) => return Ended::Socket(error),
            };
            loop {
                let received = ready.try_io(|socket| fd::try_receive(socket.as_fd(), &mut buffer));
                let length = match received {
                    Err(_would_block) => break,
                    Ok(Ok(0)) => return Ended::Closed,
                    Ok(Ok(length)) => length,
                    Ok(Err(error)) => match error.kind() {
                        io::ErrorKind::ConnectionReset => return Ended::Closed,
                        io::ErrorKind::InvalidData => {
                            return Ended::Misbehaved("a packet that is too large");
                        }
                        _ => return Ended::Socket(error),
                    },
                };
                let packet = buffer.get_mut(..length).unwrap_or_default();
                let answer = minicbor::decode::<Answer>(packet);
                packet.zeroize();
                let Ok(Answer { id, mut outcome }) = answer else {
                    return Ended::Misbehaved("a packet that is no answer");
                };
                if !reply::bound(&mut outcome) {
                    return Ended::Misbehaved("a report that is too long");
                }
                let Some(call) = self.under_way.borrow_mut().remove(&id) else {
                    return Ended::Misbehaved("an answer that nobody waits for");
                };
                let failed = match &outcome {
                    Outcome::Failed(error) => {
                        notice(error);
                        match error {
                            BackendError::DeviceFailed(why) => Some(why.clone()),
                            _ => None,
                        }
                    }
                    _ => None,
                };
                // The caller may have gone: its answer is wiped as it is dropped.
                let _ = call.reply.send(Ok(outcome));
                if let Some(why) = failed {
                    return Ended::Failed(why);
                }
                if self.under_way.borrow().is_empty() {
                    // Nothing more is due: what comes unasked, and the end, are told anew.
                    ready.clear_ready();
                    break;
                }
            }
            more();
        }
    }

    /// Ends when a call is under way for longer than `limit`. The time of a call that waited behind
    /// others in the worker counts from when it became the oldest.
    pub(crate) async fn watch(&self, limit: Duration) -> Ended {
        let mut watched: Option<(u64, Instant)> = None;
        loop {
            let oldest = self
                .under_way
                .borrow()
                .first_key_value()
                .map(|(id, call)| (*id, call.sent));
            let Some((id, sent)) = oldest else {
                watched = None;
                self.begun.notified().await;
                continue;
            };
            let since = match watched {
                None => sent,
                Some((before, since)) if before == id => since,
                Some(_) => Instant::now(),
            };
            watched = Some((id, since));
            let latest = since.checked_add(limit).unwrap_or(since);
            if latest <= Instant::now() {
                return Ended::Hung;
            }
            tokio::time::sleep_until(latest).await;
        }
    }

    /// Kills the worker and sends it nothing more, also before its end is seen.
    pub(crate) fn condemn(&self) {
        self.closed.set(true);
        self.kill();
    }

    /// Gives up what is under way: nobody will answer it.
    pub(crate) fn abandon(&self) {
        self.closed.set(true);
        self.under_way.borrow_mut().clear();
    }

    /// Tells the worker that nothing more comes: it ends by itself then.
    pub(crate) fn finish(&self) {
        let _ = rustix::net::shutdown(&self.socket, rustix::net::Shutdown::Write);
    }

    /// Kills the worker: the end is then seen by [`Link::receive`].
    pub(crate) fn kill(&self) {
        if let Err(error) = process::kill(self.pidfd.as_fd(), Signal::KILL) {
            tracing::debug!(pid = self.pid, %error, "the worker could not be killed");
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.kill();
    }
}

fn encode(id: u64, work: &Work, packet: &mut Vec<u8>) {
    // The bytes of a `message::Call`, without moving the work into one.
    let mut encoder = minicbor::Encoder::new(packet);
    let encoded = encoder
        .array(2)
        .and_then(|e| e.u64(id))
        .and_then(|e| e.encode(work))
        .map(|_| ());
    match encoded {
        Ok(()) => {}
        Err(error) => unreachable!("writing to a Vec does not fail: {error}"),
    }
}
