//! What the agent decides about tokens when they come up: pins them when they are first seen,
//! and finishes what a crash interrupted.

use std::rc::Rc;

use keyward_backend::message::Work;
use keyward_backend::{TokenIdentity, VersionId};
use keyward_protocol::{ErrorCode, KeyState};
use uuid::Uuid;

use super::manage::mark;
use crate::agent::Agent;
use crate::audit::{AuditError, Kind, OpenIntent, Outcome, Record};
use crate::registry::RegistryError;
use crate::worker::Token;
use crate::worker::supervisor::Enrolment;

/// Why a token can't be pinned.
#[derive(Debug, thiserror::Error)]
enum PinError {
    #[error(transparent)]
    Audit(#[from] AuditError),
    #[error(transparent)]
    Registry(#[from] RegistryError),
}

/// The agent, as the supervisors of its tokens see it.
pub(crate) struct Enroller(pub(crate) Rc<Agent>);

impl Enrolment for Enroller {
    fn pinned(&self, token: &str) -> Option<TokenIdentity> {
        // It holds for one look: what comes later was not what the person saw.
        if self.0.accepting.borrow_mut().remove(token) {
            return None;
        }
        self.0.registry.borrow().token_identity(token).cloned()
    }

    async fn enrol(&self, token: &str, identity: &TokenIdentity) -> Result<(), String> {
        // A pin in the log would make the registry that does not fit the right one at the next start.
        if let Some(why) = &*self.0.management_refused.borrow() {
            return Err(why.clone());
        }
        let known = self.0.registry.borrow().token_identity(token) == Some(identity);
        if !known {
            self.pin(token, identity)
                .await
                .map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    async fn ready(&self, token: &Rc<Token>) {
        // What a registry that does not fit the log lacks is no orphan.
        if self.0.management_refused.borrow().is_some() {
            return;
        }
        let mine = |intent: &&OpenIntent| intent.token.as_deref() == Some(token.name());
        let intents = &self.0.open_intents;
        let open: Vec<_> = intents.borrow().iter().filter(mine).cloned().collect();
        for intent in open {
            // It stays open until it is finished, also if the worker dies in the middle.
            if self.finish(token, &intent).await {
                intents
                    .borrow_mut()
                    .retain(|i| i.audit_id != intent.audit_id);
            }
        }
    }
}

impl Enroller {
    /// Finishes an intent whose outcome is not known; false if the token could not be asked.
    async fn finish(&self, token: &Token, intent: &OpenIntent) -> bool {
        let version = intent.version_id.map(VersionId::from);
        let (outcome, detail) = match (intent.op.as_str(), intent.key, version) {
            ("create", Some(key), Some(version)) if self.has(key, version) => {
                (Outcome::Ok, "adopted: the registry has the key")
            }
            // Nobody was told of the key, so nobody can miss it.
            ("create", _, Some(version)) => {
                if !token.destroy_orphan(version).await {
                    return false;
                }
                let failed = Outcome::Failed(ErrorCode::TokenFailed);
                (failed, "undone: the orphan is destroyed")
            }
            ("destroy", Some(key), _) => {
                if !self.destroy_rest(token, key).await {
                    return false;
                }
                (Outcome::Ok, "finished: the key is destroyed")
            }
            _ => (Outcome::Ok, "nothing to finish"),
        };
        tracing::info!(
            intent = intent.audit_id,
            op = intent.op,
            detail,
            "finished an interrupted change"
        );
        let mut record = Record::new(Kind::ManageOutcome, &intent.op);
        record.key = intent.key;
        record.version = version;
        record.token = Some(token.name());
        record.intent = Some(intent.audit_id);
        record.detail = Some(detail);
        self.tell(record, outcome).await.is_ok()
    }

    fn has(&self, key: Uuid, version: VersionId) -> bool {
        let key = self.0.registry.borrow().key(&key.to_string());
        key.is_some_and(|key| key.versions.iter().any(|other| other.id == version))
    }

    /// Destroys what a person had decided to destroy.
    async fn destroy_rest(&self, token: &Token, id: Uuid) -> bool {
        let key = self.0.registry.borrow().key(&id.to_string());
        let Some(key) = key.filter(|key| key.state != KeyState::Destroyed) else {
            return true;
        };
        let placed = |name: &str| name == token.name();
        for version in &key.versions {
            let elsewhere = version.placements.iter().any(|p| !placed(&p.token));
            if elsewhere || !token.destroy_orphan(version.id).await {
                return false;
            }
        }
        self.0.registry.borrow_mut().destroy(id).is_ok()
    }

    async fn pin(&self, token: &str, identity: &TokenIdentity) -> Result<(), PinError> {
        let audit = &self.0.audit;
        let detail = identity.to_string();
        let record = |kind| {
            let mut record = Record::new(kind, "pin-token");
            record.token = Some(token);
            record.detail = Some(&detail);
            record.registry = Some(mark(&self.0));
            record
        };
        let intent = audit.append(audit.reserve()?, &record(Kind::ManageIntent))?;
        audit.sync().await?;
        let pinned = self.0.registry.borrow_mut().pin_token(token, identity);
        let mut outcome = record(Kind::ManageOutcome);
        outcome.intent = Some(intent.index());
        // It is tried again with each worker: no intent may stay open from each of them.
        let became = match &pinned {
            Ok(()) => Outcome::Ok,
            Err(_) => Outcome::Failed(ErrorCode::Internal),
        };
        self.tell(outcome, became).await?;
        Ok(pinned?)
    }

    async fn tell(&self, mut record: Record<'_>, outcome: Outcome) -> Result<(), AuditError> {
        let audit = &self.0.audit;
        record.outcome = Some(outcome);
        record.registry = Some(mark(&self.0));
        audit.append(audit.reserve()?, &record)?;
        audit.sync().await.map(|_| ())
    }
}

impl Token {
    /// Destroys objects that the registry does not have, or no longer: no caller asks for this, an
    /// intent in the log does.
    async fn destroy_orphan(&self, version: VersionId) -> bool {
        use keyward_backend::message::Outcome::Done;
        // What is under way may be the very generation that is to be undone.
        if !self.is_idle() {
            return false;
        }
        matches!(self.ask(&Work::Destroy(version)).await, Some(Done))
    }
}
