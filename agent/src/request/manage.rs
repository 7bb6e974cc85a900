//! Operations that change keys, tokens, or what the agent holds.
//!
//! What changes a token or the registry writes and fsyncs its intent first, with the id that the
//! agent chose, so that whatever a crash leaves behind can be told apart and finished
//! ([`super::reconcile`]).

mod accept;
mod activate;
mod adopt;
pub(in crate::request) mod backup;
mod bind;
mod card;
mod create;
mod destroy;
mod export;
mod import;
mod intents;
mod label;
mod material;
mod names;
mod prove;
mod rescan;
mod reseal;
mod rotate;
mod state;
mod token;

use std::time::Duration;

use keyward_backend::pcr::is_selection;
use keyward_backend::{KeyReport, MOST_BLOB};
use keyward_protocol::{ErrorCode, Failure};
use tokio::time::Instant;
use uuid::Uuid;

pub(in crate::request) use self::accept::{accept_registry, suspend_half_destroyed};

use super::answer::audit_unavailable;
use super::{Entry, Origin};
use crate::agent::Agent;
use crate::audit::{Kind, OpenIntent, Record, RegistryMark};
use crate::registry::{Placement, RegistryError};
use crate::worker::{CallError, Token};

/// Writes an intent and puts it onto the disk.
pub(in crate::request) async fn intend(
    agent: &Agent,
    origin: &Origin,
    op: &'static str,
    entry: &mut Entry,
) -> Result<OpenIntent, Failure> {
    let unavailable = |error| audit_unavailable(&error);
    let reservation = match op {
        // What takes a key out of use works on a full disk too.
        "disable" | "mark-compromised" => agent.audit.reserve_emergency(),
        _ => agent.audit.reserve(),
    };
    let reservation = reservation.map_err(unavailable)?;
    let caller = origin.caller.audit_json();
    let mut record = Record::new(Kind::ManageIntent, op);
    record.caller = Some(&caller);
    record.key = entry.key;
    record.version = entry.version;
    record.alias = entry.alias.as_deref();
    record.token = entry.token.as_deref();
    record.length = entry.length.map(|length| length as u64);
    record.fresh = entry.fresh;
    record.places = entry.places;
    let device = entry.token.as_deref().and_then(|token| {
        let registry = agent.registry.borrow();
        registry.token_identity(token).map(ToString::to_string)
    });
    record.device = device.as_deref();
    record.registry = match op {
        // A person has said that it is the right one.
        "accept-registry" => Some(mark(agent)),
        _ => accepted_mark(agent),
    };
    record.detail = entry.detail.as_deref();
    let registry = record.registry;
    let seq = agent
        .audit
        .append(reservation, &record)
        .map_err(unavailable)?;
    agent.audit.sync().await.map_err(unavailable)?;
    entry.intent = Some(seq.index());
    let intent = OpenIntent {
        audit_id: seq.index(),
        op: op.into(),
        key: entry.key,
        version_id: entry.version.map(|id| id.uuid()),
        token: entry.token.clone(),
        alias: entry.alias.clone(),
        fresh: entry.fresh,
        places: entry.places,
        device,
        registry,
    };
    entry.ended = vec![intent.clone()];
    Ok(intent)
}

/// What became of the intent is not known: it stays open until the token can be asked.
pub(in crate::request) fn leave_open(
    agent: &Agent,
    intent: OpenIntent,
    entry: &mut Entry,
    failure: Failure,
) -> Failure {
    entry.intent = None;
    entry.ended.clear();
    entry.detail = Some(format!("intent {} stays open", intent.audit_id));
    keep_open(agent, intent);
    failure
}

/// Has an intent finished as soon as its token can be asked.
pub(in crate::request) fn keep_open(agent: &Agent, intent: OpenIntent) {
    let token = intent.token.clone();
    let mut open = agent.open_intents.borrow_mut();
    if !open.iter().any(|other| other.audit_id == intent.audit_id) {
        open.push(intent);
    }
    drop(open);
    if let Some(Ok(token)) = token.map(|name| agent.token(Some(&name))) {
        token.look_again();
    }
}

/// Whether the token may have done it all the same.
pub(in crate::request) fn is_unknown(error: &CallError) -> bool {
    error.sent
        && matches!(
            error.failure.code,
            ErrorCode::TokenFailed | ErrorCode::DeadlineExceeded | ErrorCode::TokenAbsent
        )
}

/// A key whose versions or places are being changed: one change at a time, since the undoing of one
/// would destroy what another made.
pub(in crate::request) struct Changing<'a> {
    agent: &'a Agent,
    key: Uuid,
}

impl<'a> Changing<'a> {
    /// Takes hold of a key.
    pub(in crate::request) fn begin(agent: &'a Agent, key: Uuid) -> Result<Self, Failure> {
        if agent.changing.borrow_mut().insert(key) {
            return Ok(Self { agent, key });
        }
        Err(Failure::new(
            ErrorCode::Busy,
            "the key is being changed by another request",
        ))
    }
}

impl Drop for Changing<'_> {
    fn drop(&mut self) {
        self.agent.changing.borrow_mut().remove(&self.key);
    }
}

/// Until when what was begun may be undone, also behind the deadline of the request.
pub(in crate::request) fn undo_deadline(deadline: Instant) -> Instant {
    let soon = Instant::now().checked_add(UNDO);
    soon.map_or(deadline, |soon| deadline.max(soon))
}

/// How long undoing may take at least.
const UNDO: Duration = Duration::from_secs(5);

/// The registry as it is now.
pub(in crate::request) fn mark(agent: &Agent) -> RegistryMark {
    agent.registry.borrow().mark()
}

/// The same for a record, where it is the one that the log knows: the next start takes the mark of
/// the last record for the right one.
pub(in crate::request) fn accepted_mark(agent: &Agent) -> Option<RegistryMark> {
    let refused = agent.management_refused.borrow().is_some();
    (!refused).then(|| mark(agent))
}

pub(in crate::request) fn alias_taken(alias: &str) -> Failure {
    Failure::new(
        ErrorCode::Exists,
        format!("there is a key called {alias} already"),
    )
    .hint(format!("keyward key show {alias}"))
}

pub(in crate::request) fn unexpected(token: &Token) -> Failure {
    Failure::new(
        ErrorCode::TokenFailed,
        format!(
            "token {} made a key that is not what was asked for",
            token.name()
        ),
    )
}

/// Where a key lives, as its token said.
pub(in crate::request) fn placement(token: &Token, report: KeyReport) -> Placement {
    Placement {
        token: token.name().to_owned(),
        locator: report.locator,
        local: report.local,
        always_sensitive: report.always_sensitive,
        never_extractable: report.never_extractable,
        // A worker may have been taken over: what is no file of a key is not kept.
        blob: (report.blob)
            .filter(|blob| (1..=MOST_BLOB).contains(&blob.len()))
            .map(Into::into),
        bound: report.bound.filter(|bound| is_selection(&bound.pcrs)),
    }
}

/// What the registry did not take: a name that somebody has, a value that can't be, or its disk.
pub(in crate::request) fn registry_refused(error: &RegistryError) -> Failure {
    match error {
        RegistryError::AliasTaken(alias) => alias_taken(alias),
        RegistryError::Invalid(words) => Failure::new(ErrorCode::Invalid, words.to_string()),
        error => registry_failed(error),
    }
}

pub(in crate::request) fn registry_failed(error: &RegistryError) -> Failure {
    tracing::error!(%error, "the registry can't be changed");
    Failure::new(
        ErrorCode::Internal,
        format!("the registry can't be changed: {error}"),
    )
    .hint("keyward status")
}
