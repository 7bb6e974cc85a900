//! `destroy`.

use keyward_backend::message::{self, Work};
use keyward_protocol::operation::{Destroy, Destroyed};
use keyward_protocol::{ErrorCode, Failure, KeyState};

use super::adopt::place_of;
use super::intents::{Ended, conclude, intend_each};
use super::{Changing, intend, is_unknown, mark, registry_failed, unexpected};
use crate::agent::Agent;
use crate::audit::Outcome;
use crate::registry::{Key, RegistryError};
use crate::request::destruction::Destroying;
use crate::request::{Entry, With};
use crate::worker::{Ask, Token};

impl With<'_> {
    pub(in crate::request) async fn destroy(
        &self,
        key: &Key,
        op: &Destroy,
        entry: &mut Entry,
    ) -> Result<Destroyed, Failure> {
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
        let tokens = self.tokens_of(key)?;
        let _destroying = Destroying::begin(agent, key.id);
        entry.version = key.versions.last().map(|version| version.id);
        entry.places = Some(tokens.len());
        let mut intents = intend_each(agent, origin, "destroy", entry, &tokens).await?;
        if tokens.is_empty() {
            entry.token = None;
            intents.push(intend(agent, origin, "destroy", entry).await?);
        }

        let mut ended = Vec::new();
        let mut done = Vec::new();
        let mut begun = false;
        let mut found = Found::default();
        let mut failed: Option<Failure> = None;
        for (nth, intent) in intents.into_iter().enumerate() {
            if failed.is_none() {
                let token = tokens.get(nth).copied();
                match self.destroy_on(token, key, &mut begun, &mut found).await {
                    Ok(()) => done.extend(token.map(Token::name)),
                    Err(failure) => failed = Some(failure),
                }
            }
            let outcome = match &failed {
                None => Some(Outcome::Ok),
                // What was begun is ended when the tokens can be asked. Where nothing was destroyed,
                // and the caller is told so, nothing may be later.
                Some(failure) => (!begun).then_some(Outcome::Failed(failure.code)),
            };
            ended.push(Ended { intent, outcome });
        }
        // What came since the tokens were listed is another destruction's.
        let now = agent.registry.borrow().key(&key.id_text);
        if failed.is_none() && now.is_some_and(|now| now.state != KeyState::Destroyed) {
            let words = "what there was of the key is destroyed, and it has got more since";
            let failure = Failure::new(ErrorCode::WrongState, words);
            failed = Some(failure.hint(format!("keyward key destroy {} --now", op.key)));
        }
        let left = tokens.iter().map(|token| token.name());
        let left: Vec<_> = left.filter(|name| !done.contains(name)).collect();
        if begun && tokens.len() > 1 {
            entry.detail = Some(match left.as_slice() {
                [] => format!("destroyed on {}", done.join(", ")),
                _ => format!(
                    "destroyed on [{}], not known to be on [{}]",
                    done.join(", "),
                    left.join(", ")
                ),
            });
        }
        let left_there = left_there(key);
        if begun && !left_there.is_empty() {
            entry.note(&format!("left as it is: {}", left_there.join(", ")));
        }
        if !found.missing.is_empty() {
            entry.note(&format!("was not there: {}", found.missing.join(", ")));
        }
        if !found.overwritten.is_empty() {
            entry.note(&format!("overwritten on {}", found.overwritten.join(", ")));
        }
        let result = match failed {
            None => Ok(Destroyed {
                overwritten: Some(found.overwritten).filter(|names| !names.is_empty()),
            }),
            Some(failure) if begun && !ended.iter().all(Ended::is_done) => {
                Err(half_done(failure, &op.key, &done, &left))
            }
            Some(failure) => Err(failure),
        };
        let ending = match &result {
            Ok(_) => Outcome::Ok,
            Err(failure) => Outcome::Failed(failure.code),
        };
        if result.is_ok() {
            entry.registry = Some(mark(agent));
            end_earlier(agent, key);
        }
        conclude(agent, origin, "destroy", entry, ended, ending);
        result
    }

    /// The tokens that have something of a key; each of them can be asked.
    fn tokens_of(&self, key: &Key) -> Result<Vec<&Token>, Failure> {
        let mut tokens: Vec<&Token> = Vec::new();
        for place in key.versions.iter().flat_map(|version| &version.placements) {
            if !tokens.iter().any(|token| token.name() == place.token) {
                tokens.push(self.agent.token(Some(&place.token))?);
            }
        }
        for token in &tokens {
            token.refuse_unless_ready()?;
        }
        Ok(tokens)
    }

    /// Destroys what a token has of a key and enters that, and says whether anything may have been
    /// destroyed.
    async fn destroy_on(
        &self,
        token: Option<&Token>,
        key: &Key,
        begun: &mut bool,
        found: &mut Found,
    ) -> Result<(), Failure> {
        if let Some(token) = token {
            self.destroy_objects(token, key, begun, found).await?;
            *begun = true;
        }
        let name = token.map(Token::name);
        let newest = key.versions.last().map_or(0, |version| version.number);
        let mut registry = self.agent.registry.borrow_mut();
        match registry.destroy_on(key.id, name.as_slice(), newest) {
            // An earlier intent was ended meanwhile.
            Ok(_) | Err(RegistryError::Destroyed(_)) => {
                *begun = true;
                Ok(())
            }
            Err(error) => Err(registry_failed(&error)),
        }
    }

    /// Destroys what a token has of a key, and notes how.
    async fn destroy_objects(
        &self,
        token: &Token,
        key: &Key,
        begun: &mut bool,
        found: &mut Found,
    ) -> Result<(), Failure> {
        let here = key
            .versions
            .iter()
            .filter(|version| version.placements.iter().any(|p| p.token == token.name()));
        for version in here {
            let inspect = Ask::of(Work::Inspect(version.id).into(), version, token);
            match token.call(self.authorised, inspect, self.deadline).await {
                Ok(message::Outcome::Key(None)) => {
                    found
                        .missing
                        .push(format!("version {} on {}", version.number, token.name()));
                }
                Err(failure) if failure.code == ErrorCode::DeadlineExceeded => return Err(failure),
                // Why it can't be looked at, the destruction says too.
                _ => {}
            }
            let work = Ask::of(Work::Destroy(version.id).into(), version, token);
            match token.attempt(self.authorised, work, self.deadline).await {
                Ok(message::Outcome::Done) => *begun = true,
                Ok(message::Outcome::Overwritten) => {
                    *begun = true;
                    let name = token.name().to_owned();
                    if !found.overwritten.contains(&name) {
                        found.overwritten.push(name);
                    }
                }
                Ok(_) => {
                    *begun = true;
                    return Err(unexpected(token));
                }
                Err(error) => {
                    // What the token refused to destroy it has still.
                    *begun |= is_unknown(&error) && !error.refused;
                    return Err(error.failure);
                }
            }
        }
        Ok(())
    }
}

