//! `rotate`: a new version of a key.

use keyward_backend::VersionId;
use keyward_backend::message::{Generate, Outcome, Work};
use keyward_protocol::operation::KeyDescription;
use keyward_protocol::piv::{PivChoice, PivLocator};
use keyward_protocol::{ErrorCode, Failure, KeyState, Purpose};

use super::create::{can_make, is_bound_to};
use super::label::Label;
use super::{
    Changing, intend, is_unknown, leave_open, mark, placement, registry_refused, undo_deadline,
    unexpected,
};
use crate::registry::{Key, NewVersion, next_number};
use crate::request::usage::current;
use crate::request::{Entry, With, read};
use crate::worker::Token;

impl With<'_> {
    pub(in crate::request) async fn rotate(
        &self,
        key: &Key,
        entry: &mut Entry,
    ) -> Result<KeyDescription, Failure> {
        let agent = self.agent;
        let _changing = Changing::begin(agent, key.id)?;
        let (token, number) = self.check_rotate(key)?;
        let wish = self.wish_like(token, current(key)?).await?;
        let version = VersionId::random();
        entry.version = Some(version);
        // Its id is a random one.
        entry.fresh = true;
        entry.token = Some(token.name().to_owned());
        entry.detail = Some(format!("version {number}"));
        if let Some(wish) = &wish {
            entry.note(&wish.words());
        }
        let intent = intend(agent, self.origin, "rotate", entry).await?;

        let label = Label {
            key: key.id,
            number,
            purpose: key.purpose,
            formats: key.formats.clone(),
        };
        let generate = Generate {
            id: version,
            label: label.to_string(),
            key_type: key.key_type,
            purpose: key.purpose,
            piv: alike(key, token),
        };
        let work = match &wish {
            Some(wish) => self.make_bound(token, wish, generate, None).await?,
            None => Work::Generate(generate),
        };
        let made = token.attempt(self.authorised, work, self.deadline).await;
        let report = match made {
            Ok(Outcome::Key(Some(report))) => report,
            Ok(_) => return Err(leave_open(agent, intent, entry, unexpected(token))),
            Err(error) if is_unknown(&error) => {
                return Err(leave_open(agent, intent, entry, error.failure));
            }
            Err(error) => return Err(error.failure),
        };
        let right = report.key_type == Some(key.key_type) && is_bound_to(wish.as_ref(), &report);
        let entered = if right {
            let new = NewVersion {
                id: version,
                public: report.public.clone(),
                placements: vec![placement(token, report)],
            };
            self.enter_version(key, &new)
        } else {
            Err(unexpected(token))
        };
        match entered {
            Ok(description) => {
                entry.registry = Some(mark(agent));
                Ok(description)
            }
            Err(failure) => {
                let destroy = Work::Destroy(version);
                let deadline = undo_deadline(self.deadline);
                match token.call(self.authorised, destroy, deadline).await {
                    Ok(_) => Err(failure),
                    Err(_) => Err(leave_open(agent, intent, entry, failure)),
                }
            }
        }
    }

    /// Refuses what can't be rotated; the token that makes the new version, and its number.
    fn check_rotate(&self, key: &Key) -> Result<(&Token, u32), Failure> {
        if key.state != KeyState::Active {
            return Err(Failure::new(
                ErrorCode::WrongState,
                format!("the key is {}; only an active one is rotated", key.state),
            )
            .hint(format!("keyward key show {}", key.id_text)));
        }
        if key.purpose == Purpose::Seal {
            return Err(Failure::new(
                ErrorCode::Invalid,
                "sealed data has one version: nobody but whoever gave it knows what another would hold",
            )
            .hint("keyward seal NAME FILE  # other data, under another name"));
        }
        let number = next_number(key)
            .map_err(|error| Failure::new(ErrorCode::Invalid, error.to_string()))?;
        let [place] = current(key)?.placements.as_slice() else {
            // A spare that quietly stays behind would be missed when it is needed.
            return Err(Failure::new(
                ErrorCode::Invalid,
                "the key is on several tokens, and none of them can make it for the others: import a new key into all of them instead, and give it the alias",
            )
            .hint("keyward key import --help"));
        };
        let token = self.agent.token(Some(&place.token))?;
        if let Some(report) = token.report()
            && token.is_ready()
        {
            can_make(token, &report, key.key_type)?;
        }
        token.refuse_unless_ready()?;
        Ok((token, number))
    }

    /// Enters the version, unless the key was taken out of use while it was made.
    fn enter_version(&self, key: &Key, new: &NewVersion) -> Result<KeyDescription, Failure> {
        let mut registry = self.agent.registry.borrow_mut();
        let now = registry.key(&key.id_text);
        if let Some(now) = now.filter(|now| now.state != KeyState::Active) {
            return Err(Failure::new(
                ErrorCode::WrongState,
                format!("the key is {} by now", now.state),
            ));
        }
        let entered = registry.add_version(key.id, new);
        drop(registry);
        entered
            .map(|key| read::describe(self.agent, &key))
            .map_err(|error| registry_refused(&error))
    }
}

/// A new version on a card asks the same of a person as the one before.
fn alike(key: &Key, token: &Token) -> Option<PivChoice> {
    let mut places = key.current()?.placements.iter();
    let place = places.find(|place| place.token == token.name())?;
    Some(place.locator.parse::<PivLocator>().ok()?.alike())
}
