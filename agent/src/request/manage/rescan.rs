//! `rescan`: keys that are on a token and that the registry does not have.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use keyward_backend::message::{Outcome, SCAN_PAGE, ScannedKey, Work};
use keyward_backend::{KeyReport, VersionId};
use keyward_protocol::operation::{Recovered, Rescan, Rescanned};
use keyward_protocol::{ErrorCode, Failure, KeyState};
use uuid::Uuid;

use super::label::{Label, PREFIX};
use super::prove::{Claim, Known};
use super::{Changing, intend, mark, placement, registry_refused};
use crate::registry::{FoundVersion, Key, Placement, Version};
use crate::request::usage::misbehaved;
use crate::request::{Entry, With};
use crate::worker::Token;

/// How many pages of keys are read of a token: nobody has more.
const MOST_PAGES: usize = 256;
/// How many keys are taken in at once, and how many are named in the answer, which is one frame.
const MOST_RECOVERED: usize = 300;
const MOST_REFUSED: usize = 60;
const MOST_MISSING: usize = 300;
/// The longest reason, in characters.
const MOST_REASON: usize = 300;

/// What is found.
#[derive(Default)]
struct Findings {
    versions: Vec<FoundVersion>,
    places: Vec<(Rc<Key>, VersionId, Placement)>,
    known: u64,
    foreign: u64,
    refused: Vec<String>,
    seen: BTreeSet<VersionId>,
    more: bool,
}

