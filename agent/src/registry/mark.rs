//! Whether the registry is the one that the log knows.

use super::Registry;
use crate::audit::{Found, OpenIntent, RegistryMark};

/// What comparing log and registry at start gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MarkCheck {
    /// They belong together.
    Match,
    /// Neither has anything in it yet.
    Fresh,
    /// The registry has changes that the log has only the intents of: the agent died in between.
    /// Look at each intent, and write its outcome.
    Ahead {
        /// How many changes.
        generations: u64,
        /// The intents, one of which stands for each change.
        intents: Vec<OpenIntent>,
    },
    /// One of them was changed or rolled back: refuse management.
    Mismatch {
        /// What does not fit, in words.
        text: String,
    },
}

/// Compares the log's last mark with the registry.
#[must_use]
pub fn check_mark(found: &Found, registry: &Registry) -> MarkCheck {
    let now = registry.mark();
    let before = match found.last_management {
        Some(mark) if mark == now => return MarkCheck::Match,
        Some(mark) => mark,
        None if now.generation == 0 => return MarkCheck::Fresh,
        None => RegistryMark {
            generation: 0,
            digest: now.digest,
        },
    };
    let intents = &found.open_intents;
    match now.generation.checked_sub(before.generation) {
        Some(ahead @ 1..) if ahead <= intents.len() as u64 => MarkCheck::Ahead {
            generations: ahead,
            intents: intents.clone(),
        },
        ahead => MarkCheck::Mismatch {
            text: mismatch(found, before, now, ahead),
        },
    }
}

fn mismatch(found: &Found, before: RegistryMark, now: RegistryMark, ahead: Option<u64>) -> String {
    let (old, new) = (before.generation, now.generation);
    let what = match ahead {
        Some(0) => {
            format!("the registry's content at generation {new} is not what the log recorded")
        }
        None => format!(
            "the registry is at generation {new}, but the log saw generation {old}: an older registry was put in its place"
        ),
        Some(_) if found.last_management.is_none() => {
            format!("the registry is at generation {new}, but the log has no record of it")
        }
        Some(_) => format!(
            "the registry is at generation {new}, but the log saw only generation {old}: it was changed without the log, or the log is an older one"
        ),
    };
    format!("{what}; restore registry.db and audit/ of the same time from a backup")
}
