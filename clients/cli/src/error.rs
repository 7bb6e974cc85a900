//! Errors as a person reads them: what happened, why, what to type next.

use std::error::Error as _;
use std::io::Write;

use keyward_client::Error as ClientError;
use keyward_protocol::{ErrorCode, Failure};

use crate::exit::Exit;
use crate::output::plain;

/// Why a command ends without having done what it was told.
#[derive(Debug)]
pub(crate) struct Error {
    message: String,
    causes: Vec<String>,
    hint: Option<String>,
    pub(crate) exit: Exit,
}

impl Error {
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            causes: Vec::new(),
            hint: None,
            exit,
        }
    }

    /// Something about the command line or a file that it names.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    pub(crate) fn cause(mut self, cause: impl ToString) -> Self {
        self.causes.push(cause.to_string());
        self
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// With this hint if there is no better one.
    pub(crate) fn or_hint(mut self, hint: &str) -> Self {
        self.hint.get_or_insert_with(|| hint.into());
        self
    }

    /// With the hint of another error.
    pub(crate) fn hinted_as(mut self, other: Self) -> Self {
        self.hint = other.hint;
        self
    }

    /// Writes it to stderr; where that is closed the exit code has to do.
    pub(crate) fn print(&self) {
        if self.message.is_empty() {
            return;
        }
        let mut text = format!("keyward: error: {}\n", plain(&self.message));
        for cause in &self.causes {
            text.push_str(&format!("  caused by: {}\n", plain(cause)));
        }
        if let Some(hint) = &self.hint {
            text.push_str(&format!("  hint: {}\n", plain(hint)));
        }
        let _ = std::io::stderr().write_all(text.as_bytes());
    }

    /// What happened and why, and what to type next.
    pub(crate) fn told(&self) -> (String, Option<String>) {
        let mut what = self.message.clone();
        for cause in &self.causes {
            what.push_str(": ");
            what.push_str(cause);
        }
        (what, self.hint.clone())
    }

    /// Where the answer is on stdout already.
    pub(crate) fn silent(exit: Exit) -> Self {
        Self::new(exit, "")
    }

    /// Whoever read the output has had enough: no error, no words.
    pub(crate) fn reader_gone() -> Self {
        Self::new(Exit::Success, "")
    }
}

impl From<ClientError> for Error {
    fn from(error: ClientError) -> Self {
        let exit = match &error {
            ClientError::Unreachable { .. } | ClientError::Untrusted { .. } => Exit::Unreachable,
            ClientError::Environment { .. } | ClientError::TooLarge { .. } => Exit::Usage,
            ClientError::Refused(failure) => Exit::of(failure.code),
            ClientError::Io(_) => Exit::TryAgain,
            _ => Exit::Fault,
        };
        let mut told = Self::new(exit, error.to_string());
        told.hint = match &error {
            ClientError::Refused(failure) => refusal_hint(failure),
            ClientError::OutcomeUnknown { .. } => Some("keyward status".into()),
            other => other.hint(),
        };
        let mut source = error.source();
        while let Some(cause) = source {
            told.causes.push(cause.to_string());
            source = cause.source();
        }
        told
    }
}

/// The agent's own hint, or what always helps.
fn refusal_hint(failure: &Failure) -> Option<String> {
    let usual = || match failure.code {
        ErrorCode::NotFound => Some("keyward key list"),
        ErrorCode::TokenLocked => Some("keyward unlock"),
        ErrorCode::TokenAbsent | ErrorCode::TokenChanged => Some("keyward token list"),
        ErrorCode::Internal | ErrorCode::TokenFailed => Some("keyward status"),
        _ => None,
    };
    failure.hint.clone().or_else(|| usual().map(Into::into))
}
