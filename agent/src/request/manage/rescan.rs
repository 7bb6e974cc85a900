//! `rescan`: keys that are on a token and that the registry does not have.
//!
//! All of the token is read first, since what contradicts itself is not taken in; then key by key is
//! looked at, and taken in by pages. What was taken in stays when the time is up: the next rescan
//! goes on behind it.

mod look;
mod page;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use keyward_backend::VersionId;
use keyward_backend::message::{Outcome, SCAN_PAGE, ScannedKey, Work};
use keyward_protocol::operation::{Recovered, Rescan, Rescanned};
use keyward_protocol::{ErrorCode, Failure};
use tokio::time::Instant;
use uuid::Uuid;

use self::page::Page;
use super::label::{Label, PREFIX};
use crate::request::usage::misbehaved;
use crate::request::{Entry, With};
use crate::worker::Token;

/// How many pages of keys are read of a token: nobody has more.
const MOST_PAGES: usize = 256;
/// How many versions are taken in at once.
const PAGE: usize = 32;
/// How many of them a request takes in, and how many are named in the answer, which is one frame.
const MOST_RECOVERED: usize = 300;
const MOST_REFUSED: usize = 60;
const MOST_MISSING: usize = 300;
/// The longest reason, in characters.
const MOST_REASON: usize = 300;
/// Taking in and answering have so much time at the most; a quarter where there is not much.
const MOST_REST: Duration = Duration::from_secs(2);

const BUSY: &str = "busy: its key is being changed; rescan when that has ended";

/// What is found.
#[derive(Default)]
struct Findings {
    recovered: Vec<Recovered>,
    known: u64,
    foreign: u64,
    refused: Vec<String>,
    seen: BTreeSet<VersionId>,
    /// Why there is more that was not looked at.
    more: Option<String>,
}

impl Findings {
    fn refuse(&mut self, why: &str) {
        self.refused.push(why.chars().take(MOST_REASON).collect());
    }
}

impl With<'_> {
    pub(in crate::request) async fn rescan(
        &self,
        op: &Rescan,
        entry: &mut Entry,
    ) -> Result<Rescanned, Failure> {
        let token = self.agent.token(op.token.as_deref())?.as_ref();
        entry.token = Some(token.name().to_owned());
        token.refuse_unless_ready()?;
        let now = Instant::now();
        let rest = self.deadline.saturating_duration_since(now).checked_div(4);
        let stop = self
            .deadline
            .checked_sub(rest.unwrap_or_default().min(MOST_REST));
        let mut findings = Findings::default();
        let scanned = self.scan(token, &mut findings.foreign).await?;
        let keys = self.sort(token, scanned, &mut findings);
        let took = self
            .take_all(token, keys, stop.unwrap_or(now), &mut findings, entry)
            .await;
        entry.detail = Some(format!(
            "{} recovered, {} known, {} foreign, {} refused{}",
            findings.recovered.len(),
            findings.known,
            findings.foreign,
            findings.refused.len(),
            match findings.more {
                Some(_) => ", not complete",
                None => "",
            }
        ));
        match took {
            Err(mut failure) if !findings.recovered.is_empty() => {
                let count = findings.recovered.len();
                let words = format!("; {count} versions were taken in before");
                failure.message.push_str(&words);
                Err(failure)
            }
            Err(failure) => Err(failure),
            Ok(()) => Ok(self.report(token, findings)),
        }
    }

    /// Looks at each key and takes in what can be; what stops it is an error only where nothing was
    /// taken in.
    async fn take_all(
        &self,
        token: &Token,
        keys: BTreeMap<Uuid, Vec<(VersionId, Label)>>,
        stop: Instant,
        findings: &mut Findings,
        entry: &mut Entry,
    ) -> Result<(), Failure> {
        let mut page = Page::default();
        let mut left = keys.len();
        let mut ended = None;
        for (_, versions) in keys {
            let count = findings.recovered.len().saturating_add(page.len());
            if count > 0 && count.saturating_add(versions.len()) > MOST_RECOVERED {
                findings.more = Some("there are more keys: rescan again".into());
                break;
            }
            if Instant::now() >= stop {
                ended = Some(Failure::new(
                    ErrorCode::DeadlineExceeded,
                    "the time for it was up",
                ));
                break;
            }
            match self.look(token, versions, findings).await {
                Ok(found) => page.append(found),
                Err(failure) => {
                    ended = Some(failure);
                    break;
                }
            }
            left = left.saturating_sub(1);
            if page.len() >= PAGE {
                let whole = std::mem::take(&mut page);
                self.take_in(whole, findings, entry).await?;
            }
        }
        self.take_in(page, findings, entry).await?;
        match ended {
            None => Ok(()),
            Some(failure) if findings.recovered.is_empty() => Err(failure),
            Some(failure) => {
                findings.more = Some(format!(
                    "{left} keys were not looked at ({}): rescan again",
                    failure.message
                ));
                Ok(())
            }
        }
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

    /// What may be taken in, by keys; counts and refuses the rest, as far as the labels tell.
    fn sort(
        &self,
        token: &Token,
        scanned: Vec<ScannedKey>,
        findings: &mut Findings,
    ) -> BTreeMap<Uuid, Vec<(VersionId, Label)>> {
        let mut keys: BTreeMap<Uuid, Vec<(VersionId, Label)>> = BTreeMap::new();
        let registry = self.agent.registry.borrow();
        let known: BTreeSet<VersionId> = registry
            .on_token(token.name())
            .into_iter()
            .map(|(_, id)| id)
            .collect();
        for ScannedKey { id, label } in scanned {
            findings.seen.insert(id);
            if known.contains(&id) {
                findings.known = findings.known.saturating_add(1);
            } else if let Some(label) = Label::parse(&label) {
                keys.entry(label.key).or_default().push((id, label));
            } else if label.starts_with(PREFIX) || registry.key_of(id).is_some() {
                findings.refuse(&format!("{id}: its label is not one that keyward writes"));
            } else {
                findings.foreign = findings.foreign.saturating_add(1);
            }
        }
        // Which of two versions of one number is the right one, no label can tell.
        keys.retain(|key, versions| {
            let numbers: BTreeSet<u32> = versions.iter().map(|(_, label)| label.number).collect();
            let kind = |label: &Label| (label.purpose, label.formats.clone());
            let first = versions.first().map(|(_, label)| kind(label));
            let one_kind = versions.iter().all(|(_, label)| Some(kind(label)) == first);
            let fits = one_kind && numbers.len() == versions.len();
            if !fits {
                findings.refuse(&format!(
                    "{key}: the token has {} versions of it that contradict each other",
                    versions.len()
                ));
            }
            fits
        });
        keys
    }

    /// What is told; the last of what was refused says whether there is more.
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
        refused.extend(findings.more);
        Rescanned {
            recovered: findings.recovered,
            known: findings.known,
            foreign: findings.foreign,
            refused,
            missing,
        }
    }
}
