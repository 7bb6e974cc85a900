//! The workers: started from the configuration and nothing else, at most one for each token.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use keyward_backend::start::{Hardware, SandboxLists, Start};
use keyward_protocol::SecretBytes;
use keyward_sys::process::Signal;
use keyward_sys::sandbox::Requirement;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::{WaitId, WaitIdOptions, WaitIdStatus};

use super::message::{Outcome, encode_secret};
use crate::config::{Config, TokenConfig, TokenKind};

/// How long a killed worker may take to end: one that hangs in a driver cannot be waited for.
const DEATH_PATIENCE: Duration = Duration::from_secs(5);
/// The same where another is to take its place: nobody else is served while the monitor waits, and
/// the agent asks again.
const REPLACE_PATIENCE: Duration = Duration::from_millis(250);

/// What tpm2-tss thinks of each answer is not for the journal: the worker says what counts. What the
/// configuration says goes before it.
const TPM_LOG: (&str, &str) = ("TSS2_LOG", "all+NONE");

/// A worker that was started, as the agent gets it.
#[derive(Debug)]
pub(super) struct Started {
    pub(super) socket: OwnedFd,
    pub(super) pidfd: OwnedFd,
    pub(super) pid: u32,
}

/// The tokens of the configuration and the workers that live.
#[derive(Debug)]
pub(super) struct Workers {
    config: Config,
    program: PathBuf,
    live: HashMap<String, Live>,
    pins: HashMap<String, SecretBytes>,
}

#[derive(Debug)]
struct Live {
    pidfd: OwnedFd,
    pid: u32,
    /// Its end is our doing, and no news.
    killed: bool,
}

impl Workers {
    pub(super) fn new(config: Config, program: PathBuf) -> Self {
        Self {
            config,
            program,
            live: HashMap::new(),
            pins: HashMap::new(),
        }
    }

    /// The pidfds of the workers that live.
    pub(super) fn pidfds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.live.values().map(|worker| worker.pidfd.as_fd())
    }

    /// Starts the worker of a token, in the place of one that lives. `None`: no such token.
    pub(super) fn start(&mut self, token: &str) -> io::Result<Option<Started>> {
        let Some((name, config)) = self.config.tokens.get_key_value(token) else {
            return Ok(None);
        };
        if let Some(old) = self.live.get_mut(name) {
            old.kill();
            old.wait(name, REPLACE_PATIENCE)?;
            self.live.remove(name);
        }
        let (socket, theirs) = keyward_sys::fd::seqpacket_pair()?;
        // The first packet, before the agent has the socket.
        let start = encode_secret(&self.start_message(name, config)?);
        keyward_sys::fd::send_blocking(socket.as_fd(), start.expose())?;
        // Not waited for through std: its end shows on the pidfd.
        #[allow(clippy::zombie_processes)]
        let child = command(&self.program, name, config, theirs)
            .spawn()
            .map_err(|error| {
                io::Error::new(error.kind(), format!("{}: {error}", self.program.display()))
            })?;
        let pid = child.id();
        let pidfd = keyward_sys::process::pidfd_open(pid)?;
        let live = Live {
            pidfd: pidfd.try_clone()?,
            pid,
            killed: false,
        };
        self.live.insert(name.clone(), live);
        Ok(Some(Started { socket, pidfd, pid }))
    }

    /// Keeps a PIN, if the token's configuration wants it.
    pub(super) fn remember(&mut self, token: &str, pin: SecretBytes) -> Outcome {
        match self.config.tokens.get_key_value(token) {
            Some((name, config)) if config.remember_pin => {
                self.pins.insert(name.clone(), pin);
                Outcome::Done
            }
            Some(_) => Outcome::MayNotRemember,
            None => Outcome::UnknownToken,
        }
    }

    /// Forgets a PIN.
    pub(super) fn forget(&mut self, token: &str) -> Outcome {
        if !self.config.tokens.contains_key(token) {
            return Outcome::UnknownToken;
        }
        self.pins.remove(token);
        Outcome::Done
    }

    /// Takes leave of the workers that have ended.
    pub(super) fn reap(&mut self) {
        self.live.retain(|token, worker| !worker.has_ended(token));
    }

    /// Ends all workers.
    pub(super) fn kill_all(&mut self) {
        for worker in self.live.values_mut() {
            worker.kill();
        }
        for (token, mut worker) in self.live.drain() {
            if let Err(error) = worker.wait(&token, DEATH_PATIENCE) {
                eprintln!("keywardd monitor: the worker of {token}: {error}");
            }
        }
    }

    fn start_message(&self, name: &str, config: &TokenConfig) -> io::Result<Start> {
        let texts = |paths: &[PathBuf]| paths.iter().map(text).collect::<io::Result<_>>();
        let hardware = match &config.kind {
            TokenKind::Pkcs11 { module, uri } => Hardware::Pkcs11 {
                module: text(module)?,
                uri: uri.clone(),
            },
            TokenKind::Tpm { tcti, keys } => {
                own_folder(keys)?;
                Hardware::Tpm {
                    tcti: tcti.to_string(),
                    keys: text(keys)?,
                }
            }
            TokenKind::Piv {
                serial,
                pin_timeout,
            } => Hardware::Piv {
                serial: *serial,
                pin_seconds: pin_timeout.map(|timeout| timeout.as_secs()),
            },
        };
        let mut write: Vec<String> = texts(&config.write)?;
        if let TokenKind::Tpm { tcti, keys } = &config.kind {
            write.push(text(keys)?);
            write.extend(tcti.device().map(str::to_owned));
        }
        // The pin that was kept is copied: it is needed again when this worker has died as well.
        let kept = self.pins.get(name);
        Ok(Start {
            token: name.to_owned(),
            hardware,
            threads: config.threads,
            spin_us: u32::try_from(config.spin.as_micros()).unwrap_or(u32::MAX),
            sandbox: SandboxLists {
                read: texts(&config.read)?,
                write,
                sockets: config.sockets,
                enforce: self.config.sandbox == Requirement::Enforce,
            },
            pin_file: config.pin.file().map(text).transpose()?,
            remembered_pin: kept.map(|pin| SecretBytes::copy_from(pin.expose())),
        })
    }
}

