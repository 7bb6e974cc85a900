//! A PIV card of a site, in one of the readers of its pcscd.

use std::{
    fmt::Write as _,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use keyward_virtual_piv::{Card, Rig};

use super::{PcscClient, pins_sent_to};

/// How far the serial numbers of cards that take another's place are from it.
const OTHERS: u32 = 1000;

/// A card and its place. All clones are the same one, so that two sites can have it.
#[derive(Clone, Debug)]
pub struct CardToken {
    rig: Arc<Rig>,
    reader: usize,
    card: Card,
    others: Arc<AtomicU32>,
}

impl CardToken {
    /// Puts a card into a reader.
    #[must_use]
    #[track_caller]
    pub fn new(rig: &Arc<Rig>, reader: usize, card: Card) -> Self {
        rig.insert(reader, &card);
        Self {
            rig: rig.clone(),
            reader,
            card,
            others: Arc::default(),
        }
    }

    /// The card.
    #[must_use]
    pub fn card(&self) -> &Card {
        &self.card
    }

    /// The pcscd, with the readers of all cards of the site.
    #[must_use]
    pub fn rig(&self) -> &Rig {
        &self.rig
    }

    /// Puts the card into its reader, and returns when pcscd has seen it.
    #[track_caller]
    pub fn insert(&self) {
        self.rig.insert(self.reader, &self.card);
    }

    /// What pcscd calls the reader.
    #[must_use]
    #[track_caller]
    pub fn reader_name(&self) -> String {
        self.rig.reader_name(self.reader)
    }

    /// Whether something is in the reader.
    #[must_use]
    #[track_caller]
    pub fn is_present(&self) -> bool {
        self.rig.is_present(self.reader)
    }

    /// Pulls what is in the reader, and returns when pcscd has seen it.
    #[track_caller]
    pub fn remove(&self) {
        self.rig.remove(self.reader);
    }

    /// Pulls what is in the reader, and does not wait.
    #[track_caller]
    pub fn pull(&self) {
        self.rig.pull(self.reader);
    }

    /// Puts another card of the model into the reader: a new one each time.
    #[track_caller]
    pub fn swap(&self) -> Card {
        let nth = self.others.fetch_add(1, Ordering::Relaxed);
        let serial = self.card.serial().wrapping_add(OTHERS).wrapping_add(nth);
        let other = Card::new(self.card.model(), serial);
        self.rig.insert(self.reader, &other);
        other
    }

    /// How many PINs were sent to the card.
    #[must_use]
    pub fn pins_sent(&self) -> usize {
        pins_sent_to(&self.card)
    }

    /// How many of them the card refused.
    #[must_use]
    pub fn pins_refused(&self) -> usize {
        let log = self.card.log();
        let refused = log.iter().filter(|one| {
            let verify = one.instruction == 0x20 && one.sent > 0;
            verify && matches!(one.status, Some(0x6300..=0x63ff | 0x6983))
        });
        refused.count()
    }

    /// Another program that uses the card.
    #[must_use]
    #[track_caller]
    pub fn other_program(&self) -> PcscClient {
        PcscClient::start(&self.rig, &self.reader_name())
    }

    /// The lines of the token's table in `keyward.toml`, and the table of its environment.
    pub(crate) fn table(&self, name: &str, with_serial: bool) -> (String, String) {
        let mut table = "kind = \"piv\"\n".to_owned();
        if with_serial {
            let serial = self.card.serial();
            writeln!(table, "serial = {serial}").expect("a string takes everything");
        }
        let mut environment = format!("[token.{name}.environment]\n");
        for (variable, value) in self.rig.environment() {
            writeln!(environment, "{variable} = {value:?}").expect("a string takes everything");
        }
        (table, environment)
    }
}
