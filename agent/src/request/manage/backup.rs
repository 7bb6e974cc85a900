//! `backup` and `restore`: a copy of all that the agent keeps, given and taken in parts.
//!
//! A copy that is under way belongs to its connection. The log has one record of a backup, with the
//! length and digest of the whole, and of a restoration one of its beginning, an intent and an
//! outcome.

use std::cell::RefCell;
use std::rc::Rc;

use keyward_protocol::backup::{BackupError, Content, FileCopy, LONGEST};
use keyward_protocol::operation::{Backup, BackupPart, Restore, Restored};
use keyward_protocol::{ErrorCode, Failure};
use sha2::{Digest, Sha256};

use super::{intend, mark, registry_failed};
use crate::agent::{Agent, SOFTWARE, now};
use crate::registry::Plan;
use crate::request::{Entry, With};

/// How much of a copy goes into one answer.
const PART: usize = 48 * 1024;
/// How many copies are under way at the most, over all connections.
const MOST_COPIES: usize = 4;
/// How many reasons an answer has at the most, and how long each is.
const MOST_KEPT: usize = 100;
const LONGEST_KEPT: usize = 400;

/// Counts the copies that are under way.
#[derive(Clone, Default)]
pub struct Copies(Rc<()>);

/// The copies that a connection has under way.
#[derive(Default)]
pub(in crate::request) struct Under {
    given: RefCell<Option<Given>>,
    taken: RefCell<Option<Taken>>,
}

struct Given {
    document: Vec<u8>,
    _counted: Rc<()>,
}

struct Taken {
    total: u64,
    digest: [u8; 32],
    dry_run: bool,
    bytes: Vec<u8>,
    _counted: Rc<()>,
}

impl Copies {
    fn count(&self) -> Result<Rc<()>, Failure> {
        if Rc::strong_count(&self.0) > MOST_COPIES {
            return Err(Failure::new(
                ErrorCode::Busy,
                "too many backups and restorations are under way",
            ));
        }
        Ok(self.0.clone())
    }
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
            let counted = self.agent.copies.count()?;
            let document = content(self.agent).to_document();
            let document = document.map_err(|error| refused(&error))?;
            entry.digest = Some(Sha256::digest(&document).into());
            entry.length = Some(document.len());
            entry.registry = Some(mark(self.agent));
            *given = Some(Given {
                document,
                _counted: counted,
            });
        } else {
            entry.goes_on = true;
        }
        let wrong = || invalid("this connection has no backup under way that goes on there");
        let document = &given.as_ref().ok_or_else(wrong)?.document;
        let start = usize::try_from(op.offset).map_err(|_| wrong())?;
        let end = start.saturating_add(PART).min(document.len());
        let bytes = document.get(start..end).filter(|part| !part.is_empty());
        let part = BackupPart {
            bytes: bytes.ok_or_else(wrong)?.to_vec().into(),
            next: (end < document.len()).then_some(end as u64),
            total: document.len() as u64,
        };
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
            });
        };
        entry.goes_on = false;
        let Taken { dry_run, bytes, .. } = document;
        let content = Content::from_document(&bytes).map_err(|error| refused(&error))?;
        drop(bytes);
        let plan = {
            let registry = self.agent.registry.borrow();
            let plan = registry.plan(&content.tokens, &content.keys);
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
            self.carry_out(&content, entry).await?;
        }
        Ok(Restored {
            complete: true,
            added: plan.added() as u64,
            merged: plan.merged() as u64,
            kept: kept(self.agent, &content, plan),
        })
    }

    /// Puts the part where it belongs; the whole, once it is there.
    fn take_part(&self, op: Restore, entry: &mut Entry) -> Result<Option<Taken>, Failure> {
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
                bytes: Vec::new(),
                _counted: self.agent.copies.count()?,
            });
            entry.detail = Some("the first part".into());
        } else {
            entry.goes_on = true;
        }
        let wrong = || invalid("this connection has no restoration under way that goes on so");
        let copy = taken.as_mut().ok_or_else(wrong)?;
        let same = (copy.total, copy.digest, copy.dry_run) == (op.total, *op.digest, op.dry_run);
        if !same || op.offset != copy.bytes.len() as u64 || op.bytes.is_empty() {
            return Err(wrong());
        }
        let length = copy.bytes.len().saturating_add(op.bytes.len()) as u64;
        if length > copy.total {
            *taken = None;
            return Err(invalid("there is more of the backup than it should have"));
        }
        copy.bytes.extend_from_slice(&op.bytes);
        if length < copy.total {
            return Ok(None);
        }
        let whole = taken.take().ok_or_else(wrong)?;
        let digest: [u8; 32] = Sha256::digest(&whole.bytes).into();
        if digest != whole.digest {
            return Err(invalid(
                "the backup did not arrive as it was sent: its digest is another",
            ));
        }
        Ok(Some(whole))
    }

    /// The intent, and then all of it in one transaction.
    async fn carry_out(&self, content: &Content, entry: &mut Entry) -> Result<(), Failure> {
        let agent = self.agent;
        intend(agent, self.origin, "restore", entry).await?;
        {
            // The disk was waited for: what is written is compared with what is there now.
            let mut registry = agent.registry.borrow_mut();
            let plan = registry.plan(&content.tokens, &content.keys);
            let plan = plan.map_err(|error| invalid(error.to_string()))?;
            registry
                .restore(&plan)
                .map_err(|error| registry_failed(&error))?;
        }
        if agent.management_refused.borrow().is_some() {
            // It is what a registry that was lost is mended by.
            super::accept_registry(agent)
                .map_err(|error| crate::request::answer::audit_unavailable(&error))?;
        }
        entry.registry = Some(mark(agent));
        Ok(())
    }
}

fn content(agent: &Agent) -> Content {
    let registry = agent.registry.borrow();
    let (tokens, keys) = registry.copy();
    Content {
        created: now(),
        software: SOFTWARE.into(),
        generation: registry.generation(),
        digest: registry.digest().into(),
        tokens,
        keys,
        // What lives in PKCS#11 tokens has no file.
        blobs: Vec::new(),
        files: agent.files.clone(),
    }
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
    let blobs = (!content.blobs.is_empty()).then(|| {
        let count = content.blobs.len();
        format!("{count} key files: no token of this configuration can open them")
    });
    let mut all: Vec<String> = plan.kept.into_iter().chain(files).chain(blobs).collect();
    let more = all.len().saturating_sub(MOST_KEPT);
    all.truncate(MOST_KEPT);
    for words in &mut all {
        *words = short(words);
    }
    all.extend((more > 0).then(|| format!("and {more} more")));
    all
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

fn invalid(words: impl Into<String>) -> Failure {
    Failure::new(ErrorCode::Invalid, words)
}
