//! Takes in what was found, a page at a time: what was taken in stays, whatever becomes of the rest.

use std::collections::BTreeSet;
use std::rc::Rc;

use keyward_backend::VersionId;
use keyward_protocol::Failure;
use keyward_protocol::operation::Recovered;
use uuid::Uuid;

use super::{BUSY, Findings};
use crate::audit::Outcome;
use crate::registry::{FoundVersion, Key, Placement};
use crate::request::answer::audit_unavailable;
use crate::request::manage::intents::write;
use crate::request::manage::label::Label;
use crate::request::manage::{Changing, intend, mark, registry_refused};
use crate::request::{Entry, With};

/// What can be taken in together: all that was found of some keys.
#[derive(Default)]
pub(super) struct Page {
    pub(super) versions: Vec<FoundVersion>,
    pub(super) places: Vec<(Rc<Key>, VersionId, Placement)>,
}

impl Page {
    pub(super) fn len(&self) -> usize {
        self.versions.len().saturating_add(self.places.len())
    }

    pub(super) fn append(&mut self, mut other: Self) {
        self.versions.append(&mut other.versions);
        self.places.append(&mut other.places);
    }

    /// The key of the first version.
    pub(super) fn key(&self) -> Option<Uuid> {
        self.versions.first().map(|version| version.key)
    }

    /// Why versions that are said to be of one key can't be: which of them is the right one, no
    /// label can tell.
    pub(super) fn contradiction(&self) -> Option<String> {
        let kind = |v: &FoundVersion| (v.purpose, v.key_type, v.formats.clone());
        let one_kind = self.versions.windows(2).all(|pair| match pair {
            [a, b] => kind(a) == kind(b),
            _ => true,
        });
        (!one_kind).then(|| {
            let count = self.versions.len();
            format!("the token has {count} versions of it that contradict each other")
        })
    }

    /// What the log and the answer say of each.
    fn each(&self) -> Vec<Taken> {
        let found = self.versions.iter().map(|version| Taken {
            version: version.id,
            key_type: version.key_type,
            label: Label {
                key: version.key,
                number: version.number,
                purpose: version.purpose,
                formats: version.formats.clone(),
            },
            alias: None,
        });
        let placed = self.places.iter().map(|(key, id, _)| Taken {
            version: *id,
            key_type: key.key_type,
            label: Label {
                key: key.id,
                number: (key.versions.iter())
                    .find(|version| version.id == *id)
                    .map_or(0, |version| version.number),
                purpose: key.purpose,
                formats: key.formats.clone(),
            },
            alias: key.aliases.first().cloned(),
        });
        found.chain(placed).collect()
    }
}

/// A version that is taken in.
struct Taken {
    version: VersionId,
    key_type: keyward_protocol::KeyType,
    label: Label,
    alias: Option<String>,
}

impl With<'_> {
    /// Takes a page in, under an intent of its own. The log names each version.
    pub(super) async fn take_in(
        &self,
        mut page: Page,
        findings: &mut Findings,
        entry: &mut Entry,
    ) -> Result<(), Failure> {
        let agent = self.agent;
        let _changing = self.take_hold(&mut page, findings);
        let taken = page.each();
        if taken.is_empty() {
            return Ok(());
        }
        let rooms: Result<Vec<_>, _> = taken.iter().map(|_| agent.audit.reserve()).collect();
        let rooms = rooms.map_err(|error| audit_unavailable(&error))?;
        let mut intending = Entry {
            token: entry.token.clone(),
            detail: Some(format!("{} versions", taken.len())),
            ..Entry::default()
        };
        let intent = intend(agent, self.origin, "rescan", &mut intending).await?;
        let places: Vec<_> = page
            .places
            .iter()
            .map(|(key, version, place)| (key.id, *version, place.clone()))
            .collect();
        let recovered = agent
            .registry
            .borrow_mut()
            .recover(&page.versions, &places)
            .map_err(|error| registry_refused(&error));
        if let Err(failure) = recovered {
            // The request's own record is the outcome.
            entry.intent = intending.intent;
            return Err(failure);
        }
        entry.registry = Some(mark(agent));
        for (taken, room) in taken.into_iter().zip(rooms) {
            let named = Entry {
                key: Some(taken.label.key),
                version: Some(taken.version),
                alias: taken.alias,
                detail: Some(taken.label.to_string()),
                ..Entry::default()
            };
            let (origin, ok) = (self.origin, Outcome::Ok);
            if !write(agent, origin, "rescan", &named, &intent, ok, room) {
                let words = "the log can't be written; what was taken in is in the registry";
                let code = keyward_protocol::ErrorCode::AuditUnavailable;
                return Err(Failure::new(code, words));
            }
            findings.recovered.push(Recovered {
                key: taken.label.key.to_string(),
                version: taken.label.number,
                purpose: taken.label.purpose,
                key_type: taken.key_type,
            });
        }
        Ok(())
    }

    /// Takes hold of the keys that are taken in; refuses those that somebody changes by now.
    fn take_hold(&self, page: &mut Page, findings: &mut Findings) -> Vec<Changing<'_>> {
        let mut busy = Vec::new();
        let mut free = |key, version| {
            let free = !self.is_changing(key, version);
            if !free {
                busy.push(format!("{version}: {BUSY}"));
            }
            free
        };
        page.versions.retain(|v| free(v.key, v.id));
        page.places.retain(|(key, id, _)| free(key.id, *id));
        for why in busy {
            findings.refuse(&why);
        }
        let keys: BTreeSet<Uuid> = page
            .versions
            .iter()
            .map(|version| version.key)
            .chain(page.places.iter().map(|(key, _, _)| key.id))
            .collect();
        keys.into_iter()
            .filter_map(|key| Changing::begin(self.agent, key).ok())
            .collect()
    }
}
