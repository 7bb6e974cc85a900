//! Many requests under way on each of several connections, all driven by one thread that waits for none of them.

use std::{
    io::{self, Read, Write},
    os::{fd::AsFd, unix::net::UnixStream},
    time::{Duration, Instant},
};

use keyward_client::connection::{Connection, Event};
use rustix::event::{PollFd, PollFlags, poll};

use super::{Load, Measured, Seen};
use crate::bench::{
    keys::Keys,
    sample::{record, thread_time},
    work::Work,
};

/// How much is read at once.
const READ: usize = 64 * 1024;
/// How long it runs before it counts.
const WARM_UP: Duration = Duration::from_millis(50);

pub(super) fn run(daemon: &Measured, load: Load, work: Work, duration: Duration) -> Seen {
    let mut lanes: Vec<Lane> = (0..load.clients).map(|_| Lane::connect(daemon)).collect();
    let mut seen = Seen::new();
    let used = thread_time();
    let clock = Clock::start(duration);
    for lane in &mut lanes {
        (0..load.window).for_each(|_| lane.ask(&daemon.keys, work));
        lane.send();
    }
    while lanes.iter().any(Lane::waits) {
        for lane in ready(&mut lanes) {
            let now = Instant::now();
            let answers = lane.receive(|asked| {
                if clock.counts(now) {
                    record(&mut seen.latencies, now.duration_since(asked));
                }
            });
            seen.answers += answers;
            if now < clock.end {
                (0..answers).for_each(|_| lane.ask(&daemon.keys, work));
            }
            lane.send();
        }
    }
    seen.elapsed = duration;
    seen.used = thread_time().saturating_sub(used);
    seen
}

/// When answers count.
struct Clock {
    begin: Instant,
    end: Instant,
}

impl Clock {
    fn start(duration: Duration) -> Self {
        let begin = Instant::now() + WARM_UP;
        Self {
            begin,
            end: begin + duration,
        }
    }

    fn counts(&self, now: Instant) -> bool {
        (self.begin..self.end).contains(&now)
    }
}

/// Waits until some have something to read, or can send what they could not; these.
fn ready(lanes: &mut [Lane]) -> impl Iterator<Item = &mut Lane> {
    let ready: Vec<bool> = {
        let mut fds: Vec<PollFd<'_>> = lanes.iter().map(Lane::poll_fd).collect();
        poll(&mut fds, None).expect("poll");
        fds.iter().map(|fd| !fd.revents().is_empty()).collect()
    };
    lanes
        .iter_mut()
        .zip(ready)
        .filter_map(|(lane, ready)| ready.then_some(lane))
}

/// A connection, and when each request on it was made.
struct Lane {
    stream: UnixStream,
    connection: Connection,
    /// In the order of the ids, which are counted up.
    asked: Vec<Instant>,
    first_id: Option<u64>,
}

impl Lane {
    fn connect(daemon: &Measured) -> Self {
        let stream = UnixStream::connect(daemon.daemon.socket()).expect("the daemon serves");
        stream.set_nonblocking(true).expect("a socket");
        let mut lane = Self {
            stream,
            connection: Connection::new("keyward-bench"),
            asked: Vec::new(),
            first_id: None,
        };
        lane.send();
        while !lane.connection.is_welcomed() {
            poll(&mut [lane.poll_fd()], None).expect("poll");
            lane.receive(|_| {});
        }
        lane
    }

    fn poll_fd(&self) -> PollFd<'_> {
        let mut flags = PollFlags::IN;
        flags.set(PollFlags::OUT, !self.connection.outgoing().is_empty());
        PollFd::from_borrowed_fd(self.stream.as_fd(), flags)
    }

    fn waits(&self) -> bool {
        self.connection.in_flight() > 0
    }

    fn ask(&mut self, keys: &Keys, work: Work) {
        let id = self.connection.call(keys.request(work), None);
        self.first_id.get_or_insert(id.expect("a small request"));
        self.asked.push(Instant::now());
    }

    /// Sends what there is room for.
    fn send(&mut self) {
        while !self.connection.outgoing().is_empty() {
            match self.stream.write(self.connection.outgoing()) {
                Ok(count) => self.connection.sent(count),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) => panic!("the daemon hung up: {error}"),
            }
        }
    }

    /// Reads what has come; shows when each answered request was made, and counts them.
    fn receive(&mut self, mut answered: impl FnMut(Instant)) -> u64 {
        let space = self.connection.space(READ);
        let length = space.len();
        space.resize(length + READ, 0);
        let read = self
            .stream
            .read(space.get_mut(length..).expect("just made"));
        let count = match read {
            Ok(0) => panic!("the daemon hung up"),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            Err(error) => panic!("the daemon hung up: {error}"),
        };
        space.truncate(length + count);
        let mut answers = 0;
        while let Some(event) = self
            .connection
            .next_event()
            .expect("the daemon keeps to the protocol")
        {
            match event {
                Event::Reply { id, .. } => {
                    let place = self
                        .first_id
                        .and_then(|first| usize::try_from(id - first).ok());
                    let asked = place.and_then(|place| self.asked.get(place));
                    answered(*asked.expect("an id that was given"));
                    answers += 1;
                }
                Event::Failure { failure, .. } => panic!("the daemon refused: {failure:?}"),
                _ => {}
            }
        }
        answers
    }
}
