//! What a caller is told about what a worker could not do.

use keyward_backend::BackendError;
use keyward_protocol::{ErrorCode, Failure};

/// The failure that a client sees. `UnwrapFailed` says one thing whatever the reason.
pub(crate) fn failure_of(token: &str, error: BackendError) -> Failure {
    use BackendError as E;
    let text = format!("token {token}: {error}");
    match error {
        E::LoginRequired => {
            Failure::new(ErrorCode::TokenLocked, text).hint(format!("keyward unlock {token}"))
        }
        E::PinIncorrect => Failure::new(ErrorCode::PinIncorrect, text)
            .hint(format!("keyward unlock {token}  # with the right PIN")),
        E::PinBlocked => Failure::new(ErrorCode::PinBlocked, text)
            .hint(unblock(token)),
        E::PinSource(_) => Failure::new(ErrorCode::TokenLocked, text)
            .hint(format!("keyward unlock {token}  # or mend the file")),
        E::TokenAbsent(_) => Failure::new(ErrorCode::TokenAbsent, text).hint("keyward status"),
        // For the client as good as absent, and for the agent only for now.
        E::Held(_) => Failure::new(ErrorCode::TokenAbsent, text).hint("keyward doctor"),
        E::TokenChanged(_) => Failure::new(ErrorCode::TokenChanged, text)
            .hint(format!("keyward token accept {token}")),
        E::KeyChanged(_) => Failure::new(ErrorCode::NotFound, text).hint("keyward status"),
        E::KeyNotFound => Failure::new(ErrorCode::NotFound, text).hint("keyward status"),
        // Never a failure after which the object counts as one that the request made.
        E::Exists(_) => {
            Failure::new(ErrorCode::Exists, text).hint(format!("keyward token rescan {token}"))
        }
        E::PlaceTaken(_) => Failure::new(ErrorCode::Exists, text).hint("keyward key list"),
        E::KeyUnsafe(_) => Failure::new(ErrorCode::TokenFailed, text),
        E::MechanismInvalid(_) => Failure::new(ErrorCode::MechanismInvalid, text),
        E::Invalid(_) => Failure::new(ErrorCode::Invalid, text),
        E::UnwrapFailed => unwrap_failed(),
        E::TokenFull => Failure::new(ErrorCode::TokenFull, text)
            .hint("keyward key list  # and destroy what is not needed"),
        E::PcrMismatch(_) => Failure::new(ErrorCode::PcrMismatch, text).hint(
            "find out why they changed (new firmware, another boot entry); then: keyward key reseal NAME",
        ),
        E::LastTry => Failure::new(ErrorCode::PinWithheld, text)
            .hint("the same with --spend-last-try"),
        E::TouchMissed => Failure::new(ErrorCode::TouchMissed, text)
            .hint("touch it while it blinks; `keyward watch` says who asks"),
        E::Busy(_) => Failure::new(ErrorCode::Busy, text),
        E::DeviceFailed(_) | E::Interrupted(_) => Failure::new(ErrorCode::TokenFailed, text).hint("keyward status"),
        // Refused, and whatever a newer worker says.
        _ => Failure::new(ErrorCode::TokenFailed, text),
    }
}

/// What frees a blocked PIN.
pub(super) fn unblock(token: &str) -> String {
    format!(
        "keyward token unblock-pin {token}  # a PIV card, by its PUK; another token's own tool, by its SO PIN"
    )
}

/// The one failure of everything that did not open.
pub(crate) fn unwrap_failed() -> Failure {
    Failure::new(ErrorCode::UnwrapFailed, "the ciphertext does not open")
}
