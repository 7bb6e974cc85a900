//! Who asked, written once per connection.

use serde::Serialize;
use serde_json::value::RawValue;

use super::{hex, prefix};

/// The facts about a caller that records hold.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct CallerFacts<'a> {
    /// The user.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// The process, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// The system unit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<&'a str>,
    /// The program's path: a hint.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exe: Option<&'a str>,
    /// The program's SHA-256: a hint.
    #[serde(
        skip_serializing_if = "Option::is_none",
        serialize_with = "hex::optional"
    )]
    pub exe_sha256: Option<&'a [u8]>,
    /// The front end that it came through.
    pub front: &'a str,
}

/// A caller's facts as JSON, ready to be copied into each record.
#[derive(Clone, Debug, Serialize)]
#[serde(transparent)]
pub struct CallerJson(Box<RawValue>);

/// More than this no caller may take of a record.
const MAX_CALLER: usize = 1536;

impl CallerJson {
    /// Writes the facts; names that are too long for a record are cut.
    ///
    /// # Errors
    /// They can't be written as JSON.
    pub fn new(facts: &CallerFacts<'_>) -> Result<Self, serde_json::Error> {
        let whole = serde_json::value::to_raw_value(facts)?;
        if whole.get().len() <= MAX_CALLER {
            return Ok(Self(whole));
        }
        // An escaped byte takes six at the most.
        let shorter = CallerFacts {
            unit: facts.unit.map(|text| prefix(text, 64)),
            exe: facts.exe.map(|text| prefix(text, 128)),
            front: prefix(facts.front, 16),
            ..*facts
        };
        serde_json::value::to_raw_value(&shorter).map(Self)
    }
}

impl Default for CallerJson {
    /// Nothing is known.
    fn default() -> Self {
        Self(RawValue::NULL.to_owned())
    }
}
