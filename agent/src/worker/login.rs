//! Gives a token its PIN, under rules that keep its tries.

mod card;
mod change_pin;

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use keyward_backend::message::{Credential, Outcome, SourceIdentity, Work};
use keyward_backend::token::PinTries;
use keyward_backend::{BackendError, TokenReport};
use keyward_protocol::{ErrorCode, Failure, SecretBytes};

use super::link::{Link, Lost};
use super::marker::{Marker, MarkerFile, Source, TryOutcome, Withheld, judge};
use super::{State, Token, failure_of, lockout};
use crate::monitor::Client as Monitor;

/// How long a worker may take to log out.
const LOCK_PATIENCE: Duration = Duration::from_secs(2);

/// Where the PIN of a login comes from.
pub enum Login {
    /// A person typed it.
    Given(SecretBytes),
    /// The file of the configuration.
    File,
    /// The monitor kept it and gave it to the worker.
    Remembered,
}

/// Why a token was not unlocked.
#[derive(Debug)]
pub enum LoginError {
    /// The token is not in a state to take a PIN, or refused it.
    Failed(Failure),
    /// keyward holds the PIN back.
    Withheld(Failure),
}

impl LoginError {
    /// What the caller is told.
    pub fn into_failure(self) -> Failure {
        match self {
            Self::Failed(failure) | Self::Withheld(failure) => failure,
        }
    }
}

impl Token {
    /// Gives the token a PIN. One try at a time, each marked on the disk before it is sent.
    pub async fn unlock(
        &self,
        login: Login,
        spend: bool,
        monitor: &Monitor,
    ) -> Result<(), LoginError> {
        let _one_at_a_time = self.logging_in.lock().await;
        let done = self.log_in(login, spend, monitor).await;
        if let Err(LoginError::Failed(failure)) = &done
            && failure.code == ErrorCode::PinBlocked
            && matches!(*self.state.borrow(), State::Locked(_))
        {
            // Nobody else's PIN helps either: whoever looks at the token sees why.
            *self.state.borrow_mut() = State::Locked(Some(failure.message.clone()));
        }
        done
    }

    async fn log_in(&self, login: Login, spend: bool, monitor: &Monitor) -> Result<(), LoginError> {
        if self.is_ready() {
            return Ok(());
        }
        let link = self.link.borrow().clone();
        let report = self.fresh_report(link.as_deref()).await?;
        let link = link.ok_or_else(|| LoginError::Failed(self.died()))?;
        let markers = self.markers(&report.identity.serial);
        let before = markers.read().map_err(|e| self.marker_failed(&e))?;
        let (credential, source, keep) = self.credential(login)?;
        judge(before.as_ref(), report.pin_tries, source, spend)
            .map_err(|withheld| LoginError::Withheld(self.withheld(withheld)))?;

        let mut marker = Marker::of_try(&report.identity.serial, source, before.as_ref());
        markers.write(&marker).map_err(|e| self.marker_failed(&e))?;
        let kept = match link.ask(&Work::Login(credential)).await {
            Ok(Outcome::Token(report)) => {
                *self.report.borrow_mut() = Some(report);
                if marker.outdated.is_some() && !matches!(source, Source::File { .. }) {
                    marker.outcome = TryOutcome::Accepted;
                    marker.refusals = 0;
                    markers.write(&marker)
                } else {
                    *self.note.borrow_mut() = None;
                    markers.clear()
                }
            }
            Ok(Outcome::Failed(error)) => {
                let kept = if is_refusal(&error) {
                    marker.refuse();
                    markers.write(&marker)
                } else if spent_nothing(&error) {
                    markers.restore(before.as_ref())
                } else {
                    Ok(())
                };
                return Err(self.not_done(failure_of(self.name(), error), kept));
            }
            // The PIN never left the agent.
            Err(Lost::NotSent) => {
                let kept = markers.restore(before.as_ref());
                return Err(self.not_done(self.died(), kept));
            }
            // The worker died: whether the token counted the try is not known. The marker stays.
            _ => return Err(LoginError::Failed(self.died())),
        };
        self.may_log_in.set(true);
        self.enter(State::Ready);
        if let Some(pin) = keep {
            let remembered = monitor.remember(self.name(), pin).await;
            self.remembered.set(remembered.is_ok());
        }
        kept.map_err(|e| self.note_failed("was accepted and it is unlocked", &e))
    }