/// What there was of a key.
#[derive(Default)]
struct Found {
    /// Versions that a token did not have.
    missing: Vec<String>,
    /// Tokens that can't delete a key, and have overwritten it.
    overwritten: Vec<String>,
}

/// What other programs have put into tokens: the agent forgets it, and does not remove it.
fn left_there(key: &Key) -> Vec<String> {
    let places = key.versions.iter().flat_map(|version| &version.placements);
    let left = places.filter_map(|place| {
        let at = place_of(&place.locator)?;
        Some(format!("the key at {at} of {}", place.token))
    });
    left.collect()
}

/// Says what is gone and what is left.
fn half_done(mut failure: Failure, key: &str, done: &[&str], left: &[&str]) -> Failure {
    let gone = match done {
        [] => "nothing of it is known to be destroyed".to_owned(),
        _ => format!("what {} had of it is destroyed", done.join(" and ")),
    };
    let rest = match left {
        [] => "the registry is to be told".to_owned(),
        _ => format!("what {} has is not known to be", left.join(" and ")),
    };
    failure.message.push_str(&format!(
        "; {gone}, {rest}; that ends by itself as soon as it can, and the key is out of use until then"
    ));
    failure.hint(format!("keyward key destroy {key} --now  # ends it"))
}

/// Has the outcomes of earlier intents written: nothing is left of what they were about.
fn end_earlier(agent: &Agent, key: &Key) {
    for intent in agent.open_intents.borrow().iter() {
        if (intent.op.as_str(), intent.key) == ("destroy", Some(key.id))
            && let Some(name) = &intent.token
            && let Ok(token) = agent.token(Some(name))
        {
            token.look_again();
        }
    }
}
