//! What goes back to the caller, behind its record.

use keyward_protocol::{ErrorCode, Failure};

use zeroize::Zeroizing;

use crate::agent::Agent;
use crate::audit::{AuditError, Sealed, Seq, Suppressed, Watermark};

/// An answer whose content comes out only when its record is in the log's file.
pub struct Answer(Inner);

type Content = Result<Zeroizing<Vec<u8>>, Failure>;

enum Inner {
    Sealed(Sealed<Content>),
    /// The log can't have it; the words say whether anything was done.
    AuditUnavailable(Failure),
}

impl Answer {
    /// The content: the operation's encoded reply, or the failure. `None` if its record has not
    /// been written up to this watermark, and never will be.
    pub fn open(self, written: &Watermark) -> Option<Content> {
        match self.0 {
            Inner::Sealed(sealed) => sealed.open(written).ok(),
            Inner::AuditUnavailable(failure) => Some(Err(failure)),
        }
    }

    /// The failure of an answer that no record stands behind, for when none can be written.
    pub fn without_record(self) -> Option<Failure> {
        match self.0 {
            Inner::Sealed(_) => None,
            Inner::AuditUnavailable(failure) => Some(failure),
        }
    }
}

/// Puts the content behind its record; a failure tells the record's number.
pub(super) fn sealed(agent: &Agent, seq: Seq, mut content: Content) -> Answer {
    if let Err(failure) = &mut content {
        failure.audit_id = Some(seq.to_string());
    }
    Answer(Inner::Sealed(agent.audit.seal(seq, content)))
}

/// A denial that the log counts instead of recording it.
pub(super) fn counted(proof: Suppressed, content: Content) -> Answer {
    Answer(Inner::Sealed(Sealed::counted(proof, content)))
}

/// The answer where the log can't be written.
pub(super) fn refused(error: &AuditError) -> Answer {
    Answer(Inner::AuditUnavailable(audit_unavailable(error)))
}

/// The answer where something was changed and its outcome can't be written.
pub(super) fn not_recorded(error: &AuditError) -> Answer {
    tracing::error!(%error, "the outcome of a change can't be written");
    Answer(Inner::AuditUnavailable(
        Failure::new(
            ErrorCode::AuditUnavailable,
            format!("it was done, but the log can't say so: {error}; look before you try again"),
        )
        .hint("keyward status"),
    ))
}

/// The answer where something was begun, and neither the caller nor the log can know how it ended.
pub(super) fn unknown(error: &AuditError) -> Answer {
    tracing::error!(%error, "the outcome of what was begun can't be written");
    Answer(Inner::AuditUnavailable(
        Failure::new(
            ErrorCode::AuditUnavailable,
            format!("it failed, but the log can't say so: {error}; what became of it is not recorded, and it may be finished later"),
        )
        .hint("keyward status"),
    ))
}

/// Nothing may be done that the log can't have.
pub(super) fn audit_unavailable(error: &AuditError) -> Failure {
    tracing::error!(%error, "the log can't be written");
    Failure::new(
        ErrorCode::AuditUnavailable,
        format!("the log can't be written, so nothing is done: {error}"),
    )
    .hint("make room on the disk that holds the state folder, then try again")
}