impl With<'_> {
    pub(in crate::request) async fn rescan(
        &self,
        op: &Rescan,
        entry: &mut Entry,
    ) -> Result<Rescanned, Failure> {
        let agent = self.agent;
        let token = agent.token(op.token.as_deref())?.as_ref();
        entry.token = Some(token.name().to_owned());
        token.refuse_unless_ready()?;
        let mut findings = Findings::default();
        for key in self.scan(token, &mut findings.foreign).await? {
            findings.seen.insert(key.id);
            self.look(token, key, &mut findings).await?;
        }
        findings.sort_out();
        let _changing = self.take_hold(&mut findings);
        let found = findings.found();
        entry.detail = Some(format!(
            "{found} recovered, {} known, {} foreign, {} refused",
            findings.known,
            findings.foreign,
            findings.refused.len()
        ));
        if found > 0 {
            intend(agent, self.origin, "rescan", entry).await?;
            let places: Vec<_> = findings
                .places
                .iter()
                .map(|(key, version, place)| (key.id, *version, place.clone()))
                .collect();
            agent
                .registry
                .borrow_mut()
                .recover(&findings.versions, &places)
                .map_err(|error| registry_refused(&error))?;
            entry.registry = Some(mark(agent));
        }
        Ok(self.report(token, findings))
    }

    /// All keys of the token whose id could be keyward's, in the order of their ids.
    async fn scan(&self, token: &Token, foreign: &mut u64) -> Result<Vec<ScannedKey>, Failure> {
        let mut keys: Vec<ScannedKey> = Vec::new();
        for _ in 0..MOST_PAGES {
            let after = keys.last().map(|key| key.id);
            let work = Work::Scan(after);
            let Outcome::Keys(page) = token.call(self.authorised, work, self.deadline).await?
            else {
                return Err(misbehaved(token));
            };
            let last = page.keys.iter().try_fold(after, |before, key| {
                (before < Some(key.id) && key.label.len() <= 256).then_some(Some(key.id))
            });
            if last.is_none() || page.keys.len() > SCAN_PAGE || (page.more && page.keys.is_empty())
            {
                return Err(misbehaved(token));
            }
            *foreign = page.foreign.into();
            keys.extend(page.keys);
            if !page.more {
                return Ok(keys);
            }
        }
        Err(Failure::new(
            ErrorCode::TooLarge,
            format!("token {} has too many keys to be read", token.name()),
        ))
    }

    /// Whether a key or version is being changed, or waits for a change to be finished: what is on
    /// the token may be destroyed again.
    fn is_changing(&self, key: Uuid, version: VersionId) -> bool {
        let agent = self.agent;
        agent.changing.borrow().contains(&key)
            || agent
                .open_intents
                .borrow()
                .iter()
                .any(|intent| intent.key == Some(key) || intent.version_id == Some(version.uuid()))
    }

    /// Takes hold of the keys that are taken in; refuses those that somebody changes by now.
    fn take_hold(&self, findings: &mut Findings) -> Vec<Changing<'_>> {
        let mut busy = Vec::new();
        let mut free = |key, version| {
            let free = !self.is_changing(key, version);
            if !free {
                busy.push(format!("{version}: {BUSY}"));
            }
            free
        };
        findings.versions.retain(|v| free(v.key, v.id));
        findings.places.retain(|(key, id, _)| free(key.id, *id));
        for why in busy {
            findings.refuse(&why);
        }
        let keys: BTreeSet<Uuid> = findings
            .versions
            .iter()
            .map(|version| version.key)
            .chain(findings.places.iter().map(|(key, _, _)| key.id))
            .collect();
        keys.into_iter()
            .filter_map(|key| Changing::begin(self.agent, key).ok())
            .collect()
    }

    /// Looks at one key of the token.
    async fn look(
        &self,
        token: &Token,
        scanned: ScannedKey,
        findings: &mut Findings,
    ) -> Result<(), Failure> {
        let holder = self.agent.registry.borrow().key_of(scanned.id);
        let version = holder
            .as_ref()
            .and_then(|key| key.versions.iter().find(|v| v.id == scanned.id));
        if version.is_some_and(|v| v.placements.iter().any(|p| p.token == token.name())) {
            findings.known = findings.known.saturating_add(1);
            return Ok(());
        }
        let Some(label) = Label::parse(&scanned.label) else {
            if scanned.label.starts_with(PREFIX) || holder.is_some() {
                let id = scanned.id;
                findings.refuse(&format!("{id}: its label is not one that keyward writes"));
            } else {
                findings.foreign = findings.foreign.saturating_add(1);
            }
            return Ok(());
        };
        let key = holder.as_ref().map_or(label.key, |key| key.id);
        if self.is_changing(key, scanned.id) || self.is_changing(label.key, scanned.id) {
            findings.refuse(&format!("{}: {BUSY}", scanned.id));
            return Ok(());
        }
        if findings.found() >= MOST_RECOVERED {
            findings.more = true;
            return Ok(());
        }
        let refused = match (&holder, version) {
            (Some(key), Some(version)) => {
                self.further_place(token, key, version, &label, findings)
                    .await?
            }
            _ => self.unknown(token, &scanned, label, findings).await?,
        };
        if let Some(why) = refused {
            findings.refuse(&format!("{}: {why}", scanned.id));
        }
        Ok(())
    }

    /// A version that the registry has, but not on this token: why it is not the same, if it isn't.
    async fn further_place(
        &self,
        token: &Token,
        key: &Rc<Key>,
        version: &Version,
        label: &Label,
        findings: &mut Findings,
    ) -> Result<Option<String>, Failure> {
        if key.state == KeyState::Destroyed {
            return Ok(Some(format!(
                "the key {} was destroyed, and is still on the token",
                key.id
            )));
        }
        let same = (label.key, label.number) == (key.id, version.number)
            && (label.purpose, &label.formats) == (key.purpose, &key.formats);
        if !same {
            return Ok(Some(format!("its label is not that of the key {}", key.id)));
        }
        let Some(report) = self.inspect(token, version.id).await? else {
            return Ok(Some("the token does not show it".into()));
        };
        if report.key_type != Some(key.key_type) || report.public != version.public {
            return Ok(Some(format!("it is another key than {}", key.id)));
        }
        let Some(public) = &version.public else {
            return Ok(Some(format!(
                "whether this secret key is that of {} can't be seen; import it again, naming the key",
                key.id
            )));
        };
        let claim = Claim {
            id: version.id,
            purpose: key.purpose,
            key_type: key.key_type,
            known: Known::Public(public),
        };
        if !self.proven(token, claim).await? {
            return Ok(Some(UNPROVEN.into()));
        }
        let place = placement(token, report);
        findings.places.push((Rc::clone(key), version.id, place));
        Ok(None)
    }

    /// A version that the registry does not have: why it can't be taken in, if it can't.
    async fn unknown(
        &self,
        token: &Token,
        scanned: &ScannedKey,
        label: Label,
        findings: &mut Findings,
    ) -> Result<Option<String>, Failure> {
        let Some(report) = self.inspect(token, scanned.id).await? else {
            return Ok(Some("the token does not show it".into()));
        };
        let Some(key_type) = report.key_type else {
            return Ok(Some("it is of a type that keyward does not have".into()));
        };
        let found = FoundVersion {
            key: label.key,
            number: label.number,
            purpose: label.purpose,
            formats: label.formats,
            id: scanned.id,
            key_type,
            public: report.public.clone(),
            placement: placement(token, report),
        };
        if let Err(why) = self.agent.registry.borrow().check_found(&found) {
            return Ok(Some(why.to_string()));
        }
        if let Some(public) = &found.public {
            let claim = Claim {
                id: found.id,
                purpose: found.purpose,
                key_type,
                known: Known::Public(public),
            };
            if !self.proven(token, claim).await? {
                return Ok(Some(UNPROVEN.into()));
            }
        }
        findings.versions.push(found);
        Ok(None)
    }

    async fn inspect(&self, token: &Token, id: VersionId) -> Result<Option<KeyReport>, Failure> {
        let work = Work::Inspect(id);
        match token.call(self.authorised, work, self.deadline).await {
            Ok(Outcome::Key(report)) => Ok(report),
            Ok(_) => Err(misbehaved(token)),
            Err(failure) if is_about_the_key(&failure) => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    /// Whether the private part is that of the public one; whatever the key itself refuses is no
    /// reason to give up the rest.
    async fn proven(&self, token: &Token, claim: Claim<'_>) -> Result<bool, Failure> {
        match self.prove(token, claim).await {
            Err(failure) if is_about_the_key(&failure) => Ok(false),
            proven => proven,
        }
    }

    fn report(&self, token: &Token, findings: Findings) -> Rescanned {
        let mut missing: Vec<String> = Vec::new();
        for (key, version) in self.agent.registry.borrow().on_token(token.name()) {
            let listed = missing.last() == Some(&key.id_text);
            if !listed && !findings.seen.contains(&version) && missing.len() < MOST_MISSING {
                missing.push(key.id_text.clone());
            }
        }
        let mut refused = findings.refused;
        let left = refused.len().saturating_sub(MOST_REFUSED);
        refused.truncate(MOST_REFUSED);
        if left > 0 {
            refused.push(format!("{left} more were refused"));
        }
        if findings.more {
            refused.push("there are more keys: rescan again".into());
        }
        let found = findings.versions.iter().map(|version| Recovered {
            key: version.key.to_string(),
            version: version.number,
            purpose: version.purpose,
            key_type: version.key_type,
        });
        let placed = findings.places.iter().map(|(key, id, _)| Recovered {
            key: key.id_text.clone(),
            version: key
                .versions
                .iter()
                .find(|version| version.id == *id)
                .map_or(0, |version| version.number),
            purpose: key.purpose,
            key_type: key.key_type,
        });
        Rescanned {
            recovered: found.chain(placed).collect(),
            known: findings.known,
            foreign: findings.foreign,
            refused,
            missing,
        }
    }
}

const BUSY: &str = "busy: its key is being changed; rescan when that has ended";
const UNPROVEN: &str = "its private part is not that of its public part";

/// Whether a failure is of this one key, and the next may do.
fn is_about_the_key(failure: &Failure) -> bool {
    matches!(
        failure.code,
        ErrorCode::NotFound
            | ErrorCode::MechanismInvalid
            | ErrorCode::Invalid
            | ErrorCode::UnwrapFailed
    )
}

impl Findings {
    fn found(&self) -> usize {
        self.versions.len().saturating_add(self.places.len())
    }

    fn refuse(&mut self, why: &str) {
        self.refused.push(why.chars().take(MOST_REASON).collect());
    }

    /// Refuses what contradicts itself: two versions of one number, and versions of one key that
    /// are not of one kind. Which of them is the right one, no label can tell.
    fn sort_out(&mut self) {
        let mut keys: BTreeMap<Uuid, Vec<FoundVersion>> = BTreeMap::new();
        for version in std::mem::take(&mut self.versions) {
            keys.entry(version.key).or_default().push(version);
        }
        for (key, versions) in keys {
            let numbers: BTreeSet<u32> = versions.iter().map(|v| v.number).collect();
            let kind = |v: &FoundVersion| (v.purpose, v.key_type, v.formats.clone());
            let kinds = versions.windows(2).all(|pair| match pair {
                [a, b] => kind(a) == kind(b),
                _ => true,
            });
            if kinds && numbers.len() == versions.len() {
                self.versions.extend(versions);
            } else {
                self.refuse(&format!(
                    "{key}: the token has {} versions of it that contradict each other",
                    versions.len()
                ));
            }
        }
    }
}
