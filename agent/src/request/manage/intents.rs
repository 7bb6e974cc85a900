//! The intents of one change on several tokens: one for each, so that each can be finished when its
//! token is there.

use keyward_protocol::Failure;

use super::{intend, leave_open, mark};
use crate::agent::Agent;
use crate::audit::{Kind, OpenIntent, Outcome, Record};
use crate::request::{Entry, Origin};
use crate::worker::Token;

/// What became of a change on one token.
pub(super) struct Ended {
    /// Its intent.
    pub(super) intent: OpenIntent,
    /// How it ended; `None` if that is not known: the intent stays open then.
    pub(super) outcome: Option<Outcome>,
}

/// Writes an intent for each token.
pub(super) async fn intend_each(
    agent: &Agent,
    origin: &Origin,
    op: &'static str,
    entry: &mut Entry,
    tokens: &[&Token],
) -> Result<Vec<OpenIntent>, Failure> {
    let mut intents = Vec::new();
    for token in tokens {
        entry.token = Some(token.name().to_owned());
        match intend(agent, origin, op, entry).await {
            Ok(intent) => intents.push(intent),
            Err(mut failure) => {
                // Nothing was begun; the log has no room for saying so now.
                for intent in intents {
                    failure = leave_open(agent, intent, entry, failure);
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
    for Ended { intent, outcome } in ended {
        let is_ok = |outcome| matches!(outcome, Outcome::Ok);
        match outcome {
            None => open.push(intent),
            Some(outcome) if own.is_none() && is_ok(outcome) == is_ok(request) => {
                own = Some(intent);
            }
            Some(outcome) => {
                if !write(agent, origin, op, entry, &intent, outcome) {
                    open.push(intent);
                }
            }
        }
    }
    entry.intent = own.as_ref().map(|intent| intent.audit_id);
    entry.token = own.and_then(|intent| intent.token);
    if !open.is_empty() {
        let numbers: Vec<_> = open.iter().map(|i| i.audit_id.to_string()).collect();
        entry.detail = Some(format!("stays open: intent {}", numbers.join(", ")));
        agent.open_intents.borrow_mut().extend(open);
    }
}

/// Writes an outcome that is not the request's own.
fn write(
    agent: &Agent,
    origin: &Origin,
    op: &'static str,
    entry: &Entry,
    intent: &OpenIntent,
    outcome: Outcome,
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
    agent
        .audit
        .reserve()
        .and_then(|reservation| agent.audit.append(reservation, &record))
        .is_ok()
}
