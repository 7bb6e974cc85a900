//! `create`.

use keyward_backend::message::{Generate, Outcome, Work};
use keyward_backend::{KeyReport, VersionId};
use keyward_protocol::operation::{Create, KeyDescription};
use keyward_protocol::{ErrorCode, Failure, Format, KeyState, KeyType, Purpose};
use uuid::Uuid;

use super::{
    alias_taken, intend, is_unknown, label, leave_open, mark, registry_failed, unexpected,
};
use crate::agent::Agent;
use crate::registry::{self, Key, NewKey, RegistryError};
use crate::request::{Entry, With, read};
use crate::worker::Token;

impl With<'_> {
    pub(in crate::request) async fn create(
        &self,
        op: Create,
        entry: &mut Entry,
    ) -> Result<KeyDescription, Failure> {
        let agent = self.agent;
        let origin = self.origin;
        let authorised = self.authorised;
        let deadline = self.deadline;
        let token = agent.token(op.token.as_deref())?;
        let formats = check(agent, token, &op)?;
        let key = Uuid::new_v4();
        let version = VersionId::random();
        entry.key = Some(key);
        entry.version = Some(version);
        entry.alias.clone_from(&op.alias);
        entry.token = Some(token.name().to_owned());
        entry.detail = Some(format!("{} {}", op.purpose, op.key_type));
        let intent = intend(agent, origin, "create", entry).await?;

        let generate = Work::Generate(Generate {
            id: version,
            label: label(key, op.purpose, &formats),
            key_type: op.key_type,
            purpose: op.purpose,
        });
        let made = token.call(authorised, generate, deadline).await;
        let report = match made {
            Ok(Outcome::Key(Some(report))) => report,
            Ok(_) => return Err(leave_open(agent, intent, entry, unexpected(token))),
            Err(failure) if is_unknown(&failure) => {
                return Err(leave_open(agent, intent, entry, failure));
            }
            Err(failure) => return Err(failure),
        };
        let stored = store(agent, token, key, version, op, formats, report);
        match stored {
            Ok(key) => {
                entry.registry = Some(mark(agent));
                Ok(read::describe(&key))
            }
            Err(failure) => {
                // The registry does not have it, so the token must not keep it.
                match token
                    .call(authorised, Work::Destroy(version), deadline)
                    .await
                {
                    Ok(_) => Err(failure),
                    Err(_) => Err(leave_open(agent, intent, entry, failure)),
                }
            }
        }
    }
}

/// Refuses what can't become a key, before anything is written.
fn check(agent: &Agent, token: &Token, op: &Create) -> Result<Vec<Format>, Failure> {
    let invalid = |text: String| Failure::new(ErrorCode::Invalid, text);
    if op.purpose.algorithms(op.key_type).is_empty() {
        let fitting: Vec<_> = KeyType::ALL
            .into_iter()
            .filter(|key_type| !op.purpose.algorithms(*key_type).is_empty())
            .map(KeyType::name)
            .collect();
        return Err(invalid(format!(
            "a key of type {} can't {}; one of type {} can",
            op.key_type,
            op.purpose,
            fitting.join(", ")
        )));
    }
    let formats = match (&op.formats, op.purpose) {
        (Some(formats), _) => formats.clone(),
        (None, Purpose::Sign) => vec![Format::Raw],
        (None, _) => Vec::new(),
    };
    registry::check_formats(op.purpose, &formats).map_err(|error| invalid(error.to_string()))?;
    if op.key_type == KeyType::Ed25519 && formats.contains(&Format::Digest) {
        return Err(invalid("Ed25519 signs messages, not digests".into()));
    }
    if let Some(alias) = &op.alias {
        registry::check_alias(alias).map_err(|error| invalid(error.to_string()))?;
        if agent.registry.borrow().key(alias).is_some() {
            return Err(alias_taken(alias));
        }
    }
    if let Some(tags) = &op.tags {
        registry::check_tags(tags).map_err(|error| invalid(error.to_string()))?;
    }
    if let Some(report) = token.report()
        && token.is_ready()
        && !report.key_types.contains(&op.key_type)
    {
        let names: Vec<_> = report.key_types.iter().map(|t| t.name()).collect();
        return Err(Failure::new(
            ErrorCode::MechanismInvalid,
            format!(
                "token {} can't make a key of type {}; it can make {}",
                token.name(),
                op.key_type,
                names.join(", ")
            ),
        ));
    }
    token.refuse_unless_ready()?;
    Ok(formats)
}

fn store(
    agent: &Agent,
    token: &Token,
    id: Uuid,
    version: VersionId,
    op: Create,
    formats: Vec<Format>,
    report: KeyReport,
) -> Result<std::rc::Rc<Key>, Failure> {
    if report.key_type != Some(op.key_type) {
        return Err(unexpected(token));
    }
    let alias = op.alias.clone();
    let new = NewKey {
        id,
        purpose: op.purpose,
        state: KeyState::Active,
        formats,
        aliases: op.alias.into_iter().collect(),
        tags: op.tags.unwrap_or_default(),
        version,
        key_type: op.key_type,
        public: report.public,
        placements: vec![registry::Placement {
            token: token.name().to_owned(),
            locator: report.locator,
            local: report.local,
            always_sensitive: report.always_sensitive,
            never_extractable: report.never_extractable,
        }],
    };
    agent
        .registry
        .borrow_mut()
        .insert(new)
        .map_err(|error| match (error, alias) {
            (RegistryError::AliasTaken(_), Some(alias)) => alias_taken(&alias),
            (error, _) => registry_failed(&error),
        })
}
