//! What a process gives up before it meets anything hostile: files and network through Landlock,
//! system calls through seccomp. Neither can be taken back.
//!
//! Landlock covers the calling thread and what that starts, so [`seal`] comes before any thread and
//! before any library of others is loaded. Loading libraries still works afterwards: Landlock's
//! right to execute guards `execve` only, which no sealed process has.

mod landlock;
mod seccomp;

use std::fmt;
use std::io;
use std::path::PathBuf;

/// What a process may still do after [`seal`].
#[derive(Debug, Clone)]
pub struct Sandbox {
    /// Files to read, and folders to list and read with all that is in them. A path that does not
    /// exist is left out (see [`Holds::skipped`]).
    pub read: Vec<PathBuf>,
    /// Files to read and write, and folders in which also to create, rename and remove. Each must
    /// exist. Devices can be listed one by one; none can be made, and none takes an `ioctl`.
    pub write: Vec<PathBuf>,
    /// Folders in which files can be removed, and nothing else done. A folder that does not exist is
    /// left out.
    pub remove: Vec<PathBuf>,
    /// Sockets that can be made.
    pub sockets: Sockets,
    /// Which of keyward's processes this is.
    pub role: Role,
}

/// Sockets that a sealed process can make. Those that it has, it keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sockets {
    /// None but connected pairs.
    None,
    /// Unix sockets, to any socket file that the user may write to.
    Unix,
    /// Unix sockets, TCP and UDP.
    UnixAndInet,
}

/// A process that is sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// `keywardd`: accepts clients and kills workers.
    Agent,
    /// `keyward-worker`: talks to its token over files or the sockets given to it.
    Worker,
}

/// What to do where the kernel lacks Landlock or seccomp.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Requirement {
    /// Refuse to go on.
    Enforce,
    /// Go on with what there is, and say what is missing.
    BestEffort,
}

/// What really holds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Holds {
    /// The version of Landlock that the kernel has.
    pub landlock_abi: Option<u32>,
    /// Files outside the lists cannot be opened.
    pub filesystem: bool,
    /// Landlock refuses TCP. False where the sandbox gives the network.
    pub network: bool,
    /// Landlock refuses abstract sockets of others, and to a worker also signals to others.
    pub scopes: bool,
    /// System calls are filtered.
    pub seccomp: bool,
    /// What does not hold and why, a sentence each, for people.
    pub missing: Vec<String>,
    /// Paths of [`Sandbox::read`] that did not exist, and so cannot be read even if made later.
    pub skipped: Vec<PathBuf>,
}

impl fmt::Display for Holds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.landlock_abi {
            Some(abi) => write!(f, "landlock {abi}")?,
            None => f.write_str("no landlock")?,
        }
        let parts = [
            (self.filesystem, "files"),
            (self.network, "tcp"),
            (self.scopes, "scopes"),
            (self.seccomp, "system calls"),
        ];
        for (_, name) in parts.iter().filter(|(holds, _)| *holds) {
            write!(f, ", {name}")?;
        }
        Ok(())
    }
}

/// Why a process could not be sealed. It must end then: it may be sealed in part.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// The kernel lacks what [`Requirement::Enforce`] asks for: use another kernel or best effort.
    #[error(
        "the kernel cannot confine this process: {reason}; keyward needs Linux 5.13 or newer with Landlock \
         (see /sys/kernel/security/lsm) and seccomp, or `sandbox = \"best-effort\"` in keyward.toml to run without"
    )]
    Unavailable {
        /// What is missing.
        reason: String,
    },
    /// A path of the lists cannot be given: correct the configuration.
    #[error("{} cannot be opened to the sandbox: {source}", path.display())]
    Path {
        /// The path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Called too late: a mistake in the program.
    #[error(
        "the sandbox was to be closed with {threads} threads running; it must be before the second"
    )]
    Threads {
        /// How many threads there are.
        threads: usize,
    },
    /// The kernel refused.
    #[error("the sandbox could not be closed: {action}: {reason}")]
    Refused {
        /// What was tried.
        action: &'static str,
        /// Why it failed.
        reason: String,
    },
}

/// Gives up everything that the sandbox does not list, for good.
///
/// To be called while the process has one thread and before it loads anything that others wrote.
/// What needs a program started, a mode or an owner changed by path, a device or a path outside the
/// lists comes before; standard error and all other open descriptors stay.
///
/// # Errors
/// See [`SandboxError`]; the process may be sealed in part and must end.
pub fn seal(sandbox: &Sandbox, requirement: Requirement) -> Result<Holds, SandboxError> {
    refuse_threads()?;
    let mut holds = Holds::default();
    landlock::restrict(sandbox, &mut holds)?;
    if !holds.filesystem && requirement == Requirement::Enforce {
        return Err(SandboxError::Unavailable {
            reason: holds.missing.join("; "),
        });
    }
    match seccomp::restrict(sandbox) {
        Ok(()) => holds.seccomp = true,
        Err(reason) if requirement == Requirement::Enforce => {
            return Err(SandboxError::Unavailable { reason });
        }
        Err(reason) => holds.missing.push(reason),
    }
    Ok(holds)
}

fn refuse_threads() -> Result<(), SandboxError> {
    let tasks = std::fs::read_dir("/proc/self/task").map_err(|source| SandboxError::Refused {
        action: "counting threads in /proc/self/task",
        reason: source.to_string(),
    })?;
    match tasks.count() {
        0 | 1 => Ok(()),
        threads => Err(SandboxError::Threads { threads }),
    }
}
