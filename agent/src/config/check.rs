//! From the file's shape to values that hold.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use keyward_sys::sandbox::Requirement;
use toml::Spanned;
use tracing::level_filters::LevelFilter;

use super::error::Wrong;
use super::file::{
    AllowEntry, File, LimitsTable, LogField, PinField, PolicyTable, SandboxField, TokenTable,
};
use super::value::{DAY, duration_within, number_within};
use super::{Allow, Config, Environment, Limits, Mode, PinSource, TokenConfig, group, kind, value};

/// `sun_path` holds 108 bytes, with the NUL.
const MOST_SOCKET_PATH: usize = 107;

/// Checks what the file says.
pub(super) fn check(path: &Path, file: File, environment: &Environment) -> Result<Config, Wrong> {
    let mode = file.mode;
    let socket = socket(file.socket.as_ref(), mode, environment)?;
    let state = state(file.state.as_ref(), mode, environment)?;
    let config = Config {
        path: path.to_owned(),
        mode,
        socket,
        sandbox: match file.sandbox {
            SandboxField::Enforce => Requirement::Enforce,
            SandboxField::BestEffort => Requirement::BestEffort,
        },
        log: match file.log {
            LogField::Error => LevelFilter::ERROR,
            LogField::Warn => LevelFilter::WARN,
            LogField::Info => LevelFilter::INFO,
            LogField::Debug => LevelFilter::DEBUG,
            LogField::Trace => LevelFilter::TRACE,
        },
        allow: allow(file.policy, mode)?,
        limits: limits(&file.limits)?,
        tokens: file
            .token
            .into_iter()
            .map(|(name, table)| {
                value::check_token_name(&name)?;
                let name = name.into_inner();
                let token = token(&name, table, &state, environment)?;
                Ok((name, token))
            })
            .collect::<Result<_, Wrong>>()?,
        state,
    };
    Ok(config)
}

fn socket(
    field: Option<&Spanned<String>>,
    mode: Mode,
    environment: &Environment,
) -> Result<PathBuf, Wrong> {
    if let Some(field) = field {
        let path = value::path(field)?;
        if path.as_os_str().len() > MOST_SOCKET_PATH {
            let what = format!(
                "the path is longer than the {MOST_SOCKET_PATH} bytes of a socket's address"
            );
            return Err(Wrong::new(field.span(), what)
                .hint("take a shorter one, such as /run/keyward/agent.sock"));
        }
        return Ok(path);
    }
    match (mode, &environment.runtime_dir) {
        (Mode::System, _) => Ok(PathBuf::from("/run/keyward/agent.sock")),
        (Mode::User, Some(folder)) => Ok(folder.join("keyward/agent.sock")),
        (Mode::User, None) => Err(Wrong::new(
            0..0,
            "there is no place for the socket: XDG_RUNTIME_DIR is not set",
        )
        .hint("add a line socket = \"/path/agent.sock\" at the top")),
    }
}

fn state(
    field: Option<&Spanned<String>>,
    mode: Mode,
    environment: &Environment,
) -> Result<PathBuf, Wrong> {
    match (field, mode, &environment.state_home) {
        (Some(field), _, _) => value::path(field),
        (None, Mode::System, _) => Ok(PathBuf::from("/var/lib/keyward")),
        (None, Mode::User, Some(folder)) => Ok(folder.join("keyward")),
        (None, Mode::User, None) => Err(Wrong::new(
            0..0,
            "there is no place for the registry: neither XDG_STATE_HOME nor HOME is set",
        )
        .hint("add a line state = \"/path\" at the top")),
    }
}

fn allow(policy: Option<Spanned<PolicyTable>>, mode: Mode) -> Result<Vec<Allow>, Wrong> {
    let Some(policy) = policy else {
        return Ok(Vec::new());
    };
    if mode == Mode::User {
        return Err(Wrong::new(
            policy.span(),
            "[policy] allow is for mode = \"system\": in user mode nobody but the user who started keywardd gets in",
        )
        .hint("remove it, or add mode = \"system\" at the top"));
    }
    policy.into_inner().allow.iter().map(allow_entry).collect()
}

fn allow_entry(entry: &Spanned<AllowEntry>) -> Result<Allow, Wrong> {
    match entry.get_ref() {
        AllowEntry { uid: Some(uid), gid: None, group: None, unit: None } => Ok(Allow::Uid(*uid)),
        AllowEntry { uid: None, gid: Some(gid), group: None, unit: None } => Ok(Allow::Gid(*gid)),
        AllowEntry { uid: None, gid: None, group: Some(name), unit: None } => group_entry(name),
        AllowEntry { uid: None, gid: None, group: None, unit: Some(unit) } => unit_entry(unit),
        _ => Err(Wrong::new(entry.span(), "an entry names one of uid, gid, group and unit")
            .hint("{ uid = 1000 }, { group = \"keyward\" }, { gid = 12 } or { unit = \"web.service\" }; each allows on its own")),
    }
}