fn command(program: &Path, name: &str, config: &TokenConfig, stdin: OwnedFd) -> Command {
    let mut command = Command::new(program);
    command
        .args([config.kind.name(), name])
        .env_clear()
        .envs(matches!(config.kind, TokenKind::Tpm { .. }).then_some(TPM_LOG))
        .envs(&config.environment)
        .current_dir("/")
        .stdin(Stdio::from(stdin))
        .stdout(Stdio::null())
        .process_group(0);
    command
}

/// Makes the folder of a token's keys, below the state folder, if it is not there.
fn own_folder(folder: &Path) -> io::Result<()> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", folder.display())))
}

fn text(path: impl AsRef<Path>) -> io::Result<String> {
    let path = path.as_ref();
    let text = path.to_str().map(str::to_owned);
    text.ok_or_else(|| {
        io::Error::new(
            io::ErrorKind::InvalidData,
            format!("{} is not UTF-8", path.display()),
        )
    })
}

impl Live {
    fn kill(&mut self) {
        self.killed = true;
        // It may have ended already; `wait` finds out.
        let _ = keyward_sys::process::kill(self.pidfd.as_fd(), Signal::KILL);
    }

    /// Waits for its end.
    fn wait(&mut self, token: &str, patience: Duration) -> io::Result<()> {
        let patience = Timespec::try_from(patience).map_err(io::Error::other)?;
        let mut polled = [PollFd::new(&self.pidfd, PollFlags::IN)];
        rustix::io::retry_on_intr(|| rustix::event::poll(&mut polled, Some(&patience)))?;
        if self.has_ended(token) {
            return Ok(());
        }
        Err(io::Error::new(
            io::ErrorKind::TimedOut,
            format!(
                "process {} was killed and does not end: its device or driver hangs",
                self.pid
            ),
        ))
    }

    /// Whether it has ended; if so the process is reaped.
    fn has_ended(&self, token: &str) -> bool {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
        match rustix::process::waitid(WaitId::PidFd(self.pidfd.as_fd()), options) {
            Ok(None) => false,
            Ok(Some(status)) => {
                self.report(token, &status);
                true
            }
            // Not our child any more.
            Err(_) => true,
        }
    }

    /// A worker that ends on its own is for people to know; the agent sees it on the pidfd.
    fn report(&self, token: &str, status: &WaitIdStatus) {
        let how = match (status.exit_status(), status.terminating_signal()) {
            (Some(0), _) => return,
            (Some(code), _) => format!("exit code {code}"),
            (None, Some(signal)) => format!("signal {signal}"),
            (None, None) => return,
        };
        if !self.killed {
            eprintln!(
                "keywardd monitor: the worker of {token} (process {}) ended: {how}",
                self.pid
            );
        }
    }
}
