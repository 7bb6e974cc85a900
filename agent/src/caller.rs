//! Who asks: facts from the kernel, taken when a connection is accepted.
//!
//! Uid, gid, groups, pid, unit and label hold. What the monitor adds (executable, hash, parents) is
//! as old as [`Facts::taken`] and stops mistakes, not an attacker of the same uid.

pub mod descent;
pub(crate) mod procfs;
pub mod stat;
#[cfg(test)]
mod tests;
pub mod unit;

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use keyward_protocol::event::EventCaller;
use keyward_sys::peer::{self, PeerCredentials};

use crate::audit::{CallerFacts, CallerJson};
use crate::monitor::{Client, MonitorError, Program};
use unit::UnitPath;

/// The peer of a connection.
#[derive(Debug)]
pub struct Caller {
    /// Effective user id at `connect`.
    pub uid: u32,
    /// Effective group id at `connect`.
    pub gid: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
    /// Process id; 0 if the process cannot be seen from here.
    pub pid: u32,
    /// When the process started, in clock ticks since boot. Absent if it cannot be seen.
    pub start_time: Option<u64>,
    /// The process itself. Absent before Linux 6.5.
    pub pidfd: Option<OwnedFd>,
    /// The system's unit and, as a hint, the user's.
    pub unit: UnitPath,
    /// What SELinux, AppArmor or Smack calls it.
    pub label: Option<String>,
    /// The front end that it came in by.
    pub front: &'static str,
    known: Mutex<Known>,
    /// Held while the monitor is asked: one question at a time for each caller.
    asking: tokio::sync::Mutex<()>,
}

/// What is known of the caller's program.
#[derive(Clone, Debug)]
pub struct Facts {
    /// What the monitor found.
    pub program: Arc<Program>,
    /// When.
    pub taken: Instant,
}

#[derive(Debug)]
struct Known {
    facts: Option<Facts>,
    audit: Arc<CallerJson>,
}

/// How the process behind a connection is held on to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HoldBy {
    /// By pidfd where the kernel has it.
    #[default]
    Pidfd,
    /// By pid and start time, as on a kernel without `SO_PEERPIDFD`.
    StartTime,
}

/// Why a caller cannot be served any more. The connection is closed.
#[derive(Debug, thiserror::Error)]
pub enum CallerError {
    /// The process that connected has ended, or its pid is another's now.
    #[error("the process that connected has ended")]
    Gone,
    /// The process runs another program than before.
    #[error("the process that connected has become another program ({was} before, {is} now)")]
    Changed {
        /// The program before.
        was: String,
        /// The program now.
        is: String,
    },
    /// The monitor does not answer.
    #[error("the program of the caller cannot be told: {0}")]
    Monitor(MonitorError),
    /// The kernel does not answer.
    #[error("the caller cannot be told: {0}")]
    Kernel(#[from] io::Error),
}

/// Whom keywardd itself must not serve: its own workers and what they start.
#[derive(Clone, Debug)]
pub struct Own {
    monitor: u32,
    unit: UnitPath,
}

impl Own {
    /// The processes of this agent. Its unit counts only if keywardd is the unit's main process: one
    /// that was started in a terminal shares its scope with everything else there.
    #[must_use]
    pub fn new(monitor_pid: u32) -> Self {
        let own = std::process::id();
        let main = std::env::var("SYSTEMD_EXEC_PID").is_ok_and(|pid| pid == own.to_string());
        Self::of(
            monitor_pid,
            if main {
                unit_of(own)
            } else {
                UnitPath::default()
            },
        )
    }

    fn of(monitor: u32, unit: UnitPath) -> Self {
        Self { monitor, unit }
    }
}

impl Caller {
    /// Reads who is at the other end of an accepted Unix socket.
    ///
    /// # Errors
    /// [`CallerError::Gone`] if nobody is there any more.
    pub fn accept(
        socket: BorrowedFd<'_>,
        front: &'static str,
        hold_by: HoldBy,
    ) -> Result<Self, CallerError> {
        let credentials = match hold_by {
            HoldBy::Pidfd => peer::of(socket),
            HoldBy::StartTime => peer::of_without_pidfd(socket),
        };
        let credentials = credentials.map_err(|error| match error.raw_os_error() {
            Some(code) if code == rustix::io::Errno::SRCH.raw_os_error() => CallerError::Gone,
            _ => CallerError::Kernel(error),
        })?;
        Self::of(credentials, front)
    }

    fn of(credentials: PeerCredentials, front: &'static str) -> Result<Self, CallerError> {
        let pid = credentials.pid;
        let start_time = start_time(pid)?;
        let unit = unit_of(pid);
        let caller = Self {
            uid: credentials.uid,
            gid: credentials.gid,
            groups: credentials.groups,
            pid,
            start_time,
            pidfd: credentials.pidfd,
            unit,
            label: credentials.security_label,
            front,
            known: Mutex::new(Known {
                facts: None,
                audit: Arc::default(),
            }),
            asking: tokio::sync::Mutex::new(()),
        };
        // What was read by pid belongs to the peer only if it has the pid still.
        caller.check_lives()?;
        caller.known().audit = caller.write_audit(None);
        Ok(caller)
    }

