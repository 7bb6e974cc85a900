//! The life of one worker process, as the agent sees it.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::time::Duration;

use keyward_backend::BackendError;
use keyward_backend::message::{Answer, Expected, MAX_PACKET, Outcome, UNASKED, Work};
use keyward_protocol::Failure;
use keyward_sys::{fd, process};
use rustix::process::Signal;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;
use zeroize::Zeroize;

use super::reply;
use crate::events::About;
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
    /// What a person is told, if one has to touch the token for it.
    about: Option<Rc<About>>,
    /// The token waits for a touch.
    touch: bool,
}

/// Who hears what a worker says.
pub(crate) trait Hears {
    /// A call failed, also where nobody waits for it any more.
    fn failed(&self, error: &BackendError);
    /// There may be room for more calls.
    fn more(&self);
    /// The token is not as it was when it was looked at.
    fn changed(&self);
    /// The token waits for a touch, or does no more.
    fn touch(&self, needed: bool, about: &About);
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
    pub(crate) fn send(
        &self,
        work: &Work,
        expected: Option<&Expected>,
        about: Option<Rc<About>>,
        reply: Reply,
    ) -> Result<(), (SendError, Reply)> {
        if self.closed.get() {
            return Err((SendError::Broken, reply));
        }
        let id = self.next_id.get();
        let mut packet = self.packet.borrow_mut();
        encode(id, work, expected, &mut packet);
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
        let call = UnderWay {
            sent,
            reply,
            about,
            touch: false,
        };
        under_way.insert(id, call);
        Ok(())
    }

    /// Sends a call past the queue: for what the agent itself asks of a worker.
    pub(crate) async fn ask(&self, work: &Work) -> Result<Outcome, Lost> {
        let (reply, answer) = oneshot::channel();
        self.send(work, None, None, reply)
            .map_err(|_| Lost::NotSent)?;
        match answer.await {
            Ok(Ok(outcome)) => Ok(outcome),
            _ => Err(Lost::NoAnswer),
        }
    }

    /// Hands out answers until the worker's life ends.
    pub(crate) async fn receive(&self, hears: &impl Hears) -> Ended {
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
                match outcome {
                    Outcome::Changed if id == UNASKED => {
                        hears.changed();
                        continue;
                    }
                    Outcome::Changed => return Ended::Misbehaved("a notice as an answer"),
                    Outcome::TouchNeeded => match self.begin_touch(id) {
                        Some(about) => {
                            if let Some(about) = about {
                                hears.touch(true, &about);
                            }
                            continue;
                        }
                        None => return Ended::Misbehaved("word of a touch that nobody waits for"),
                    },
                    _ => {}
                }
                let Some(call) = self.under_way.borrow_mut().remove(&id) else {
                    return Ended::Misbehaved("an answer that nobody waits for");
                };
                call.end_touch(hears);
                let failed = match &outcome {
                    Outcome::Failed(error) => {
                        hears.failed(error);
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
            hears.more();
        }
    }

    /// Notes that a call waits for a touch; `None` for one that is not under way or waits already.
    fn begin_touch(&self, id: u64) -> Option<Option<Rc<About>>> {
        let mut under_way = self.under_way.borrow_mut();
        let call = under_way.get_mut(&id).filter(|call| !call.touch)?;
        call.touch = true;
        Some(call.about.clone())
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
    pub(crate) fn abandon(&self, hears: &impl Hears) {
        self.closed.set(true);
        for call in self.under_way.take().into_values() {
            call.end_touch(hears);
        }
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

impl UnderWay {
    fn end_touch(&self, hears: &impl Hears) {
        if let Some(about) = self.about.as_deref().filter(|_| self.touch) {
            hears.touch(false, about);
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.kill();
    }
}

fn encode(id: u64, work: &Work, expected: Option<&Expected>, packet: &mut Vec<u8>) {
    // The bytes of a `message::Call`, without moving the work into one.
    let mut encoder = minicbor::Encoder::new(packet);
    let encoded = encoder
        .array(if expected.is_some() { 3 } else { 2 })
        .and_then(|e| e.u64(id))
        .and_then(|e| e.encode(work))
        .and_then(|e| match expected {
            Some(expected) => e.encode(expected),
            None => Ok(e),
        })
        .map(|_| ());
    match encoded {
        Ok(()) => {}
        Err(error) => unreachable!("writing to a Vec does not fail: {error}"),
    }
}

#[cfg(test)]
mod tests;
