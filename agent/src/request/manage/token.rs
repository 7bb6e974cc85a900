//! `unlock`, `lock` and `accept-token`.

use keyward_backend::message;
use keyward_protocol::operation::{AcceptToken, ChangePin, Done, Lock, LoginState, Unlock};
use keyward_protocol::{ErrorCode, Failure, SecretBytes};

use super::intend;
use crate::request::{Entry, With};
use crate::worker::Login;

impl With<'_> {
    pub(in crate::request) async fn unlock(
        &self,
        op: Unlock,
        entry: &mut Entry,
    ) -> Result<Done, Failure> {
        let agent = self.agent;
        let token = agent.token(op.token.as_deref())?;
        entry.token = Some(token.name().to_owned());
        let login = match op.pin {
            Some(pin) => Login::Given(checked_pin(pin)?),
            None => Login::File,
        };
        token
            .unlock(login, op.spend_withheld_try, &agent.monitor)
            .await
            .map_err(crate::worker::LoginError::into_failure)?;
        // Finishes what an earlier crash left open.
        token.look_again();
        Ok(Done {})
    }

    pub(in crate::request) async fn lock(
        &self,
        op: &Lock,
        entry: &mut Entry,
    ) -> Result<Done, Failure> {
        let agent = self.agent;
        entry.token.clone_from(&op.token);
        match &op.token {
            Some(name) => agent.token(Some(name))?.lock(&agent.monitor).await?,
            None => {
                // One that fails leaves none of the others open.
                let mut all = Ok(());
                for token in agent.tokens.values() {
                    all = all.and(token.lock(&agent.monitor).await);
                }
                all?;
            }
        }
        Ok(Done {})
    }

    pub(in crate::request) async fn change_pin(
        &self,
        op: ChangePin,
        entry: &mut Entry,
    ) -> Result<Done, Failure> {
        let agent = self.agent;
        let token = agent.token(op.token.as_deref())?;
        entry.token = Some(token.name().to_owned());
        let old = checked_pin(op.old)?;
        let new = checked_new_pin(op.new, &old)?;
        token.refuse_unless_found()?;
        intend(agent, self.origin, "change-pin", entry).await?;
        token
            .change_pin(
                message::ChangePin { old, new },
                op.spend_withheld_try,
                &agent.monitor,
            )
            .await
            .map_err(crate::worker::LoginError::into_failure)?;
        Ok(Done {})
    }

    pub(in crate::request) async fn accept_token(
        &self,
        op: &AcceptToken,
        entry: &mut Entry,
    ) -> Result<Done, Failure> {
        let agent = self.agent;
        let origin = self.origin;
        let token = agent.token(Some(&op.token))?;
        entry.token = Some(token.name().to_owned());
        if token.login_state().0 != LoginState::Changed {
            return Err(Failure::new(
                ErrorCode::WrongState,
                format!("no other token is in the place of {}", token.name()),
            )
            .hint("keyward status"));
        }
        intend(agent, origin, "accept-token", entry).await?;
        // The supervisor enrols what it finds then, under an intent of its own.
        agent.accepting.borrow_mut().insert(token.name().to_owned());
        token.look_again();
        Ok(Done {})
    }
}

/// A PIN that no token refuses for its form, and that nobody has to guess twice.
fn checked_new_pin(pin: SecretBytes, old: &SecretBytes) -> Result<SecretBytes, Failure> {
    let invalid = |what: &str| Err(Failure::new(ErrorCode::Invalid, what));
    if !(4..=256).contains(&pin.len()) || std::str::from_utf8(pin.expose()).is_err() {
        return invalid("a new PIN has 4 to 256 bytes of UTF-8");
    }
    if pin.expose().iter().any(|byte| byte.is_ascii_control()) {
        return invalid("a new PIN has no control characters");
    }
    if pin.expose() == old.expose() {
        return invalid("the new PIN is the old one");
    }
    Ok(pin)
}

/// A PIN that some token could have: PKCS#11 has it in UTF-8, and none takes an empty one.
fn checked_pin(pin: SecretBytes) -> Result<SecretBytes, Failure> {
    let fits = (1..=256).contains(&pin.len()) && std::str::from_utf8(pin.expose()).is_ok();
    fits.then_some(pin)
        .ok_or_else(|| Failure::new(ErrorCode::Invalid, "a PIN has 1 to 256 bytes of UTF-8"))
}
