//! `backup` and `restore`: a copy of all that the agent keeps, given and taken in parts.
//!
//! A copy that is under way belongs to its connection. The log has one record of a backup, with the
//! length and digest of the whole, and of a restoration one of its beginning, an intent and an
//! outcome.

mod slots;

use std::cell::RefCell;
use std::rc::Rc;

use keyward_protocol::backup::{BackupError, Content, FileCopy, LONGEST};
use keyward_protocol::operation::{Backup, BackupPart, Restore, Restored};
use keyward_protocol::{ErrorCode, Failure};
use sha2::{Digest, Sha256};
use tokio::time::Instant;
use uuid::Uuid;

pub use self::slots::Copies;

use self::slots::Slot;
use super::{intend, mark, registry_failed};
use crate::agent::{Agent, SOFTWARE, now};
use crate::registry::{Plan, RegistryError};
use crate::request::{Entry, With};

/// How much of a copy goes into one answer.
const PART: usize = 48 * 1024;
/// How many reasons an answer has at the most, and how long each is.
const MOST_KEPT: usize = 100;
const LONGEST_KEPT: usize = 400;

/// The copies that a connection has under way.
#[derive(Default)]
pub(in crate::request) struct Under {
    given: RefCell<Option<Rc<Slot>>>,
    taken: RefCell<Option<Taken>>,
}

struct Taken {
    total: u64,
    digest: [u8; 32],
    dry_run: bool,
    slot: Rc<Slot>,
}

impl With<'_> {
    pub(in crate::request) fn backup(
        &self,
        op: &Backup,
        entry: &mut Entry,
    ) -> Result<BackupPart, Failure> {
        let mut given = self.origin.copies.given.borrow_mut();
        if op.offset == 0 {
            *given = None;
            // Its room first: making a copy takes longer than saying that there is none.
            let slot = self.agent.copies.begin(Vec::new(), Instant::now())?;
            let content = content(self.agent).map_err(|error| registry_failed(&error))?;
            let document = content.to_document();
            let document = document.map_err(|error| refused(&error))?;
            entry.digest = Some(Sha256::digest(&document).into());
            entry.length = Some(document.len());
            entry.registry = Some(mark(self.agent));
            slot.go_on(Instant::now(), |bytes| *bytes = document);
            *given = Some(slot);
        } else {
            entry.goes_on = true;
        }
        let wrong = || invalid("this connection has no backup under way that goes on there");
        let slot = given.as_ref().ok_or_else(wrong)?;
        let part = slot.go_on(Instant::now(), |document| part(document, op.offset));
        let part = part.ok_or_else(given_up)?.ok_or_else(wrong)?;
        if part.next.is_none() {
            *given = None;
        }
        Ok(part)
    }

    pub(in crate::request) async fn restore(
        &self,
        op: Restore,
        entry: &mut Entry,
    ) -> Result<Restored, Failure> {
        entry.length = usize::try_from(op.total).ok();
        entry.digest = Some(*op.digest);
        let Some(document) = self.take_part(op, entry)? else {
            return Ok(Restored {
                complete: false,
                added: 0,
                merged: 0,
                kept: Vec::new(),
                bound: None,
            });
        };
        entry.goes_on = false;
        let (dry_run, bytes) = document;
        let content = Content::from_document(&bytes).map_err(|error| refused(&error))?;
        drop(bytes);
        let mut plan = {
            let registry = self.agent.registry.borrow();
            let plan = registry
                .plan(&content.tokens, &content.keys)
                .and_then(|plan| plan.without(is_busy(self.agent)).with_blobs(&content.blobs));
            plan.map_err(|error| invalid(format!("the backup can't be taken over: {error}")))?
        };
        entry.detail = Some(format!(
            "{}{} keys added, {} merged, of a backup by {} at generation {}",
            if dry_run { "dry run: " } else { "" },
            plan.added(),
            plan.merged(),
            short(&content.software),
            content.generation,
        ));
        if !dry_run {
            if let (Some(why), Some(detail)) =
                (&*self.agent.management_refused.borrow(), &mut entry.detail)
            {
                detail.push_str(&format!("; accepts another registry: {why}"));
            }
            plan = self.carry_out(&content, entry).await?;
        }
        Ok(Restored {
            complete: true,
            added: plan.added() as u64,
            merged: plan.merged() as u64,
            bound: bound(&plan),
            kept: kept(self.agent, &content, plan),
        })
    }

    /// Puts the part where it belongs; the whole, once it is there, and whether it is only tried.
    fn take_part(
        &self,
        op: Restore,
        entry: &mut Entry,
    ) -> Result<Option<(bool, Vec<u8>)>, Failure> {
        let mut taken = self.origin.copies.taken.borrow_mut();
        if op.offset == 0 {
            *taken = None;
            if !(1..=LONGEST as u64).contains(&op.total) {
                let text = format!("a backup has 1 to {LONGEST} bytes, not {}", op.total);
                return Err(Failure::new(ErrorCode::TooLarge, text));
            }
            *taken = Some(Taken {
                total: op.total,
                digest: *op.digest,
                dry_run: op.dry_run,
                slot: self.agent.copies.begin(Vec::new(), Instant::now())?,
            });
            entry.detail = Some("the first part".into());
        } else {
            entry.goes_on = true;
        }
        let wrong = || invalid("this connection has no restoration under way that goes on so");
        let copy = taken.as_ref().ok_or_else(wrong)?;
        let same = (copy.total, copy.digest, copy.dry_run) == (op.total, *op.digest, op.dry_run);
        let put = |bytes: &mut Vec<u8>| {
            if !same || op.offset != bytes.len() as u64 || op.bytes.is_empty() {
                return Err(wrong());
            }
            let length = bytes.len().saturating_add(op.bytes.len()) as u64;
            if length <= copy.total {
                bytes.extend_from_slice(&op.bytes);
            }
            Ok((
                length,
                (length == copy.total).then(|| std::mem::take(bytes)),
            ))
        };
        let put = copy.slot.go_on(Instant::now(), put);
        let (length, whole) = put.ok_or_else(given_up)??;
        if length > copy.total {
            *taken = None;
            return Err(invalid("there is more of the backup than it should have"));
        }
        let Some(whole) = whole else {
            return Ok(None);
        };
        *taken = None;
        let digest: [u8; 32] = Sha256::digest(&whole).into();
        if digest != *op.digest {
            return Err(invalid(
                "the backup did not arrive as it was sent: its digest is another",
            ));
        }
        Ok(Some((op.dry_run, whole)))
    }

    /// The intent, and then all of it in one transaction.
    async fn carry_out(&self, content: &Content, entry: &mut Entry) -> Result<Plan, Failure> {
        let agent = self.agent;
        intend(agent, self.origin, "restore", entry).await?;
        let mut plan = {
            // The disk was waited for: what is written is compared with what is there now.
            let mut registry = agent.registry.borrow_mut();
            let plan = registry
                .plan(&content.tokens, &content.keys)
                .and_then(|plan| plan.without(is_busy(agent)).with_blobs(&content.blobs));
            let plan = plan.map_err(|error| invalid(error.to_string()))?;
            registry
                .restore(&plan)
                .map_err(|error| registry_failed(&error))?;
            plan
        };
        if agent.management_refused.borrow().is_some() {
            if let Some(words) = super::suspend_half_destroyed(agent)? {
                entry.note(&words);
                plan.kept.insert(0, words);
            }
            // It is what a registry that was lost is mended by.
            super::accept_registry(agent)
                .map_err(|error| crate::request::answer::audit_unavailable(&error))?;
        }
        entry.registry = Some(mark(agent));
        // They get the files back of keys that they have lost.
        for token in agent.tokens.values() {
            token.look_again();
        }
        Ok(plan)
    }
}

