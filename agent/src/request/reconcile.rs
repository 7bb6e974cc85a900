//! What the agent decides about tokens when they come up: pins them when they are first seen,
//! and finishes what a crash interrupted.

mod reset;

use std::cell::Cell;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use keyward_backend::message::{Outcome as Found, Work};
use keyward_backend::{BackendError, TokenIdentity, VersionId};
use keyward_protocol::{ErrorCode, KeyState};
use uuid::Uuid;

use super::give_back::{Refused, give_back};
use super::manage::mark;
use crate::agent::Agent;
use crate::audit::{AuditError, Kind, OpenIntent, Outcome, Record, Reservation};
use crate::registry::{Key, RegistryError};
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

/// What became of something that nobody can say of whether it was done.
const UNKNOWN: (Outcome, &str) = (
    Outcome::Failed(ErrorCode::Internal),
    "whether it was done is not known",
);

/// What becomes of a destruction that a token refuses.
const REFUSED: (Outcome, &str) = (
    Outcome::Failed(ErrorCode::TokenFailed),
    "undone: a token refuses it, and nothing of the key was destroyed",
);

/// What is left of a destruction.
enum Rest {
    /// Nothing, and what that means.
    Gone(&'static str),
    /// All of it: the token refuses, and never destroyed anything of it.
    All,
    /// A token has to be asked, and can't be now.
    Waits,
    /// The registry does not say what it was about.
    Unknown,
}

/// The agent, as the supervisors of its tokens see it.
pub(crate) struct Enroller(Rc<Agent>, Rc<Cell<bool>>, Refused);

/// After which time what could not be finished is tried again.
const AGAIN: Duration = Duration::from_secs(30);

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
        // Who has open ones is woken, never wakes: two that wait would wake each other for ever.
        if intents.borrow().iter().any(|intent| mine(&intent)) {
            self.look_again_later(token);
        } else {
            self.wake_destructions(token);
        }
        give_back(&self.0, token, &self.2).await;
    }
}

impl Enroller {
    /// The agent, for one token's supervisor.
    pub(crate) fn new(agent: Rc<Agent>) -> Self {
        Self(agent, Rc::default(), Refused::default())
    }

    /// The token was busy, or failed: it is asked once more, if nothing has it looked at before.
    fn look_again_later(&self, token: &Rc<Token>) {
        if self.1.replace(true) {
            return;
        }
        let (token, waits) = (Rc::clone(token), Rc::clone(&self.1));
        tokio::task::spawn_local(async move {
            tokio::time::sleep(AGAIN).await;
            waits.set(false);
            token.look_again();
        });
    }

    /// Writes the outcomes of changes that no token had a part in: the registry has them, or not, or
    /// does not tell.
    pub(crate) async fn finish_without_tokens(&self) {
        if self.0.management_refused.borrow().is_some() {
            return;
        }
        let open: Vec<_> = self.0.open_intents.borrow().clone();
        for intent in open.iter().filter(|intent| intent.token.is_none()) {
            let mut record = Record::new(Kind::ManageOutcome, &intent.op);
            record.key = intent.key;
            record.version = intent.version_id.map(VersionId::from);
            record.alias = intent.alias.as_deref();
            record.intent = Some(intent.audit_id);
            let made = self.0.registry.borrow().was_made(intent);
            let (outcome, detail) = match made {
                Some(true) => (Outcome::Ok, "finished: the registry shows it"),
                Some(false) => {
                    let failed = Outcome::Failed(ErrorCode::Internal);
                    (failed, "undone: the registry was not changed")
                }
                None => UNKNOWN,
            };
            record.detail = Some(detail);
            if self.tell(record, outcome).await.is_err() {
                return;
            }
            let mut intents = self.0.open_intents.borrow_mut();
            intents.retain(|other| other.audit_id != intent.audit_id);
        }
    }

    /// Finishes an intent whose outcome is not known; false if the token could not be asked.
    async fn finish(&self, token: &Token, intent: &OpenIntent) -> bool {
        // A request has hold of the key: what it makes has the same id, maybe.
        if intent
            .key
            .is_some_and(|key| self.0.changing.borrow().contains(&key))
        {
            return false;
        }
        // Before anything is changed: what the log does not have no registry may have.
        let Ok(room) = self.0.audit.reserve() else {
            return false;
        };
        let became = match self.elsewhere(token, intent) {
            Some(became) => became,
            None => self.became(token, intent).await,
        };
        let Some((outcome, detail)) = became else {
            return false;
        };
        let detail = detail.as_str();
        tracing::info!(
            intent = intent.audit_id,
            op = intent.op,
            detail,
            "finished an interrupted change"
        );
        let mut record = Record::new(Kind::ManageOutcome, &intent.op);
        record.key = intent.key;
        record.version = intent.version_id.map(VersionId::from);
        record.token = Some(token.name());
        record.intent = Some(intent.audit_id);
        record.detail = Some(detail);
        self.tell_in(room, record, outcome).await.is_ok()
    }

