//! A PIV card: finding it, what it has from the factory, and what is said of it.

mod secrets;

use std::collections::BTreeMap;

use super::places::{Mode, Places};
use super::worker::{Found, ProbedCard, ReaderState, Service, Worker};
use crate::arguments::Init;
use crate::commands::device::User;
use crate::commands::pcscd::{self, Hindrance};
use crate::error::Error;
use crate::exit::Exit;

pub(super) use secrets::{ask, check_wanted, show};

/// What protects the keys.
const PROTECTION: &str = "\
Hardware: the keys are made in this card and never leave it.
  PIN        keys work after `keyward unlock` only. Three wrong ones block it, then the PUK gives it back;
             after three wrong PUKs the keys can't be used any more
  shared     while keyward uses a key the PIN is verified on the card, and pcscd keeps others out; at other
             times whoever pcscd serves can use the card, and spend the tries of its PIN (docs/piv.md)
  --undo     takes the configuration back; what is set on the card stays
";

/// A PIV card that can be set up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Card {
    pub(super) found: ProbedCard,
    /// What a worker needs to reach it.
    pub(super) environment: BTreeMap<String, String>,
    /// A person's word for what the card does not say.
    pub(super) from_factory: bool,
}

/// What is replaced on a card.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Steps {
    pub(super) pin: bool,
    pub(super) puk: bool,
    pub(super) management_key: bool,
}

/// Whether cards may be looked for: nothing else was named.
pub(super) fn is_wanted(init: &Init) -> bool {
    init.serial.is_some()
        || (init.tcti.is_none() && init.module.is_none() && init.token_uri.is_none())
}

/// The card that was named, or those that are there and can be used.
pub(super) fn find(
    init: &Init,
    places: &Places,
    worker: &Worker,
    problems: &mut Vec<String>,
) -> Result<Vec<Card>, Error> {
    let environment = pcscd::environment();
    let mut hindrances = Vec::new();
    let mut cards = looked(init, places, worker, &environment, &mut hindrances);
    if let Some(serial) = init.serial {
        let serials: Vec<String> = cards.iter().map(|card| card.found.serial.clone()).collect();
        cards.retain(|card| card.serial() == Some(serial));
        if cards.is_empty() {
            return Err(absent(serial, &serials, hindrances));
        }
    }
    let words = hindrances.into_iter();
    problems.extend(words.map(|(what, next)| format!("{what} ({next}); left out")));
    Ok(cards)
}

fn looked(
    init: &Init,
    places: &Places,
    worker: &Worker,
    environment: &BTreeMap<String, String>,
    hindrances: &mut Vec<Hindrance>,
) -> Vec<Card> {
    if let Some(missing) = pcscd::missing(environment) {
        // A machine without cards needs no pcscd.
        if init.serial.is_some() || pcscd::is_yubikey_plugged_in() {
            hindrances.push(missing);
        }
        return Vec::new();
    }
    let probed = match worker.probe_cards(environment) {
        Ok(probed) => probed,
        Err(why) => {
            hindrances.push((why, "keyward doctor".to_owned()));
            return Vec::new();
        }
    };
    let user = match (places.mode, places.owner) {
        (Mode::System, Some(owner)) => User::System(owner),
        _ => User::Caller,
    };
    match probed.service {
        Service::Answers => {}
        Service::Refused => hindrances.push(pcscd::refused(user)),
        Service::Absent | Service::Failed => {
            hindrances.push(pcscd::silent(probed.detail.as_deref().unwrap_or_default()));
        }
    }
    let mut cards = Vec::new();
    for reader in probed.readers {
        match (reader.state, reader.card) {
            (ReaderState::Card, Some(found)) => {
                let card = Card {
                    found,
                    environment: environment.clone(),
                    from_factory: false,
                };
                match card.blocked() {
                    Some(blocked) => hindrances.push(blocked),
                    None => cards.push(card),
                }
            }
            (ReaderState::Held, _) => hindrances.push(pcscd::held(&reader.name)),
            (ReaderState::Refused, _) => hindrances.push(pcscd::refused(user)),
            (ReaderState::Unread, _) => hindrances.push((
                format!(
                    "the card in {}: {}",
                    reader.name,
                    reader.problem.unwrap_or_default()
                ),
                "pull it, put it in again".to_owned(),
            )),
            _ => {}
        }
    }
    cards
}

fn absent(serial: u32, others: &[String], hindrances: Vec<Hindrance>) -> Error {
    let error = Error::new(
        Exit::Token,
        format!("there is no card with the serial number {serial}"),
    );
    match (hindrances.into_iter().next(), others) {
        (Some((what, next)), _) => error.cause(what).hint(next),
        (None, []) => error.hint("is it plugged in? `keyward init` lists what it finds"),
        (None, others) => error.hint(format!("there are: {}", others.join(", "))),
    }
}

impl Card {
    /// The serial number by which the configuration names it; other cards than YubiKeys have none.
    pub(super) fn serial(&self) -> Option<u32> {
        self.found.firmware.as_ref()?;
        self.found.serial.parse().ok()
    }

