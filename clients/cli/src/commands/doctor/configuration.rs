//! The agent's configuration.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use toml::{Table, Value};

use super::Finding;
use crate::commands::init::places::{Owner, Places, find_owner, program};

const ABOUT: &str = "configuration";
/// The system's.
const SYSTEM: &str = "/etc/keyward/keyward.toml";

/// What the other looks need of it.
#[derive(Debug)]
pub(super) struct Configuration {
    pub(super) path: PathBuf,
    pub(super) table: Table,
    /// Whether keywardd takes it.
    pub(super) right: bool,
    pub(super) system: bool,
    /// The user of the system's agent, if there is one.
    pub(super) owner: Option<Owner>,
    pub(super) best_effort: bool,
    /// The state folder, if it is known.
    pub(super) state: Option<PathBuf>,
}

impl Configuration {
    /// The tokens by name.
    pub(super) fn tokens(&self) -> impl Iterator<Item = (&String, &Table)> {
        let tokens = self.table.get("token").and_then(Value::as_table);
        let tokens = tokens.into_iter().flatten();
        tokens.filter_map(|(name, token)| Some((name, token.as_table()?)))
    }

    /// Whether this process sees of modules and devices what the agent sees.
    pub(super) fn sees_as_agent(&self) -> bool {
        let own = rustix::process::geteuid();
        !self.system || own.is_root() || self.owner.is_some_and(|owner| owner.uid == own.as_raw())
    }

    /// How keywardd is started again.
    pub(super) fn restart(&self) -> &'static str {
        match self.system {
            true => "sudo systemctl restart keyward",
            false => "systemctl --user restart keyward, or end keywardd and start it again",
        }
    }
}

/// Reads it, and has keywardd check it.
pub(super) fn look(named: Option<&Path>) -> (Option<Configuration>, Vec<Finding>) {
    let places = Places::of(crate::commands::init::places::Mode::User).ok();
    let users = places.as_ref().map(Places::config);
    let path = match (named, users) {
        (Some(named), _) => named.to_owned(),
        (None, Some(users)) if users.exists() => users,
        _ => SYSTEM.into(),
    };
    let shown = path.display();
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            let what = format!("there is none, neither your own nor {shown}");
            let what = named.map_or(what, |_| format!("{shown} is not there"));
            return (
                None,
                vec![Finding::problem(ABOUT, what).next("keyward init")],
            );
        }
        Err(e) => {
            let found = Finding::problem(ABOUT, format!("{shown} can't be read: {e}"));
            return (None, vec![found.next(format!("ls -l {shown}"))]);
        }
    };
    let table: Table = match text.parse() {
        Ok(table) => table,
        Err(e) => {
            let why = checked(&path).err().unwrap_or_else(|| e.to_string());
            return (None, vec![wrong(&path, &why)]);
        }
    };
    let found = match checked(&path) {
        Ok(()) => Finding::fine(ABOUT, format!("{shown} is right")),
        Err(why) => wrong(&path, &why),
    };
    let right = !found.is_problem();
    let word = |name: &str| table.get(name).and_then(Value::as_str);
    let system = word("mode") == Some("system");
    let usual = match system {
        true => Some(PathBuf::from("/var/lib/keyward")),
        false => places.map(|places| places.state),
    };
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let mut findings = vec![found];
    let owner = system.then(|| find_owner(&passwd)).flatten();
    if system && owner.is_none() {
        let what = "there is no user keyward, as whom the system's agent runs";
        let found = Finding::problem("user", what);
        findings.push(found.next("sudo systemd-sysusers keyward.conf"));
    }
    let configuration = Configuration {
        system,
        owner,
        best_effort: word("sandbox") == Some("best-effort"),
        state: word("state").map(PathBuf::from).or(usual),
        path,
        right,
        table,
    };
    if configuration.tokens().next().is_none() {
        let what = "it names no token, so there is nothing to use";
        findings.push(Finding::problem(ABOUT, what).next("keyward init --add"));
    }
    (Some(configuration), findings)
}

fn wrong(path: &Path, why: &str) -> Finding {
    let shown = path.display();
    Finding::problem(ABOUT, format!("{shown} is not right: {why}"))
        .next(format!("mend it, then: keywardd --check --config {shown}"))
}

/// Has keywardd check it; right where there is no keywardd, which is a problem of its own.
fn checked(path: &Path) -> Result<(), String> {
    let Some(keywardd) = program("keywardd") else {
        return Ok(());
    };
    let output = Command::new(keywardd)
        .args(["--check", "--config"])
        .arg(path)
        .stdin(Stdio::null())
        .output()
        .map_err(|e| e.to_string())?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let lines = said.lines().map(str::trim).filter(|line| !line.is_empty());
    let line = lines.collect::<Vec<_>>().join("; ");
    let why = line.strip_prefix("keywardd: error: ").unwrap_or(&line);
    Err(why.to_owned())
}
