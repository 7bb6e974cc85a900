//! `keyward token …`, `keyward unlock`, `keyward lock`

use keyward_client::Client;
use keyward_protocol::operation::{AcceptToken, Status, TokenStatus};
use keyward_protocol::{SecretBytes, operation};
use serde_json::{Value, json};

use crate::arguments::{Json, Lock, Unlock};
use crate::error::Error;
use crate::output::{plain, print, print_json, table};
use crate::{io, pin};

pub(super) fn list(json: &Json) -> Result<(), Error> {
    let report = super::connect()?.call(Status {})?;
    if json.json {
        print_json(&tokens_json(&report.tokens))
    } else {
        print(&tokens_text(&report.tokens))
    }
}

pub(super) fn unlock(unlock: Unlock) -> Result<(), Error> {
    let mut client = super::connect()?;
    let pin = match &unlock.pin_file {
        _ if unlock.from_source => None,
        Some(file) => Some(io::read_secret(file, pin::LONGEST)?),
        None => Some(ask(&mut client, unlock.token.as_deref())?),
    };
    client.call(operation::Unlock {
        token: unlock.token,
        pin,
        spend_withheld_try: unlock.spend_last_try,
    })?;
    Ok(())
}

pub(super) fn lock(lock: Lock) -> Result<(), Error> {
    super::connect()?.call(operation::Lock { token: lock.token })?;
    Ok(())
}

pub(super) fn accept(token: String) -> Result<(), Error> {
    super::connect()?.call(AcceptToken { token })?;
    Ok(())
}

/// Asks for the PIN of a token that is there, by its name, before a person types it in vain.
fn ask(client: &mut Client, token: Option<&str>) -> Result<SecretBytes, Error> {
    let tokens = client.call(Status {})?.tokens;
    let names = || tokens.iter().map(|token| token.name.as_str());
    let name = match (token, tokens.as_slice()) {
        (Some(name), _) => name,
        (None, [only]) => &only.name,
        (None, _) => {
            let names: Vec<&str> = names().collect();
            return Err(
                Error::usage(format!("there are several tokens: {}", names.join(", ")))
                    .hint("keyward unlock TOKEN"),
            );
        }
    };
    let known = tokens.iter().find(|token| token.name == name);
    let identity = known.and_then(|token| token.identity.as_deref());
    let prompt = match identity {
        Some(identity) => format!("PIN of token {name} ({identity}): "),
        None => format!("PIN of token {name}: "),
    };
    pin::ask(&plain(&prompt))
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
            })
        })
        .collect()
}
