//! Puts the agent together, in the one order that is safe: everything that needs the system's
//! favour first, then the seal, then threads and clients.

use std::cell::{Cell, RefCell};
use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use keyward_protocol::backup::FileCopy;
use keyward_protocol::operation::Holding;
use keyward_sys::sandbox::{Holds, Role, Sandbox, Sockets, seal};
use keyward_sys::{fd, process};
use tokio::task::LocalSet;

use crate::agent::{Agent, now};
use crate::audit::{Audit, AuditError, Found, sync_periodically};
use crate::caller::{self, Own};
use crate::config::{Config, Mode, TokenConfig, TokenKind};
use crate::events::Events;
use crate::front::native::{Listeners, SocketError};
use crate::monitor;
use crate::notify::Notifier;
use crate::policy::Policy;
use crate::registry::{MarkCheck, Registry, RegistryError, check_mark};
use crate::request::{Copies, Enroller};
use crate::server::{self, End};
use crate::worker::{Settings, Token, supervisor};

/// Why the agent does not start, or has to end.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// It can't listen.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// The log can't be opened.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// The registry can't be opened.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// It can't be sealed.
    #[error("the agent can't be sealed: {0}")]
    Sandbox(#[from] keyward_sys::sandbox::SandboxError),
    /// The state folder is open to others.
    #[error("{path} belongs to uid {owner} with mode {mode:o}; it must be yours alone")]
    Exposed {
        /// The folder.
        path: PathBuf,
        /// Who owns it.
        owner: u32,
        /// Its mode.
        mode: u32,
    },
    /// The monitor died.
    #[error("the monitor has ended, and without it no worker can be started")]
    MonitorGone,
    /// The system refused.
    #[error("{what}: {error}")]
    Io {
        /// What was tried.
        what: String,
        /// What it said.
        error: io::Error,
    },
}

/// Runs the agent to its end.
///
/// # Errors
/// It could not start, or the monitor died.
pub fn run(config: Config) -> Result<(), DaemonError> {
    process::harden().map_err(doing("hardening the process"))?;
    process::raise_nofile_limit().map_err(doing("raising the limit on open files"))?;
    let listeners = listen(&config)?;
    let markers = config.state.join("login");
    for folder in [&config.state, &markers] {
        private_folder(folder)?;
    }
    // Before the seal, and before there is any thread.
    let link = monitor::spawn(&config.path).map_err(doing("starting the monitor"))?;
    let notifier = Notifier::from_environment().map_err(doing("reaching systemd"))?;
    let (audit, found) = Audit::open(&config.state.join("audit"))?;
    let registry = Registry::open(&config.state.join("registry.db"))?;
    let files = files(&config.path);
    let holds = seal(&sandbox(&config, &listeners), config.sandbox)?;

    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(doing("starting the event loop"))?;
    let end = LocalSet::new().block_on(&runtime, async {
        let own = Own::new(link.pid());
        let monitor = monitor::Client::new(link).map_err(doing("reaching the monitor"))?;
        let (listener, socket_file) = listeners.into_parts();
        listener.set_nonblocking(true).map_err(doing("listening"))?;
        let listener = tokio::net::UnixListener::from_std(listener).map_err(doing("listening"))?;
        let agent = assemble(
            config, audit, found, registry, files, &holds, own, monitor, &markers,
        );
        Enroller::new(agent.clone()).finish_without_tokens().await;
        for token in agent.tokens.values() {
            let enroller = Rc::new(Enroller::new(agent.clone()));
            let supervised = supervisor::supervise(token.clone(), agent.monitor.clone(), enroller);
            tokio::task::spawn_local(supervised);
        }
        tokio::task::spawn_local(sync_periodically(
            agent.audit.clone(),
            Duration::from_secs(1),
        ));
        notifier.tell("READY=1");
        tracing::info!(socket = %agent.config.socket.display(), "ready");
        let stopping = || notifier.tell("STOPPING=1");
        let end = server::serve(agent, listener, stopping).await;
        drop(socket_file);
        end.map_err(doing("awaiting signals"))
    })?;
    match end {
        End::Signal(_) => Ok(()),
        End::MonitorGone => Err(DaemonError::MonitorGone),
    }
}

/// The socket that systemd made, or one of our own.
fn listen(config: &Config) -> Result<Listeners, DaemonError> {
    let inherited = fd::take_listen_fds().map_err(doing("taking the socket of systemd"))?;
    let mut inherited = inherited.into_iter();
    match (inherited.next(), inherited.next()) {
        (Some(socket), None) => Ok(Listeners::inherited(socket)),
        (Some(_), Some(_)) => Err(DaemonError::Io {
            what: "taking the sockets of systemd".into(),
            error: io::Error::other("there are several; keyward.socket must have one ListenStream"),
        }),
        (None, _) => {
            let mode = match config.mode {
                Mode::User => 0o600,
                Mode::System => 0o660,
            };
            Ok(Listeners::bind(&config.socket, mode)?)
        }
    }
}

