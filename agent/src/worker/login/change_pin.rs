//! Changes a token's PIN, under the rules of a login: the old one is a try.

use std::io;

use keyward_backend::BackendError;
use keyward_backend::message::{ChangePin, Outcome, Work};
use keyward_backend::token::PinTries;
use keyward_protocol::{ErrorCode, Failure, SecretBytes};

use super::{LoginError, is_refusal, source_identity, spent_nothing};
use crate::monitor::Client as Monitor;
use crate::worker::failure::unblock;
use crate::worker::link::{Link, Lost};
use crate::worker::marker::{MOST_REFUSALS, Marker, MarkerFile, Source, TryOutcome, judge};
use crate::worker::{State, Token, failure_of};

impl Token {
    /// Gives the token another PIN. One try at a time, marked on the disk before it is sent.
    pub async fn change_pin(
        &self,
        change: ChangePin,
        spend: bool,
        monitor: &Monitor,
    ) -> Result<(), LoginError> {
        let _one_at_a_time = self.logging_in.lock().await;
        let new = SecretBytes::copy_from(change.new.expose());
        let link = self.link.borrow().clone();
        let report = self.fresh_report(link.as_deref()).await?;
        let link = link.ok_or_else(|| LoginError::Failed(self.died()))?;
        let markers = self.markers(&report.identity.serial);
        let before = markers.read().map_err(|e| self.marker_failed(&e))?;
        judge(before.as_ref(), report.pin_tries, Source::Person, spend).map_err(|withheld| {
            let failure = self.withheld(withheld);
            LoginError::Withheld(failure.hint(format!("{} --spend-last-try", self.again())))
        })?;

        let mut marker = Marker::of_try(&report.identity.serial, Source::Person, before.as_ref());
        markers.write(&marker).map_err(|e| self.marker_failed(&e))?;
        let report = match link.ask(&Work::ChangePin(change)).await {
            Ok(Outcome::Token(report)) => report,
            Ok(Outcome::Failed(error)) => {
                let wrong = matches!(error, BackendError::PinIncorrect);
                let kept = if is_refusal(&error) {
                    marker.refuse();
                    markers.write(&marker)
                } else if spent_nothing(&error) || is_about_the_new_one(&error) {
                    markers.restore(before.as_ref())
                } else {
                    Ok(())
                };
                let failure = match wrong {
                    true => self.old_is_wrong(&link, &marker).await,
                    false => failure_of(self.name(), error),
                };
                return Err(self.not_done(failure, kept));
            }
            // The PINs never left the agent.
            Err(Lost::NotSent) => {
                let kept = markers.restore(before.as_ref());
                return Err(self.not_done(self.died(), kept));
            }
            // Which of the two the token has now is not known. The marker stays.
            _ => return Err(LoginError::Failed(self.died())),
        };
        let kept = self.outdate(&markers, &mut marker);
        self.replace_remembered(new, monitor).await;
        let logged_out = report.login_required && !report.logged_in;
        *self.report.borrow_mut() = Some(report);
        if logged_out && *self.state.borrow() == State::Ready {
            self.look_again();
        }
        kept.map_err(|e| self.note_failed("was changed", &e))
    }

    /// That it was the old PIN, and what is known of the tries that are left.
    async fn old_is_wrong(&self, link: &Link, marker: &Marker) -> Failure {
        let name = self.name();
        let pinned = self.lockable().ok().map(|found| found.identity);
        let tries = match link.ask(&Work::Open { pinned }).await {
            Ok(Outcome::Token(report)) => report.pin_tries,
            _ => PinTries::Unknown,
        };
        let many = tries != PinTries::Several && marker.refusals >= MOST_REFUSALS;
        let withheld = tries == PinTries::Final || many;
        let left = match tries {
            PinTries::Blocked => "the token blocked it: no try is left",
            PinTries::Final => "one try is left, which keyward holds back",
            _ if withheld => {
                "how many tries are left is not known, and keyward holds back the next"
            }
            PinTries::Several => "more than one try is left, and keyward makes none by itself",
            PinTries::Low => {
                "some tries are left, the token does not say how many, and keyward makes none by itself"
            }
            PinTries::Unknown => {
                "the token does not say how many tries are left, and keyward makes none by itself"
            }
        };
        let text =
            format!("token {name}: the old PIN is wrong, and the PIN was not changed; {left}");
        let failure = Failure::new(ErrorCode::PinIncorrect, text);
        let spend = if withheld { " --spend-last-try" } else { "" };
        failure.hint(match tries {
            PinTries::Blocked => unblock(self.name()),
            _ => format!("{}{spend}  # with the right old PIN", self.again()),
        })
    }

    /// What to type for another try.
    fn again(&self) -> String {
        format!("keyward token change-pin {}", self.name())
    }

    /// The monitor has the new PIN from now on, or none.
    async fn replace_remembered(&self, new: SecretBytes, monitor: &Monitor) {
        if !self.settings.remember_pin {
            return;
        }
        // After somebody has locked the token nothing is remembered.
        let keep = self.may_log_in.get() && *self.state.borrow() == State::Ready;
        let kept = keep && monitor.remember(self.name(), new).await.is_ok();
        self.remembered.set(kept);
        if !kept && let Err(error) = monitor.forget(self.name()).await {
            tracing::warn!(token = self.name(), %error, "the monitor may still keep the old PIN");
        }
    }

    /// Notes that the PIN is another one: the next worker must not spend a try on what the file held
    /// until now.
    pub(super) fn outdate(&self, markers: &MarkerFile, marker: &mut Marker) -> io::Result<()> {
        let file = self.settings.pin_file.as_deref();
        marker.outdated = file
            .and_then(|path| source_identity(path).ok())
            .map(Source::from);
        marker.outcome = TryOutcome::Accepted;
        marker.refusals = 0;
        let kept = match marker.outdated {
            Some(_) => markers.write(marker),
            None => markers.clear(),
        };
        self.say_what_is_outdated(marker);
        kept
    }

    /// Says where the old PIN still is.
    fn say_what_is_outdated(&self, marker: &Marker) {
        let file = self.settings.pin_file.as_deref();
        let note = file.filter(|_| marker.outdated.is_some()).map(|file| {
            format!(
                "its PIN was changed, and {} may still hold the old one; write the new one into it",
                file.display()
            )
        });
        if let Some(note) = &note {
            tracing::warn!(token = self.name(), note, "the PIN was changed");
        }
        *self.note.borrow_mut() = note;
    }
}

/// The token did not take the new PIN, and said so before it looked at the old one.
fn is_about_the_new_one(error: &BackendError) -> bool {
    matches!(
        error,
        BackendError::Invalid(_) | BackendError::MechanismInvalid(_)
    )
}
