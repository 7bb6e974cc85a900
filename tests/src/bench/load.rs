//! Clients that ask a daemon: each on a thread of its own and one thing at a time, or all on one thread and pipelined.

mod pipelined;

use std::{
    sync::Barrier,
    thread,
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;
use keyward_client::Client;

use super::{
    keys::Keys,
    process::settled_time,
    sample::{Cpu, Sample, histogram, micros_each, record, thread_time},
    work::Work,
};
use crate::Daemon;

/// How often each client asks before it counts.
const WARM_UP: u64 = 20;

/// Who asks, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Load {
    /// How many clients, with a connection each.
    pub(crate) clients: usize,
    /// How many requests of each are under way at a time. With one, each client blocks on a thread of its own, as
    /// programs do.
    pub(crate) window: usize,
}

/// What the clients saw.
struct Seen {
    latencies: Histogram<u64>,
    elapsed: Duration,
    /// The processor time of the clients.
    used: Duration,
    /// All answers, those before the measurement and after its end too.
    answers: u64,
}

impl Load {
    /// Clients that ask one thing at a time.
    pub(crate) const fn one_at_a_time(clients: usize) -> Self {
        Self { clients, window: 1 }
    }

    /// Clients that have many requests under way, together not more than the 256 that one caller may have waiting.
    pub(crate) const fn pipelined(clients: usize) -> Self {
        let window = match clients {
            1 => 64,
            2..=8 => 32,
            _ => 256 / clients,
        };
        Self { clients, window }
    }

    /// Asks for so long.
    pub(crate) fn run(self, daemon: &Measured, work: Work, duration: Duration) -> Sample {
        let (agent, worker) = daemon.times();
        let seen = if self.window == 1 {
            one_at_a_time(daemon, self.clients, work, duration)
        } else {
            pipelined::run(daemon, self, work, duration)
        };
        let (agent_after, worker_after) = daemon.times();
        let each = |time| micros_each(time, seen.answers);
        let cpu = Cpu {
            caller: each(seen.used),
            agent: each(agent_after.saturating_sub(agent)),
            worker: each(worker_after.saturating_sub(worker)),
        };
        Sample::new(&seen.latencies, seen.elapsed, cpu)
    }
}

impl std::fmt::Display for Load {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}x{}", self.clients, self.window)
    }
}

/// A daemon with its keys, and the processes whose time counts.
#[derive(Debug)]
pub(crate) struct Measured {
    /// The daemon.
    pub(crate) daemon: Daemon,
    /// Its keys.
    pub(crate) keys: Keys,
    agent: u32,
    worker: u32,
}

impl Measured {
    /// Makes keys in a token of a daemon.
    pub(crate) fn new(daemon: Daemon, token: &str) -> Self {
        Self {
            keys: Keys::create(&daemon, token),
            agent: daemon.pid(),
            worker: daemon.worker_pid(token),
            daemon,
        }
    }

    fn times(&self) -> (Duration, Duration) {
        (settled_time(self.agent), settled_time(self.worker))
    }
}

fn one_at_a_time(daemon: &Measured, clients: usize, work: Work, duration: Duration) -> Seen {
    let start = Barrier::new(clients);
    let mut all = Seen::new();
    thread::scope(|scope| {
        let threads: Vec<_> = (0..clients)
            .map(|_| {
                scope.spawn(|| ask(daemon.daemon.client(), &daemon.keys, work, duration, &start))
            })
            .collect();
        for thread in threads {
            all.add(&thread.join().expect("a client that is answered"));
        }
    });
    all
}

fn ask(mut client: Client, keys: &Keys, work: Work, duration: Duration, start: &Barrier) -> Seen {
    let mut call = || keys.call(&mut client, work).expect("the daemon answers");
    (0..WARM_UP).for_each(|_| call());
    start.wait();
    let mut seen = Seen::new();
    let used = thread_time();
    let begin = Instant::now();
    let mut last = begin;
    while last.duration_since(begin) < duration {
        call();
        let now = Instant::now();
        record(&mut seen.latencies, now.duration_since(last));
        last = now;
    }
    seen.elapsed = last.duration_since(begin);
    seen.used = thread_time().saturating_sub(used);
    seen.answers = seen.latencies.len() + WARM_UP;
    seen
}

impl Seen {
    fn new() -> Self {
        Self {
            latencies: histogram(),
            elapsed: Duration::ZERO,
            used: Duration::ZERO,
            answers: 0,
        }
    }

    fn add(&mut self, other: &Self) {
        let added = self.latencies.add(&other.latencies);
        added.expect("histograms of the same bounds");
        self.elapsed = self.elapsed.max(other.elapsed);
        self.used += other.used;
        self.answers += other.answers;
    }
}