    /// Takes the PIN away: the token logs out, and keyward does not log in by itself again.
    pub async fn lock(&self, monitor: &Monitor) -> Result<(), Failure> {
        self.may_log_in.set(false);
        self.remembered.set(false);
        let login = tokio::time::timeout(LOCK_PATIENCE, self.logging_in.lock());
        let _one_at_a_time = match login.await {
            Ok(one_at_a_time) => one_at_a_time,
            Err(_) => {
                // A login that does not end is ended with its worker.
                self.distrust();
                self.logging_in.lock().await
            }
        };
        // A login that ended meanwhile had set it.
        self.may_log_in.set(false);
        let known = matches!(*self.state.borrow(), State::Ready | State::Locked(_));
        if known {
            self.enter(State::Locked(None));
        }
        let link = self.link.borrow().clone();
        let log_out = async {
            let Some(link) = link else { return };
            let logged_out = tokio::time::timeout(LOCK_PATIENCE, link.ask(&Work::Logout)).await;
            if !matches!(logged_out, Ok(Ok(Outcome::Done))) {
                // A token that does not log out loses its worker, and with it its PIN.
                link.kill();
            }
        };
        // Asked first, so that the next worker does not get the PIN; not waited for first.
        let forget = async {
            match self.settings.remember_pin {
                true => monitor.forget(self.name()).await,
                false => Ok(()),
            }
        };
        let (forgotten, ()) = tokio::join!(forget, log_out);
        forgotten.map_err(|error| {
            Failure::new(
                ErrorCode::Internal,
                format!(
                    "token {} is locked, but the monitor may still keep its PIN: {error}",
                    self.name()
                ),
            )
            .hint("restart keywardd")
        })
    }

    /// Logs in from whatever source needs no person, if that is allowed; else the token is locked.
    pub(super) async fn log_in_alone(&self, monitor: &Monitor) {
        let _one_at_a_time = self.logging_in.lock().await;
        // Only now: while this waited, somebody may have unlocked or locked the token.
        if self.is_ready() {
            return;
        }
        let login = if !self.may_log_in.get() {
            return self.enter(State::Locked(None));
        } else if self.remembered.get() {
            Login::Remembered
        } else if self.settings.pin_file.is_some() {
            Login::File
        } else {
            return self.enter(State::Locked(None));
        };
        if let Err(error) = self.log_in(login, false, monitor).await {
            let failure = error.into_failure();
            tracing::warn!(token = self.name(), %failure, "not unlocked");
            let waits = matches!(*self.state.borrow(), State::Starting | State::Locked(_));
            if waits {
                self.enter(State::Locked(Some(failure.message)));
            }
        }
    }

    /// The token's report, if it is in a state to take a PIN.
    fn lockable(&self) -> Result<TokenReport, LoginError> {
        let state = self.state.borrow().clone();
        match (state, &*self.report.borrow()) {
            (State::Locked(_) | State::Starting | State::Ready, Some(report)) => Ok(report.clone()),
            (State::Starting, None) => Err(LoginError::Failed(
                Failure::new(
                    ErrorCode::TokenAbsent,
                    format!("token {} is not up yet", self.name()),
                )
                .hint("keyward status"),
            )),
            _ => Err(LoginError::Failed(
                self.refuse_unless_ready()
                    .err()
                    .unwrap_or_else(|| self.died()),
            )),
        }
    }

    /// What the token says now: a try since it was last seen may have left it with the last one.
    async fn fresh_report(&self, link: Option<&Link>) -> Result<TokenReport, LoginError> {
        let pinned = Some(self.lockable()?.identity);
        let link = link.ok_or_else(|| LoginError::Failed(self.died()))?;
        match link.ask(&Work::Open { pinned }).await {
            Ok(Outcome::Token(report)) if report.pin_tries == PinTries::Blocked => {
                let failure = lockout::blocked(self.name(), &report);
                *self.report.borrow_mut() = Some(report);
                Err(LoginError::Failed(failure))
            }
            Ok(Outcome::Token(report)) => Ok(report),
            Ok(Outcome::Failed(error)) => Err(LoginError::Failed(failure_of(self.name(), error))),
            _ => Err(LoginError::Failed(self.died())),
        }
    }

