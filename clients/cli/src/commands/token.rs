//! `keyward token …`, `keyward unlock`, `keyward lock`

mod attestation;
mod card;

use std::io::IsTerminal as _;

use keyward_protocol::operation::{AcceptRegistry, AcceptToken, Rescanned, Status, TokenStatus};
use keyward_protocol::{SecretBytes, operation};
use serde_json::{Value, json};

use crate::agent::{Agent, connect};
use crate::arguments::{self, ChangePin, Json, Lock, Rescan, Unlock};
use crate::error::Error;
use crate::exit::Exit;
use crate::output::{duration, plain, print, print_json, table};
use crate::{io, pin};

pub(super) use attestation::{activate, attestation_key};
pub(super) use card::{change_puk, new_management_key, reset, unblock_pin};

pub(super) fn list(json: &Json) -> Result<(), Error> {
    let report = connect()?.call(Status {})?;
    if json.json {
        print_json(&tokens_json(&report.tokens))
    } else {
        print(&tokens_text(&report.tokens))
    }
}

pub(super) fn unlock(unlock: Unlock) -> Result<(), Error> {
    let mut agent = connect()?;
    let pin = match &unlock.pin_file {
        _ if unlock.from_source => None,
        Some(file) => Some(io::read_secret(file, pin::LONGEST)?),
        None => Some(ask(&mut agent, unlock.token.as_deref())?),
    };
    let unnamed = unlock.token.is_none();
    let unlocked = agent.call(operation::Unlock {
        token: unlock.token,
        pin,
        spend_withheld_try: unlock.spend_last_try,
    });
    unlocked.map_err(|error| which(error, &mut agent, unnamed, "keyward unlock"))?;
    Ok(())
}

pub(super) fn lock(lock: Lock) -> Result<(), Error> {
    connect()?.call(operation::Lock { token: lock.token })?;
    Ok(())
}

pub(super) fn accept(token: String) -> Result<(), Error> {
    connect()?.call(AcceptToken { token })?;
    Ok(())
}

pub(super) fn accept_registry(accept: &arguments::AcceptRegistry) -> Result<(), Error> {
    let mut agent = connect()?;
    if !accept.yes {
        if !std::io::stdin().is_terminal() {
            return Err(Error::usage(
                "accepting a registry wants a word from a person, and stdin is no terminal",
            )
            .hint("keyward accept-registry --yes"));
        }
        let Some(why) = agent.call(Status {})?.management_refused else {
            return Err(Error::new(
                Exit::Refused,
                "the registry is the one that the log knows; there is nothing to accept",
            )
            .hint("keyward status"));
        };
        print(&format!("{}\n", plain(&why)))?;
        let prompt = "Go on with the registry as it is? What it lacks is lost. [y/N] ";
        if !pin::agrees(prompt)? {
            return Err(Error::new(
                Exit::Negative,
                "not accepted: nothing was changed",
            ));
        }
    }
    agent.call(AcceptRegistry {})?;
    Ok(())
}

pub(super) fn change_pin(change: ChangePin) -> Result<(), Error> {
    const HINT: &str = "keyward token change-pin --old-pin-file FILE --new-pin-file FILE";
    let mut agent = connect()?;
    let name = match (&change.old_pin_file, &change.new_pin_file) {
        (Some(_), Some(_)) => String::new(),
        _ => one(
            &mut agent,
            change.token.as_deref(),
            "keyward token change-pin",
        )?,
    };
    let prompt = format!("PIN of token {name} as it is: ");
    let old = card::given(change.old_pin_file.as_deref(), &prompt, HINT)?;
    let new = card::twice(change.new_pin_file.as_deref(), "New PIN", HINT)?;
    let unnamed = change.token.is_none();
    let changed = agent.call(operation::ChangePin {
        token: change.token,
        old,
        new,
        spend_withheld_try: change.spend_last_try,
    });
    changed.map_err(|error| which(error, &mut agent, unnamed, "keyward token change-pin"))?;
    Ok(())
}

pub(super) fn rescan(rescan: Rescan) -> Result<(), Error> {
    let mut agent = connect()?;
    let unnamed = rescan.token.is_none();
    let found = agent.call(operation::Rescan {
        token: rescan.token,
    });
    let found = found.map_err(|error| which(error, &mut agent, unnamed, "keyward token rescan"))?;
    if rescan.json.json {
        print_json(&rescanned_json(&found))
    } else {
        print(&rescanned_text(&found))
    }
}

/// Asks for the PIN of a token that is there, by its name, before a person types it in vain.
fn ask(agent: &mut Agent, token: Option<&str>) -> Result<SecretBytes, Error> {
    let prompt = format!("PIN of token {}: ", one(agent, token, "keyward unlock")?);
    let hint = "keyward unlock --pin-file FILE  (or `--pin-file -` for stdin)";
    pin::ask(&plain(&prompt), hint)
}

