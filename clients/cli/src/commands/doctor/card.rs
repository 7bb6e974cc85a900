//! A PIV card: the way to it, which one it is, and what of it is the factory's or known to be weak.

use std::collections::BTreeMap;

use toml::{Table, Value};

use super::configuration::Configuration;
use super::{Finding, State};
use crate::commands::device::User;
use crate::commands::init::worker::{
    ProbedCard, ProbedCards, ProbedReader, ReaderState, Service, Worker,
};
use crate::commands::pcscd::{self, Hindrance};

/// Firmware whose RSA keys, if it made them, can be factored (CVE-2017-15361).
const WEAK_RSA: std::ops::RangeInclusive<[u16; 3]> = [4, 2, 6]..=[4, 3, 4];
/// The first firmware whose ECDSA has no known side channel (CVE-2024-45678).
const NO_SIDE_CHANNEL: [u16; 3] = [5, 7, 0];

/// How it is, and what else is worth knowing about it.
pub(super) fn look(
    about: &str,
    name: &str,
    token: &Table,
    configuration: &Configuration,
    worker: &Worker,
) -> (Finding, Vec<Finding>) {
    let variables = token.get("environment").and_then(Value::as_table);
    let environment: BTreeMap<String, String> = variables
        .into_iter()
        .flatten()
        .filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())))
        .collect();
    let problem = |(what, next): Hindrance| (Finding::problem(about, what).next(next), Vec::new());
    if let Some(missing) = pcscd::missing(&environment) {
        return problem(missing);
    }
    let user = configuration.owner.map_or(User::Caller, User::System);
    match worker.probe_cards(&environment) {
        Err(why) => problem((
            format!("the card can't be looked for: {why}"),
            "systemctl status pcscd".to_owned(),
        )),
        Ok(probed) => judge(about, name, serial(token).as_deref(), &probed, user),
    }
}

/// The serial number of the configuration.
fn serial(token: &Table) -> Option<String> {
    let serial = token.get("serial").and_then(Value::as_integer);
    serial.map(|serial| serial.to_string())
}

/// What pcscd shows, held against the configuration.
fn judge(
    about: &str,
    name: &str,
    serial: Option<&str>,
    probed: &ProbedCards,
    user: User,
) -> (Finding, Vec<Finding>) {
    let problem = |(what, next): Hindrance| (Finding::problem(about, what).next(next), Vec::new());
    match probed.service {
        Service::Answers => {}
        Service::Refused => return problem(pcscd::refused(user)),
        Service::Absent | Service::Failed => {
            return problem(pcscd::silent(probed.detail.as_deref().unwrap_or_default()));
        }
    }
    let cards: Vec<&ProbedCard> = probed
        .readers
        .iter()
        .filter_map(|r| r.card.as_ref())
        .collect();
    let mut meant = cards
        .iter()
        .filter(|card| serial.is_none_or(|serial| card.serial == serial));
    match (meant.next(), meant.next()) {
        (Some(card), None) => of_card(about, name, card),
        (Some(_), Some(_)) => problem((
            format!(
                "several cards are there, and the configuration names none: {}",
                list(&cards)
            ),
            format!(
                "serial = {}, or another of them, in its section",
                first(&cards)
            ),
        )),
        (None, _) => problem(nowhere(serial, &cards, &probed.readers, user)),
    }
}

/// Why the card is not among those that are there.
fn nowhere(
    serial: Option<&str>,
    cards: &[&ProbedCard],
    readers: &[ProbedReader],
    user: User,
) -> Hindrance {
    let with = |state: ReaderState| readers.iter().find(|reader| reader.state == state);
    if let Some(reader) = with(ReaderState::Held) {
        return pcscd::held(&reader.name);
    }
    if with(ReaderState::Refused).is_some() {
        return pcscd::refused(user);
    }
    if let (Some(serial), false) = (serial, cards.is_empty()) {
        return (
            format!("the card {serial} is not there, but: {}", list(cards)),
            format!(
                "insert {serial}; or, if another is meant: serial = {}",
                first(cards)
            ),
        );
    }
    if let Some(reader) = with(ReaderState::Unread) {
        let why = reader.problem.as_deref().unwrap_or_default();
        return (
            format!(
                "the card in {} does not answer as a PIV card does: {why}",
                reader.name
            ),
            "pull it, put it in again".to_owned(),
        );
    }
    if let Some(reader) = with(ReaderState::Other) {
        return (
            format!("the card in {} has no PIV application", reader.name),
            "insert the card that is meant; for a YubiKey: ykman config usb --enable PIV"
                .to_owned(),
        );
    }
    match (readers.first(), pcscd::is_yubikey_plugged_in()) {
        (Some(reader), _) => (
            format!("the reader {} has no card", reader.name),
            format!("insert the card{}", serial.map(|serial| format!(" {serial}")).unwrap_or_default()),
        ),
        (None, true) => (
            "a YubiKey is plugged in, and pcscd sees no reader: its driver is missing, CCID is switched off \
             on it, or another program has it"
                .to_owned(),
            "sudo apt install libccid; ykman config usb --enable PIV".to_owned(),
        ),
        (None, false) => (
            "pcscd sees no reader".to_owned(),
            "plug it in; if it is: lsusb, and sudo apt install libccid".to_owned(),
        ),
    }
}

