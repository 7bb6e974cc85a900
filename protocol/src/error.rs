//! What went wrong, as it travels: a code that programs act on, words for people.

use minicbor::{Decode, Decoder, Encode, decode};

use crate::key::named;

/// What the caller can do about it. The numbers are the registry of SPEC.md §8.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Encode)]
#[cbor(index_only)]
#[non_exhaustive]
pub enum ErrorCode {
    /// The bytes are no message of this protocol: mend the client.
    #[n(1)]
    Malformed,
    /// No common protocol version: update the older side.
    #[n(2)]
    Version,
    /// The agent does not know or offer this operation or feature.
    #[n(3)]
    Unsupported,
    /// A frame, a message or an answer is above its limit.
    #[n(4)]
    TooLarge,
    /// A parameter has a value that can't be used.
    #[n(5)]
    Invalid,
    /// A queue is full: try again later.
    #[n(6)]
    Busy,
    /// There is no such key, token or version, or the caller may not see it.
    #[n(7)]
    NotFound,
    /// The caller may see it but not do this.
    #[n(8)]
    Denied,
    /// The name is taken.
    #[n(9)]
    Exists,
    /// The key has another purpose.
    #[n(10)]
    WrongPurpose,
    /// The key's state forbids it.
    #[n(11)]
    WrongState,
    /// The key's formats don't include this.
    #[n(12)]
    FormatNotAllowed,
    /// The token or the key can't do this algorithm.
    #[n(13)]
    MechanismInvalid,
    /// The token is not there.
    #[n(14)]
    TokenAbsent,
    /// The token in the reader is not the one that was enrolled.
    #[n(15)]
    TokenChanged,
    /// The token needs its PIN: unlock it.
    #[n(16)]
    TokenLocked,
    /// The PIN was wrong; it will not be sent again.
    #[n(17)]
    PinIncorrect,
    /// The PIN is blocked on the token.
    #[n(18)]
    PinBlocked,
    /// keyward holds a PIN try back until a person says otherwise.
    #[n(19)]
    PinWithheld,
    /// What was to be unwrapped did not open: whatever the reason, this is all that is said.
    #[n(20)]
    UnwrapFailed,
    /// The token's module or device failed or died in the middle.
    #[n(21)]
    TokenFailed,
    /// The deadline passed.
    #[n(22)]
    DeadlineExceeded,
    /// The caller cancelled it.
    #[n(23)]
    Cancelled,
    /// The log can't be written, so nothing may be done.
    #[n(24)]
    AuditUnavailable,
    /// The registry does not match the log: management is refused.
    #[n(25)]
    RegistryMismatch,
    /// The agent is shutting down.
    #[n(26)]
    ShuttingDown,
    /// The agent has a fault.
    #[n(27)]
    Internal,
    /// The token has no room for another object.
    #[n(28)]
    TokenFull,
    /// The key is bound to PCRs, and the machine has others than were approved.
    #[n(29)]
    PcrMismatch,
    /// Nobody touched the token in time.
    #[n(30)]
    TouchMissed,
}

named!(ErrorCode {
    Malformed = "malformed",
    Version = "version",
    Unsupported = "unsupported",
    TooLarge = "too-large",
    Invalid = "invalid",
    Busy = "busy",
    NotFound = "not-found",
    Denied = "denied",
    Exists = "exists",
    WrongPurpose = "wrong-purpose",
    WrongState = "wrong-state",
    FormatNotAllowed = "format-not-allowed",
    MechanismInvalid = "mechanism-invalid",
    TokenAbsent = "token-absent",
    TokenChanged = "token-changed",
    TokenLocked = "token-locked",
    PinIncorrect = "pin-incorrect",
    PinBlocked = "pin-blocked",
    PinWithheld = "pin-withheld",
    UnwrapFailed = "unwrap-failed",
    TokenFailed = "token-failed",
    DeadlineExceeded = "deadline-exceeded",
    Cancelled = "cancelled",
    AuditUnavailable = "audit-unavailable",
    RegistryMismatch = "registry-mismatch",
    ShuttingDown = "shutting-down",
    Internal = "internal",
    TokenFull = "token-full",
    PcrMismatch = "pcr-mismatch",
    TouchMissed = "touch-missed",
});

impl ErrorCode {
    /// The code of a number; [`ErrorCode::Internal`] for one that a newer agent knows.
    #[must_use]
    pub fn from_number(number: u32) -> Self {
        // The numbers count from 1 without gaps.
        let index = usize::try_from(number).ok().and_then(|n| n.checked_sub(1));
        index
            .and_then(|index| Self::ALL.get(index).copied())
            .unwrap_or(Self::Internal)
    }
}

impl<'b, C> Decode<'b, C> for ErrorCode {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, decode::Error> {
        d.u32().map(Self::from_number)
    }
}

/// A refusal or a fault, as the agent tells it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, thiserror::Error)]
#[cbor(map)]
#[error("{message}")]
pub struct Failure {
    /// What the caller can do about it.
    #[n(0)]
    pub code: ErrorCode,
    /// What happened and why, in one line without secrets.
    #[n(1)]
    pub message: String,
    /// What to type next.
    #[n(2)]
    pub hint: Option<String>,
    /// The id under which the log has this request.
    #[n(3)]
    pub audit_id: Option<String>,
}

impl Failure {
    /// A failure with its one line.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            hint: None,
            audit_id: None,
        }
    }

    /// The same with what to type next.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cbor;

    #[test]
    fn the_numbers_count_without_gaps() {
        for (number, code) in (1_u32..).zip(ErrorCode::ALL) {
            assert_eq!(cbor::encode(code), cbor::encode(&number), "{code}");
            assert_eq!(ErrorCode::from_number(number), *code);
        }
    }

    #[test]
    fn an_unknown_code_is_a_fault_of_the_agent() {
        assert_eq!(ErrorCode::from_number(0), ErrorCode::Internal);
        assert_eq!(ErrorCode::from_number(u32::MAX), ErrorCode::Internal);
    }
}
