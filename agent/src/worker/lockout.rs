//! The time in which a token takes no PIN, after too many wrong ones.

use std::time::Duration;

use keyward_backend::message::{Outcome, Work};
use keyward_backend::token::PinTries;
use keyward_backend::{BackendError, TokenReport};
use keyward_protocol::Failure;

use super::{State, Token, failure_of};

/// How long whoever asks how things are waits for a token that does not answer.
const PATIENCE: Duration = Duration::from_millis(500);

impl Token {
    /// Asks the token again whether it takes a PIN: that ends by itself, and the tries of others count.
    /// What it does besides is not disturbed, and what it says otherwise is not looked at.
    pub(crate) async fn look_at_lockout(&self) {
        let can_answer = matches!(*self.state.borrow(), State::Locked(_) | State::Ready);
        // No other kind knows how long it lasts.
        if self.settings.kind != "tpm" || !can_answer || !self.is_idle() {
            return;
        }
        let Ok(_no_login_meanwhile) = self.logging_in.try_lock() else {
            return;
        };
        let Some(identity) = self.report().map(|report| report.identity) else {
            return;
        };
        let open = Work::Open {
            pinned: Some(identity),
        };
        if let Ok(Some(Outcome::Token(now))) = tokio::time::timeout(PATIENCE, self.ask(&open)).await
            && let Some(report) = &mut *self.report.borrow_mut()
        {
            let is_over =
                report.pin_tries == PinTries::Blocked && now.pin_tries != PinTries::Blocked;
            report.pin_tries = now.pin_tries;
            report.lockout_seconds = now.lockout_seconds;
            // Why it took no PIN holds no longer.
            if is_over && let State::Locked(why) = &mut *self.state.borrow_mut() {
                *why = None;
            }
        }
    }
}

/// What is said instead of sending a PIN to a token that takes none.
pub(super) fn blocked(token: &str, report: &TokenReport) -> Failure {
    let failure = failure_of(token, BackendError::PinBlocked);
    match report.lockout_seconds {
        None => failure,
        Some(seconds) => {
            let mut failure = failure.hint(format!(
                "wait for {seconds} seconds at the most, or reset it: tpm2_dictionarylockout -c"
            ));
            failure
                .message
                .push_str(": after too many wrong PINs the TPM takes none, the right one neither");
            failure
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use keyward_backend::TokenIdentity;

    use super::*;

    #[test]
    fn a_lockout_that_ends_by_itself_is_to_be_waited_for() {
        let mut report = TokenReport {
            identity: TokenIdentity {
                manufacturer: String::new(),
                model: String::new(),
                serial: String::new(),
            },
            label: String::new(),
            login_required: true,
            logged_in: false,
            pin_tries: PinTries::Blocked,
            algorithms: Vec::new(),
            key_types: Vec::new(),
            protections: Vec::new(),
            lockout_seconds: None,
            warnings: Vec::new(),
            hides_keys: false,
        };
        assert!(blocked("chip", &report).hint.unwrap().contains("PUK"));
        report.lockout_seconds = Some(77);
        let hint = blocked("chip", &report).hint.unwrap();
        assert!(hint.contains("77 seconds"), "{hint}");
    }
}