    /// What became of an intent; `None` if the token could not be asked.
    async fn became(&self, token: &Token, intent: &OpenIntent) -> Option<(Outcome, String)> {
        let version = intent.version_id.map(VersionId::from);
        let (outcome, detail) = match (intent.op.as_str(), intent.key, version) {
            ("create" | "import" | "adopt" | "rotate", Some(key), Some(version))
                if self.has(token, key, version) =>
            {
                (Outcome::Ok, "adopted: the registry has the key")
            }
            // It was not there before and nobody was told of it, so nobody can miss it.
            ("create" | "import" | "adopt" | "rotate", _, Some(version)) if intent.fresh => {
                // What is under way may be the very generation that is to be undone.
                if !token.is_idle() || !token.destroy_orphan(version).await.is_gone() {
                    return None;
                }
                let failed = Outcome::Failed(ErrorCode::TokenFailed);
                (failed, "undone: the orphan is destroyed")
            }
            ("destroy", Some(key), Some(newest)) => {
                match self.destroy_rest(token, key, newest, intent).await {
                    Rest::Waits => return None,
                    Rest::Gone(words) => (Outcome::Ok, words),
                    Rest::All => {
                        self.give_up(intent).await;
                        REFUSED
                    }
                    Rest::Unknown => UNKNOWN,
                }
            }
            ("reset-token", Some(key), Some(newest)) => self.lose_rest(token, key, newest).await?,
            _ => UNKNOWN,
        };
        Some((outcome, detail.to_owned()))
    }

    /// What became of an intent on a device that another one has taken the place of: nobody knows,
    /// and nobody can ask it any more. What was to be destroyed there is no longer looked for.
    /// `Some(None)`: that can't be entered now.
    fn elsewhere(&self, token: &Token, intent: &OpenIntent) -> Option<Option<(Outcome, String)>> {
        let device = intent.device.as_deref()?;
        let version = intent.version_id.map(VersionId::from);
        let is_there = |(key, version)| self.has(token, key, version);
        let has = intent.key.zip(version).is_some_and(is_there);
        let mut registry = self.0.registry.borrow_mut();
        let now = registry.token_identity(token.name());
        if now.is_none_or(|now| now.to_string() == device) {
            return None;
        }
        let what = match intent.op.as_str() {
            "destroy" | "reset-token" if intent.key.is_some() => {
                let key = intent.key.and_then(|id| registry.key(&id.to_string()));
                let newest = key.as_ref().and_then(|key| {
                    let mut versions = key.versions.iter();
                    versions.find(|version| Some(version.id.uuid()) == intent.version_id)
                });
                if let (Some(key), Some(newest)) = (&key, newest) {
                    match registry.destroy_on(key.id, &[token.name()], newest.number) {
                        Ok(_) | Err(RegistryError::Destroyed(_)) => {}
                        Err(error) => {
                            tracing::error!(%error, "the registry can't be changed");
                            return Some(None);
                        }
                    }
                }
                "destroyed"
            }
            "create" | "import" | "adopt" | "rotate" if !has => "undone",
            _ => return None,
        };
        Some(Some((
            Outcome::Failed(ErrorCode::TokenChanged),
            format!(
                "not known to be {what} on {device}, in the place of which another token was accepted"
            ),
        )))
    }

    /// Whether the registry has the version, on this token.
    fn has(&self, token: &Token, key: Uuid, version: VersionId) -> bool {
        let key = self.0.registry.borrow().key(&key.to_string());
        let version = key.and_then(|key| key.versions.iter().find(|v| v.id == version).cloned());
        version.is_some_and(|v| v.placements.iter().any(|p| p.token == token.name()))
    }

