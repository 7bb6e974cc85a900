//! Looks at one key of a token: whether it can be taken in, and why not.

use std::rc::Rc;

use keyward_backend::message::{Outcome, Work};
use keyward_backend::{KeyReport, VersionId};
use keyward_protocol::{ErrorCode, Failure, KeyState};

use super::page::Page;
use super::{BUSY, Findings};
use crate::registry::{FoundVersion, Key, Version};
use crate::request::With;
use crate::request::manage::label::Label;
use crate::request::manage::placement;
use crate::request::manage::prove::{Claim, Known};
use crate::request::usage::misbehaved;
use crate::worker::Token;

const UNPROVEN: &str = "its private part is not that of its public part";

impl With<'_> {
    /// Looks at the versions that a token has of one key.
    pub(super) async fn look(
        &self,
        token: &Token,
        versions: Vec<(VersionId, Label)>,
        findings: &mut Findings,
    ) -> Result<Page, Failure> {
        let mut page = Page::default();
        for (id, label) in versions {
            let holder = self.agent.registry.borrow().key_of(id);
            let version = holder
                .as_ref()
                .and_then(|key| key.versions.iter().find(|version| version.id == id));
            let key = holder.as_ref().map_or(label.key, |key| key.id);
            let refused = if self.is_changing(key, id) || self.is_changing(label.key, id) {
                Some(BUSY.to_owned())
            } else if let (Some(key), Some(version)) = (&holder, version) {
                self.further_place(token, key, version, &label, &mut page)
                    .await?
            } else {
                self.unknown(token, id, label, &mut page).await?
            };
            if let Some(why) = refused {
                findings.refuse(&format!("{id}: {why}"));
            }
        }
        if let Some(why) = page.contradiction() {
            findings.refuse(&format!("{}: {why}", page.key().unwrap_or_default()));
            page.versions.clear();
        }
        Ok(page)
    }

    /// A version that the registry has, but not on this token: why it is not the same, if it isn't.
    async fn further_place(
        &self,
        token: &Token,
        key: &Rc<Key>,
        version: &Version,
        label: &Label,
        page: &mut Page,
    ) -> Result<Option<String>, Failure> {
        if KeyState::Destroyed == key.state || KeyState::Destroyed == version.state {
            return Ok(Some(format!(
                "version {} of the key {} was destroyed, and is still on the token",
                version.number, key.id
            )));
        }
        let same = (label.key, label.number) == (key.id, version.number)
            && (label.purpose, &label.formats) == (key.purpose, &key.formats);
        if !same {
            return Ok(Some(format!("its label is not that of the key {}", key.id)));
        }
        let Some(report) = self.inspect(token, version.id).await? else {
            return Ok(Some("the token does not show it".into()));
        };
        if report.key_type != Some(key.key_type) || report.public != version.public {
            return Ok(Some(format!("it is another key than {}", key.id)));
        }
        let Some(public) = &version.public else {
            return Ok(Some(format!(
                "whether this secret key is that of {} can't be seen; import it again, naming the key",
                key.id
            )));
        };
        let claim = Claim {
            id: version.id,
            purpose: key.purpose,
            key_type: key.key_type,
            known: Known::Public(public),
            place: None,
        };
        if !self.proven(token, claim).await? {
            return Ok(Some(UNPROVEN.into()));
        }
        let place = placement(token, report);
        page.places.push((Rc::clone(key), version.id, place));
        Ok(None)
    }

    /// A version that the registry does not have: why it can't be taken in, if it can't.
    async fn unknown(
        &self,
        token: &Token,
        id: VersionId,
        label: Label,
        page: &mut Page,
    ) -> Result<Option<String>, Failure> {
        let Some(report) = self.inspect(token, id).await? else {
            return Ok(Some("the token does not show it".into()));
        };
        let Some(key_type) = report.key_type else {
            return Ok(Some("it is of a type that keyward does not have".into()));
        };
        let found = FoundVersion {
            key: label.key,
            number: label.number,
            purpose: label.purpose,
            formats: label.formats,
            id,
            key_type,
            public: report.public.clone(),
            placement: placement(token, report),
        };
        if let Err(why) = self.agent.registry.borrow().check_found(&found) {
            return Ok(Some(why.to_string()));
        }
        if let Some(public) = &found.public {
            let claim = Claim {
                id: found.id,
                purpose: found.purpose,
                key_type,
                known: Known::Public(public),
                place: None,
            };
            if !self.proven(token, claim).await? {
                return Ok(Some(UNPROVEN.into()));
            }
        }
        page.versions.push(found);
        Ok(None)
    }

    async fn inspect(&self, token: &Token, id: VersionId) -> Result<Option<KeyReport>, Failure> {
        let work = Work::Inspect(id);
        match token.call(self.authorised, work, self.deadline).await {
            Ok(Outcome::Key(report)) => Ok(report),
            Ok(_) => Err(misbehaved(token)),
            Err(failure) if is_about_the_key(&failure) => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    /// Whether the private part is that of the public one; whatever the key itself refuses is no
    /// reason to give up the rest.
    async fn proven(&self, token: &Token, claim: Claim<'_>) -> Result<bool, Failure> {
        match self.prove(token, claim).await {
            Err(failure) if is_about_the_key(&failure) => Ok(false),
            proven => proven,
        }
    }
}

/// Whether a failure is of this one key, and the next may do.
fn is_about_the_key(failure: &Failure) -> bool {
    matches!(
        failure.code,
        ErrorCode::NotFound
            | ErrorCode::MechanismInvalid
            | ErrorCode::Invalid
            | ErrorCode::UnwrapFailed
    )
}
