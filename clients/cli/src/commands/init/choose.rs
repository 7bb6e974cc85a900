//! Which token it is to be.

use std::path::Path;

use super::card::{self, Card};
use super::modules::{self, Module};
use super::places::Places;
use super::tpm::{self, Tpm};
use super::worker::{Found, Worker};
use crate::arguments::Init;
use crate::error::Error;
use crate::exit::Exit;
use crate::output::plain;
use crate::pin;

/// What SoftHSM calls its maker.
const SOFTHSM: &str = "SoftHSM project";

/// A token that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Candidate {
    pub(super) module: Module,
    pub(super) found: Found,
}

/// The token that is to be used, or a new one.
#[derive(Clone, Debug)]
pub(super) enum Choice {
    There(Box<Candidate>),
    /// A folder of keys of this TPM.
    Tpm(Tpm),
    /// A PIV card.
    Card(Box<Card>),
    /// SoftHSM's module.
    Make(Module),
}

/// Looks, and asks where there are several.
pub(super) fn choose(init: &Init, places: &Places, worker: &Worker) -> Result<Choice, Error> {
    if init.software {
        return software();
    }
    let mut problems = Vec::new();
    let mut candidates = Vec::new();
    if tpm::is_wanted(init) {
        let found = tpm::find(init, places, worker, &mut problems)?;
        candidates.extend(found.map(Choice::Tpm));
    }
    let cards = match card::is_wanted(init) {
        true => card::find(init, places, worker, &mut problems)?,
        false => Vec::new(),
    };
    let modules = match &init.module {
        _ if init.tcti.is_some() || init.serial.is_some() => Vec::new(),
        Some(path) => vec![named(path)?],
        None => modules::find(places.mode, &mut problems),
    };
    let mut behind = Vec::new();
    for module in modules {
        match worker.probe(&module) {
            Ok(probed) => {
                let fit = sort(&module, probed.tokens, init, &cards, &mut problems);
                behind.extend(fit.into_iter().map(|fit| Choice::There(Box::new(fit))));
            }
            Err(why) => problems.push(format!("{}: {why}; left out", module.path.display())),
        }
    }
    candidates.extend(cards.into_iter().map(|card| Choice::Card(Box::new(card))));
    candidates.extend(behind);
    for problem in &problems {
        note(problem);
    }
    match (candidates.as_slice(), &init.module, &init.token_uri) {
        ([only], _, _) => Ok(only.clone()),
        ([], None, None) => instead(init),
        ([], _, _) => Err(none(init, &problems)),
        (several, _, _) if init.yes => Err(unclear(several)),
        (several, _, _) => ask(several),
    }
}

/// The tokens of a module that can be taken; what can't be is said.
fn sort(
    module: &Module,
    tokens: Vec<Found>,
    init: &Init,
    cards: &[Card],
    problems: &mut Vec<String>,
) -> Vec<Candidate> {
    let explicit = init.module.is_some() || init.token_uri.is_some();
    let mut fit = Vec::new();
    for found in tokens {
        let name = describe(&found);
        let why = if let Some(problem) = &found.problem {
            Some(problem.clone())
        } else if (init.token_uri.as_ref()).is_some_and(|uri| !super::uri::fits(uri, &found)) {
            None
        } else if cards.iter().any(|card| card.is_also(&found)) {
            Some(format!(
                "{name} is a card that keyward uses without a module"
            ))
        } else if !found.initialised {
            Some(format!(
                "{name} is not initialised, which its maker's tool does"
            ))
        } else if found.pin_locked {
            Some(format!("the PIN of {name} is blocked"))
        } else if is_software(&found) && !explicit {
            Some(format!(
                "{name} is software; --token-uri takes it all the same"
            ))
        } else {
            fit.push(Candidate {
                module: module.clone(),
                found,
            });
            None
        };
        problems.extend(why.map(|why| format!("{}: {why}", module.path.display())));
    }
    fit
}

/// Whether a token is no hardware, by its own word or since it is SoftHSM's.
pub(super) fn is_software(found: &Found) -> bool {
    !found.hardware || found.manufacturer == SOFTHSM
}

/// A token for people.
pub(super) fn describe(found: &Found) -> String {
    let label = match &*found.label {
        "" => "a token without a label".to_owned(),
        label => format!("\"{label}\""),
    };
    let parts = [&*found.manufacturer, &*found.model, &*found.serial];
    let parts: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    format!("{label} ({})", parts.join(", "))
}

