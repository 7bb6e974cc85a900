//! `keyward blob show`

pub(super) mod age;

use std::io::Read;

use keyward_protocol::ciphertext::{Ciphertext, CiphertextError, MAX_CIPHERTEXT, Scheme};
use serde_json::{Value, json};

use crate::arguments::Show;
use crate::error::Error;
use crate::hex;
use crate::io;
use crate::output::{print, print_json, table};

/// What the form of ciphertexts pins HPKE to.
const HPKE_DRAFT: &str = "draft-ietf-cose-hpke-27";

pub(super) fn show(show: &Show) -> Result<(), Error> {
    let file = show.input.file.as_deref();
    let name = io::name(file);
    let (bytes, rest) = super::beginning(file)?;
    if age::is_one(&bytes) {
        return age::show((&*bytes).chain(rest), &name, &show.json);
    }
    if bytes.len() > MAX_CIPHERTEXT {
        let long = format!("{name} has more than {MAX_CIPHERTEXT} bytes");
        return Err(Error::usage(long).cause("it is no age file either"));
    }
    let ciphertext = Ciphertext::decode(&bytes).map_err(|e| {
        let error = Error::usage(format!("{name} is no ciphertext of keyward"));
        let error = error.cause(e);
        match e {
            CiphertextError::UnknownFormat(_) => error.hint("keyward --version"),
            _ => error,
        }
    })?;
    if show.json.json {
        print_json(&as_json(&ciphertext, bytes.len()))
    } else {
        print(&as_text(&ciphertext, bytes.len()))
    }
}

fn form(ciphertext: &Ciphertext) -> &'static str {
    match ciphertext.scheme() {
        Scheme::RsaOaep => "COSE_Encrypt",
        _ => "COSE_Encrypt0",
    }
}

fn draft(ciphertext: &Ciphertext) -> Option<&'static str> {
    ciphertext.ek().map(|_| HPKE_DRAFT)
}

fn digits(bytes: &[u8]) -> String {
    let mut digits = Vec::new();
    hex::encode_into(bytes, &mut digits);
    String::from_utf8_lossy(&digits).into_owned()
}

fn as_text(ciphertext: &Ciphertext, length: usize) -> String {
    let mut rows = vec![
        ["form".into(), form(ciphertext).into()],
        ["algorithm".into(), ciphertext.scheme().to_string()],
        ["key".into(), ciphertext.kid().to_string()],
        ["version".into(), ciphertext.version().to_string()],
    ];
    if let Some(iv) = ciphertext.iv() {
        rows.push(["iv".into(), digits(iv)]);
    }
    if let Some(ek) = ciphertext.ek() {
        rows.push(["encapsulated key".into(), format!("{} bytes", ek.len())]);
    }
    if let Some(key) = ciphertext.encrypted_key() {
        rows.push(["encrypted key".into(), format!("{} bytes", key.len())]);
    }
    if let Some(draft) = draft(ciphertext) {
        rows.push(["draft".into(), draft.into()]);
    }
    let plaintext = ciphertext.plaintext_length();
    rows.push(["plaintext".into(), format!("{plaintext} bytes")]);
    rows.push(["ciphertext".into(), format!("{length} bytes")]);
    table(&rows)
}

fn as_json(ciphertext: &Ciphertext, length: usize) -> Value {
    json!({
        "form": form(ciphertext),
        "algorithm": ciphertext.scheme().algorithm().name(),
        "content_algorithm": ciphertext.scheme().content_algorithm().name(),
        "key": ciphertext.kid().to_string(),
        "version": ciphertext.version(),
        "iv": ciphertext.iv().map(|iv| digits(iv)),
        "encapsulated_key_length": ciphertext.ek().map(|ek| ek.len()),
        "encrypted_key_length": ciphertext.encrypted_key().map(<[u8]>::len),
        "draft": draft(ciphertext),
        "plaintext_length": ciphertext.plaintext_length(),
        "ciphertext_length": length,
    })
}
