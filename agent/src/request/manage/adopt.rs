//! `adopt`: a key that another program has made in a token, at a place that the token itself knows.

use std::rc::Rc;

use keyward_backend::message::{self, Generate, Outcome, Work};
use keyward_backend::{KeyReport, VersionId};
use keyward_protocol::operation::{Adopt, KeyDescription};
use keyward_protocol::piv::PivLocator;
use keyward_protocol::{ErrorCode, Failure, Format, KeyState, KeyType};
use uuid::Uuid;

use super::create::Wanted;
use super::label::Label;
use super::prove::{Claim, Known};
use super::{
    Changing, intend, is_unknown, leave_open, mark, placement, registry_refused, undo_deadline,
    unexpected,
};
use crate::registry::{Key, NewKey};
use crate::request::{Entry, With, read};
use crate::worker::Token;

/// The longest place, in bytes.
const MOST_PLACE: usize = 64;

impl With<'_> {
    pub(in crate::request) async fn adopt(
        &self,
        op: Adopt,
        entry: &mut Entry,
    ) -> Result<KeyDescription, Failure> {
        let agent = self.agent;
        let token = agent.token(op.token.as_deref())?;
        // Which it is, the token sees; until then it is one that its purpose can have.
        let mut any = KeyType::ALL.into_iter();
        let any = any.find(|key_type| op.purpose.fits(*key_type) && !key_type.is_secret());
        let known = op.key_type.filter(|key_type| !key_type.is_secret());
        let key_type = known.or(any).ok_or_else(|| {
            Failure::new(
                ErrorCode::Invalid,
                format!(
                    "a key of purpose {} can't be adopted: only key pairs are, whose public part says which they are",
                    op.purpose
                ),
            )
        })?;
        let formats = self.formats(&op, key_type)?;
        if op.place.is_empty()
            || op.place.len() > MOST_PLACE
            || op.place.chars().any(char::is_control)
        {
            return Err(
                Failure::new(ErrorCode::Invalid, "that is no place in a token")
                    .hint("keyward key adopt --help"),
            );
        }
        token.refuse_unless_ready()?;
        let key = Uuid::new_v4();
        let _changing = Changing::begin(agent, key)?;
        let version = VersionId::random();
        entry.key = Some(key);
        entry.version = Some(version);
        // Its id is a random one, and what is undone is what keyward noted of it.
        entry.fresh = true;
        entry.alias.clone_from(&op.alias);
        entry.token = Some(token.name().to_owned());
        entry.detail = Some(format!("{} at {}", op.purpose, op.place));
        let intent = intend(agent, self.origin, "adopt", entry).await?;

        let label = Label {
            key,
            number: 1,
            purpose: op.purpose,
            formats: formats.clone(),
        };
        let work = Work::Adopt(message::Adopt {
            generate: Generate {
                id: version,
                label: label.to_string(),
                key_type,
                purpose: op.purpose,
                piv: None,
            },
            place: op.place.clone(),
        });
        let made = token.attempt(self.authorised, work, self.deadline).await;
        let report = match made {
            Ok(Outcome::Key(Some(report))) => report,
            Ok(_) => return Err(leave_open(agent, intent, entry, unexpected(token))),
            Err(error) if is_unknown(&error) => {
                return Err(leave_open(agent, intent, entry, error.failure));
            }
            Err(error) => return Err(error.failure),
        };
        match self.enter_adopted(token, key, version, &op, report).await {
            Ok(key) => {
                entry.registry = Some(mark(agent));
                Ok(read::describe(agent, &key))
            }
            Err(failure) => {
                // What the token has noted of it; the key itself stays where it was.
                let destroy = Work::Destroy(version);
                let deadline = undo_deadline(self.deadline);
                match token.call(self.authorised, destroy, deadline).await {
                    Ok(_) => Err(failure),
                    Err(_) => Err(leave_open(agent, intent, entry, failure)),
                }
            }
        }
    }

    /// Enters what the token has found, once it has proven that it is a key that can be used.
    async fn enter_adopted(
        &self,
        token: &Token,
        id: Uuid,
        version: VersionId,
        op: &Adopt,
        report: KeyReport,
    ) -> Result<Rc<Key>, Failure> {
        let (Some(key_type), Some(public)) = (report.key_type, &report.public) else {
            return Err(unexpected(token));
        };
        if let Some(wanted) = op.key_type.filter(|wanted| *wanted != key_type) {
            let words = format!(
                "the key at {} is of type {key_type}, not {wanted}",
                op.place
            );
            return Err(Failure::new(ErrorCode::Invalid, words));
        }
        // Not each type that its purpose could have has all the formats.
        let formats = self.formats(op, key_type)?;
        if let Some(other) = self.adopted_already(token, &report.locator) {
            let words = format!("the key at {} is the key {other} already", op.place);
            return Err(
                Failure::new(ErrorCode::Exists, words).hint(format!("keyward key show {other}"))
            );
        }
        let claim = Claim {
            id: version,
            purpose: op.purpose,
            key_type,
            known: Known::Public(public),
            place: Some(&report.locator),
        };
        if !self.prove(token, claim).await? {
            return Err(unexpected(token));
        }
        let new = NewKey {
            id,
            purpose: op.purpose,
            state: KeyState::Active,
            formats,
            aliases: op.alias.iter().cloned().collect(),
            tags: op.tags.clone().unwrap_or_default(),
            version,
            key_type,
            public: report.public.clone(),
            placements: vec![placement(token, report)],
        };
        self.agent
            .registry
            .borrow_mut()
            .insert(new)
            .map_err(|error| registry_refused(&error))
    }

    fn formats(&self, op: &Adopt, key_type: KeyType) -> Result<Vec<Format>, Failure> {
        let wanted = Wanted {
            purpose: op.purpose,
            key_type,
            alias: op.alias.as_deref(),
            formats: op.formats.as_deref(),
            tags: op.tags.as_ref(),
        };
        wanted.check(self.agent)
    }

    /// The key that is at the same place of a token, if there is one.
    fn adopted_already(&self, token: &Token, locator: &str) -> Option<String> {
        let keys = self.agent.registry.borrow().on_token(token.name());
        let is_there = |key: &Key| {
            let places = key.versions.iter().flat_map(|version| &version.placements);
            let mut places = places.filter(|place| place.token == token.name());
            places.any(|place| place.locator == locator)
        };
        let found = keys.iter().find(|(key, _)| is_there(key));
        found.map(|(key, _)| key.id_text.clone())
    }
}

/// What an adopted key's locator says of the place that another program has put it at; `None` for all
/// other keys.
pub(super) fn place_of(locator: &str) -> Option<String> {
    if let Some(place) = locator.strip_prefix("tpm:handle=") {
        return place.split(';').next().map(str::to_owned);
    }
    let card: PivLocator = locator.parse().ok()?;
    card.adopted.then(|| format!("slot {:02x}", card.slot))
}
