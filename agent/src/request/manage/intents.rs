//! The intents of one change on several tokens: one for each, so that each can be finished when its
//! token is there.

use keyward_protocol::{ErrorCode, Failure};

use super::{intend, keep_open, mark};
use crate::agent::Agent;
use crate::audit::{Kind, OpenIntent, Outcome, Record, Reservation};
use crate::request::answer::audit_unavailable;
use crate::request::{Entry, Origin};
use crate::worker::Token;

/// What became of a change on one token.
pub(super) struct Ended {
    /// Its intent.
    pub(super) intent: OpenIntent,
    /// How it ended; `None` if that is not known: the intent stays open then.
    pub(super) outcome: Option<Outcome>,
}

impl Ended {
    /// Whether it was done.
    pub(super) const fn is_done(&self) -> bool {
        matches!(self.outcome, Some(Outcome::Ok))
    }
}

/// Writes an intent for each token. If one can't be written, those before it are closed as failed:
/// nothing was begun, and nothing may be later.
pub(super) async fn intend_each(
    agent: &Agent,
    origin: &Origin,
    op: &'static str,
    entry: &mut Entry,
    tokens: &[&Token],
) -> Result<Vec<OpenIntent>, Failure> {
    let mut closing = Vec::new();
    for _ in tokens.iter().skip(1) {
        let room = agent.audit.reserve();
        closing.push(room.map_err(|error| audit_unavailable(&error))?);
    }
    let mut intents = Vec::new();
    for token in tokens {
        entry.token = Some(token.name().to_owned());
        match intend(agent, origin, op, entry).await {
            Ok(intent) => intents.push(intent),
            Err(mut failure) => {
                let outcome = Outcome::Failed(ErrorCode::AuditUnavailable);
                for (intent, room) in intents.into_iter().zip(closing) {
                    if !write(agent, origin, op, entry, &intent, outcome, room) {
                        failure.message.push_str(&format!(
                            "; what was written of it can't be taken back, so intent {} stays open and is finished later",
                            intent.audit_id
                        ));
                        keep_open(agent, intent);
                    }
                }
                return Err(failure);
            }
        }
    }
    Ok(intents)
}

/// Writes the outcomes that are known. The request's own record takes one that ended as the request
/// does; the others have records of their own.
pub(super) fn conclude(
    agent: &Agent,
    origin: &Origin,
    op: &'static str,
    entry: &mut Entry,
    ended: Vec<Ended>,
    request: Outcome,
) {
    let mut open = Vec::new();
    let mut own = None;
    let mut written = Vec::new();
    for Ended { intent, outcome } in ended {
        let is_ok = |outcome| matches!(outcome, Outcome::Ok);
        match outcome {
            None => open.push(intent),
            Some(outcome) if own.is_none() && is_ok(outcome) == is_ok(request) => {
                own = Some(intent);
            }
            Some(outcome) => {
                let room = agent.audit.reserve();
                match room.is_ok_and(|r| write(agent, origin, op, entry, &intent, outcome, r)) {
                    true => written.push(intent),
                    false => open.push(intent),
                }
            }
        }
    }
    entry.ended = written;
    entry.ended.extend(own.clone());
    entry.intent = own.as_ref().map(|intent| intent.audit_id);
    entry.token = own.and_then(|intent| intent.token);
    if !open.is_empty() {
        let numbers: Vec<_> = open.iter().map(|i| i.audit_id.to_string()).collect();
        entry.note(&format!("stays open: intent {}", numbers.join(", ")));
        for intent in open {
            keep_open(agent, intent);
        }
    }
}

/// Writes an outcome that is not the request's own.
pub(super) fn write(
    agent: &Agent,
    origin: &Origin,
    op: &'static str,
    entry: &Entry,
    intent: &OpenIntent,
    outcome: Outcome,
    room: Reservation,
) -> bool {
    let caller = origin.caller.audit_json();
    let mut record = Record::new(Kind::ManageOutcome, op);
    record.outcome = Some(outcome);
    record.caller = Some(&caller);
    record.key = entry.key;
    record.version = entry.version;
    record.alias = entry.alias.as_deref();
    record.token = intent.token.as_deref();
    record.length = entry.length.map(|length| length as u64);
    record.intent = Some(intent.audit_id);
    record.registry = Some(mark(agent));
    record.detail = entry.detail.as_deref();
    agent.audit.append(room, &record).is_ok()
}
