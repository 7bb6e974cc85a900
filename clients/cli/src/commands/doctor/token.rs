//! The tokens of the configuration.

use std::collections::BTreeMap;
use std::path::PathBuf;

use keyward_protocol::operation::{LoginState, StatusReport, TokenStatus};
use toml::{Table, Value};

use super::configuration::Configuration;
use super::{Finding, State, card, tpm};
use crate::commands::init::modules::Module;
use crate::commands::init::uri;
use crate::commands::init::worker::{Found, Worker};
use crate::output::duration;

/// Looks at each: by the agent's word where it has the token, else at its module or TPM.
pub(super) fn look(
    configuration: &Configuration,
    report: Option<&StatusReport>,
    worker: Option<PathBuf>,
) -> Vec<Finding> {
    if !configuration.right && report.is_none() {
        // What is wrong there would be said again, as if it were the token's.
        let what = "they are looked at when the configuration is right";
        return vec![Finding::new(State::Skipped, "tokens", what)];
    }
    let best_effort = configuration.best_effort;
    let is_root = rustix::process::geteuid().is_root();
    // Root itself loads no module.
    let owner = configuration.owner.filter(|_| is_root);
    let worker = Worker::find(worker, best_effort, owner).ok();
    let mut findings = Vec::new();
    for (name, token) in configuration.tokens() {
        let about = format!("token {name}");
        let status = report.map(|report| report.tokens.iter().find(|token| token.name == **name));
        // Where the agent could not reach it a look of our own says more.
        let told = match status {
            Some(None) => {
                let what = "the agent that runs does not know it: it was started before";
                findings.push(Finding::problem(about, what).next(configuration.restart()));
                continue;
            }
            Some(Some(status)) if status.login != LoginState::Absent => {
                findings.push(told(&about, status));
                let identity = status.identity.as_deref().filter(|_| status.kind == "piv");
                let firmware = identity.and_then(card::firmware_of);
                findings.extend(card::firmware(&about, firmware));
                continue;
            }
            Some(Some(status)) => Some(told(&about, status)),
            None => None,
        };
        let mut more = Vec::new();
        let looked = match &worker {
            _ if !configuration.sees_as_agent() => Finding::new(
                State::Skipped,
                about,
                "what the system's agent can reach is not for you to see",
            )
            .next("sudo keyward doctor"),
            None => Finding::new(
                State::Skipped,
                about,
                "there is no keyward-worker to look with",
            ),
            Some(worker) => match token.get("kind").and_then(Value::as_str) {
                Some("piv") => {
                    let (found, others) = card::look(&about, name, token, configuration, worker);
                    more = others;
                    found
                }
                Some("tpm") => tpm::look(&about, name, token, configuration, worker),
                Some("pkcs11") => pkcs11(&about, token, worker),
                _ => continue,
            },
        };
        findings.push(match told {
            Some(told) if !looked.is_problem() => told.maybe_next(looked.next.or_else(|| {
                Some("nothing hinders now; the agent looks every 2 s: keyward status".to_owned())
            })),
            _ => looked,
        });
        findings.extend(more);
    }
    findings
}

/// What the agent says of it.
fn told(about: &str, status: &TokenStatus) -> Finding {
    let name = &status.name;
    if let Some(seconds) = status.lockout_seconds {
        let what = format!(
            "the TPM's dictionary attack lockout is in force: it takes no PIN for {} at the most",
            duration(seconds)
        );
        return Finding::problem(about, what).next("wait, or: tpm2_dictionarylockout -c");
    }
    let problem = status.problem.clone();
    match (status.login, problem) {
        (LoginState::Unlocked, None) => Finding::fine(about, "it can be used"),
        (LoginState::Unlocked, Some(what)) => Finding::new(State::Note, about, what),
        (LoginState::Locked, None) => Finding::fine(about, "it is there, and needs its PIN")
            .next(format!("keyward unlock {name}")),
        (LoginState::Locked, Some(what)) => {
            Finding::problem(about, format!("it is locked: {what}"))
                .next(format!("keyward unlock {name}"))
        }
        (LoginState::Changed, what) => Finding::problem(
            about,
            format!("another is in its place: {}", what.unwrap_or_default()),
        )
        .next(format!(
            "the right one back, or: keyward token accept {name}"
        )),
        (LoginState::Absent, what) => Finding::problem(
            about,
            format!("the agent can't use it: {}", what.unwrap_or_default()),
        ),
        _ => {
            Finding::new(State::Note, about, "its worker is starting").next("keyward doctor, again")
        }
    }
}

