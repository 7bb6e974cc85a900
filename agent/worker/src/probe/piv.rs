//! PIV cards behind pcscd, and what one has from the factory.

use keyward_backend::BackendError;
use keyward_protocol::SecretBytes;
use keyward_sys::sandbox::Sockets;
use serde_json::{Value, json};

use super::options::Options;
use super::{Failure, answer, line, seal_for};
use crate::piv::init::{self, Content, FoundCard, Management, Reference, Replaced, Secrets};

/// A person's word that a card whose firmware does not say so has the factory's PIN and PUK.
const FROM_FACTORY: &str = "--from-factory";

/// The readers and the cards in them, or one card alone.
pub(super) fn look(arguments: &[&str]) -> Result<(), Failure> {
    let (serial, options) = match arguments.split_first() {
        Some((first, options)) if !first.starts_with("--") => (Some(number(first)?), options),
        _ => (None, arguments),
    };
    let out = seal_for(&parse(options)?, None)?;
    let found = match init::look() {
        Ok(readers) => {
            let wanted = |content: &Content| match (serial, content) {
                (None, _) => true,
                (Some(serial), Content::Card(card)) => card.identity.serial == serial.to_string(),
                (Some(_), _) => false,
            };
            let readers = readers
                .iter()
                .filter(|reader| wanted(&reader.content))
                .map(|reader| reader_of(&reader.name, &reader.content))
                .collect::<Vec<_>>();
            json!({ "service": "answers", "detail": null, "readers": readers })
        }
        Err(error) => {
            let (service, detail) = init::service(error);
            json!({ "service": service, "detail": detail, "readers": [] })
        }
    };
    answer(out, &json!({ "piv": found }))
}

/// Replaces what a card has from the factory by the secrets of three lines: a new PIN, a new PUK, and
/// the PIN of a card that has another than the factory's. An empty line is none.
pub(super) fn make(serial: &str, arguments: &[&str]) -> Result<(), Failure> {
    let serial = number(serial)?;
    let (words, options): (Vec<&str>, Vec<&str>) = arguments
        .iter()
        .partition(|argument| **argument == FROM_FACTORY);
    let out = seal_for(&parse(&options)?, None)?;
    let secrets = Secrets {
        new_pin: secret()?,
        new_puk: secret()?,
        pin: secret()?,
        from_factory: !words.is_empty(),
    };
    match init::init(serial, &secrets) {
        Ok((card, replaced)) => answer(
            out,
            &json!({ "piv": { "card": card_of(&card), "replaced": replaced_of(replaced) } }),
        ),
        Err((error @ BackendError::Interrupted(_), replaced)) => Err(format!(
            "{error}{}",
            before(replaced, "look what it has: keyward doctor")
        )),
        Err((error, replaced)) => {
            let nothing = "nothing on the card was changed";
            Err(format!("{error}{}", before(replaced, nothing)))
        }
    }
}

fn number(text: &str) -> Result<u32, Failure> {
    text.parse()
        .map_err(|_| format!("{text:?} is no serial number, which is decimal"))
}

fn parse(options: &[&str]) -> Result<Options, Failure> {
    let mut options = Options::parse(options)?;
    options.allow(Sockets::Unix);
    Ok(options)
}

fn secret() -> Result<Option<SecretBytes>, Failure> {
    Ok(Some(line()?).filter(|line| !line.is_empty()))
}

/// What stays, though it did not come to its end.
fn before(replaced: Replaced, nothing: &str) -> String {
    let parts = [
        (replaced.pin, "PIN"),
        (replaced.management_key, "management key"),
        (replaced.puk, "PUK"),
    ];
    let parts: Vec<&str> = parts
        .into_iter()
        .filter_map(|(done, name)| done.then_some(name))
        .collect();
    match parts.as_slice() {
        [] => format!("; {nothing}"),
        parts => format!("; what was replaced before stays: {}", parts.join(", ")),
    }
}

fn reader_of(name: &str, content: &Content) -> Value {
    let (state, problem, card) = match content {
        Content::Nothing => ("empty", None, None),
        Content::Held => ("held", None, None),
        Content::Refused => ("refused", None, None),
        Content::Other => ("other", None, None),
        Content::Unread(why) => ("unread", Some(why), None),
        Content::Card(card) => ("card", None, Some(card_of(card))),
    };
    json!({ "name": name, "state": state, "problem": problem, "card": card })
}

fn card_of(card: &FoundCard) -> Value {
    json!({
        "manufacturer": card.identity.manufacturer,
        "model": card.identity.model,
        "serial": card.identity.serial,
        "firmware": card.version.map(|version| version.to_string()),
        "pin": reference_of(card.pin),
        "puk": reference_of(card.puk),
        "management_key": management_of(card.management),
    })
}

fn reference_of(reference: Reference) -> Value {
    json!({ "factory": reference.is_factory, "tries": reference.left })
}

fn management_of(key: Management) -> Value {
    json!({ "factory": key.is_factory, "protected": key.is_protected })
}

fn replaced_of(replaced: Replaced) -> Value {
    json!({
        "pin": replaced.pin,
        "puk": replaced.puk,
        "management_key": replaced.management_key,
    })
}
