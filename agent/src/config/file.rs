//! The shape of `keyward.toml`, before its values are checked.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error as _, MapAccess, Visitor};
use toml::Spanned;

use super::error::Wrong;
use super::{Mode, hint};

/// The whole file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    #[serde(default)]
    pub(super) mode: Mode,
    pub(super) socket: Option<Spanned<String>>,
    pub(super) state: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) sandbox: SandboxField,
    #[serde(default)]
    pub(super) log: LogField,
    pub(super) policy: Option<Spanned<PolicyTable>>,
    #[serde(default)]
    pub(super) limits: LimitsTable,
    #[serde(default)]
    pub(super) token: BTreeMap<Spanned<String>, Spanned<TokenTable>>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum SandboxField {
    #[default]
    Enforce,
    BestEffort,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum LogField {
    Error,
    Warn,
    #[default]
    Info,
    Debug,
    Trace,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PolicyTable {
    #[serde(default)]
    pub(super) allow: Vec<Spanned<AllowEntry>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AllowEntry {
    pub(super) uid: Option<u32>,
    pub(super) gid: Option<u32>,
    pub(super) group: Option<Spanned<String>>,
    pub(super) unit: Option<Spanned<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LimitsTable {
    pub(super) connections: Option<Spanned<u32>>,
    pub(super) connections_per_user: Option<Spanned<u32>>,
    pub(super) pipelined: Option<Spanned<u32>>,
    pub(super) queue: Option<Spanned<u32>>,
    pub(super) queue_per_caller: Option<Spanned<u32>>,
    pub(super) deadline: Option<Spanned<String>>,
    pub(super) max_deadline: Option<Spanned<String>>,
    pub(super) hello: Option<Spanned<String>>,
    pub(super) frame: Option<Spanned<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TokenTable {
    pub(super) kind: KindField,
    pub(super) module: Option<Spanned<String>>,
    pub(super) uri: Option<Spanned<String>>,
    pub(super) tcti: Option<Spanned<String>>,
    pub(super) serial: Option<Spanned<u32>>,
    pub(super) pin_timeout: Option<Spanned<String>>,
    pub(super) pin: Option<PinField>,
    #[serde(default)]
    pub(super) remember_pin: bool,
    pub(super) threads: Option<Spanned<u32>>,
    pub(super) spin: Option<Spanned<String>>,
    pub(super) timeout: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) environment: BTreeMap<Spanned<String>, Spanned<String>>,
    #[serde(default)]
    pub(super) read: Vec<Spanned<String>>,
    #[serde(default)]
    pub(super) write: Vec<Spanned<String>>,
    pub(super) sockets: Option<Spanned<SocketsField>>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum KindField {
    Pkcs11,
    Tpm,
    Piv,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum SocketsField {
    None,
    Unix,
    Inet,
}

/// `"ask"`, `{ file = … }` or `{ credential = … }`.
#[derive(Debug)]
pub(super) enum PinField {
    Ask,
    File(Spanned<String>),
    Credential(Spanned<String>),
}

impl<'de> Deserialize<'de> for PinField {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(PinVisitor)
    }
}

struct PinVisitor;

impl<'de> Visitor<'de> for PinVisitor {
    type Value = PinField;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"ask\", { file = \"/path\" } or { credential = \"name\" }")
    }

    fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<PinField, E> {
        // The value is not repeated: it may be a PIN that somebody wrote here.
        if value == "ask" {
            Ok(PinField::Ask)
        } else {
            Err(E::custom(PIN_IN_FILE))
        }
    }

    fn visit_i64<E: serde::de::Error>(self, _: i64) -> Result<PinField, E> {
        Err(E::custom(PIN_IN_FILE))
    }

    fn visit_f64<E: serde::de::Error>(self, _: f64) -> Result<PinField, E> {
        Err(E::custom(PIN_IN_FILE))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<PinField, A::Error> {
        #[derive(Deserialize)]
        #[serde(rename_all = "lowercase", deny_unknown_fields)]
        struct Table {
            file: Option<Spanned<String>>,
            credential: Option<Spanned<String>>,
        }
        let table = Table::deserialize(MapAccessDeserializer::new(map))?;
        match (table.file, table.credential) {
            (Some(file), None) => Ok(PinField::File(file)),
            (None, Some(name)) => Ok(PinField::Credential(name)),
            _ => Err(A::Error::custom(
                "a PIN comes from a file or from a credential: name one of them",
            )),
        }
    }
}

const PIN_IN_FILE: &str = "a PIN does not belong into this file";

/// Reads the file's shape.
pub(super) fn parse(text: &str) -> Result<File, Wrong> {
    toml::from_str(text).map_err(|error| explain(&error))
}

/// Turns the parser's error into one with a hint.
fn explain(error: &toml::de::Error) -> Wrong {
    let span = error.span().unwrap_or(0..0);
    let message = error.message();
    // serde lists what it knows: "unknown field `x`, expected one of `a`, `b`".
    if let Some((head, known)) = message.split_once(", expected")
        && head.starts_with("unknown ")
    {
        let word = quoted(head).next().unwrap_or_default().to_owned();
        let known: Vec<&str> = quoted(known).collect();
        let hint = match hint::nearest(&word, known.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None if head.starts_with("unknown variant") => {
                format!("write {}", known.join(" or "))
            }
            None => format!("known here: {}", known.join(", ")),
        };
        return Wrong::new(span, head.replacen("unknown variant", "unknown value", 1)).hint(hint);
    }
    if message == PIN_IN_FILE {
        return Wrong::new(span, message).secret().hint(
            "pin = \"ask\", pin = { file = \"/path\" } (mode 0600) or pin = { credential = \"name\" }",
        );
    }
    if message == "wanted string or table" {
        return Wrong::new(span, "a word in quotes is wanted here");
    }
    Wrong::new(span, message.replace('\n', ", "))
}

/// The words between backticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}