/// The error of a command that takes a token's name alone, where the agent hints at an option.
fn which(error: Error, agent: &mut Agent, unnamed: bool, command: &str) -> Error {
    if !unnamed || error.exit != Exit::Usage {
        return error;
    }
    match agent.call(Status {}) {
        Ok(status) if status.tokens.len() > 1 => error.hint(naming(&status.tokens, command)),
        _ => error,
    }
}

/// The command for each of the tokens.
fn naming(tokens: &[TokenStatus], command: &str) -> String {
    let commands: Vec<_> = (tokens.iter())
        .map(|token| format!("{command} {}", token.name))
        .collect();
    commands.join("  or  ")
}

/// The token that is meant, by name and identity.
fn one(agent: &mut Agent, token: Option<&str>, command: &str) -> Result<String, Error> {
    let tokens = agent.call(Status {})?.tokens;
    let names = || tokens.iter().map(|token| token.name.as_str());
    let name = match (token, tokens.as_slice()) {
        (Some(name), _) => name,
        (None, [only]) => &only.name,
        (None, _) => {
            let names: Vec<&str> = names().collect();
            let several = format!("there are several tokens: {}", names.join(", "));
            return Err(Error::usage(several).hint(naming(&tokens, command)));
        }
    };
    let known = tokens.iter().find(|token| token.name == name);
    let identity = known.and_then(|token| token.identity.as_deref());
    Ok(match identity {
        Some(identity) => format!("{name} ({identity})"),
        None => name.into(),
    })
}

/// What was found, and below it what to do about it.
fn rescanned_text(found: &Rescanned) -> String {
    let mut text = String::new();
    if !found.recovered.is_empty() {
        let mut rows = vec![["RECOVERED", "VERSION", "PURPOSE", "TYPE"].map(String::from)];
        rows.extend(found.recovered.iter().map(|key| {
            [
                key.key.clone(),
                key.version.to_string(),
                key.purpose.to_string(),
                key.key_type.to_string(),
            ]
        }));
        text.push_str(&table(&rows));
    }
    for why in &found.refused {
        text.push_str(&format!("refused: {}\n", plain(why)));
    }
    for key in &found.missing {
        text.push_str(&format!("missing on the token: {}\n", plain(key)));
    }
    text.push_str(&format!(
        "{} recovered, {} known, {} of others, {} refused, {} missing\n",
        found.recovered.len(),
        found.known,
        found.foreign,
        found.refused.len(),
        found.missing.len()
    ));
    if !found.recovered.is_empty() {
        text.push_str("what was recovered is suspended: keyward key enable KEY\n");
    }
    text
}

fn rescanned_json(found: &Rescanned) -> Value {
    let recovered = found.recovered.iter().map(|key| {
        json!({
            "key": key.key,
            "version": key.version,
            "purpose": key.purpose.name(),
            "key_type": key.key_type.name(),
        })
    });
    json!({
        "recovered": recovered.collect::<Vec<_>>(),
        "known": found.known,
        "foreign": found.foreign,
        "refused": found.refused,
        "missing": found.missing,
    })
}

/// The tokens as a table, and below it what is wrong with them.
pub(super) fn tokens_text(tokens: &[TokenStatus]) -> String {
    if tokens.is_empty() {
        return "no tokens are configured\n".into();
    }
    let heading = ["TOKEN", "KIND", "STATE", "PENDING", "RESTARTS", "IDENTITY"];
    let mut rows = vec![heading.map(String::from)];
    rows.extend(tokens.iter().map(|token| {
        [
            token.name.clone(),
            token.kind.clone(),
            token.login.to_string(),
            token.pending.to_string(),
            token.restarts.to_string(),
            token.identity.clone().unwrap_or_else(|| "-".into()),
        ]
    }));
    let mut text = table(&rows);
    for token in tokens {
        if let Some(problem) = &token.problem {
            text.push_str(&format!("{}: {}\n", plain(&token.name), plain(problem)));
        }
        if let Some(seconds) = token.lockout_seconds {
            text.push_str(&format!(
                "{}: after too many wrong PINs the TPM takes none, the right one neither, for {} at the most\n",
                plain(&token.name),
                duration(seconds)
            ));
        }
    }
    text
}

pub(super) fn tokens_json(tokens: &[TokenStatus]) -> Value {
    tokens
        .iter()
        .map(|token| {
            json!({
                "name": token.name,
                "kind": token.kind,
                "login": token.login.name(),
                "identity": token.identity,
                "problem": token.problem,
                "pending": token.pending,
                "restarts": token.restarts,
                "worker_pid": token.worker_pid,
                "lockout_seconds": token.lockout_seconds,
            })
        })
        .collect()
}