    /// What a person would call it, as a token's name.
    pub(super) fn name(&self) -> &'static str {
        match self.found.firmware {
            Some(_) => "yubikey",
            None => "card",
        }
    }

    /// It for people.
    pub(super) fn describe(&self) -> String {
        match &self.found.firmware {
            Some(firmware) => format!("YubiKey {} (PIV, firmware {firmware})", self.found.serial),
            None => format!("the PIV card {}", self.found.serial),
        }
    }

    /// Whether a PKCS#11 token is this card, seen through a module.
    pub(super) fn is_also(&self, found: &Found) -> bool {
        // Yubico's module has the serial number, OpenSC's says that it is PIV.
        found.serial == self.found.serial || found.manufacturer == "piv_II"
    }

    /// Whether it is a YubiKey that does not say what it has from the factory.
    pub(super) fn is_silent(&self) -> bool {
        self.found.firmware.is_some() && self.found.pin.factory.is_none()
    }

    /// What is going to be replaced.
    pub(super) fn steps(&self) -> Steps {
        let word = self.from_factory && self.is_silent();
        let key = self.found.management_key;
        Steps {
            pin: self.found.pin.factory.unwrap_or(word),
            puk: self.found.puk.factory.unwrap_or(word),
            management_key: key.factory.unwrap_or(word) && !key.protected,
        }
    }

    /// What protects the keys.
    pub(super) fn protection(&self) -> &'static str {
        PROTECTION
    }

    fn blocked(&self) -> Option<Hindrance> {
        (self.found.pin.tries == Some(0)).then(|| {
            let next = match self.found.puk.tries {
                Some(0) => "ykman piv reset, which destroys all keys on it",
                _ => "yubico-piv-tool -a unblock-pin, with the PUK",
            };
            (
                format!("the PIN of {} is blocked", self.describe()),
                next.to_owned(),
            )
        })
    }

    /// What the plan says about it: what is set on the card, and what is left.
    pub(super) fn rows(&self, init: &Init) -> Vec<(&'static str, String)> {
        let steps = self.steps();
        let mut rows = Vec::new();
        if steps.pin {
            let how = match (&init.pin_file, init.remember_pin_in_file) {
                (Some(file), _) => format!("read from {}", crate::io::name(Some(file))),
                (None, true) => "made up".to_owned(),
                (None, false) => "asked for twice".to_owned(),
            };
            rows.push((
                "SET",
                format!("a new PIN on the card in the place of the factory's: {how}"),
            ));
        }
        if steps.puk {
            let how = match &init.puk_file {
                Some(file) => format!("written to {}", file.display()),
                None => "shown once, to be written down".to_owned(),
            };
            rows.push((
                "SET",
                format!("a random PUK on the card in the place of the factory's: {how}"),
            ));
        }
        if steps.management_key {
            rows.push((
                "SET",
                "a random management key on the card in the place of the factory's: behind the PIN, where \
                 ykman finds it"
                    .to_owned(),
            ));
            if !steps.pin {
                rows.push((
                    "ask",
                    "for the card's PIN, which opens that place".to_owned(),
                ));
            }
        }
        if self.is_silent() && !self.from_factory {
            rows.push((
                "leave",
                "its PIN, PUK and management key: firmware before 5.3 does not say whether they are the \
                 factory's; --from-factory says so"
                    .to_owned(),
            ));
        }
        rows
    }
}

#[cfg(test)]
mod tests {
    use super::super::worker::{ManagementKey, Reference};
    use super::*;

    fn card(factory: Option<bool>) -> Card {
        let reference = Reference {
            factory,
            tries: Some(3),
        };
        Card {
            found: ProbedCard {
                serial: "12345678".to_owned(),
                firmware: Some("5.7.1".to_owned()),
                pin: reference,
                puk: reference,
                management_key: ManagementKey {
                    factory,
                    protected: false,
                },
            },
            environment: BTreeMap::new(),
            from_factory: false,
        }
    }

    #[test]
    fn only_what_is_the_factorys_is_replaced() {
        let all = |steps: Steps| [steps.pin, steps.puk, steps.management_key];
        assert_eq!(all(card(Some(true)).steps()), [true; 3]);
        assert_eq!(all(card(Some(false)).steps()), [false; 3]);
        // What a card does not say needs a person's word, and what it says needs none.
        let mut silent = card(None);
        assert_eq!(all(silent.steps()), [false; 3]);
        silent.from_factory = true;
        assert_eq!(all(silent.steps()), [true; 3]);
        silent.found.management_key.protected = true;
        assert_eq!(all(silent.steps()), [true, true, false]);
        let mut own = card(Some(false));
        own.from_factory = true;
        assert_eq!(all(own.steps()), [false; 3]);
    }

    #[test]
    fn a_card_of_another_maker_is_not_named_by_a_number() {
        let mut other = card(None);
        other.found.firmware = None;
        assert_eq!((other.serial(), other.name()), (None, "card"));
        assert_eq!(card(None).serial(), Some(12_345_678));
    }

    #[test]
    fn a_module_that_shows_the_same_card_is_known() {
        let token = |manufacturer: &str, serial: &str| Found {
            manufacturer: manufacturer.to_owned(),
            serial: serial.to_owned(),
            ..Found::default()
        };
        let card = card(None);
        assert!(card.is_also(&token("Yubico (www.yubico.com)", "12345678")));
        assert!(card.is_also(&token("piv_II", "00000000")));
        assert!(!card.is_also(&token("Yubico (www.yubico.com)", "12345679")));
    }
}
