//! `keyward key import`

mod private_key;

use std::io::IsTerminal;
use std::path::Path;

use keyward_protocol::operation::{self, Describe, KeyMaterial};
use keyward_protocol::{Format, KeyType, SecretBytes};

use crate::agent::connect;
use crate::arguments::Import;
use crate::error::Error;
use crate::{io, pin};

/// More than a private key has in any form that is taken.
const LONGEST: usize = 32 * 1024;

pub(super) fn import(import: Import) -> Result<(), Error> {
    if std::io::stdin().is_terminal() {
        return Err(
            Error::usage("a key is read from stdin, and stdin is a terminal")
                .hint("keyward key import ALIAS --purpose sign < key.pem"),
        );
    }
    if import.passphrase_file.as_deref() == Some(Path::new("-")) {
        return Err(
            Error::usage("stdin has the key, so it can't have its passphrase")
                .hint("leave --passphrase-file away to be asked"),
        );
    }
    let bytes = io::read_secret_bytes(None, LONGEST)?;
    if bytes.is_empty() {
        return Err(Error::usage("stdin is empty: there is no key"));
    }
    let material = match import.key_type {
        Some(key_type) => secret(key_type, bytes)?,
        None if is_tss2(bytes.expose()) => KeyMaterial::Tss2(bytes),
        None => KeyMaterial::Pkcs8(private_key::read(bytes.expose(), || {
            passphrase(import.passphrase_file.as_deref())
        })?),
    };
    let mut formats: Vec<Format> = import.formats;
    formats.sort_unstable();
    formats.dedup();
    let mut agent = connect()?;
    let purpose = match (import.purpose, &import.into) {
        (Some(purpose), _) => purpose,
        (None, Some(key)) => agent.call(Describe { key: key.clone() })?.purpose,
        (None, None) => return Err(Error::usage("--purpose is missing")),
    };
    let made = agent.call(operation::Import {
        purpose,
        material,
        alias: import.alias,
        tokens: (!import.token.is_empty()).then_some(import.token),
        formats: (!formats.is_empty()).then_some(formats),
        tags: (!import.tags.is_empty()).then(|| import.tags.into_iter().collect()),
        existing: import.into,
        bind: import.pcrs.bind(),
        piv: import.piv.choice(),
    })?;
    super::show(made, &import.json)
}

/// Whether it is the file of a TPM's key.
fn is_tss2(bytes: &[u8]) -> bool {
    const BEGIN: &[u8] = b"-----BEGIN TSS2 PRIVATE KEY-----";
    bytes.windows(BEGIN.len()).any(|window| window == BEGIN)
}

/// The bytes of a secret key, just as many as its type has.
fn secret(key_type: KeyType, bytes: SecretBytes) -> Result<KeyMaterial, Error> {
    let wanted = key_type.secret_length().unwrap_or_default();
    let length = bytes.len();
    if length == wanted {
        return Ok(KeyMaterial::Secret(key_type, bytes));
    }
    let error = Error::usage(format!(
        "stdin has {length} bytes, and a key of type {key_type} has {wanted}"
    ));
    let text = bytes.expose().trim_ascii();
    let is_hex = text.len() == wanted.saturating_mul(2) && text.iter().all(u8::is_ascii_hexdigit);
    Err(if is_hex {
        error
            .cause("they look like hexadecimal digits")
            .hint("xxd -r -p FILE | keyward key import …")
    } else if length == wanted.saturating_add(1) && bytes.expose().last() == Some(&b'\n') {
        error.cause("the last one is a line feed")
    } else {
        error
    })
}

fn passphrase(file: Option<&Path>) -> Result<SecretBytes, Error> {
    match file {
        Some(file) => io::read_secret(file, pin::LONGEST),
        None => pin::ask(
            "Passphrase of the key: ",
            "keyward key import … --passphrase-file FILE",
        ),
    }
}
