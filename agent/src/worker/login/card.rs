//! Changes what a card keeps beside its keys: PUK, blocked PIN, management key, everything.

use keyward_backend::BackendError;
use keyward_backend::message::{Outcome, Work};
use keyward_protocol::{ErrorCode, Failure};

use crate::monitor::Client as Monitor;
use crate::worker::link::Lost;
use crate::worker::marker::{Marker, MarkerFile, Source};
use crate::worker::{State, Token, failure_of};

impl Token {
    /// Has the card do this, with no login beside it.
    pub(crate) async fn manage_card(&self, work: Work, monitor: &Monitor) -> Result<(), Failure> {
        let _one_at_a_time = self.logging_in.lock().await;
        let link = self.link.borrow().clone().ok_or_else(|| self.died())?;
        let about_puk = matches!(work, Work::ChangePuk(_) | Work::UnblockPin(_));
        // What was known of tries at the PIN is over: it is another one now.
        let new_pin = matches!(work, Work::UnblockPin(_) | Work::Reset);
        let serial = self.report().map(|report| report.identity.serial);
        let markers = serial
            .filter(|_| new_pin)
            .map(|serial| (self.markers(&serial), serial));
        let before = match &markers {
            Some((markers, serial)) => self.doubt_pin(markers, serial)?,
            None => None,
        };
        // Whether anything was done: where that is not known, the marker stays.
        let undone = |error: &BackendError| {
            !matches!(
                error,
                BackendError::Interrupted(_) | BackendError::DeviceFailed(_)
            )
        };
        let restore = || {
            let restored = markers
                .as_ref()
                .map(|(markers, _)| markers.restore(before.as_ref()));
            if let Some(Err(error)) = restored {
                tracing::warn!(token = self.name(), %error, "what is known of its PIN can't be noted");
            }
        };
        match link.ask(&work).await {
            Ok(Outcome::Token(report)) => {
                let serial = report.identity.serial.clone();
                let locked = report.login_required && !report.logged_in;
                *self.report.borrow_mut() = Some(report);
                let forgotten = match new_pin {
                    true => self.forget_pin(&serial, monitor).await,
                    false => Ok(()),
                };
                if locked {
                    let note = self.note.borrow().clone().filter(|_| new_pin);
                    self.enter(State::Locked(note));
                }
                forgotten
            }
            Ok(Outcome::Failed(error)) => {
                if undone(&error) {
                    restore();
                }
                match about_puk {
                    true => Err(self.of_puk(error)),
                    false => Err(failure_of(self.name(), error)),
                }
            }
            Err(Lost::NotSent) => {
                restore();
                Err(Failure::new(
                    ErrorCode::TokenAbsent,
                    format!("token {} has no worker now; nothing was done", self.name()),
                )
                .hint("keyward status"))
            }
            _ => Err(self.died()),
        }
    }

    /// Notes, before the card gets another PIN, that nobody may know which one it has; gives what was
    /// noted before.
    fn doubt_pin(&self, markers: &MarkerFile, serial: &str) -> Result<Option<Marker>, Failure> {
        let noted = markers.read().and_then(|before| {
            markers.write(&Marker::of_try(serial, Source::Person, before.as_ref()))?;
            Ok(before)
        });
        noted.map_err(|error| {
            let words = format!(
                "what is known of the PIN of token {} can't be noted, and nothing was done: {error}",
                self.name()
            );
            Failure::new(ErrorCode::Internal, words).hint("make room on the disk")
        })
    }

    /// The card has another PIN now than anybody kept: nobody sends the old one.
    async fn forget_pin(&self, serial: &str, monitor: &Monitor) -> Result<(), Failure> {
        let markers = self.markers(serial);
        let mut marker = Marker::of_try(serial, Source::Person, None);
        let kept = self.outdate(&markers, &mut marker);
        self.remembered.set(false);
        if self.settings.remember_pin
            && let Err(error) = monitor.forget(self.name()).await
        {
            tracing::warn!(token = self.name(), %error, "the monitor may still keep the old PIN");
        }
        kept.map_err(|error| not_noted(self.name(), &error))
    }

    /// What the card says of the PIN it means of the PUK.
    fn of_puk(&self, error: BackendError) -> Failure {
        let name = self.name();
        match error {
            BackendError::PinIncorrect => {
                let words = format!("token {name} refused the PUK");
                Failure::new(ErrorCode::PinIncorrect, words).hint("keyward status")
            }
            BackendError::PinBlocked => {
                let words = format!("the PUK of token {name} is blocked");
                Failure::new(ErrorCode::PinBlocked, words).hint(format!(
                    "keyward token reset {name}  # all keys on it are destroyed"
                ))
            }
            BackendError::LastTry => {
                let words = format!("the PUK of token {name} was not sent: it has one try left");
                Failure::new(ErrorCode::PinWithheld, words).hint("the same with --spend-last-try")
            }
            other => failure_of(name, other),
        }
    }
}

fn not_noted(name: &str, error: &std::io::Error) -> Failure {
    let words = format!(
        "it was done, but what was noted of tries at the PIN of token {name} can't be removed: {error}"
    );
    Failure::new(ErrorCode::Internal, words).hint(format!("keyward unlock {name} --spend-last-try"))
}