fn named(path: &Path) -> Result<Module, Error> {
    let shown = path.display();
    match path.canonicalize() {
        // The path that was named: what it is a link to changes with each version.
        Ok(real) if real.is_file() => {
            let path = std::path::absolute(path).unwrap_or(real);
            Ok(Module::at(&path))
        }
        Ok(_) => Err(Error::usage(format!("{shown} is no file"))),
        Err(e) => Err(Error::usage(format!("{shown} can't be opened")).cause(e)),
    }
}

/// Where no hardware was found: software, if a person can be told so.
fn instead(init: &Init) -> Result<Choice, Error> {
    if init.yes {
        // A machine whose token is not plugged in must not get one in software unnoticed.
        return Err(Error::new(Exit::Token, "no hardware token was found")
            .hint("plug it in, or name its module with --module, a TPM with --tcti, a card with --serial; --software makes one of SoftHSM: software, not hardware"));
    }
    note("no hardware token was found; what follows is a token in software");
    software()
}

fn software() -> Result<Choice, Error> {
    match modules::softhsm() {
        Some(path) => Ok(Choice::Make(Module::at(&path))),
        None => Err(Error::new(
            Exit::Token,
            "no hardware token was found, and SoftHSM, which makes one in software, is not installed",
        )
        .hint("plug a token in, or: sudo apt install softhsm2")),
    }
}

fn none(init: &Init, problems: &[String]) -> Error {
    let what = match (&init.token_uri, &init.module) {
        (Some(uri), _) => format!("no token fits {uri}"),
        (None, Some(module)) => format!("{} shows no token that can be used", module.display()),
        (None, None) => "no token was found".to_owned(),
    };
    let error = Error::new(Exit::Token, what);
    match problems {
        [] => error.hint("is it plugged in? `keyward init` lists what it finds"),
        _ => error.hint("see what was left out, above"),
    }
}

fn unclear(several: &[Choice]) -> Error {
    let uris: Vec<String> = several
        .iter()
        .map(|choice| match choice {
            Choice::There(candidate) => format!(
                "--module {} --token-uri '{}'",
                candidate.module.path.display(),
                super::uri::of(&candidate.found)
            ),
            Choice::Tpm(tpm) => format!("--tcti {}", tpm.tcti),
            Choice::Card(card) => match card.serial() {
                Some(serial) => format!("--serial {serial}"),
                None => format!("no other in the readers than {}", card.describe()),
            },
            Choice::Make(_) => "--software".to_owned(),
        })
        .collect();
    Error::usage("there are several tokens, and --yes asks nobody").hint(uris.join("  or  "))
}

fn ask(several: &[Choice]) -> Result<Choice, Error> {
    let mut text = String::from("There are several tokens:\n");
    for (number, choice) in (1..).zip(several) {
        let row = match choice {
            Choice::There(candidate) => {
                let module = candidate.module.path.display();
                format!("{}, by {module}", describe(&candidate.found))
            }
            Choice::Tpm(tpm) => tpm.describe(),
            Choice::Card(card) => card.describe(),
            Choice::Make(_) => "a new one of SoftHSM".to_owned(),
        };
        text.push_str(&format!("  {number}  {}\n", plain(&row)));
    }
    text.push_str("Which one? Its number: ");
    let typed = pin::ask_line(&text)
        .map_err(|e| e.hint("--tcti, --serial, or --token-uri and --module, name it"))?;
    let index = typed.parse::<usize>().ok().and_then(|n| n.checked_sub(1));
    match index.and_then(|index| several.get(index)) {
        Some(chosen) => Ok(chosen.clone()),
        None => Err(Error::new(
            Exit::Negative,
            "that is none of them; nothing was done",
        )),
    }
}

/// Something to know, which is no error.
fn note(text: &str) {
    eprintln!("keyward: {}", plain(text));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn softhsm_is_software_whatever_it_says() {
        let token = |hardware, manufacturer: &str| Found {
            hardware,
            manufacturer: manufacturer.to_owned(),
            ..Found::default()
        };
        assert!(!is_software(&token(true, "Yubico (www.yubico.com)")));
        assert!(is_software(&token(true, SOFTHSM)));
        assert!(is_software(&token(false, "Yubico (www.yubico.com)")));
    }
}