    /// Checks that the process that connected is still there.
    ///
    /// # Errors
    /// [`CallerError::Gone`] if it has ended.
    pub fn check_lives(&self) -> Result<(), CallerError> {
        let lives = match &self.pidfd {
            Some(pidfd) => !descent::has_ended(pidfd.as_fd())?,
            // It lives in another PID namespace: there is nothing to hold it by, nor a pid to mistake.
            None if self.pid == 0 => true,
            None => self.start_time.is_some() && start_time(self.pid)? == self.start_time,
        };
        lives.then_some(()).ok_or(CallerError::Gone)
    }

    /// Has the monitor say what program the caller runs, unless that is known and not older than
    /// `max_age`.
    ///
    /// # Errors
    /// The connection is to be closed: see [`CallerError`].
    pub async fn refresh_program(
        &self,
        monitor: &Client,
        max_age: Duration,
    ) -> Result<(), CallerError> {
        if self
            .facts()
            .is_some_and(|facts| facts.taken.elapsed() <= max_age)
        {
            return self.check_lives();
        }
        let asked = Instant::now();
        let _one_at_a_time = self.asking.lock().await;
        // While this waited, another request of the same caller may have asked.
        if self.facts().is_some_and(|facts| facts.taken >= asked) {
            return self.check_lives();
        }
        // Before it is asked for: the answer is at least as new.
        let taken = Instant::now();
        if self.pid == 0 || self.start_time.is_none() {
            // Nothing to be seen of it; no rule that asks for a program matches.
            return self.check_lives();
        }
        let pidfd = self.pidfd.as_ref().map(AsFd::as_fd);
        let program = match monitor.identify(self.pid, pidfd).await {
            Ok(program) => program,
            Err(MonitorError::ProcessGone) => return Err(CallerError::Gone),
            Err(error) => return Err(CallerError::Monitor(error)),
        };
        if Some(program.start_time) != self.start_time {
            return Err(CallerError::Gone);
        }
        self.note(program, taken)
    }

    /// What is known of the program.
    #[must_use]
    pub fn facts(&self) -> Option<Facts> {
        self.known().facts.clone()
    }

    /// The caller as it stands in an audit record: uid, gid, pid, unit, exe, exe_sha256, front;
    /// what is not known is left out.
    #[must_use]
    pub fn audit_json(&self) -> Arc<CallerJson> {
        Arc::clone(&self.known().audit)
    }

    /// Why this caller is refused whatever the policy says, if it is.
    #[must_use]
    pub fn refuse_reason(&self, own: &Own) -> Option<String> {
        if descent::is_or_descends_from(self.pid, own.monitor) {
            return Some(format!(
                "process {} was started by keywardd itself: a worker may not use keys",
                self.pid
            ));
        }
        if own.unit.is_same_unit(&self.unit) {
            return Some(format!(
                "process {} runs in the unit of keywardd itself",
                self.pid
            ));
        }
        None
    }

    fn note(&self, program: Program, taken: Instant) -> Result<(), CallerError> {
        let mut known = self.known();
        if let Some(before) = &known.facts
            && !is_same_program(&before.program, &program)
        {
            return Err(CallerError::Changed {
                was: name_of(&before.program),
                is: name_of(&program),
            });
        }
        let same = known
            .facts
            .as_ref()
            .is_some_and(|before| before.program.exe == program.exe);
        if !same {
            known.audit = self.write_audit(Some(&program));
        }
        known.facts = Some(Facts {
            program: Arc::new(program),
            taken,
        });
        Ok(())
    }

    fn write_audit(&self, program: Option<&Program>) -> Arc<CallerJson> {
        let facts = CallerFacts {
            uid: self.uid,
            gid: self.gid,
            pid: Some(self.pid).filter(|pid| *pid != 0),
            unit: self.unit.unit.as_deref(),
            exe: program.and_then(|program| program.exe.as_deref()),
            exe_sha256: program.and_then(|program| program.sha256.as_ref().map(|hash| &hash[..])),
            front: self.front,
        };
        match CallerJson::new(&facts) {
            Ok(json) => Arc::new(json),
            Err(error) => unreachable!("numbers and strings are JSON: {error}"),
        }
    }

    /// What a person is told of it, whose touch it waits for.
    pub(crate) fn for_people(&self) -> EventCaller {
        EventCaller {
            uid: self.uid,
            pid: Some(self.pid).filter(|pid| *pid != 0),
            unit: self.unit.unit.clone(),
            program: self.facts().and_then(|facts| facts.program.exe.clone()),
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the kernel has `SO_PEERPIDFD`, so that no recycled pid can stand for a caller.
#[must_use]
pub fn has_peer_pidfd() -> bool {
    keyward_sys::fd::seqpacket_pair()
        .and_then(|(socket, _other)| peer::of(socket.as_fd()))
        .is_ok_and(|credentials| credentials.pidfd.is_some())
}

/// The same file with the same content; a name can change, as when a package is upgraded.
fn is_same_program(before: &Program, now: &Program) -> bool {
    before.file == now.file
        && before.sha256 == now.sha256
        && (before.file.is_some() || before.exe == now.exe)
}

fn name_of(program: &Program) -> String {
    program
        .exe
        .clone()
        .unwrap_or_else(|| "one that cannot be read".to_owned())
}

/// `None`: there is no such process, or it cannot be seen.
fn start_time(pid: u32) -> io::Result<Option<u64>> {
    match stat::of(pid) {
        Ok(stat) => Ok(Some(stat.start_time)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn unit_of(pid: u32) -> UnitPath {
    procfs::read(pid, "cgroup")
        .map(|text| unit::parse(&text))
        .unwrap_or_default()
}
