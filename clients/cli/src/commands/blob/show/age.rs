//! Files of `keyward encrypt`: for which keys, and how.

use std::io::{BufReader, Read};

use keyward_client::age::agent::Recipient;
use keyward_client::age::{Header, Stanza};
use keyward_protocol::ciphertext::Ciphertext;
use serde_json::{Value, json};

use crate::arguments::Json;
use crate::commands::decrypt;
use crate::error::Error;
use crate::output::{print, print_json, table};

const FORM: &str = "age-encryption.org/v1";
/// How files of any version begin, and files in ASCII armor.
const STARTS: [&[u8]; 2] = [
    b"age-encryption.org/",
    b"-----BEGIN AGE ENCRYPTED FILE-----",
];

pub(in crate::commands) fn is_one(bytes: &[u8]) -> bool {
    STARTS.iter().any(|start| bytes.starts_with(start))
}

pub(super) fn show(input: impl Read, name: &str, json: &Json) -> Result<(), Error> {
    let header = Header::read(&mut BufReader::new(input))
        .map_err(|error| decrypt::header(error, name, "keyward blob show"))?;
    let stanzas: Vec<Shown> = header.stanzas().iter().map(Shown::of).collect();
    if json.json {
        let stanzas: Vec<Value> = stanzas.iter().map(as_json).collect();
        print_json(&json!({ "form": FORM, "stanzas": stanzas }))
    } else {
        let mut rows = vec![["form".into(), FORM.into()]];
        for (stanza, number) in stanzas.iter().zip(1..) {
            rows.push([format!("stanza {number}"), stanza.kind.clone()]);
            rows.extend(stanza.rows());
        }
        print(&table(&rows))
    }
}

/// A stanza; who is not the agent's knows its own.
struct Shown {
    kind: String,
    recipient: Option<Recipient>,
    /// The file key as it was encrypted, if it has the form for that.
    file_key: Option<Ciphertext>,
    /// What is wrong with it.
    problem: Option<String>,
}

impl Shown {
    fn of(stanza: &Stanza) -> Self {
        let mut shown = Self {
            kind: stanza.arguments.first().cloned().unwrap_or_default(),
            recipient: None,
            file_key: None,
            problem: None,
        };
        let recipient = match Recipient::from_stanza(stanza) {
            None => return shown,
            Some(Ok(recipient)) => recipient,
            Some(Err(error)) => {
                shown.problem = Some(error.to_string());
                return shown;
            }
        };
        match Ciphertext::decode(&recipient.ciphertext) {
            Ok(sealed) => {
                let (kid, version) = (sealed.kid().to_string(), sealed.version());
                if kid != recipient.key || version != recipient.version {
                    shown.problem = Some(format!("what it holds is of {kid} version {version}"));
                }
                shown.file_key = Some(sealed);
            }
            Err(error) => shown.problem = Some(error.to_string()),
        }
        shown.recipient = Some(recipient);
        shown
    }

    fn rows(&self) -> Vec<[String; 2]> {
        let mut rows = Vec::new();
        let mut row = |name: &str, value: String| rows.push([format!("  {name}"), value]);
        if let Some(recipient) = &self.recipient {
            row("key", recipient.key.clone());
            row("version", recipient.version.to_string());
        }
        if let Some(sealed) = &self.file_key {
            row("algorithm", sealed.scheme().to_string());
        }
        if let Some(problem) = &self.problem {
            row("problem", problem.clone());
        }
        rows
    }
}

fn as_json(stanza: &Shown) -> Value {
    let recipient = stanza.recipient.as_ref();
    let scheme = stanza.file_key.as_ref().map(Ciphertext::scheme);
    json!({
        "type": stanza.kind,
        "key": recipient.map(|recipient| &recipient.key),
        "version": recipient.map(|recipient| recipient.version),
        "algorithm": scheme.map(|scheme| scheme.algorithm().name()),
        "content_algorithm": scheme.map(|scheme| scheme.content_algorithm().name()),
        "problem": stanza.problem,
    })
}