    fn credential(
        &self,
        login: Login,
    ) -> Result<(Credential, Source, Option<SecretBytes>), LoginError> {
        Ok(match login {
            Login::Given(pin) => {
                let keep = self.settings.remember_pin;
                let keep = keep.then(|| SecretBytes::copy_from(pin.expose()));
                (Credential::Given(pin), Source::Person, keep)
            }
            Login::Remembered => (Credential::Remembered, Source::Remembered, None),
            Login::File => {
                let path = self.settings.pin_file.as_deref().ok_or_else(|| {
                    LoginError::Failed(
                        Failure::new(
                            ErrorCode::Invalid,
                            format!(
                                "the configuration names no PIN file for token {}",
                                self.name()
                            ),
                        )
                        .hint(format!("keyward unlock {}", self.name())),
                    )
                })?;
                let identity = source_identity(path).map_err(|error| {
                    LoginError::Failed(failure_of(
                        self.name(),
                        BackendError::PinSource(format!("{}: {error}", path.display())),
                    ))
                })?;
                (Credential::File(identity), identity.into(), None)
            }
        })
    }

    fn markers(&self, serial: &str) -> MarkerFile {
        MarkerFile::new(&self.settings.markers, self.name(), serial)
    }

    fn marker_failed(&self, error: &io::Error) -> LoginError {
        LoginError::Withheld(Failure::new(
            ErrorCode::Internal,
            format!(
                "the PIN of token {} was not sent, because the try can't be noted in {}: {error}",
                self.name(),
                self.settings.markers.display()
            ),
        ))
    }

    /// Why it was not done, and that the next try does not know it if that could not be noted.
    fn not_done(&self, mut failure: Failure, kept: io::Result<()>) -> LoginError {
        if let Err(error) = kept {
            let folder = self.settings.markers.display();
            let note = format!(
                "; that could not be noted in {folder}: {error}, so the next try is held back"
            );
            failure.message.push_str(&note);
        }
        LoginError::Failed(failure)
    }

    /// The token took the PIN, and the marker of before still says that nobody knows what became of it.
    fn note_failed(&self, happened: &str, error: &io::Error) -> LoginError {
        let folder = self.settings.markers.display();
        let name = self.name();
        LoginError::Failed(
            Failure::new(
                ErrorCode::Internal,
                format!(
                    "the PIN of token {name} {happened}, but that could not be noted in {folder}: {error}, so the next try is held back"
                ),
            )
            .hint(format!(
                "make room on the disk, then: keyward unlock {name} --spend-last-try"
            )),
        )
    }

    fn withheld(&self, withheld: Withheld) -> Failure {
        let name = self.name();
        let why = match withheld {
            Withheld::LastTry => "the token has one try left",
            Withheld::OutcomeUnknown => {
                "the worker or the agent died in the middle of the try before, and whether the \
                 token counted it is not known"
            }
            Withheld::RefusedBefore => {
                "the token has refused what its source holds, and the source has not changed"
            }
            Withheld::Outdated => "it was changed, and its source has not been written since",
            Withheld::TooManyRefusals => {
                "two were refused, and the token does not say how many tries are left"
            }
        };
        Failure::new(
            ErrorCode::PinWithheld,
            format!("the PIN of token {name} was not sent: {why}"),
        )
        .hint(format!("keyward unlock {name} --spend-last-try"))
    }
}

/// Which state the file is in now; Landlock does not keep the agent from asking.
fn source_identity(path: &Path) -> io::Result<SourceIdentity> {
    let file = std::fs::symlink_metadata(path)?;
    let nanoseconds = |s: i64, ns: i64| s.saturating_mul(1_000_000_000).saturating_add(ns);
    Ok(SourceIdentity {
        device: file.dev(),
        inode: file.ino(),
        size: file.size(),
        modified: nanoseconds(file.mtime(), file.mtime_nsec()),
        changed: nanoseconds(file.ctime(), file.ctime_nsec()),
    })
}

/// The token has seen the PIN and said no.
fn is_refusal(error: &BackendError) -> bool {
    matches!(error, BackendError::PinIncorrect | BackendError::PinBlocked)
}

/// The PIN certainly did not reach the token.
fn spent_nothing(error: &BackendError) -> bool {
    matches!(
        error,
        BackendError::PinSource(_)
            | BackendError::TokenAbsent(_)
            | BackendError::TokenChanged(_)
            | BackendError::Busy(_)
            | BackendError::Held(_)
            | BackendError::LastTry
    )
}