/// A module that is there, loads, and shows the token.
fn pkcs11(about: &str, token: &Table, worker: &Worker) -> Finding {
    let word = |name: &str| token.get(name).and_then(Value::as_str);
    let (Some(module), Some(uri)) = (word("module"), word("uri")) else {
        // keywardd has said so.
        return Finding::problem(about, "it names no module or no URI").next("man keyward.toml");
    };
    let shown = module.to_owned();
    if let Err(e) = std::fs::metadata(module) {
        return Finding::problem(about, format!("its module {shown}: {e}"))
            .next("install the maker's package, or mend `module`");
    }
    let list = |name: &str| -> Vec<PathBuf> {
        let list = token.get(name).and_then(Value::as_array).into_iter();
        list.flatten()
            .filter_map(Value::as_str)
            .map(PathBuf::from)
            .collect()
    };
    let environment = token
        .get("environment")
        .and_then(Value::as_table)
        .into_iter();
    let environment: BTreeMap<String, String> = environment
        .flatten()
        .filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())))
        .collect();
    let module = Module {
        path: module.into(),
        sockets: match word("sockets") {
            Some("unix") => "unix",
            Some("inet") => "inet",
            _ => "none",
        },
        read: list("read"),
        write: list("write"),
        environment,
    };
    match worker.probe(&module) {
        Err(why) => Finding::problem(about, format!("its module {shown}: {why}"))
            .next("`read`, `write` and `sockets` of the token say what its module may reach"),
        Ok(probed) => shows(about, &shown, uri, &probed.tokens),
    }
}

/// Whether one of the module's tokens is meant.
fn shows(about: &str, module: &str, uri: &str, tokens: &[Found]) -> Finding {
    let blocked = |found: &Found| found.pin_locked;
    let fit: Vec<&Found> = tokens
        .iter()
        .filter(|found| uri::fits(uri, found))
        .collect();
    match fit.as_slice() {
        [only] if blocked(only) => Finding::problem(about, "its PIN is blocked")
            .next("unblock it with the maker's tool and its SO PIN or PUK"),
        [_] => Finding::fine(about, format!("{module} shows it")),
        // What only the worker can judge.
        _ if uri.contains("slot-") && !tokens.is_empty() => {
            Finding::fine(about, format!("{module} loads, and shows tokens"))
        }
        [] if tokens.is_empty() => {
            Finding::problem(about, format!("{module} loads, and shows no token at all"))
                .next("plug it in; for a smart card: systemctl status pcscd")
        }
        [] => {
            let seen: Vec<String> = tokens.iter().map(uri::of).collect();
            Finding::problem(
                about,
                format!("{module} shows no token that {uri} describes"),
            )
            .next(format!("mend `uri`; there are: {}", seen.join("  ")))
        }
        several => Finding::problem(
            about,
            format!("{uri} describes {} tokens of {module}", several.len()),
        )
        .next("add the serial number to `uri`"),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn status(login: LoginState, problem: Option<&str>) -> TokenStatus {
        TokenStatus {
            name: "main".into(),
            kind: "tpm".into(),
            login,
            identity: None,
            problem: problem.map(str::to_owned),
            pending: 0,
            restarts: 0,
            worker_pid: None,
            lockout_seconds: None,
        }
    }

    #[test]
    fn what_the_agent_says_is_judged() {
        assert!(!told("t", &status(LoginState::Unlocked, None)).is_problem());
        assert!(!told("t", &status(LoginState::Locked, None)).is_problem());
        assert!(told("t", &status(LoginState::Locked, Some("why"))).is_problem());
        assert!(told("t", &status(LoginState::Changed, None)).is_problem());
        let lockout = TokenStatus {
            lockout_seconds: Some(90),
            ..status(LoginState::Unlocked, None)
        };
        let found = told("t", &lockout);
        assert!(found.is_problem() && found.what.contains("1 min 30 s"));
    }

    #[test]
    fn a_token_that_does_not_show_is_told_from_others_that_do() {
        let token = |serial: &str| Found {
            serial: serial.to_owned(),
            ..Found::default()
        };
        let look = |uri, tokens: &[Found]| shows("t", "/m.so", uri, tokens);
        assert!(!look("pkcs11:serial=1", &[token("1"), token("2")]).is_problem());
        assert!(look("pkcs11:", &[token("1"), token("2")]).is_problem());
        let other = look("pkcs11:serial=3", &[token("1")]);
        assert!(other.next.unwrap().contains("pkcs11:serial=1"));
        assert!(
            look("pkcs11:serial=3", &[])
                .what
                .contains("no token at all")
        );
    }
}
