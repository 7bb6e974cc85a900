//! On which token a version is used: the nearest of its placements, and the next where that fails.

use std::rc::Rc;
use std::time::Duration;

use keyward_backend::message::{Outcome, Work};
use keyward_protocol::{ErrorCode, Failure};
use tokio::time::Instant;

use crate::registry::Version;
use crate::request::{Entry, With};
use crate::worker::{Ask, Token};

/// After which time a token that was there and could not be used is tried again by who waits for it.
const SOON: Duration = Duration::from_millis(500);

/// When a use that failed on one token is done on the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Repeat {
    /// Whatever became of it: it changes nothing, and gives the same each time.
    Always,
    /// Only where the token has done nothing.
    Undone,
}

impl Repeat {
    /// Whether the next token may try after this failure. That something does not open is an answer
    /// and no failure of a token; so nobody has more tries because there are more tokens.
    const fn after(self, code: ErrorCode) -> bool {
        match code {
            ErrorCode::TokenAbsent
            | ErrorCode::TokenChanged
            | ErrorCode::TokenLocked
            | ErrorCode::NotFound
            | ErrorCode::PcrMismatch
            | ErrorCode::MechanismInvalid => true,
            ErrorCode::TokenFailed => matches!(self, Self::Always),
            _ => false,
        }
    }
}

impl With<'_> {
    /// Has a token that holds the version do something. `work` says what, anew for each token;
    /// `check` makes the result of the answer, or finds it wrong.
    ///
    /// The record names the token that served, and those that failed before it.
    pub(super) async fn on_token<T>(
        &self,
        version: &Version,
        repeat: Repeat,
        entry: &mut Entry,
        mut work: impl FnMut() -> Result<Rc<Work>, Failure>,
        check: impl Fn(&Token, Outcome) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        entry.version = Some(version.id);
        let mut before: Option<(Failure, Option<String>)> = None;
        loop {
            if self.waits {
                self.wait_for_token(version).await?;
            }
            let detail = entry.detail.clone();
            let tried = (self.each_token(version, repeat, entry, &mut work, &check)).await;
            let failure = match tried {
                Err(failure) if self.waits => failure,
                tried => return tried,
            };
            match (failure.code, before.take()) {
                // It was there or unlocked only as far as was known: nothing was done.
                (ErrorCode::TokenAbsent | ErrorCode::TokenLocked, _) => {
                    let told = std::mem::replace(&mut entry.detail, detail);
                    before = Some((failure, told));
                }
                // What it waited for says more than that the time is over.
                (ErrorCode::DeadlineExceeded, Some((failure, told))) => {
                    entry.detail = told;
                    return Err(failure);
                }
                _ => return Err(failure),
            }
            // That another program lets a card go, nobody says.
            let soon = Instant::now().checked_add(SOON).unwrap_or(self.deadline);
            tokio::time::sleep_until(soon.min(self.deadline)).await;
            if Instant::now() >= self.deadline
                && let Some((failure, told)) = before
            {
                entry.detail = told;
                return Err(failure);
            }
        }
    }

    /// The same, once on each of the tokens.
    async fn each_token<T>(
        &self,
        version: &Version,
        repeat: Repeat,
        entry: &mut Entry,
        work: &mut impl FnMut() -> Result<Rc<Work>, Failure>,
        check: &impl Fn(&Token, Outcome) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let mut first: Option<(&Token, Failure)> = None;
        for token in self.placements(version)? {
            entry.token = Some(token.name().to_owned());
            let ask = Ask::of(work()?, version, token);
            let answer = token.call(self.authorised, ask, self.deadline).await;
            let failure = match answer.and_then(|outcome| check(token, outcome)) {
                Ok(result) => return Ok(result),
                Err(failure) => failure,
            };
            if !repeat.after(failure.code) {
                return Err(failure);
            }
            // Spares are told of only where there are some.
            if version.placements.len() > 1 {
                entry.note(&format!("{} on {}", failure.code, token.name()));
            }
            first.get_or_insert((token, failure));
        }
        let (token, failure) = first.ok_or_else(no_token)?;
        entry.token = Some(token.name().to_owned());
        Err(failure)
    }

    /// The token that holds the version and is nearest to be used.
    pub(in crate::request) fn place(
        &self,
        version: &Version,
        entry: &mut Entry,
    ) -> Result<&Token, Failure> {
        let tokens = self.placements(version)?;
        let token = tokens.first().ok_or_else(no_token)?;
        entry.version = Some(version.id);
        entry.token = Some(token.name().to_owned());
        Ok(token)
    }

    /// Waits until one of the tokens that hold the version can be used; until the deadline, and then
    /// the request says what is wrong.
    async fn wait_for_token(&self, version: &Version) -> Result<(), Failure> {
        loop {
            let moved = self.agent.events.moved();
            if self
                .placements(version)?
                .iter()
                .any(|token| token.distance() <= 1)
            {
                return Ok(());
            }
            if tokio::time::timeout_at(self.deadline, moved).await.is_err() {
                return Ok(());
            }
        }
    }

    /// The tokens that hold the version, the nearest first.
    fn placements(&self, version: &Version) -> Result<Vec<&Token>, Failure> {
        let names = || version.placements.iter().map(|place| place.token.as_str());
        let tokens = names().filter_map(|name| self.agent.tokens.get(name));
        let mut tokens: Vec<_> = tokens.map(Rc::as_ref).collect();
        if tokens.is_empty() {
            let names: Vec<_> = names().collect();
            return Err(Failure::new(
                ErrorCode::TokenAbsent,
                format!(
                    "the key lives on {}, which the configuration does not have",
                    names.join(", ")
                ),
            )
            .hint("add the token to keyward.toml again"));
        }
        tokens.sort_by_key(|token| token.distance());
        Ok(tokens)
    }
}

fn no_token() -> Failure {
    Failure::new(ErrorCode::Internal, "no token")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_open_is_tried_on_one_token_only() {
        for repeat in [Repeat::Always, Repeat::Undone] {
            for code in [
                ErrorCode::UnwrapFailed,
                ErrorCode::DeadlineExceeded,
                ErrorCode::Busy,
                ErrorCode::Invalid,
                ErrorCode::Cancelled,
            ] {
                assert!(!repeat.after(code), "{code}");
            }
            assert!(repeat.after(ErrorCode::TokenAbsent));
        }
    }

    #[test]
    fn what_a_token_may_have_done_is_repeated_only_if_it_gives_the_same() {
        assert!(Repeat::Always.after(ErrorCode::TokenFailed));
        assert!(!Repeat::Undone.after(ErrorCode::TokenFailed));
    }
}