fn group_entry(name: &Spanned<String>) -> Result<Allow, Wrong> {
    let shown = name.get_ref().escape_debug().to_string();
    match group::id_of(name.get_ref(), Path::new("/etc/group")) {
        Ok(Some(id)) => Ok(Allow::Gid(id)),
        Ok(None) => Err(Wrong::new(
            name.span(),
            format!("there is no group `{shown}` in /etc/group"),
        )
        .hint(format!(
            "sudo groupadd --system {shown}; or {{ gid = NUMBER }} for a group from elsewhere"
        ))),
        Err(error) => Err(
            Wrong::new(name.span(), format!("/etc/group cannot be read: {error}"))
                .hint("{ gid = NUMBER } does without"),
        ),
    }
}

fn unit_entry(unit: &Spanned<String>) -> Result<Allow, Wrong> {
    if crate::caller::unit::is_unit(unit.get_ref()) {
        return Ok(Allow::Unit(unit.get_ref().clone()));
    }
    Err(Wrong::new(
        unit.span(),
        format!(
            "`{}` is no name of a service or scope",
            unit.get_ref().escape_debug()
        ),
    )
    .hint("such as \"web.service\"; systemctl list-units shows them"))
}

fn limits(table: &LimitsTable) -> Result<Limits, Wrong> {
    let number = |field: &Option<Spanned<u32>>, default, most| {
        let number = number_within(field.as_ref(), default, 1, most)?;
        usize::try_from(number).map_err(|_| Wrong::new(0..0, "a limit is too large"))
    };
    let time = |field: &Option<Spanned<String>>, seconds| {
        let least = Duration::from_millis(1);
        duration_within(field.as_ref(), Duration::from_secs(seconds), least, DAY)
    };
    let connections = number(&table.connections, 2048, 1_000_000)?;
    let queue = number(&table.queue, 1024, 1_000_000)?;
    let max_deadline = time(&table.max_deadline, 300)?;
    let limits = Limits {
        connections,
        connections_per_user: number(&table.connections_per_user, 1280, 1_000_000)?,
        pipelined: number(&table.pipelined, 256, 65_536)?,
        queue,
        queue_per_caller: number(&table.queue_per_caller, 256, 1_000_000)?,
        deadline: time(&table.deadline, 30)?,
        max_deadline,
        hello: time(&table.hello, 10)?,
        frame: time(&table.frame, 30)?,
    };
    if let Some(field) = table
        .deadline
        .as_ref()
        .filter(|_| limits.deadline > max_deadline)
    {
        let what = format!("the deadline is longer than max_deadline ({max_deadline:?})");
        return Err(Wrong::new(field.span(), what).hint("lower it, or raise max_deadline"));
    }
    // What was not named gives way to what was.
    Ok(Limits {
        connections_per_user: limits.connections_per_user.min(connections),
        queue_per_caller: limits.queue_per_caller.min(queue),
        deadline: limits.deadline.min(max_deadline),
        ..limits
    })
}

fn token(
    name: &str,
    table: Spanned<TokenTable>,
    state: &Path,
    environment: &Environment,
) -> Result<TokenConfig, Wrong> {
    let span = table.span();
    let table = table.into_inner();
    let kind = kind::check(span, name, &table, state)?;
    for (name, value) in &table.environment {
        value::check_variable(name, value)?;
    }
    let paths = |fields: &[Spanned<String>]| {
        fields
            .iter()
            .map(value::path)
            .collect::<Result<Vec<_>, _>>()
    };
    Ok(TokenConfig {
        threads: kind::threads(&kind, table.threads.as_ref(), environment)?,
        sockets: kind::sockets(&kind, table.sockets.as_ref())?,
        pin: pin(table.pin.as_ref(), environment)?,
        remember_pin: table.remember_pin,
        spin: duration_within(
            table.spin.as_ref(),
            Duration::ZERO,
            Duration::ZERO,
            Duration::from_millis(10),
        )?,
        timeout: duration_within(
            table.timeout.as_ref(),
            kind::default_timeout(&kind),
            Duration::from_millis(100),
            DAY,
        )?,
        read: paths(&table.read)?,
        write: paths(&table.write)?,
        environment: table
            .environment
            .into_iter()
            .map(|(name, value)| (name.into_inner(), value.into_inner()))
            .collect::<BTreeMap<_, _>>(),
        kind,
    })
}

fn pin(field: Option<&PinField>, environment: &Environment) -> Result<PinSource, Wrong> {
    match field {
        None | Some(PinField::Ask) => Ok(PinSource::Ask),
        Some(PinField::File(path)) => Ok(PinSource::File(value::path(path)?)),
        Some(PinField::Credential(name)) => {
            value::check_credential_name(name)?;
            let folder = environment.credentials.as_ref().ok_or_else(|| {
                Wrong::new(
                    name.span(),
                    "systemd passed no credentials: CREDENTIALS_DIRECTORY is not set",
                )
                .hint(format!(
                    "LoadCredential={}:/path in the unit",
                    name.get_ref()
                ))
            })?;
            Ok(PinSource::Credential {
                name: name.get_ref().clone(),
                path: folder.join(name.get_ref()),
            })
        }
    }
}
