//! Changing the user PIN.

use cryptoki::error::RvError;
use cryptoki::types::AuthPin;
use keyward_backend::message::ChangePin;
use keyward_backend::{BackendError, Result, TokenReport};
use keyward_protocol::SecretBytes;
use zeroize::Zeroize;

use super::Token;
use super::error::{answer, code, describe};
use super::token::is_logged_in;

impl Token {
    /// Sends both PINs to the token that was found, after asking once more that it is that one.
    pub(super) fn set_pin(&self, change: &ChangePin) -> Result<TokenReport> {
        let mut anchor = self.lock_anchor();
        let found = self.found()?;
        let session = self.ensure_anchor(&mut anchor)?;
        let info = self.check_identity(&found)?;
        if info.user_pin_locked() {
            return Err(BackendError::PinBlocked);
        }
        if info.protected_authentication_path() {
            return Err(BackendError::MechanismInvalid(
                "the PIN is typed at the token's own keys; change it with the token's own program"
                    .to_owned(),
            ));
        }
        let lengths = info.min_pin_length()..=info.max_pin_length();
        if *lengths.end() != 0 && !lengths.contains(&change.new.len()) {
            return Err(BackendError::Invalid(format!(
                "a PIN of this token has {} to {} bytes",
                lengths.start(),
                lengths.end()
            )));
        }
        let (old, new) = (pin(&change.old)?, pin(&change.new)?);
        match session.set_pin(&old, &new) {
            Ok(()) => {}
            Err(error) => {
                return Err(match code(&error) {
                    // The new one has a length that the token takes, so it is the old one that was
                    // refused, and that may have been a try.
                    Some(RvError::PinLenRange | RvError::PinInvalid) if *lengths.end() != 0 => {
                        BackendError::PinIncorrect
                    }
                    Some(RvError::PinLenRange | RvError::PinInvalid) => BackendError::Invalid(
                        format!("the token does not take the new PIN: {}", describe(&error)),
                    ),
                    Some(RvError::PinIncorrect) if self.is_blocked() => BackendError::PinBlocked,
                    _ => answer(&error),
                });
            }
        }
        let logged_in = is_logged_in(session).map_err(|error| answer(&error))?;
        self.report(logged_in)
    }

    /// Whether the token says that the try just made was the last.
    fn is_blocked(&self) -> bool {
        let found = self.found();
        let info = found.and_then(|found| self.check_identity(&found));
        info.is_ok_and(|info| info.user_pin_locked())
    }
}

/// A PIN as the module's wrapper takes it, which wipes it.
fn pin(bytes: &SecretBytes) -> Result<AuthPin> {
    match String::from_utf8(bytes.expose().to_vec()) {
        Ok(text) => Ok(AuthPin::from(text)),
        Err(error) => {
            error.into_bytes().zeroize();
            Err(BackendError::Invalid("a PIN is UTF-8 text".to_owned()))
        }
    }
}
