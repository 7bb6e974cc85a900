//! `accept-registry`: the way out where log and registry do not belong together.

use std::collections::BTreeSet;

use keyward_protocol::operation::Done;
use keyward_protocol::{ErrorCode, Failure, KeyState};

use super::{intend, mark, registry_failed};
use crate::agent::Agent;
use crate::audit::{AuditError, Kind, Outcome, Record};
use crate::request::{Entry, With};

impl With<'_> {
    pub(in crate::request) async fn accept_registry(
        &self,
        entry: &mut Entry,
    ) -> Result<Done, Failure> {
        let agent = self.agent;
        let Some(why) = agent.management_refused.borrow().clone() else {
            return Err(Failure::new(
                ErrorCode::WrongState,
                "the registry is the one that the log knows; there is nothing to accept",
            )
            .hint("keyward status"));
        };
        entry.detail = Some(why);
        // Before the intent: its mark is that of what is accepted.
        if let Some(words) = suspend_half_destroyed(agent)? {
            entry.note(&words);
        }
        // Its mark is the one that the next start compares with.
        intend(agent, self.origin, "accept-registry", entry).await?;
        accept_registry(agent).map_err(|error| super::super::answer::audit_unavailable(&error))?;
        entry.registry = Some(mark(agent));
        Ok(Done {})
    }
}

/// Suspends the keys whose destruction was begun and is not ended any more: what is left of them
/// goes back into use by a person's hand alone. The words name them.
pub(in crate::request) fn suspend_half_destroyed(agent: &Agent) -> Result<Option<String>, Failure> {
    let mut names = BTreeSet::new();
    let mut registry = agent.registry.borrow_mut();
    for intent in agent.open_intents.borrow().iter() {
        let key = intent.key.and_then(|id| registry.key(&id.to_string()));
        let Some(key) = key.filter(|_| intent.op == "destroy") else {
            continue;
        };
        if matches!(key.state, KeyState::Active | KeyState::PreActivation) {
            registry
                .set_state(key.id, KeyState::Suspended)
                .map_err(|error| registry_failed(&error))?;
        }
        if key.state != KeyState::Destroyed {
            names.insert(key.id_text.clone());
        }
    }
    let names: Vec<_> = names.into_iter().collect();
    let words = "their destruction was begun and is not ended any more; they are suspended";
    Ok((!names.is_empty()).then(|| format!("{}: {words}", names.join(", "))))
}

/// From now on the registry as it is is the right one. The caller has written its own intent, and
/// writes its outcome.
///
/// Intents of before are closed as they are: what a registry lacks that was lost or put back is no
/// orphan, so nothing is destroyed for them. A rescan finds it. Their outcomes have no mark: the
/// registry is accepted by the record of who accepted it.
///
/// # Errors
/// The log can't be written: management stays refused.
pub(in crate::request) fn accept_registry(agent: &Agent) -> Result<(), AuditError> {
    let open = agent.open_intents.borrow().clone();
    for intent in &open {
        let mut record = Record::new(Kind::ManageOutcome, &intent.op);
        record.outcome = Some(Outcome::Failed(ErrorCode::RegistryMismatch));
        record.key = intent.key;
        record.version = intent.version_id.map(Into::into);
        record.token = intent.token.as_deref();
        record.intent = Some(intent.audit_id);
        record.detail = Some("left as it is: another registry was accepted");
        agent.audit.append(agent.audit.reserve()?, &record)?;
    }
    agent
        .open_intents
        .borrow_mut()
        .retain(|intent| !open.contains(intent));
    *agent.management_refused.borrow_mut() = None;
    // The tokens are pinned again, and served.
    for token in agent.tokens.values() {
        token.look_again();
    }
    Ok(())
}
