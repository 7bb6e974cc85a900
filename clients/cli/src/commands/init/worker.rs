//! `keyward-worker`, which loads modules of others: this program never does.

mod card;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use keyward_protocol::SecretBytes;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::modules::Module;
use super::places::{Owner, program};
use crate::commands::device::as_member;
use crate::error::Error;
use crate::exit::Exit;

pub(in crate::commands) use card::{
    CardSecrets, ProbedCard, ProbedCards, ProbedReader, ReaderState, Replaced, Service,
};
#[cfg(test)]
pub(in crate::commands) use card::{ManagementKey, Reference};

/// How long a module may take: readers and network HSMs are slow to begin.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a TPM may take to make its storage root key: some need seconds for a key.
const PATIENCE_TO_MAKE: Duration = Duration::from_secs(60);
/// The most that is read of what a module says.
const LONGEST: u64 = 1024 * 1024;

/// What a module says of itself and its tokens.
#[derive(Debug, Deserialize)]
pub(in crate::commands) struct Probed {
    pub(in crate::commands) tokens: Vec<Found>,
}

/// What a TPM says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(in crate::commands) struct ProbedTpm {
    /// Which one it is; nothing as long as it has no storage root key.
    pub(in crate::commands) identity: Option<TpmIdentity>,
    /// Whether the dictionary attack lockout is in force.
    pub(in crate::commands) lockout: bool,
}

/// Which TPM it is.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(in crate::commands) struct TpmIdentity {
    pub(in crate::commands) manufacturer: String,
    pub(in crate::commands) model: String,
}

/// The document about a TPM.
#[derive(Debug, Deserialize)]
struct TpmDocument {
    tpm: ProbedTpm,
}

/// What a token says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(in crate::commands) struct Found {
    /// Why nothing else is known.
    pub(in crate::commands) problem: Option<String>,
    pub(in crate::commands) slot: u64,
    pub(in crate::commands) label: String,
    pub(in crate::commands) manufacturer: String,
    pub(in crate::commands) model: String,
    pub(in crate::commands) serial: String,
    pub(in crate::commands) initialised: bool,
    pub(in crate::commands) hardware: bool,
    pub(in crate::commands) pin_locked: bool,
    pub(in crate::commands) pin_initialised: bool,
    pub(in crate::commands) login_required: bool,
}

/// The program, and how it is started.
#[derive(Debug)]
pub(in crate::commands) struct Worker {
    program: PathBuf,
    best_effort: bool,
    /// The agent's user, so that the module is seen as the agent will see it.
    owner: Option<Owner>,
}

impl Worker {
    pub(in crate::commands) fn find(
        named: Option<PathBuf>,
        best_effort: bool,
        owner: Option<Owner>,
    ) -> Result<Self, Error> {
        let program = named.or_else(|| program("keyward-worker"));
        let program = program.ok_or_else(|| {
            let what = "keyward-worker is neither beside this program nor in ../libexec/keyward";
            Error::new(Exit::Fault, what).hint("make install")
        })?;
        Ok(Self {
            program,
            best_effort,
            owner,
        })
    }

    /// Asks a module for its tokens.
    pub(in crate::commands) fn probe(&self, module: &Module) -> Result<Probed, String> {
        self.run(self.command("probe", module, None), None, PATIENCE)
    }

    /// Asks a TPM what it is.
    pub(in crate::commands) fn probe_tpm(&self, tcti: &str) -> Result<ProbedTpm, String> {
        let command = self.tpm_command("probe", tcti, None);
        self.run::<TpmDocument>(command, None, PATIENCE)
            .map(|document| document.tpm)
    }

    /// Makes a token of a TPM in a folder that is there, with a PIN if there is one.
    pub(in crate::commands) fn init_tpm(
        &self,
        tcti: &str,
        folder: &Path,
        pin: Option<&SecretBytes>,
    ) -> Result<(), String> {
        let length = pin.map_or(0, SecretBytes::len).saturating_add(1);
        let mut line = zeroize::Zeroizing::new(Vec::with_capacity(length));
        line.extend_from_slice(pin.map_or(&[], |pin| pin.expose()));
        line.push(b'\n');
        let command = self.tpm_command("init-token", tcti, Some(folder));
        self.run::<serde_json::Value>(command, Some(&line), PATIENCE_TO_MAKE)
            .map(|_| ())
    }

    /// Whether a worker can seal itself here.
    pub(in crate::commands) fn probe_sandbox(&self) -> Result<(), String> {
        let mut command = Command::new(&self.program);
        command.args(["probe", "sandbox"]);
        let command = self.as_agent_starts_it(command, &BTreeMap::new(), self.owner);
        self.run::<serde_json::Value>(command, None, PATIENCE)
            .map(|_| ())
    }

