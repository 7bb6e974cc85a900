//! What everything that opens ciphertexts has in common: one failure, from one place, and only so
//! many of them.

use keyward_protocol::{ErrorCode, Failure};

use crate::request::With;
use crate::worker::failure::unwrap_failed;

impl With<'_> {
    /// Refuses a caller of whose ciphertexts too many did not open.
    pub(super) fn may_try_to_open(&self) -> Result<(), Failure> {
        let Some(wait) = self.agent.unwrap_failures.wait(self.origin.caller.uid) else {
            return Ok(());
        };
        Err(Failure::new(
            ErrorCode::Busy,
            format!(
                "too many ciphertexts of yours did not open; try again in {} seconds",
                wait.as_secs().saturating_add(1)
            ),
        ))
    }

    /// Counts it, and says the one thing, whatever the reason.
    pub(super) fn did_not_open(&self) -> Failure {
        self.agent.unwrap_failures.failed(self.origin.caller.uid);
        unwrap_failed()
    }

    /// The result, where that it did not open is what [`did_not_open`](Self::did_not_open) says.
    pub(super) fn opened<T>(&self, result: Result<T, Failure>) -> Result<T, Failure> {
        result.map_err(|failure| match failure.code {
            ErrorCode::UnwrapFailed => self.did_not_open(),
            _ => failure,
        })
    }
}
