//! Keeps a token's worker running: starts it, opens the token, logs in where it may, and starts
//! it again, with back-off, when its life has ended.

use std::rc::Rc;
use std::time::Duration;

use keyward_backend::message::{Outcome, Work};
use keyward_backend::{BackendError, TokenIdentity, TokenReport};
use tokio::time::Instant;

use super::link::{Ended, Link};
use super::{State, Token};
use crate::monitor::Client as Monitor;

/// A life shorter than this counts as a failure to come up.
const SHORT_LIFE: Duration = Duration::from_secs(10);
/// After so many of them in a row the token counts as absent, while it is tried on.
const MOST_SHORT_LIVES: u32 = 3;
const FIRST_DELAY: Duration = Duration::from_millis(50);
const LONGEST_DELAY: Duration = Duration::from_secs(10);
/// How often a token that is not there is looked for.
const LOOK: Duration = Duration::from_secs(2);
/// How long a worker may take to end by itself at shutdown.
const FAREWELL: Duration = Duration::from_secs(2);

/// What the rest of the agent wants to know about tokens and decides about them.
pub(crate) trait Enrolment {
    /// What the token was pinned to, if it was seen before.
    fn pinned(&self, token: &str) -> Option<TokenIdentity>;
    /// The token was seen for the first time: pin it.
    ///
    /// # Errors
    /// Why it can't be pinned; it is not used then.
    async fn enrol(&self, token: &str, identity: &TokenIdentity) -> Result<(), String>;
    /// The token can be used: finish what was interrupted.
    async fn ready(&self, token: &Rc<Token>);
}

/// Serves the token until the agent ends.
pub(crate) async fn supervise(
    token: Rc<Token>,
    monitor: Rc<Monitor>,
    enrolment: Rc<impl Enrolment>,
) {
    let mut short_lives = 0;
    loop {
        let born = Instant::now();
        if short_lives < MOST_SHORT_LIVES {
            token.enter(State::Starting);
        }
        let ended = live(&token, &monitor, &*enrolment).await;
        if let Some(link) = token.link.borrow_mut().take() {
            link.kill();
            link.abandon(&*token);
        }
        if token.closing.get() {
            token.ended.notify_one();
            return;
        }
        tracing::warn!(token = token.name(), %ended, "the worker's life ended");
        *token.report.borrow_mut() = None;
        token.restarts.set(token.restarts.get().saturating_add(1));
        if born.elapsed() >= SHORT_LIFE {
            short_lives = 0;
        }
        // What happened once is mended by the new life that begins at once; until then requests
        // wait. What happens again is told.
        token.enter(match ended {
            Life::Failed(why) | Life::Ended(Ended::Failed(why)) if short_lives > 0 => {
                State::Absent(why)
            }
            // Who waits for it would wait in vain.
            Life::Ended(how) if short_lives >= MOST_SHORT_LIVES => {
                State::Absent(format!("its worker ends as soon as it is started: {how}"))
            }
            _ => State::Starting,
        });
        tokio::time::sleep(delay(short_lives)).await;
        short_lives = short_lives.saturating_add(1);
    }
}

/// How long to wait before the next life: the first is started at once.
fn delay(short_lives: u32) -> Duration {
    let Some(doublings) = short_lives.checked_sub(1) else {
        return Duration::ZERO;
    };
    FIRST_DELAY
        .saturating_mul(2u32.saturating_pow(doublings))
        .min(LONGEST_DELAY)
}

/// How a life ended.
#[derive(Debug, thiserror::Error)]
enum Life {
    /// It had begun.
    #[error("{0}")]
    Ended(Ended),
    /// It could not begin, or not go on, and why.
    #[error("{0}")]
    Failed(String),
}

