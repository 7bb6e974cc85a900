//! Operations that change keys, tokens, or what the agent holds.
//!
//! What changes a token or the registry writes and fsyncs its intent first, with the id that the
//! agent chose, so that whatever a crash leaves behind can be told apart and finished
//! ([`super::reconcile`]).

mod create;
mod destroy;
mod token;

use keyward_protocol::{ErrorCode, Failure, Format, Purpose};
use uuid::Uuid;

use super::answer::audit_unavailable;
use super::{Entry, Origin};
use crate::agent::Agent;
use crate::audit::{Kind, OpenIntent, Record, RegistryMark};
use crate::registry::RegistryError;
use crate::worker::Token;

/// Writes an intent and puts it onto the disk.
pub(in crate::request) async fn intend(
    agent: &Agent,
    origin: &Origin,
    op: &'static str,
    entry: &mut Entry,
) -> Result<OpenIntent, Failure> {
    let unavailable = |error| audit_unavailable(&error);
    let reservation = agent.audit.reserve().map_err(unavailable)?;
    let caller = origin.caller.audit_json();
    let mut record = Record::new(Kind::ManageIntent, op);
    record.caller = Some(&caller);
    record.key = entry.key;
    record.version = entry.version;
    record.alias = entry.alias.as_deref();
    record.token = entry.token.as_deref();
    record.registry = Some(mark(agent));
    record.detail = entry.detail.as_deref();
    let seq = agent
        .audit
        .append(reservation, &record)
        .map_err(unavailable)?;
    agent.audit.sync().await.map_err(unavailable)?;
    entry.intent = Some(seq.index());
    Ok(OpenIntent {
        audit_id: seq.index(),
        op: op.into(),
        key: entry.key,
        version_id: entry.version.map(|id| id.uuid()),
        token: entry.token.clone(),
        alias: entry.alias.clone(),
        registry: record.registry,
    })
}

/// What became of the intent is not known: it stays open until the token can be asked.
pub(in crate::request) fn leave_open(
    agent: &Agent,
    intent: OpenIntent,
    entry: &mut Entry,
    failure: Failure,
) -> Failure {
    entry.intent = None;
    entry.detail = Some(format!("intent {} stays open", intent.audit_id));
    agent.open_intents.borrow_mut().push(intent);
    failure
}

/// Whether the token may have done it all the same.
pub(in crate::request) fn is_unknown(failure: &Failure) -> bool {
    matches!(
        failure.code,
        ErrorCode::TokenFailed | ErrorCode::DeadlineExceeded | ErrorCode::TokenAbsent
    )
}

/// CKA_LABEL: what a rescan needs to know what the object is.
pub(in crate::request) fn label(key: Uuid, purpose: Purpose, formats: &[Format]) -> String {
    let formats: Vec<_> = formats.iter().map(|format| format.name()).collect();
    format!("keyward:{key}:1:{purpose}:{}", formats.join(","))
}

/// The registry as it is now.
pub(in crate::request) fn mark(agent: &Agent) -> RegistryMark {
    agent.registry.borrow().mark()
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

pub(in crate::request) fn registry_failed(error: &RegistryError) -> Failure {
    tracing::error!(%error, "the registry can't be changed");
    Failure::new(
        ErrorCode::Internal,
        format!("the registry can't be changed: {error}"),
    )
    .hint("keyward status")
}
