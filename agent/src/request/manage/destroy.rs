//! `destroy`.

use keyward_backend::message::{self, Work};
use keyward_protocol::operation::{Destroy, Done};
use keyward_protocol::{ErrorCode, Failure, KeyState};

use super::intents::{Ended, conclude, intend_each};
use super::{Changing, intend, is_unknown, mark, registry_failed, unexpected};
use crate::audit::Outcome;
use crate::registry::Key;
use crate::request::{Entry, With};
use crate::worker::Token;

impl With<'_> {
    pub(in crate::request) async fn destroy(
        &self,
        key: &Key,
        op: &Destroy,
        entry: &mut Entry,
    ) -> Result<Done, Failure> {
        let agent = self.agent;
        let origin = self.origin;
        if !op.now {
            return Err(Failure::new(
                ErrorCode::Unsupported,
                "this agent does not schedule destructions; it destroys at once or not at all",
            )
            .hint(format!("keyward key destroy {} --now", op.key)));
        }
        if key.state == KeyState::Destroyed {
            return Err(Failure::new(
                ErrorCode::WrongState,
                "the key is destroyed already",
            ));
        }
        let _changing = Changing::begin(agent, key.id)?;
        let mut tokens: Vec<&Token> = Vec::new();
        for place in key.versions.iter().flat_map(|version| &version.placements) {
            if !tokens.iter().any(|token| token.name() == place.token) {
                tokens.push(agent.token(Some(&place.token))?);
            }
        }
        for token in &tokens {
            token.refuse_unless_ready()?;
        }
        entry.version = key.current().map(|version| version.id);
        let mut intents = intend_each(agent, origin, "destroy", entry, &tokens).await?;
        if tokens.is_empty() {
            entry.token = None;
            intents.push(intend(agent, origin, "destroy", entry).await?);
        }

        let mut ended = Vec::new();
        let mut result = Ok(Done {});
        let mut begun = false;
        for (nth, intent) in intents.into_iter().enumerate() {
            let outcome = match (&result, tokens.get(nth)) {
                (Ok(_), Some(token)) => match self.destroy_on(token, key, &mut begun).await {
                    Ok(()) => Some(Outcome::Ok),
                    Err(failure) => {
                        let code = failure.code;
                        result = Err(failure);
                        // Nothing was destroyed, and the caller is told so: nothing may be later.
                        (!begun).then_some(Outcome::Failed(code))
                    }
                },
                (Ok(_), None) => Some(Outcome::Ok),
                // What was begun is finished when the token can be asked.
                (Err(failure), _) => (!begun).then_some(Outcome::Failed(failure.code)),
            };
            ended.push(Ended { intent, outcome });
        }
        if result.is_ok() {
            let destroyed = agent.registry.borrow_mut().destroy(key.id);
            match destroyed {
                Ok(_) => entry.registry = Some(mark(agent)),
                Err(error) => {
                    result = Err(registry_failed(&error));
                    ended.iter_mut().for_each(|ended| ended.outcome = None);
                }
            }
        }
        let ending = match &result {
            Ok(_) => Outcome::Ok,
            Err(failure) => Outcome::Failed(failure.code),
        };
        conclude(agent, origin, "destroy", entry, ended, ending);
        result
    }

    /// Destroys what a token has of a key, and says whether anything may have been destroyed.
    async fn destroy_on(&self, token: &Token, key: &Key, begun: &mut bool) -> Result<(), Failure> {
        let here = key
            .versions
            .iter()
            .filter(|version| version.placements.iter().any(|p| p.token == token.name()));
        for version in here {
            let work = Work::Destroy(version.id);
            match token.attempt(self.authorised, work, self.deadline).await {
                Ok(message::Outcome::Done) => *begun = true,
                Ok(_) => {
                    *begun = true;
                    return Err(unexpected(token));
                }
                Err(error) => {
                    *begun |= is_unknown(&error);
                    return Err(error.failure);
                }
            }
        }
        Ok(())
    }
}
