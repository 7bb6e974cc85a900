//! What goes back on one connection: only behind its records.

use keyward_protocol::frame;
use keyward_protocol::message::ServerMessage;
use keyward_protocol::{ErrorCode, Failure};
use zeroize::Zeroize;

use crate::audit::{Audit, AuditError};
use crate::request::Answer;

/// How much memory an idle connection keeps, and how much that went out is kept with what did not.
const MOST_KEPT: usize = 16 * 1024;

/// Answers that wait for their records, and bytes that wait for the socket.
#[derive(Default)]
pub(crate) struct Outbox {
    answers: Vec<(u64, Answer)>,
    bytes: Vec<u8>,
    sent: usize,
    message: Vec<u8>,
}

impl Outbox {
    /// Puts an answer in.
    pub(crate) fn put(&mut self, id: u64, answer: Answer) {
        self.answers.push((id, answer));
    }

    /// Puts a failure in that belongs to no record: the connection's own.
    pub(crate) fn put_failure(&mut self, id: Option<u64>, failure: Failure, limit: usize) {
        let mut short = Failure::new(failure.code, "the reason does not fit into a frame");
        short.audit_id.clone_from(&failure.audit_id);
        // Whatever a worker or a caller put into the words: the call is answered.
        if !self.put_message(&ServerMessage::Failure { id, failure }, limit) {
            let failure = short;
            self.put_message(&ServerMessage::Failure { id, failure }, limit);
        }
    }

    /// Puts a message in that needs no record; false if it is too large for a frame.
    pub(crate) fn put_message(&mut self, message: &ServerMessage<'_>, limit: usize) -> bool {
        message.encode_into(&mut self.message);
        let fits = frame::write(&self.message, limit, &mut self.bytes).is_ok();
        self.message.zeroize();
        if self.message.capacity() > MOST_KEPT {
            self.message = Vec::new();
        }
        fits
    }

    /// Has the log written, and makes bytes of the answers whose records are in it.
    ///
    /// # Errors
    /// The log can't be written: no answer may leave.
    pub(crate) fn release(&mut self, audit: &Audit, limit: usize) -> Result<(), AuditError> {
        if self.answers.is_empty() {
            return Ok(());
        }
        let written = audit.flush();
        let mut lost = 0usize;
        for (id, answer) in std::mem::take(&mut self.answers) {
            let content = match &written {
                Ok(written) => answer.open(written),
                // What was refused because of the log needs no record.
                Err(_) => answer.without_record().map(Err),
            };
            match content {
                Some(Ok(body)) => {
                    let sent = self.put_message(&ServerMessage::Reply { id, body: &body }, limit);
                    if !sent {
                        self.put_failure(Some(id), too_large(), limit);
                    }
                }
                Some(Err(failure)) => self.put_failure(Some(id), failure, limit),
                None => lost = lost.saturating_add(1),
            }
        }
        match written {
            Err(error) if lost > 0 => Err(error),
            _ if lost > 0 => Err(AuditError::Failed(format!("{lost} records were lost"))),
            _ => Ok(()),
        }
    }

    /// What is to be sent next; empty if nothing is.
    pub(crate) fn unsent(&self) -> &[u8] {
        self.bytes.get(self.sent..).unwrap_or_default()
    }

    /// So much of it went out.
    pub(crate) fn sent(&mut self, length: usize) {
        self.sent = self.sent.saturating_add(length);
        if self.sent >= self.bytes.len() {
            self.bytes.zeroize();
            self.sent = 0;
            if self.bytes.capacity() > MOST_KEPT {
                self.bytes = Vec::new();
            }
        } else if self.sent >= MOST_KEPT {
            // A client that always lags behind a little must not have all that it ever took kept.
            self.bytes.copy_within(self.sent.., 0);
            let left = self.bytes.len().saturating_sub(self.sent);
            if let Some(stale) = self.bytes.get_mut(left..) {
                stale.zeroize();
            }
            self.bytes.truncate(left);
            self.sent = 0;
        }
    }
}

fn too_large() -> Failure {
    Failure::new(ErrorCode::TooLarge, "the answer does not fit into a frame")
}

impl Drop for Outbox {
    fn drop(&mut self) {
        self.bytes.zeroize();
        self.message.zeroize();
    }
}
