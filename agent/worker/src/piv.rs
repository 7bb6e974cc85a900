//! PIV: the keys of a smart card or a YubiKey (SP 800-73-4, and Yubico's extensions), over pcscd.
//!
//! A card does one thing at a time, and others use it, too. So each use is one transaction, in which
//! the card's serial number is checked before anything secret is sent, and nothing is left behind
//! (`transaction`). Keys are in slots; what keyward calls them is in a note beside each (`note`).

mod adopt;
pub mod apdu;
mod attest;
mod card;
pub mod certificate;
mod certificates;
mod derive;
mod destroy;
mod failure;
mod generate;
pub mod identity;
mod import;
pub(crate) mod init;
mod key;
pub mod management_key;
pub mod metadata;
pub mod note;
mod pin;
mod provision;
mod random;
mod reader;
mod scan;
mod session;
mod sign;
pub mod signature;
pub mod slot;
pub mod status;
pub mod tlv;
mod touch;
mod transaction;
mod unwrap;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use keyward_backend::message::{ChangePin, ChangePuk, UnblockPin};
use keyward_backend::token::Protection;
use keyward_backend::{Backend, BackendError, Notice, Result, TokenIdentity, TokenReport};
use keyward_protocol::{KeyType, Purpose, SecretBytes};

use card::Card;
use failure::Failure;
use identity::Version;
pub use session::Session;
use transaction::{Hold, Seen};

/// A token: one card.
pub struct Piv {
    /// The serial number of the configuration; `None` for the only card.
    serial: Option<u32>,
    protections: Vec<Protection>,
    /// The card that was found, or that the agent expects. Nothing is sent to another.
    expected: Mutex<Option<TokenIdentity>>,
    hold: Mutex<Hold>,
    /// Where the card was, for those who don't wait until it is free.
    seen: Seen,
    pins: pin::Keeper,
    /// When a key was used that a touch opens for a while.
    touched: Mutex<Option<Instant>>,
}

impl std::fmt::Debug for Piv {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Piv")
            .field("serial", &self.serial)
            .finish_non_exhaustive()
    }
}

impl Piv {
    /// A token whose card is not looked for yet.
    #[must_use]
    pub fn new(
        serial: Option<u32>,
        pin_seconds: Option<u64>,
        protections: Vec<Protection>,
    ) -> Self {
        let lasts = pin_seconds.map(Duration::from_secs);
        Self {
            serial,
            protections,
            expected: Mutex::default(),
            hold: Mutex::default(),
            seen: Seen::default(),
            pins: pin::Keeper::new(lasts),
            touched: Mutex::default(),
        }
    }

    fn expected(&self) -> Option<TokenIdentity> {
        let expected = self.expected.lock();
        expected.unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn expect(&self, identity: Option<&TokenIdentity>) {
        let mut expected = self.expected.lock().unwrap_or_else(PoisonError::into_inner);
        if expected.as_ref() != identity {
            // What was unlocked belongs to the card of before.
            self.pins.forget_all();
            *expected = identity.cloned();
        }
    }

    /// The only card, or the one with the configured serial number.
    fn only_card(&self) -> Result<TokenIdentity> {
        let (mut cards, held) = self.look()?;
        if let Some(serial) = self.serial {
            let serial = serial.to_string();
            cards.retain(|card| card.serial == serial);
        }
        match (cards.as_slice(), held.first(), self.serial) {
            ([card], ..) => Ok(card.clone()),
            ([], Some(reader), _) => Err(failure::held(&reader.to_string_lossy())),
            ([], None, Some(serial)) => Err(BackendError::TokenAbsent(format!(
                "insert the card with the serial number {serial}"
            ))),
            ([], None, None) => Err(BackendError::TokenAbsent(
                "no reader has a PIV card; insert it".to_owned(),
            )),
            (several, ..) => {
                let serials: Vec<_> = several.iter().map(|card| card.serial.as_str()).collect();
                Err(BackendError::TokenAbsent(format!(
                    "several cards are there, with the serial numbers {}; write `serial = …` of one of \
                     them into keyward.toml",
                    serials.join(", ")
                )))
            }
        }
    }

    fn report(&self, card: &mut Card<'_>) -> std::result::Result<TokenReport, Failure> {
        let key_types: Vec<_> = KeyType::ALL
            .into_iter()
            .filter(|key_type| makes(card.version, *key_type))
            .collect();
        let algorithms = algorithms(card.version);
        Ok(TokenReport {
            identity: card.identity.clone(),
            label: String::new(),
            login_required: true,
            logged_in: self.pins.is_held(),
            pin_tries: self.pins.tell(card.pin_tries()?),
            algorithms,
            key_types,
            protections: self.protections.clone(),
            lockout_seconds: None,
            warnings: init::warnings(card)?,
            hides_keys: !card.version.is_some_and(Version::has_metadata),
        })
    }
}

/// Whether a card makes keys of a type, and keeps what keyward notes about them.
fn makes(version: Option<Version>, key_type: KeyType) -> bool {
    let Some(version) = version else {
        return false;
    };
    match key_type {
        KeyType::Rsa2048 => !version.makes_weak_rsa(),
        _ => uses(Some(version), key_type),
    }
}

/// Whether a card can have keys of a type.
fn uses(version: Option<Version>, key_type: KeyType) -> bool {
    match key_type {
        KeyType::P256 | KeyType::Rsa2048 => true,
        KeyType::P384 => version.is_none_or(|version| version.is_at_least(4, 0)),
        KeyType::Rsa3072 | KeyType::Rsa4096 => version.is_none_or(Version::deletes),
        KeyType::Ed25519 => version.is_some_and(Version::deletes),
        _ => false,
    }
}

/// What keys on a card can do, each algorithm once.
fn algorithms(version: Option<Version>) -> Vec<keyward_protocol::Algorithm> {
    let mut list = Vec::new();
    for key_type in KeyType::ALL {
        let purposes = Purpose::ALL.iter().filter(|_| uses(version, key_type));
        for algorithm in purposes.flat_map(|purpose| purpose.algorithms(key_type)) {
            if !list.contains(algorithm) {
                list.push(*algorithm);
            }
        }
    }
    list
}

impl Backend for Piv {
    type Session<'a> = Session<'a>;

