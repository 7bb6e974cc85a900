//! A virtual PIV card in a reader of its own, for workers and daemons.

pub mod client;
pub mod gate;
pub mod token;

use std::path::PathBuf;
use std::sync::Mutex;

use keyward_virtual_piv::{Card, Model, Rig};

pub use client::{PcscClient, Share};
pub use gate::Gate;
pub use token::CardToken;

/// The PIN of a card from the factory.
pub const PIV_PIN: &str = "123456";
/// VERIFY and CHANGE REFERENCE DATA: what a PIN is in.
const WITH_PIN: [u8; 2] = [0x20, 0x24];

/// A card in a reader, with a gate before pcscd.
#[derive(Debug)]
pub struct PivToken {
    rig: Rig,
    card: Card,
    others: Mutex<Vec<Card>>,
    gate: Gate,
}

impl PivToken {
    /// A card from the factory, in the one reader of a pcscd of its own.
    #[must_use]
    #[track_caller]
    pub fn new(model: Model, serial: u32) -> Self {
        Self::with(Card::new(model, serial))
    }

    /// That card, in the one reader of a pcscd of its own.
    #[must_use]
    #[track_caller]
    pub fn with(card: Card) -> Self {
        Self::of(Rig::with(&card), card)
    }

    /// A card from the factory, in the first of several readers.
    #[must_use]
    #[track_caller]
    pub fn with_readers(model: Model, serial: u32, readers: usize) -> Self {
        let card = Card::new(model, serial);
        let rig = Rig::start(readers);
        rig.insert(0, &card);
        Self::of(rig, card)
    }

    fn of(rig: Rig, card: Card) -> Self {
        let gate = Gate::open(rig.folder(), rig.socket());
        Self {
            rig,
            card,
            others: Mutex::default(),
            gate,
        }
    }

    /// The card.
    #[must_use]
    pub fn card(&self) -> &Card {
        &self.card
    }

    /// The reader and its pcscd.
    #[must_use]
    pub fn rig(&self) -> &Rig {
        &self.rig
    }

    /// The gate before pcscd.
    #[must_use]
    pub fn gate(&self) -> &Gate {
        &self.gate
    }

    /// What a client must have in its environment to come through the gate.
    #[must_use]
    pub fn environment(&self) -> [(&'static str, PathBuf); 1] {
        [("PCSCLITE_CSOCK_NAME", self.gate.socket().to_owned())]
    }

    /// Takes the card away.
    #[track_caller]
    pub fn remove(&self) {
        self.rig.remove(0);
    }

    /// Puts another card of the model in its place.
    ///
    /// # Panics
    /// If pcscd does not see it.
    #[track_caller]
    pub fn replace(&self) -> Card {
        let other = Card::new(self.card.model(), self.card.serial().wrapping_add(1));
        self.remove();
        self.rig.insert(0, &other);
        self.others.lock().expect("no panic").push(other.clone());
        other
    }

    /// Puts the card back.
    #[track_caller]
    pub fn put_back(&self) {
        if self.rig.is_present(0) {
            self.remove();
        }
        self.rig.insert(0, &self.card);
    }

    /// How many PINs have been sent to this card and those that took its place.
    ///
    /// # Panics
    /// If a thread of the test has.
    #[must_use]
    pub fn pins_sent(&self) -> usize {
        let others = self.others.lock().expect("no panic");
        let cards = others.iter().chain([&self.card]);
        cards.map(pins_sent_to).sum()
    }
}

/// How many PINs a card has got. The question how many tries are left has none, nor has the
/// command that takes a proof back.
#[must_use]
pub fn pins_sent_to(card: &Card) -> usize {
    let log = card.log();
    let with_pin = log
        .iter()
        .filter(|one| WITH_PIN.contains(&one.instruction) && one.sent > 0);
    with_pin.count()
}
