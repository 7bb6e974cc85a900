//! `create`.

use std::collections::BTreeMap;
use std::rc::Rc;

use keyward_backend::message::{Generate, Outcome, Work};
use keyward_backend::{KeyReport, TokenReport, VersionId};
use keyward_protocol::operation::{Create, KeyDescription};
use keyward_protocol::piv::PivChoice;
use keyward_protocol::{ErrorCode, Failure, Format, KeyState, KeyType, Purpose};
use uuid::Uuid;

use super::bind::Wish;
use super::label::Label;
use super::{
    Changing, alias_taken, intend, is_unknown, leave_open, mark, placement, registry_refused,
    undo_deadline, unexpected,
};
use crate::agent::Agent;
use crate::registry::{self, Key, NewKey};
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
        let wish = match &op.bind {
            Some(bind) => Some(self.wish(token, bind)?),
            None => None,
        };
        let key = Uuid::new_v4();
        let _changing = Changing::begin(agent, key)?;
        let version = VersionId::random();
        entry.key = Some(key);
        entry.version = Some(version);
        // Its id is a random one.
        entry.fresh = true;
        entry.alias.clone_from(&op.alias);
        entry.token = Some(token.name().to_owned());
        entry.detail = Some(format!("{} {}", op.purpose, op.key_type));
        if let Some(wish) = &wish {
            entry.note(&wish.words());
        }
        let intent = intend(agent, origin, "create", entry).await?;

        let label = Label {
            key,
            number: 1,
            purpose: op.purpose,
            formats: formats.clone(),
        };
        let generate = Generate {
            id: version,
            label: label.to_string(),
            key_type: op.key_type,
            purpose: op.purpose,
            piv: piv_choice(token, op.piv)?,
        };
        let work = match &wish {
            Some(wish) => self.make_bound(token, wish, generate, None).await?,
            None => Work::Generate(generate),
        };
        let made = token.attempt(authorised, work, deadline).await;
        let report = match made {
            Ok(Outcome::Key(Some(report))) => report,
            Ok(_) => return Err(leave_open(agent, intent, entry, unexpected(token))),
            Err(error) if is_unknown(&error) => {
                return Err(leave_open(agent, intent, entry, error.failure));
            }
            Err(error) => return Err(error.failure),
        };
        let stored = match is_bound_to(wish.as_ref(), &report) {
            true => store(agent, token, key, version, op, formats, report),
            false => Err(unexpected(token)),
        };
        match stored {
            Ok(key) => {
                entry.registry = Some(mark(agent));
                Ok(read::describe(agent, &key))
            }
            Err(failure) => {
                // The registry does not have it, so the token must not keep it.
                let deadline = undo_deadline(deadline);
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

/// What was chosen of a card, if the token is one.
pub(super) fn piv_choice(
    token: &Token,
    choice: Option<PivChoice>,
) -> Result<Option<PivChoice>, Failure> {
    if choice.is_some() && token.kind() != "piv" {
        let text = format!(
            "token {} is no PIV card, which alone has slots, PIN and touch policies",
            token.name()
        );
        return Err(Failure::new(ErrorCode::Invalid, text));
    }
    Ok(choice)
}

/// Whether a token has bound a key to what was asked for.
pub(super) fn is_bound_to(wish: Option<&Wish>, report: &KeyReport) -> bool {
    match wish {
        Some(wish) => wish.is(report.bound.as_ref()),
        None => report.bound.is_none(),
    }
}

/// Refuses what can't become a key, before anything is written.
fn check(agent: &Agent, token: &Token, op: &Create) -> Result<Vec<Format>, Failure> {
    let wanted = Wanted {
        purpose: op.purpose,
        key_type: op.key_type,
        alias: op.alias.as_deref(),
        formats: op.formats.as_deref(),
        tags: op.tags.as_ref(),
    };
    let formats = wanted.check(agent)?;
    if op.purpose == Purpose::Seal {
        let words = "data is sealed as it is given, and not made by the token";
        return Err(Failure::new(ErrorCode::Invalid, words).hint("keyward seal NAME FILE"));
    }
    if let Some(report) = token.report()
        && token.is_ready()
    {
        can_make(token, &report, op.key_type)?;
    }
    token.refuse_unless_ready()?;
    Ok(formats)
}

/// Refuses what the token can't make.
pub(super) fn can_make(
    token: &Token,
    report: &TokenReport,
    key_type: KeyType,
) -> Result<(), Failure> {
    if report.key_types.contains(&key_type) {
        return Ok(());
    }
    let makes = report.key_types.iter().filter(|t| **t != KeyType::Data);
    let names: Vec<_> = makes.map(|t| t.name()).collect();
    let failure = Failure::new(
        ErrorCode::MechanismInvalid,
        format!(
            "token {} can't make a key of type {key_type}; it can make {}",
            token.name(),
            names.join(", ")
        ),
    );
    Err(match (token.kind(), key_type) {
        ("tpm", KeyType::Aes128 | KeyType::Aes256) => failure.hint(format!(
            "a TPM has neither AES-GCM nor AES key wrap; a P-256 key encrypts there: keyward key create NAME --purpose encrypt --type p256 --token {}",
            token.name()
        )),
        _ => failure,
    })
}

/// What a new key is to be.
pub(super) struct Wanted<'a> {
    pub(super) purpose: Purpose,
    pub(super) key_type: KeyType,
    pub(super) alias: Option<&'a str>,
    pub(super) formats: Option<&'a [Format]>,
    pub(super) tags: Option<&'a BTreeMap<String, String>>,
}

impl Wanted<'_> {
    /// Refuses what can't become a key; the formats that it gets.
    pub(super) fn check(&self, agent: &Agent) -> Result<Vec<Format>, Failure> {
        let Self {
            purpose, key_type, ..
        } = *self;
        let invalid = |text: String| Failure::new(ErrorCode::Invalid, text);
        if !purpose.fits(key_type) {
            let fitting: Vec<_> = KeyType::ALL
                .into_iter()
                .filter(|key_type| purpose.fits(*key_type))
                .map(KeyType::name)
                .collect();
            return Err(invalid(format!(
                "a key of type {key_type} can't {purpose}; one of type {} can",
                fitting.join(", ")
            )));
        }
        let formats = match (self.formats, purpose) {
            (Some(formats), _) => formats.to_vec(),
            (None, Purpose::Sign) => vec![Format::Raw],
            (None, _) => Vec::new(),
        };
        registry::check_formats(purpose, &formats).map_err(|error| invalid(error.to_string()))?;
        if key_type == KeyType::Ed25519 && formats.contains(&Format::Digest) {
            return Err(invalid("Ed25519 signs messages, not digests".into()));
        }
        if let Some(alias) = self.alias {
            registry::check_alias(alias).map_err(|error| invalid(error.to_string()))?;
            if agent.registry.borrow().key(alias).is_some() {
                return Err(alias_taken(alias));
            }
        }
        if let Some(tags) = self.tags {
            registry::check_tags(tags).map_err(|error| invalid(error.to_string()))?;
        }
        Ok(formats)
    }
}

fn store(
    agent: &Agent,
    token: &Token,
    id: Uuid,
    version: VersionId,
    op: Create,
    formats: Vec<Format>,
    report: KeyReport,
) -> Result<Rc<Key>, Failure> {
    if report.key_type != Some(op.key_type) {
        return Err(unexpected(token));
    }
    let new = NewKey {
        id,
        purpose: op.purpose,
        state: KeyState::Active,
        formats,
        aliases: op.alias.into_iter().collect(),
        tags: op.tags.unwrap_or_default(),
        version,
        key_type: op.key_type,
        public: report.public.clone(),
        placements: vec![placement(token, report)],
    };
    agent
        .registry
        .borrow_mut()
        .insert(new)
        .map_err(|error| registry_refused(&error))
}