/// One life of the worker.
async fn live(token: &Rc<Token>, monitor: &Monitor, enrolment: &impl Enrolment) -> Life {
    let worker = match monitor.start_worker(token.name()).await {
        Ok(worker) => worker,
        Err(error) => return Life::Failed(format!("its worker can't be started: {error}")),
    };
    let link = match Link::new(worker.socket, worker.pidfd, worker.pid) {
        Ok(link) => Rc::new(link),
        Err(error) => return Life::Failed(format!("its worker can't be reached: {error}")),
    };
    *token.link.borrow_mut() = Some(link.clone());
    let ended = tokio::select! {
        ended = link.receive(&**token) => ended,
        ended = link.watch(token.settings.timeout) => ended,
        why = attend(token, &link, monitor, enrolment) => return Life::Failed(why),
    };
    Life::Ended(ended)
}

/// Opens the token and looks at it again whenever that is asked for; ends if it can't go on.
async fn attend(
    token: &Rc<Token>,
    link: &Link,
    monitor: &Monitor,
    enrolment: &impl Enrolment,
) -> String {
    loop {
        let mut found = false;
        match open(token, link, enrolment).await {
            Ok(report) => {
                found = true;
                // A login of before is no login when somebody has locked the token meanwhile.
                let logged_in = report.logged_in && token.may_log_in.get();
                let usable = logged_in || !report.login_required;
                *token.report.borrow_mut() = Some(report);
                if usable {
                    token.enter(State::Ready);
                } else {
                    // While the login is under way requests wait instead of being refused.
                    token.enter(State::Starting);
                    token.log_in_alone(monitor).await;
                }
                if token.is_ready() {
                    enrolment.ready(token).await;
                }
            }
            // For now it can't be used, and nobody says when that ends.
            Err(BackendError::Held(why)) => token.enter(State::Absent(why)),
            // The state says so already.
            Err(BackendError::TokenAbsent(_) | BackendError::TokenChanged(_)) => {}
            Err(error) => return error.to_string(),
        }
        let waits = matches!(*token.state.borrow(), State::Absent(_) | State::Changed(_));
        if waits && found {
            // It was there, and in the login it was not: never look again at once.
            tokio::time::sleep(LOOK).await;
        } else if waits {
            // What the look itself has said is no reason to look again.
            let _ = tokio::time::timeout(Duration::ZERO, token.look_again.notified()).await;
            let _ = tokio::time::timeout(LOOK, token.look_again.notified()).await;
        } else {
            token.look_again.notified().await;
        }
    }
}

async fn open(
    token: &Token,
    link: &Link,
    enrolment: &impl Enrolment,
) -> Result<TokenReport, BackendError> {
    let pinned = enrolment.pinned(token.name());
    let is_new = pinned.is_none();
    let report = match link.ask(&Work::Open { pinned }).await {
        Ok(Outcome::Token(report)) => report,
        Ok(Outcome::Failed(error)) => return Err(error),
        _ => {
            return Err(BackendError::DeviceFailed(
                "its worker did not answer".into(),
            ));
        }
    };
    if is_new {
        enrolment
            .enrol(token.name(), &report.identity)
            .await
            .map_err(|why| BackendError::DeviceFailed(format!("it can't be enrolled: {why}")))?;
    }
    Ok(report)
}

impl Token {
    /// Whether the token can be used.
    pub fn is_ready(&self) -> bool {
        *self.state.borrow() == State::Ready
    }

    /// Lets the worker end by itself, so that its module can finish; kills it if it does not.
    pub async fn farewell(&self) {
        self.closing.set(true);
        let link = self.link.borrow().clone();
        if let Some(link) = link {
            link.finish();
            let _ = tokio::time::timeout(FAREWELL, self.ended.notified()).await;
            link.kill();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_new_life_begins_at_once_and_later_ones_ever_later() {
        let delays: Vec<_> = [0, 1, 2, 3, 9, 100].map(|n| delay(n).as_millis()).into();
        assert_eq!(delays, [0, 50, 100, 200, 10_000, 10_000]);
    }
}
