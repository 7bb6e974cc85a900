//! The names that only the agent knows.

use std::ffi::OsStr;
use std::sync::mpsc;
use std::time::Duration;

use clap::Command;
use clap_complete::engine::{ArgValueCompleter, CompletionCandidate};
use keyward_protocol::Purpose;
use keyward_protocol::operation::{KeySummary, List, Status};

use crate::agent::connect;
use crate::error::Error;
use crate::output::plain;

/// How long a person waits for candidates without wondering.
const PATIENCE: Duration = Duration::from_millis(500);

/// Gives each argument of every command that is called `key` or `token` its names.
pub(super) fn attach(command: Command) -> Command {
    let purposes: &[Purpose] = match command.get_name() {
        "sign" | "verify" | "csr" => &[Purpose::Sign],
        "unwrap" => &[Purpose::Unwrap, Purpose::Wrap],
        "wrap" => &[Purpose::Wrap],
        "mac" | "verify-mac" => &[Purpose::Mac],
        "unseal" => &[Purpose::Seal],
        "ecdh" => &[Purpose::Agree],
        "encrypt" | "decrypt" | "re-encrypt" | "data-key" | "open" | "seal" => &[Purpose::Encrypt],
        _ => Purpose::ALL,
    };
    command
        .mut_args(|argument| match argument.get_id().as_str() {
            "key" | "into" | "source_key" | "to" => {
                argument.add(ArgValueCompleter::new(move |typed: &OsStr| {
                    beginning_with(typed, in_time(move || keys(purposes)))
                }))
            }
            "token" => argument.add(ArgValueCompleter::new(|typed: &OsStr| {
                beginning_with(typed, in_time(tokens))
            })),
            _ => argument,
        })
        .mut_subcommands(attach)
}

/// A name and what it names.
struct Name {
    name: String,
    what: String,
}

fn keys(purposes: &[Purpose]) -> Result<Vec<Name>, Error> {
    let mut client = connect()?;
    let mut names = Vec::new();
    let mut after = None;
    loop {
        let page = client.call(List { after })?;
        let fits = |key: &&KeySummary| purposes.contains(&key.purpose);
        let went_on = !page.keys.is_empty();
        for key in page.keys.iter().filter(fits) {
            let what = format!("{}, {}, {}", key.purpose, key.key_type, key.state);
            let aliases = key.aliases.iter();
            // An id is long and says nothing: only for a key that has no other name.
            let id = key.aliases.is_empty().then_some(&key.id);
            names.extend(aliases.chain(id).map(|name| Name {
                name: name.clone(),
                what: what.clone(),
            }));
        }
        after = page.next;
        if after.is_none() || !went_on {
            return Ok(names);
        }
    }
}

fn tokens() -> Result<Vec<Name>, Error> {
    let report = connect()?.call(Status {})?;
    let tokens = report.tokens.into_iter().map(|token| Name {
        name: token.name,
        what: format!("{}, {}", token.kind, token.login),
    });
    Ok(tokens.collect())
}

/// What an agent answers soon; nothing if it does not.
fn in_time(ask: impl FnOnce() -> Result<Vec<Name>, Error> + Send + 'static) -> Vec<Name> {
    let (sender, receiver) = mpsc::channel();
    // A thread that still waits ends with the program.
    std::thread::spawn(move || sender.send(ask()));
    match receiver.recv_timeout(PATIENCE) {
        Ok(Ok(names)) => names,
        _ => Vec::new(),
    }
}

fn beginning_with(typed: &OsStr, names: Vec<Name>) -> Vec<CompletionCandidate> {
    let typed = typed.to_string_lossy();
    names
        .into_iter()
        // Shells take some characters of a candidate for more than a letter of a name.
        .filter(|name| name.name.starts_with(&*typed) && is_word(&name.name))
        .map(|name| CompletionCandidate::new(name.name).help(Some(plain(&name.what).into())))
        .collect()
}

fn is_word(name: &str) -> bool {
    let harmless = |c: char| c.is_alphanumeric() || "-_./@+".contains(c);
    name.chars().all(harmless)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_a_shell_would_expand_is_not_offered() {
        for name in ["$(reboot)", "a b", "`id`", "a:b", "a\nb", "a;b", "*"] {
            assert!(!is_word(name), "{name}");
        }
        assert!(is_word("git-signing/2026_é"));
    }
}
