//! Whether the registry is the one that the log knows.

use keyward_backend::VersionId;
use keyward_protocol::KeyState;

use super::{Key, Registry};
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
        /// The intents whose change the registry shows, one of which stands for each.
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
    let explains = |intent: &&OpenIntent| registry.shows(intent);
    let intents: Vec<_> = found
        .open_intents
        .iter()
        .filter(explains)
        .cloned()
        .collect();
    match now.generation.checked_sub(before.generation) {
        Some(ahead @ 1..) if ahead <= intents.len() as u64 => MarkCheck::Ahead {
            generations: ahead,
            intents,
        },
        ahead => MarkCheck::Mismatch {
            text: mismatch(found, before, now, ahead),
        },
    }
}

impl Registry {
    /// Whether the change of an open intent was made, as far as the registry tells: that something
    /// else was changed since says nothing of it.
    #[must_use]
    pub fn was_made(&self, intent: &OpenIntent) -> Option<bool> {
        let tells = matches!(
            intent.op.as_str(),
            "enable" | "disable" | "mark-compromised" | "destroy"
        );
        match intent.registry {
            Some(before) if before == self.mark => Some(false),
            Some(before) if before.generation < self.mark.generation => {
                (tells && self.shows(intent)).then_some(true)
            }
            _ => None,
        }
    }

    /// Whether an open intent may stand for a change: the registry has what it was to bring about.
    fn shows(&self, intent: &OpenIntent) -> bool {
        let key = intent.key.and_then(|id| self.keys.get(&id));
        match intent.op.as_str() {
            "create" | "import" | "adopt" | "rotate" => key.is_some_and(|key| {
                let version = intent.version_id.map(VersionId::from);
                key.versions.iter().any(|other| Some(other.id) == version)
            }),
            "destroy" => {
                key.is_some_and(|key| key.state == KeyState::Destroyed || is_gone(key, intent))
            }
            "reset-token" => key.is_some_and(|key| is_gone(key, intent)),
            "enable" => key.is_some_and(|key| key.state == KeyState::Active),
            "disable" => key.is_some_and(|key| key.state == KeyState::Suspended),
            "mark-compromised" => key.is_some_and(|key| key.state == KeyState::Compromised),
            "alias" | "tag" => key.is_some(),
            "pin-token" | "rescan" => intent
                .token
                .as_ref()
                .is_some_and(|token| self.tokens.contains_key(token)),
            // One that was begun where the registry did not match the log has no mark, and explains
            // nothing: whoever restored is not known to have been told that it was done.
            "restore" => intent
                .registry
                .is_some_and(|before| before.generation < self.mark.generation),
            _ => false,
        }
    }
}

/// Whether the token of the intent has nothing left of the versions that were to be destroyed.
fn is_gone(key: &Key, intent: &OpenIntent) -> bool {
    let newest = intent.version_id.map(VersionId::from);
    let newest = key.versions.iter().find(|v| Some(v.id) == newest);
    let (Some(newest), Some(token)) = (newest, &intent.token) else {
        return false;
    };
    let mut bound = key.versions.iter().filter(|v| v.number <= newest.number);
    bound.all(|version| version.placements.iter().all(|p| p.token != *token))
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