#[expect(
    clippy::too_many_arguments,
    reason = "it is where everything comes together, once"
)]
fn assemble(
    config: Config,
    audit: Audit,
    found: Found,
    mut registry: Registry,
    files: Vec<FileCopy>,
    holds: &Holds,
    own: Own,
    monitor: monitor::Client,
    markers: &Path,
) -> Rc<Agent> {
    let management_refused = match check_mark(&found, &registry) {
        MarkCheck::Mismatch { text } => {
            tracing::error!(text, "management is refused");
            Some(text)
        }
        _ => None,
    };
    let policy = match config.mode {
        Mode::User => Policy::Owner {
            uid: rustix::process::geteuid().as_raw(),
        },
        Mode::System => Policy::Allow(config.allow.clone()),
    };
    let policy = Rc::new(policy);
    let events = Rc::new(Events::new(policy.clone()));
    registry.tell(events.clone());
    let tokens = config.tokens.iter().map(|(name, token)| {
        let settings = settings(name, token, &config, markers);
        (name.clone(), Rc::new(Token::new(settings, events.clone())))
    });
    let tokens = tokens.collect();
    Rc::new(Agent {
        policy,
        events,
        tokens,
        registry: RefCell::new(registry),
        audit: Rc::new(audit),
        monitor: Rc::new(monitor),
        own,
        verifier: crate::verify::Verifier::default(),
        denials: RefCell::default(),
        unwrap_failures: crate::limit::FailureLimit::default(),
        management_refused: RefCell::new(management_refused),
        accepting: RefCell::default(),
        changing: RefCell::default(),
        destroying: RefCell::default(),
        open_intents: RefCell::new(found.open_intents),
        protections: protections(holds),
        started: now(),
        files,
        copies: Copies::default(),
        touches: (config.tokens.values()).any(|token| matches!(token.kind, TokenKind::Piv { .. })),
        connections: Cell::new(0),
        managing: Cell::new(0),
        managed: tokio::sync::Notify::new(),
        config,
    })
}

fn settings(name: &str, token: &TokenConfig, config: &Config, markers: &Path) -> Settings {
    Settings {
        name: name.to_owned(),
        kind: token.kind.name(),
        threads: token.threads as usize,
        timeout: token.timeout,
        queue: config.limits.queue,
        queue_per_caller: config.limits.queue_per_caller,
        pin_file: token.pin.file().map(Path::to_owned),
        remember_pin: token.remember_pin,
        markers: markers.to_owned(),
    }
}

/// Configuration and policy, for backups: once it is sealed, the agent can't read them.
fn files(config: &Path) -> Vec<FileCopy> {
    let policies = config.with_file_name("policy.d");
    let entries = fs::read_dir(&policies).into_iter().flatten().flatten();
    let mut paths: Vec<_> = entries
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|e| e == "cedar"))
        .collect();
    paths.sort();
    let name = |path: &Path| {
        let name = path.strip_prefix(config.parent()?).ok()?;
        Some(name.to_str()?.to_owned())
    };
    std::iter::once(config.to_owned())
        .chain(paths)
        .filter_map(|path| {
            Some(FileCopy {
                name: name(&path)?,
                text: fs::read_to_string(&path).ok()?,
            })
        })
        .collect()
}

/// What the agent may still reach: its own state, its socket's folder to take the socket away, and
/// /proc to see who asks.
fn sandbox(config: &Config, listeners: &Listeners) -> Sandbox {
    Sandbox {
        read: vec!["/proc".into()],
        write: vec![config.state.clone()],
        remove: listeners.folder().map(Path::to_owned).into_iter().collect(),
        sockets: Sockets::None,
        role: Role::Agent,
    }
}

fn protections(holds: &Holds) -> Vec<Holding> {
    let holding = |name: &str, holds: bool, detail: Option<String>| Holding {
        name: name.to_owned(),
        holds,
        detail,
    };
    let abi = holds.landlock_abi.map(|abi| format!("landlock ABI {abi}"));
    let mut all = vec![
        holding("agent files", holds.filesystem, abi),
        holding("agent network", holds.network, None),
        holding("agent scopes", holds.scopes, None),
        holding("agent system calls", holds.seccomp, None),
        holding(
            "caller pidfd",
            caller::has_peer_pidfd(),
            Some("SO_PEERPIDFD: a caller's process can't be mistaken for a later one".into()),
        ),
    ];
    let missing = holds.missing.iter();
    all.extend(missing.map(|text| holding("agent", false, Some(text.clone()))));
    all
}

/// Makes a folder that is ours alone, or checks that it is.
fn private_folder(path: &Path) -> Result<(), DaemonError> {
    let making = || doing(format!("making {}", path.display()));
    if !path.exists() {
        let mut builder = fs::DirBuilder::new();
        builder
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(making())?;
    }
    let meta = fs::metadata(path).map_err(making())?;
    let own = rustix::process::geteuid().as_raw();
    if meta.uid() != own || meta.mode() & 0o077 != 0 {
        return Err(DaemonError::Exposed {
            path: path.to_owned(),
            owner: meta.uid(),
            mode: meta.mode() & 0o7777,
        });
    }
    Ok(())
}

fn doing(what: impl Into<String>) -> impl FnOnce(io::Error) -> DaemonError {
    let what = what.into();
    move |error| DaemonError::Io { what, error }
}
