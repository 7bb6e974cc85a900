//! One record of the log, as it is written and as it is read back.

mod caller;
mod hex;

use std::borrow::Cow;
use std::io::Write as _;

use jiff::Timestamp;
use jiff::fmt::temporal::DateTimePrinter;
use keyward_backend::VersionId;
use keyward_protocol::{Algorithm, ErrorCode};
use serde::{Deserialize, Serialize, Serializer};
use uuid::Uuid;

use super::error::AuditError;

pub use caller::{CallerFacts, CallerJson};
pub use hex::Hex;

/// The longest line, with its LF. Room is reserved by this.
pub const MAX_RECORD: usize = 4096;

/// What kind of event a record is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A key was used.
    Use,
    /// Something is about to be changed.
    ManageIntent,
    /// What became of an intent.
    ManageOutcome,
    /// Something was read; once per connection.
    Read,
    /// Somebody was refused.
    Denied,
    /// The agent itself has something to say.
    Agent,
    /// A kind that this version doesn't know; never written.
    #[serde(other)]
    Unknown,
}

/// How it went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Done.
    Ok,
    /// Refused or failed.
    Failed(ErrorCode),
}

impl Serialize for Outcome {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(match self {
            Self::Ok => "ok",
            Self::Failed(code) => code.name(),
        })
    }
}

/// Which state of the registry a management record saw.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegistryMark {
    /// Counts the changes.
    pub generation: u64,
    /// SHA-256 over everything in it.
    #[serde(with = "hex::hash")]
    pub digest: [u8; 32],
}

/// A record; the log adds its number and the time. Never a secret or a plaintext.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Record<'a> {
    /// What kind of event.
    pub kind: Kind,
    /// The operation's name, or what the agent did.
    pub op: &'a str,
    /// How it went; absent in an intent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
    /// Who asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub caller: Option<&'a CallerJson>,
    /// The key's id.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "uuid_text")]
    pub key: Option<Uuid>,
    /// The version's id, its CKA_ID.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "id_text")]
    pub version: Option<VersionId>,
    /// The name that a new key gets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alias: Option<&'a str>,
    /// The token's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<&'a str>,
    /// The algorithm.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "alg_name")]
    pub alg: Option<Algorithm>,
    /// The digest of the message (sign) or ciphertext (decrypt, unwrap), at most 64 bytes.
    #[serde(
        skip_serializing_if = "Option::is_none",
        serialize_with = "hex::optional"
    )]
    pub digest: Option<&'a [u8]>,
    /// The length of what was encrypted, or of what was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub length: Option<u64>,
    /// An intent: the token had nothing of the version before, so what is there later was made for
    /// it and may be undone.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub fresh: bool,
    /// An intent to destroy: on how many tokens the key was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub places: Option<usize>,
    /// An intent: manufacturer, model and serial of what the token was pinned to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device: Option<&'a str>,
    /// The number of the intent that this is the outcome of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub intent: Option<u64>,
    /// The registry: before the change in an intent, after it in an outcome.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub registry: Option<RegistryMark>,
    /// How many bytes of a torn line were cut off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cut: Option<u64>,
    /// How many denials of the same uid before this one have no record.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub suppressed: Option<u64>,
    /// Words without secrets; cut where the record would become too long.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<&'a str>,
}

impl<'a> Record<'a> {
    /// A record of a kind and an operation, with nothing else in it.
    #[must_use]
    pub const fn new(kind: Kind, op: &'a str) -> Self {
        Self {
            kind,
            op,
            outcome: None,
            caller: None,
            key: None,
            version: None,
            alias: None,
            token: None,
            alg: None,
            digest: None,
            length: None,
            fresh: false,
            places: None,
            device: None,
            intent: None,
            registry: None,
            cut: None,
            suppressed: None,
            detail: None,
        }
    }

    /// Writes the line, without LF, at the end of `line`.
    pub(super) fn write(
        &self,
        seq: u64,
        time: Timestamp,
        line: &mut Vec<u8>,
    ) -> Result<(), AuditError> {
        let start = line.len();
        let room = MAX_RECORD.saturating_sub(1);
        let excess = |line: &Vec<u8>| line.len().saturating_sub(start).saturating_sub(room);
        self.write_whole(seq, time, line)?;
        if excess(line) == 0 {
            return Ok(());
        }
        let detail = self.detail.unwrap_or_default();
        // Each byte that goes makes the line shorter by one at least.
        let kept = detail
            .len()
            .saturating_sub(excess(line))
            .saturating_sub('…'.len_utf8());
        line.truncate(start);
        let detail = (kept > 0).then(|| format!("{}…", prefix(detail, kept)));
        let mut shorter: Record<'_> = *self;
        shorter.detail = detail.as_deref();
        shorter.write_whole(seq, time, line)?;
        if excess(line) > 0 {
            line.truncate(start);
            shorter.detail = None;
            shorter.alias = self.alias.map(|text| prefix(text, 256));
            shorter.token = self.token.map(|text| prefix(text, 256));
            shorter.write_whole(seq, time, line)?;
        }
        if excess(line) > 0 {
            line.truncate(start);
            return Err(AuditError::TooLong);
        }
        Ok(())
    }

    fn write_whole(&self, seq: u64, time: Timestamp, line: &mut Vec<u8>) -> Result<(), AuditError> {
        const PRINTER: DateTimePrinter = DateTimePrinter::new().precision(Some(3));
        let failed = |_| AuditError::TooLong;
        write!(line, "{{\"seq\":{seq},\"time\":\"").map_err(failed)?;
        PRINTER
            .print_timestamp(&time, &mut *line)
            .map_err(|_| AuditError::TooLong)?;
        line.push(b'"');
        let brace = line.len();
        serde_json::to_writer(&mut *line, self).map_err(|_| AuditError::TooLong)?;
        // The object goes on with the record's own fields.
        if let Some(byte) = line.get_mut(brace) {
            *byte = b',';
        }
        Ok(())
    }
}

/// The longest beginning of at most `length` bytes.
fn prefix(text: &str, length: usize) -> &str {
    (0..=length)
        .rev()
        .find_map(|end| text.get(..end.min(text.len())))
        .unwrap_or_default()
}

fn uuid_text<S: Serializer>(uuid: &Option<Uuid>, serializer: S) -> Result<S::Ok, S::Error> {
    let mut buffer = Uuid::encode_buffer();
    let uuid = uuid.unwrap_or_default();
    serializer.serialize_str(uuid.hyphenated().encode_lower(&mut buffer))
}

fn id_text<S: Serializer>(id: &Option<VersionId>, serializer: S) -> Result<S::Ok, S::Error> {
    uuid_text(&id.map(|id| id.uuid()), serializer)
}

fn alg_name<S: Serializer>(alg: &Option<Algorithm>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(alg.map_or("", Algorithm::name))
}

/// What the log's reader needs of a line.
#[derive(Debug, Deserialize)]
pub(super) struct Stored<'a> {
    pub(super) seq: u64,
    pub(super) kind: Kind,
    #[serde(borrow)]
    pub(super) op: Cow<'a, str>,
    pub(super) key: Option<String>,
    pub(super) version: Option<String>,
    pub(super) alias: Option<String>,
    pub(super) token: Option<String>,
    #[serde(default)]
    pub(super) fresh: bool,
    pub(super) places: Option<usize>,
    pub(super) device: Option<String>,
    pub(super) intent: Option<u64>,
    pub(super) registry: Option<RegistryMark>,
}

#[cfg(test)]
mod tests;
