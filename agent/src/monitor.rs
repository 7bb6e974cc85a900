//! The monitor: the one process of keywardd that can start programs and look at others.
//!
//! The sealed agent can do neither. The monitor is the same binary, started before the agent seals
//! itself and before any thread. It blocks, has one thread, reads the configuration itself, and
//! parses no byte of a client: all that the agent can tell it is in [`message`]. It starts the
//! workers that the configuration names, and nothing else.

mod client;
mod hash;
mod identify;
pub mod message;
mod serve;
#[cfg(test)]
pub(crate) mod tests;
mod workers;

use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::config::Config;

pub use client::{Client, MonitorError, Worker};
pub use message::{FileId, Parent, Program};

/// The variables that the monitor keeps. Workers get none of them.
const KEPT: [&str; 11] = [
    "PATH",
    "LANG",
    "TZ",
    "HOME",
    "XDG_RUNTIME_DIR",
    "XDG_STATE_HOME",
    "XDG_CONFIG_HOME",
    "CREDENTIALS_DIRECTORY",
    "INVOCATION_ID",
    "RUST_BACKTRACE",
    "LLVM_PROFILE_FILE",
];

/// The monitor that was started, as the agent sees it: to be made a [`Client`] of.
#[derive(Debug)]
pub struct Link {
    socket: OwnedFd,
    child: Child,
}

impl Link {
    /// The monitor's pid.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

/// Starts the monitor: `keywardd monitor --config PATH`, with a packet socket as stdin.
///
/// To be called while the process has one thread and is not sealed. The monitor ends when the
/// agent's end of the socket closes, or when the thread that calls this ends.
///
/// # Errors
/// An error of the kernel.
pub fn spawn(config: &Path) -> io::Result<Link> {
    let (own, theirs) = keyward_sys::fd::seqpacket_pair()?;
    let kept = KEPT
        .iter()
        .filter_map(|name| Some((name, std::env::var_os(name)?)));
    let child = Command::new("/proc/self/exe")
        .arg0("keywardd")
        .args(["monitor", "--config"])
        .arg(config)
        .env_clear()
        .envs(kept)
        .stdin(Stdio::from(theirs))
        .stdout(Stdio::null())
        .process_group(0)
        .spawn()?;
    Ok(Link { socket: own, child })
}

/// Why the monitor ends.
#[derive(Debug)]
pub enum End {
    /// The agent ended: nothing is left to do.
    AgentGone,
    /// It cannot go on. The agent sees it end, and ends.
    Failed(String),
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AgentGone => f.write_str("keywardd has ended"),
            Self::Failed(why) => f.write_str(why),
        }
    }
}

/// Is the monitor, until the agent ends. The workers have ended when this returns.
#[must_use]
pub fn run(config: &Path) -> End {
    let failed = |what: &str, error: &dyn fmt::Display| End::Failed(format!("{what}: {error}"));
    let socket = match keyward_sys::fd::stdin_socket() {
        Ok(socket) => socket,
        Err(error) => return failed("keywardd monitor", &error),
    };
    // Whoever made the socket pair is the parent.
    let parent = keyward_sys::peer::of_without_pidfd(std::os::fd::AsFd::as_fd(&socket));
    let prepared = parent.and_then(|parent| {
        keyward_sys::process::harden()?;
        keyward_sys::process::die_with_parent(Some(parent.pid))
    });
    if let Err(error) = prepared {
        return failed("the monitor cannot prepare itself", &error);
    }
    let config = match Config::load(config) {
        Ok(config) => config,
        Err(error) => return failed("the monitor's configuration", &error),
    };
    match worker_program() {
        Ok(program) => serve::Monitor::new(socket, config, program).run(),
        Err(error) => failed("keyward-worker cannot be found", &error),
    }
}

/// `keyward-worker` beside this program, else in `../libexec/keyward`.
fn worker_program() -> io::Result<PathBuf> {
    let own = std::env::current_exe()?;
    let folder = own.parent().unwrap_or(Path::new("/"));
    let places = [
        folder.join("keyward-worker"),
        folder.join("../libexec/keyward/keyward-worker"),
    ];
    let found = places.iter().find(|path| path.is_file()).cloned();
    found.ok_or_else(|| {
        let [beside, libexec] = places;
        io::Error::new(
            io::ErrorKind::NotFound,
            format!(
                "neither {} nor {} is there; `make build` or `make install` puts it there",
                beside.display(),
                libexec.display()
            ),
        )
    })
}
