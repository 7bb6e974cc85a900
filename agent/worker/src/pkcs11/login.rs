//! Logging in. It is per application: one session logs all of them in.

use cryptoki::error::RvError;
use cryptoki::session::UserType;
use cryptoki::types::RawAuthPin;
use keyward_backend::{BackendError, Result, TokenReport};
use keyward_protocol::SecretBytes;

use super::Token;
use super::error::{answer, code};

impl Token {
    /// Sends the PIN to the token that was found, after asking once more that it is that one.
    pub(super) fn log_in(&self, pin: &SecretBytes) -> Result<TokenReport> {
        let mut anchor = self.lock_anchor();
        let found = self.found()?;
        let session = self.ensure_anchor(&mut anchor)?;
        let info = self.check_identity(&found)?;
        if info.user_pin_locked() {
            return Err(BackendError::PinBlocked);
        }
        let result = if info.protected_authentication_path() {
            // The PIN is typed at the token's own keys.
            session.login(UserType::User, None)
        } else {
            let pin = RawAuthPin::new(Box::new(pin.expose().to_vec()));
            session.login_with_raw(UserType::User, &pin)
        };
        match result {
            Ok(()) => {}
            Err(error) if code(&error) == Some(RvError::UserAlreadyLoggedIn) => {}
            Err(error) => return Err(answer(&error)),
        }
        // What was looked up without a login does not know private objects.
        self.forget_handles();
        self.report(true)
    }

    /// Logs all sessions out.
    pub(super) fn log_out(&self) -> Result<()> {
        let mut anchor = self.lock_anchor();
        let session = self.ensure_anchor(&mut anchor)?;
        let result = session.logout();
        // Handles of private objects are invalid after a logout (PKCS#11 §5.6.9).
        self.forget_handles();
        match result {
            Ok(()) => Ok(()),
            Err(error) if code(&error) == Some(RvError::UserNotLoggedIn) => Ok(()),
            Err(error) => Err(answer(&error)),
        }
    }
}