    fn open(&self, pinned: Option<&TokenIdentity>) -> Result<TokenReport> {
        if let (Some(pinned), Some(serial)) = (pinned, self.serial)
            && pinned.serial != serial.to_string()
        {
            return Err(BackendError::TokenChanged(format!(
                "keyward.toml names the serial number {serial}, and {pinned} is expected"
            )));
        }
        let opened = self.open_card(pinned);
        match opened {
            // Whoever has the card gives it back; the token is away until then.
            Err(BackendError::Busy(why)) => Err(BackendError::TokenAbsent(why)),
            opened => opened,
        }
    }

    fn login(&self, pin: &SecretBytes) -> Result<TokenReport> {
        self.log_in(pin)
    }

    fn logout(&self) -> Result<()> {
        // Not the card: it may be busy, and it has no PIN verified between two uses.
        self.pins.forget();
        Ok(())
    }

    fn change_pin(&self, change: &ChangePin) -> Result<TokenReport> {
        self.set_pin(change)
    }

    fn session(&self) -> Result<Session<'_>> {
        Ok(Session::new(self))
    }

    fn change_puk(&self, change: &ChangePuk) -> Result<TokenReport> {
        self.set_puk(change)
    }

    fn unblock_pin(&self, unblock: &UnblockPin) -> Result<TokenReport> {
        self.unblock(unblock)
    }

    fn new_management_key(&self) -> Result<TokenReport> {
        self.renew_management_key()
    }

    fn reset(&self) -> Result<TokenReport> {
        self.back_to_factory()
    }

    fn watch(&'static self, notice: Notice) {
        self.look_after(Arc::new(notice));
    }
}

/// What a thread does.
type Job = Box<dyn FnOnce() + Send>;

impl Piv {
    fn open_card(&self, pinned: Option<&TokenIdentity>) -> Result<TokenReport> {
        match pinned {
            Some(pinned) => self.expect(Some(pinned)),
            None => {
                let card = self.only_card()?;
                self.expect(Some(&card));
            }
        }
        self.with_card(|card, _| self.report(card))
    }

    /// Looks after the card beside its uses, to the end of the process: it says when a card comes or
    /// goes, and when the time of a login is over.
    fn look_after(&'static self, notice: Arc<Notice>) {
        let also = notice.clone();
        let readers = move || self.watch_readers(|| notice.changed());
        let login = move || self.pins.watch(|| also.changed());
        let threads: [(&str, Job); 2] =
            [("readers", Box::new(readers)), ("login", Box::new(login))];
        for (name, run) in threads {
            if let Err(error) = std::thread::Builder::new().name(name.to_owned()).spawn(run) {
                // Uses look for themselves, so nothing is wrong; it is noticed later only.
                eprintln!("keyward-worker: error: no thread for {name}: {error}");
            }
        }
    }
}