    /// Destroys what a person had decided to destroy, on the token of the intent. The last intent
    /// of a key ends with its objects on each token: not every token needs to have one, where a
    /// crash came between them. Versions made since then stay, and so does the key with them.
    async fn destroy_rest(
        &self,
        token: &Token,
        id: Uuid,
        newest: VersionId,
        intent: &OpenIntent,
    ) -> Rest {
        let key = self.0.registry.borrow().key(&id.to_string());
        let Some(key) = key else {
            return Rest::Unknown;
        };
        if key.state == KeyState::Destroyed {
            return Rest::Gone("finished: the key is destroyed");
        }
        let Some(newest) = key.versions.iter().find(|version| version.id == newest) else {
            return Rest::Unknown;
        };
        let is_last = !self.0.open_intents.borrow().iter().any(|other| {
            (other.op.as_str(), other.key) == ("destroy", Some(id))
                && other.audit_id != intent.audit_id
        });
        let mut tokens = BTreeSet::from([token.name()]);
        let (mut looked, mut found) = (false, false);
        for version in key.versions.iter().filter(|v| v.number <= newest.number) {
            for place in &version.placements {
                if !is_last && place.token != token.name() {
                    continue;
                }
                let Ok(token) = self.0.token(Some(&place.token)) else {
                    return Rest::Waits;
                };
                let there = token.ask(&Work::Inspect(version.id)).await;
                looked = true;
                found |= !matches!(there, Some(Found::Key(None)));
                match token.destroy_orphan(version.id).await {
                    Orphan::Gone => {}
                    Orphan::Refused if self.has_all(&key, newest.number, intent).await => {
                        return Rest::All;
                    }
                    _ => return Rest::Waits,
                }
                tokens.insert(&place.token);
            }
        }
        let tokens: Vec<_> = tokens.into_iter().collect();
        let entered = self
            .0
            .registry
            .borrow_mut()
            .destroy_on(id, &tokens, newest.number);
        match entered {
            Ok(key) if key.state == KeyState::Destroyed && looked && !found => {
                Rest::Gone("finished: the key is destroyed, and nothing of it was there any more")
            }
            Ok(key) if key.state == KeyState::Destroyed => {
                Rest::Gone("finished: the key is destroyed")
            }
            Ok(_) if is_last => {
                Rest::Gone("finished: these versions are destroyed, newer ones are there")
            }
            Ok(_) => Rest::Gone("finished on this token; the key is on another one"),
            // Another request was faster.
            Err(RegistryError::Destroyed(_)) => Rest::Gone("finished: the key is destroyed"),
            Err(error) => {
                tracing::error!(%error, "the registry can't be changed");
                Rest::Waits
            }
        }
    }

    /// Whether nothing of a key was destroyed: it is entered on as many tokens as when that was asked
    /// for, and each of them has all of it.
    async fn has_all(&self, key: &Key, newest: u32, intent: &OpenIntent) -> bool {
        let versions = key.versions.iter().filter(|v| v.number <= newest);
        let places: Vec<_> = versions
            .flat_map(|version| version.placements.iter().map(|p| (version.id, &p.token)))
            .collect();
        let tokens: BTreeSet<_> = places.iter().map(|(_, token)| token).collect();
        if intent.places != Some(tokens.len()) {
            return false;
        }
        for (version, token) in places {
            let Ok(token) = self.0.token(Some(token)) else {
                return false;
            };
            let found = token.ask(&Work::Inspect(version)).await;
            if !matches!(found, Some(Found::Key(Some(_)))) {
                return false;
            }
        }
        true
    }

    /// Closes what else is open of a destruction that a token refuses: where nothing was destroyed,
    /// nothing may be later.
    async fn give_up(&self, refused: &OpenIntent) {
        let is_other = |other: &&OpenIntent| {
            (other.op.as_str(), other.key) == ("destroy", refused.key)
                && other.audit_id != refused.audit_id
        };
        let intents = &self.0.open_intents;
        let others: Vec<_> = intents.borrow().iter().filter(is_other).cloned().collect();
        for other in others {
            let mut record = Record::new(Kind::ManageOutcome, &other.op);
            record.key = other.key;
            record.version = other.version_id.map(VersionId::from);
            record.token = other.token.as_deref();
            record.intent = Some(other.audit_id);
            record.detail = Some(REFUSED.1);
            if self.tell(record, REFUSED.0).await.is_ok() {
                let mut intents = intents.borrow_mut();
                intents.retain(|intent| intent.audit_id != other.audit_id);
            }
        }
    }

    /// Has the tokens looked at whose destructions may have waited for this one.
    fn wake_destructions(&self, token: &Token) {
        for intent in self.0.open_intents.borrow().iter() {
            let name = intent.token.as_deref();
            if intent.op != "destroy" || name.is_none() || name == Some(token.name()) {
                continue;
            }
            if let Ok(other) = self.0.token(name) {
                other.look_again();
            }
        }
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

    async fn tell(&self, record: Record<'_>, outcome: Outcome) -> Result<(), AuditError> {
        self.tell_in(self.0.audit.reserve()?, record, outcome).await
    }

    async fn tell_in(
        &self,
        room: Reservation,
        mut record: Record<'_>,
        outcome: Outcome,
    ) -> Result<(), AuditError> {
        let audit = &self.0.audit;
        record.outcome = Some(outcome);
        record.registry = Some(mark(&self.0));
        audit.append(room, &record)?;
        audit.sync().await.map(|_| ())
    }
}

/// What became of objects.
enum Orphan {
    Gone,
    /// The token has them, and will not destroy them.
    Refused,
    Unknown,
}

impl Orphan {
    const fn is_gone(&self) -> bool {
        matches!(self, Self::Gone)
    }
}

impl Token {
    /// Destroys objects that the registry does not have, or no longer: no caller asks for this, an
    /// intent in the log does.
    async fn destroy_orphan(&self, version: VersionId) -> Orphan {
        match self.ask(&Work::Destroy(version)).await {
            Some(Found::Done | Found::Overwritten) => Orphan::Gone,
            Some(Found::Failed(BackendError::Refused(_))) => Orphan::Refused,
            _ => Orphan::Unknown,
        }
    }
}