/// Whether a key is being changed, or a change of it is to be finished: what a copy adds to it could
/// be undone with that, or be forgotten. Where another registry is accepted nothing is finished.
fn is_busy(agent: &Agent) -> impl Fn(Uuid) -> bool {
    move |id| {
        let finishes = agent.management_refused.borrow().is_none();
        let open = agent.open_intents.borrow();
        let is_open = open.iter().any(|i| i.key == Some(id) && i.token.is_some());
        agent.changing.borrow().contains(&id) || (finishes && is_open)
    }
}

/// The part that begins there, if one does.
fn part(document: &[u8], offset: u64) -> Option<BackupPart> {
    let start = usize::try_from(offset).ok()?;
    let end = start.saturating_add(PART).min(document.len());
    let bytes = document.get(start..end).filter(|part| !part.is_empty())?;
    Some(BackupPart {
        bytes: bytes.to_vec().into(),
        next: (end < document.len()).then_some(end as u64),
        total: document.len() as u64,
    })
}

fn content(agent: &Agent) -> Result<Content, RegistryError> {
    let registry = agent.registry.borrow();
    let (tokens, keys) = registry.copy()?;
    Ok(Content {
        created: now(),
        software: SOFTWARE.into(),
        generation: registry.generation(),
        digest: registry.digest().into(),
        tokens,
        keys,
        // What lives in PKCS#11 tokens has none.
        blobs: registry.blobs(),
        files: agent.files.clone(),
    })
}

/// What was not taken over; an answer has to fit into a frame.
fn kept(agent: &Agent, content: &Content, plan: Plan) -> Vec<String> {
    let other = |file: &&FileCopy| !agent.files.contains(file);
    let files = content.files.iter().filter(other).map(|file| {
        format!(
            "{}: it is another here; keywardd changes no configuration",
            short(&file.name)
        )
    });
    let left = content.blobs.len().saturating_sub(plan.blobs());
    let blobs = (left > 0)
        .then(|| format!("{left} key files: their keys are there already, or don't come back"));
    let mut all: Vec<String> = plan.kept.into_iter().chain(files).chain(blobs).collect();
    let more = all.len().saturating_sub(MOST_KEPT);
    all.truncate(MOST_KEPT);
    for words in &mut all {
        *words = short(words);
    }
    all.extend((more > 0).then(|| format!("and {more} more")));
    all
}

/// What comes back bound; an answer has to fit into a frame.
fn bound(plan: &Plan) -> Option<Vec<String>> {
    let mut all = plan.bound();
    let more = all.len().saturating_sub(MOST_KEPT);
    all.truncate(MOST_KEPT);
    all.extend((more > 0).then(|| format!("and {more} more")));
    (!all.is_empty()).then_some(all)
}

fn short(words: &str) -> String {
    let mut plain: String = words.chars().filter(|c| !c.is_control()).collect();
    while plain.len() > LONGEST_KEPT {
        plain.pop();
    }
    plain
}

fn refused(error: &BackupError) -> Failure {
    let code = match error {
        BackupError::TooLarge(_) => ErrorCode::TooLarge,
        _ => ErrorCode::Invalid,
    };
    Failure::new(code, error.to_string())
}

fn given_up() -> Failure {
    Failure::new(
        ErrorCode::DeadlineExceeded,
        "no part was asked for or given for a minute, and another backup or restoration needed the room",
    )
    .hint("begin again")
}

fn invalid(words: impl Into<String>) -> Failure {
    Failure::new(ErrorCode::Invalid, words)
}
