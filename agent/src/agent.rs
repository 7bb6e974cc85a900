//! Everything that the agent has, put together once and shared by all connections.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use keyward_protocol::backup::FileCopy;
use keyward_protocol::operation::Holding;
use keyward_protocol::{ErrorCode, Failure};
use tokio::sync::Notify;
use uuid::Uuid;

use crate::audit::{Audit, Denials, OpenIntent};
use crate::caller::Own;
use crate::config::{Config, Mode};
use crate::events::Events;
use crate::limit::FailureLimit;
use crate::monitor;
use crate::policy::Policy;
use crate::registry::Registry;
use crate::request::Copies;
use crate::verify::Verifier;
use crate::worker::Token;

/// The agent's software and version, as it names itself.
pub const SOFTWARE: &str = concat!("keywardd/", env!("CARGO_PKG_VERSION"));

/// What the agent has.
pub struct Agent {
    /// What it was told.
    pub config: Config,
    /// Who may do what.
    pub policy: Rc<Policy>,
    /// Who is told what happens.
    pub events: Rc<Events>,
    /// The keys.
    pub registry: RefCell<Registry>,
    /// The log.
    pub audit: Rc<Audit>,
    /// The tokens of the configuration.
    pub tokens: BTreeMap<String, Rc<Token>>,
    /// The way to the monitor.
    pub monitor: Rc<monitor::Client>,
    /// What the agent is itself, to refuse its own children.
    pub own: Own,
    /// Public keys that were parsed.
    pub verifier: Verifier,
    /// How often each caller was denied.
    pub denials: RefCell<Denials>,
    /// How often each caller may fail to unwrap.
    pub unwrap_failures: FailureLimit,
    /// Why management is refused, if it is.
    pub management_refused: RefCell<Option<String>>,
    /// Tokens that a person has accepted: whatever is found in their place is enrolled anew.
    pub accepting: RefCell<BTreeSet<String>>,
    /// Keys whose versions or places are being changed.
    pub changing: RefCell<BTreeSet<Uuid>>,
    /// Keys that requests destroy just now.
    pub destroying: RefCell<BTreeSet<Uuid>>,
    /// Intents whose outcome is not known yet.
    pub open_intents: RefCell<Vec<OpenIntent>>,
    /// What holds the agent itself.
    pub protections: Vec<Holding>,
    /// When it started, in seconds since 1970.
    pub started: u64,
    /// Configuration and policy as they were read at start, for backups.
    pub files: Vec<FileCopy>,
    /// Backups and restorations that are under way.
    pub copies: Copies,
    /// Whether there is a token that may wait for a person's touch.
    pub touches: bool,
    /// How many connections are open.
    pub connections: Cell<usize>,
    /// How many management requests are under way.
    pub managing: Cell<usize>,
    /// One of them has ended.
    pub managed: Notify,
}

impl Agent {
    /// `user` or `system`.
    pub fn mode(&self) -> &'static str {
        match self.config.mode {
            Mode::User => "user",
            Mode::System => "system",
        }
    }

    /// How a command names one of several tokens.
    fn naming_one(&self) -> String {
        let options: Vec<_> = (self.tokens.keys())
            .map(|name| format!("--token {name}"))
            .collect();
        options.join("  or  ")
    }

    /// The token of a name, or the only one.
    pub fn token(&self, name: Option<&str>) -> Result<&Rc<Token>, Failure> {
        let names = || {
            let names: Vec<_> = self.tokens.keys().map(String::as_str).collect();
            names.join(", ")
        };
        match name {
            Some(name) => self.tokens.get(name).ok_or_else(|| {
                Failure::new(
                    ErrorCode::NotFound,
                    format!(
                        "there is no token {name} in the configuration (there is: {})",
                        names()
                    ),
                )
                .hint("keyward token list")
            }),
            None => {
                let mut tokens = self.tokens.values();
                match (tokens.next(), tokens.next()) {
                    (Some(only), None) => Ok(only),
                    (None, _) => Err(Failure::new(
                        ErrorCode::NotFound,
                        "the configuration has no token",
                    )
                    .hint("add a [token.NAME] section to keyward.toml")),
                    _ => Err(Failure::new(
                        ErrorCode::Invalid,
                        format!("there are several tokens: {}", names()),
                    )
                    .hint(self.naming_one())),
                }
            }
        }
    }
}

/// Seconds since 1970 (UTC).
pub fn now() -> u64 {
    u64::try_from(jiff::Timestamp::now().as_second()).unwrap_or(0)
}
