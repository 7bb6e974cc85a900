//! `keyward.toml`: strict, so that a slip of the pen is an error with its place, never a default.

mod check;
mod error;
mod file;
mod group;
mod hint;
mod kind;
mod place;
#[cfg(test)]
mod tests;
mod uri;
mod value;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use keyward_backend::Tcti;
use keyward_backend::start::SocketKinds;
use keyward_sys::sandbox::Requirement;
use serde::Deserialize;
use tracing::level_filters::LevelFilter;

pub use error::{ConfigError, Mistake};
pub use place::Environment;

/// What `keywardd` was told.
#[derive(Clone, Debug)]
pub struct Config {
    /// The file that it was read from.
    pub path: PathBuf,
    /// Whom the agent serves.
    pub mode: Mode,
    /// Where the native socket is.
    pub socket: PathBuf,
    /// Where the registry and the log are.
    pub state: PathBuf,
    /// What to do where the kernel lacks a protection.
    pub sandbox: Requirement,
    /// How much is logged.
    pub log: LevelFilter,
    /// Who may use the agent of a system, before any rule is asked. Empty in user mode.
    pub allow: Vec<Allow>,
    /// What one client, or all, can take up.
    pub limits: Limits,
    /// The tokens, by name.
    pub tokens: BTreeMap<String, TokenConfig>,
}

/// Whom the agent serves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// The user who started it.
    #[default]
    User,
    /// Whoever `[policy] allow` lists.
    System,
}

/// One entry of `[policy] allow`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Allow {
    /// A user id.
    Uid(u32),
    /// A group id; group names are resolved when the file is read.
    Gid(u32),
    /// A system unit.
    Unit(String),
}

/// What one client, or all, can take up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections at a time.
    pub connections: usize,
    /// Connections of one user at a time.
    pub connections_per_user: usize,
    /// Requests of one connection under way.
    pub pipelined: usize,
    /// Requests that wait for one token.
    pub queue: usize,
    /// Requests of one caller that wait for one token.
    pub queue_per_caller: usize,
    /// The deadline of a request that names none.
    pub deadline: Duration,
    /// The longest deadline that a request can ask for.
    pub max_deadline: Duration,
    /// How long a connection may take to say hello.
    pub hello: Duration,
    /// How long a frame may take from its first byte to its last.
    pub frame: Duration,
}

/// One `[token.NAME]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenConfig {
    /// What drives it.
    pub kind: TokenKind,
    /// Where its PIN comes from.
    pub pin: PinSource,
    /// Whether the monitor keeps the PIN for a worker that has to be started again.
    pub remember_pin: bool,
    /// How many threads serve.
    pub threads: u32,
    /// For how long one thread polls for the next request before it blocks.
    pub spin: Duration,
    /// A call that takes longer is taken for hung, and its worker killed.
    pub timeout: Duration,
    /// The environment of the worker; it has no other.
    pub environment: BTreeMap<String, String>,
    /// Files and folders that the worker reads.
    pub read: Vec<PathBuf>,
    /// Files and folders that the worker changes.
    pub write: Vec<PathBuf>,
    /// Sockets that the worker may make.
    pub sockets: SocketKinds,
}

/// What drives a token.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TokenKind {
    /// A PKCS#11 module.
    Pkcs11 {
        /// The module's file.
        module: PathBuf,
        /// Which of its tokens: an RFC 7512 URI.
        uri: String,
    },
    /// A TPM 2.0.
    Tpm {
        /// The way to it.
        tcti: Tcti,
        /// The folder of its keys, in the state folder.
        keys: PathBuf,
    },
    /// A PIV card.
    Piv {
        /// Which card; `None`: the only one that is there.
        serial: Option<u32>,
        /// For how long the PIN is kept; `None`: until the card is pulled or locked.
        pin_timeout: Option<Duration>,
    },
}

impl TokenKind {
    /// The word for `kind =` and the worker's command line.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Pkcs11 { .. } => "pkcs11",
            Self::Tpm { .. } => "tpm",
            Self::Piv { .. } => "piv",
        }
    }
}

/// Where a PIN comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PinSource {
    /// A person gives it: `keyward unlock`.
    Ask,
    /// A file of mode 0600.
    File(PathBuf),
    /// A systemd credential.
    Credential {
        /// Its name.
        name: String,
        /// Its file below `$CREDENTIALS_DIRECTORY`.
        path: PathBuf,
    },
}

impl PinSource {
    /// The file to read the PIN from, unless a person gives it.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        match self {
            Self::Ask => None,
            Self::File(path) | Self::Credential { path, .. } => Some(path),
        }
    }
}

impl Config {
    /// Reads and checks a configuration file.
    ///
    /// # Errors
    /// Where and why it is wrong, and what to do.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        Self::load_in(path, &Environment::of_process())
    }

    /// Like [`Config::load`], with what is taken from environment variables given.
    ///
    /// # Errors
    /// Where and why it is wrong, and what to do.
    pub fn load_in(path: &Path, environment: &Environment) -> Result<Self, ConfigError> {
        let (text, origin) = place::read(path)?;
        let file = file::parse(&text).map_err(|mistake| mistake.locate(path, &text))?;
        origin.refuse_foreign(path, file.mode)?;
        check::check(path, file, environment).map_err(|mistake| mistake.locate(path, &text))
    }

    /// The file that is read when none is named: the user's if it exists, else the system's.
    #[must_use]
    pub fn default_path() -> PathBuf {
        Environment::of_process().config_path()
    }
}
