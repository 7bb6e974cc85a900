//! The exit codes, which scripts act on.

use std::process::ExitCode;

use keyward_protocol::ErrorCode;

/// Why the program ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// It was done.
    Success = 0,
    /// The answer is no: a signature does not match, a ciphertext does not open.
    Negative = 1,
    /// The command line, or a file that it names, can't be used.
    Usage = 2,
    /// No agent, or one that is not trusted.
    Unreachable = 3,
    /// Not allowed.
    Denied = 4,
    /// No such key, token or version.
    NotFound = 5,
    /// The token is locked, absent, changed or full.
    Token = 6,
    /// The key or the agent is in no state to do it.
    Refused = 7,
    /// It could work in a moment.
    TryAgain = 8,
    /// A fault, or an outcome that is not known.
    Fault = 9,
}

/// The codes as help and the manual page show them.
pub(crate) const HELP: &str = "\
Exit codes:
  0  done
  1  the answer is no: a signature does not match, a ciphertext does not open
  2  the command line, or a file that it names, can't be used
  3  no agent answers, or its user is not trusted
  4  denied
  5  no such key, token or version, or none that you may see
  6  the token needs something: its PIN, to be there, to be accepted, room
  7  refused: purpose, state, format or algorithm of the key, or the agent's own state
  8  busy, too late, cancelled or interrupted: try again
  9  a fault, or the connection ended before the answer";

impl Exit {
    /// The exit code of what the agent said.
    pub(crate) fn of(code: ErrorCode) -> Self {
        use ErrorCode as E;
        match code {
            E::UnwrapFailed => Self::Negative,
            E::Invalid | E::TooLarge => Self::Usage,
            E::Denied => Self::Denied,
            E::NotFound => Self::NotFound,
            E::TokenAbsent
            | E::TokenChanged
            | E::TokenLocked
            | E::TokenFull
            | E::PinIncorrect
            | E::PinBlocked
            | E::PinWithheld => Self::Token,
            E::Exists
            | E::WrongPurpose
            | E::WrongState
            | E::FormatNotAllowed
            | E::PcrMismatch
            | E::MechanismInvalid
            | E::AuditUnavailable
            | E::RegistryMismatch
            | E::Unsupported => Self::Refused,
            E::Busy | E::DeadlineExceeded | E::Cancelled | E::ShuttingDown | E::TokenFailed => {
                Self::TryAgain
            }
            _ => Self::Fault,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}
