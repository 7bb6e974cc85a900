//! The monitor's loop: requests of the agent, and workers that end.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use keyward_protocol::SecretBytes;
use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;

use super::End;
use super::hash::Hashes;
use super::identify;
use super::message::{MAX_REQUEST, Outcome, Reply, Request, Task};
use super::workers::{Started, Workers};
use crate::config::Config;

/// The monitor's state.
pub(super) struct Monitor {
    socket: OwnedFd,
    workers: Workers,
    hashes: Hashes,
}

/// An answer, and the descriptors that go with it.
type Answer = (Outcome, Vec<OwnedFd>);

impl Monitor {
    pub(super) fn new(socket: OwnedFd, config: Config, worker_program: PathBuf) -> Self {
        Self {
            socket,
            workers: Workers::new(config, worker_program),
            hashes: Hashes::default(),
        }
    }

    /// Serves until the agent ends or says what makes no sense.
    pub(super) fn run(mut self) -> End {
        let end = loop {
            if let Err(end) = self.turn() {
                break end;
            }
        };
        self.workers.kill_all();
        end
    }

    /// Waits for something to happen and deals with it.
    fn turn(&mut self) -> Result<(), End> {
        let asked = {
            let mut polled = vec![PollFd::new(&self.socket, PollFlags::IN)];
            polled.extend(
                self.workers
                    .pidfds()
                    .map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)),
            );
            match rustix::event::poll(&mut polled, None) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(End::Failed(format!("poll: {error}"))),
            }
            polled
                .first()
                .is_some_and(|socket| !socket.revents().is_empty())
        };
        self.workers.reap();
        if asked { self.serve_one() } else { Ok(()) }
    }

    fn serve_one(&mut self) -> Result<(), End> {
        // Wiped when dropped: it may hold a PIN.
        let mut buffer = SecretBytes::zeroed(MAX_REQUEST);
        let (length, fds) =
            match keyward_sys::fd::receive_packet(self.socket.as_fd(), buffer.expose_mut()) {
                Ok((0, _)) => return Err(End::AgentGone),
                Ok(received) => received,
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {
                    return Err(End::AgentGone);
                }
                Err(error) => return Err(End::Failed(format!("a request of the agent: {error}"))),
            };
        buffer.truncate(length);
        let request = Request::decode(buffer.expose())
            .map_err(|error| End::Failed(format!("a request of the agent: {error}")))?;
        drop(buffer);
        let id = request.id;
        let (outcome, fds) = self.answer(request.task, &fds)?;
        let fds: Vec<BorrowedFd<'_>> = fds.iter().map(AsFd::as_fd).collect();
        let packet = Reply { id, outcome }.encode();
        keyward_sys::fd::send_packet(self.socket.as_fd(), &packet, &fds).map_err(
            |error| match error.kind() {
                io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => End::AgentGone,
                _ => End::Failed(format!("the agent cannot be answered: {error}")),
            },
        )
    }

    fn answer(&mut self, task: Task, fds: &[OwnedFd]) -> Result<Answer, End> {
        let outcome = match (task, fds) {
            (Task::StartWorker { token }, []) => return Ok(self.start_worker(&token)),
            (Task::Identify { pid }, [] | [_]) => {
                identify::identify(pid, fds.first().map(AsFd::as_fd), &mut self.hashes)
            }
            (Task::Remember { token, pin }, []) => self.workers.remember(&token, pin),
            (Task::Forget { token }, []) => self.workers.forget(&token),
            _ => {
                return Err(End::Failed(
                    "a request of the agent has descriptors that it should not have".to_owned(),
                ));
            }
        };
        Ok((outcome, Vec::new()))
    }

    fn start_worker(&mut self, token: &str) -> Answer {
        match self.workers.start(token) {
            Ok(Some(Started { socket, pidfd, pid })) => {
                (Outcome::Worker { pid }, vec![socket, pidfd])
            }
            Ok(None) => (Outcome::UnknownToken, Vec::new()),
            Err(error) => {
                let what = format!("the worker of {token} cannot be started: {error}");
                (Outcome::failed(what), Vec::new())
            }
        }
    }
}