    /// Makes a token of SoftHSM with these PINs.
    pub(in crate::commands) fn init_token(
        &self,
        module: &Module,
        label: &str,
        officer: &SecretBytes,
        user: &SecretBytes,
    ) -> Result<(), String> {
        let length = officer.len().saturating_add(user.len()).saturating_add(2);
        let mut lines = zeroize::Zeroizing::new(Vec::with_capacity(length));
        for pin in [officer, user] {
            lines.extend_from_slice(pin.expose());
            lines.push(b'\n');
        }
        let command = self.command("init-token", module, Some(label));
        self.run::<serde_json::Value>(command, Some(&lines), PATIENCE)
            .map(|_| ())
    }

    fn tpm_command(&self, mode: &str, tcti: &str, folder: Option<&Path>) -> Command {
        let mut command = Command::new(&self.program);
        command.args([mode, "tpm", tcti]).args(folder);
        if self.best_effort {
            command.arg("--best-effort");
        }
        let owner = self.owner.map(|owner| as_member(owner, tcti));
        // Its library writes what it thinks of each answer to stderr.
        let environment = [("TSS2_LOG".to_owned(), "all+NONE".to_owned())];
        self.as_agent_starts_it(command, &environment.into(), owner)
    }

    fn command(&self, mode: &str, module: &Module, label: Option<&str>) -> Command {
        let mut command = Command::new(&self.program);
        command.args([mode, "pkcs11"]).arg(&module.path).args(label);
        command.arg(format!("--sockets={}", module.sockets));
        let option = |name: &str, path: &Path| {
            let mut option = std::ffi::OsString::from(name);
            option.push(path);
            option
        };
        command.args(module.read.iter().map(|path| option("--read=", path)));
        command.args(module.write.iter().map(|path| option("--write=", path)));
        if self.best_effort {
            command.arg("--best-effort");
        }
        self.as_agent_starts_it(command, &module.environment, self.owner)
    }

    /// With the token's variables and no others.
    fn as_agent_starts_it(
        &self,
        mut command: Command,
        environment: &BTreeMap<String, String>,
        owner: Option<Owner>,
    ) -> Command {
        command.env_clear().envs(environment).current_dir("/");
        if let Some(Owner { uid, gid }) = owner {
            command.uid(uid).gid(gid);
        }
        command
    }

    /// The document that it prints, if it does in time.
    fn run<T: DeserializeOwned>(
        &self,
        mut command: Command,
        input: Option<&[u8]>,
        patience: Duration,
    ) -> Result<T, String> {
        let end = Instant::now().checked_add(patience);
        command
            .stdin(if input.is_some() {
                Stdio::piped()
            } else {
                Stdio::null()
            })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let child = command
            .spawn()
            .map_err(|e| format!("{}: {e}", self.program.display()))?;
        let mut child = Ended(child);
        if let (Some(mut stdin), Some(input)) = (child.0.stdin.take(), input) {
            // One that has ended already says why.
            let _ = stdin.write_all(input);
        }
        let out = child.0.stdout.take().map(read_beside);
        let err = child.0.stderr.take().map(read_beside);
        let said = |pipe: Option<mpsc::Receiver<String>>| {
            let left = end.map(|end| end.saturating_duration_since(Instant::now()));
            pipe.and_then(|pipe| pipe.recv_timeout(left.unwrap_or_default()).ok())
        };
        let slow = || format!("it did not answer within {} s", patience.as_secs());
        let out = said(out).ok_or_else(slow)?;
        if let Ok(result) = serde_json::from_str(out.trim()) {
            // A module that does not end after its answer is killed.
            return Ok(result);
        }
        let why = said(err).unwrap_or_default();
        let ended = child.0.wait().map_err(|e| e.to_string())?;
        Err(reason(&why, ended))
    }
}

/// A process that does not outlive its use.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Reads a pipe to its end.
fn read_beside(pipe: impl Read + Send + 'static) -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = pipe.take(LONGEST).read_to_end(&mut bytes);
        sender.send(String::from_utf8_lossy(&bytes).into_owned())
    });
    receiver
}

/// Why there is no document: the program's own words, or how it ended.
fn reason(stderr: &str, ended: ExitStatus) -> String {
    let mut lines = stderr.lines().rev();
    let own = lines.find_map(|line| line.strip_prefix("keyward-worker: error: "));
    match (own, ended.signal()) {
        (Some(why), _) => why.to_owned(),
        (None, Some(signal)) => format!("it crashed (signal {signal})"),
        (None, None) => format!("it ended without an answer ({ended})"),
    }
}