fn of_card(about: &str, token: &str, card: &ProbedCard) -> (Finding, Vec<Finding>) {
    let name = match &card.firmware {
        Some(firmware) => format!("YubiKey {} (firmware {firmware})", card.serial),
        None => format!("the PIV card {}", card.serial),
    };
    let mut more = Vec::new();
    let mut note = |what: String, next: &str| {
        more.push(Finding::new(State::Note, about, what).next(next));
    };
    if card.pin.tries == Some(1) {
        note(
            "one try at its PIN is left".to_owned(),
            &format!("keyward unlock {token} --spend-last-try, with the right one"),
        );
    }
    if card.puk.tries == Some(0) {
        note(
            "its PUK is blocked: a PIN that gets blocked can't be had back".to_owned(),
            "keep the keys that count on a second card, too (docs/piv.md)",
        );
    }
    more.extend(firmware(about, card.firmware.as_deref()));
    if card.pin.tries == Some(0) {
        let next = match card.puk.tries {
            Some(0) => format!(
                "keyward token reset {token}, which destroys all keys on the card: the PUK is blocked, too"
            ),
            _ => format!("keyward token unblock-pin {token}, with the PUK"),
        };
        return (
            Finding::problem(about, format!("the PIN of {name} is blocked")).next(next),
            more,
        );
    }
    let own = [
        (card.pin.factory, "PIN", "change-pin"),
        (card.puk.factory, "PUK", "change-puk"),
        (
            card.management_key.factory,
            "management key",
            "new-management-key",
        ),
    ];
    let own = own
        .into_iter()
        .filter(|(factory, ..)| *factory == Some(true));
    let own: Vec<(&str, &str)> = own.map(|(_, what, command)| (what, command)).collect();
    if own.is_empty() {
        return (Finding::fine(about, format!("{name} is there")), more);
    }
    let what: Vec<&str> = own.iter().map(|(what, _)| *what).collect();
    let next: Vec<String> = (own.iter())
        .map(|(_, command)| format!("keyward token {command} {token}"))
        .collect();
    let found = Finding::problem(
        about,
        format!(
            "{name} has from the factory, as everybody knows them: {}",
            what.join(", ")
        ),
    );
    (found.next(next.join("; ")), more)
}

/// What is known of a firmware: a word, since it may not concern the keys that are on the card.
pub(super) fn firmware(about: &str, firmware: Option<&str>) -> Vec<Finding> {
    let Some(version) = firmware.and_then(parse) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    let shown = firmware.unwrap_or_default();
    if WEAK_RSA.contains(&version) {
        found.push(
            Finding::new(
                State::Note,
                about,
                format!(
                    "RSA keys that were made on a card with firmware {shown} can be factored (CVE-2017-15361); \
                     keyward makes none there, and other keys are not concerned"
                ),
            )
            .next("use P-256 or P-384, or import an RSA key; firmware can't be changed, the card can"),
        );
    }
    if version < NO_SIDE_CHANNEL {
        found.push(
            Finding::new(
                State::Note,
                about,
                format!(
                    "who has a card with firmware {shown} in hand, its PIN, and a laboratory can copy its EC keys \
                     (CVE-2024-45678); firmware 5.7 does not have that"
                ),
            )
            .next("keep the card, and rotate its EC keys if it was away for long"),
        );
    }
    found
}

/// The firmware in what a token was pinned to, such as `Yubico YubiKey PIV 5.7.1 12345678`.
pub(super) fn firmware_of(identity: &str) -> Option<&str> {
    let (_, rest) = identity.split_once("YubiKey PIV ")?;
    rest.split(' ').next()
}

fn parse(version: &str) -> Option<[u16; 3]> {
    let numbers: Option<Vec<u16>> = version.split('.').map(|part| part.parse().ok()).collect();
    numbers?.try_into().ok()
}

fn list(cards: &[&ProbedCard]) -> String {
    let serials: Vec<&str> = cards.iter().map(|card| card.serial.as_str()).collect();
    serials.join(", ")
}

fn first<'a>(cards: &[&'a ProbedCard]) -> &'a str {
    cards.first().map_or("", |card| card.serial.as_str())
}

#[cfg(test)]
mod tests;
