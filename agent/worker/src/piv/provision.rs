//! What belongs to the card as a whole: PUK, management key, and back to the factory.

use keyward_backend::message::{ChangePuk, UnblockPin};
use keyward_backend::{BackendError, Result, TokenReport};
use keyward_protocol::SecretBytes;

use super::Piv;
use super::apdu::Command;
use super::card::{Card, PIN, PUK, instruction as ins};
use super::failure::{Failure, Progress, malformed};
use super::pin::{check_new, padded};

/// More tries than any counter has.
const MOST_TRIES: u32 = 256;
/// What blocks PIN and PUK: eight bytes FF, which no person's PIN is.
const NOBODYS: [u8; 8] = [0xff; 8];

impl Piv {
    pub(super) fn set_puk(&self, change: &ChangePuk) -> Result<TokenReport> {
        padded(&change.old)?;
        check_new(&change.new)?;
        self.with_card(|card, _| {
            self.check_puk(card, change.last_try)?;
            let (old, new) = (&change.old, &change.new);
            let changed = card.change_reference(ins::CHANGE_REFERENCE_DATA, PUK, old, new);
            self.count_puk(card, changed.is_ok());
            changed?;
            self.report(card)
        })
    }

    pub(super) fn unblock(&self, unblock: &UnblockPin) -> Result<TokenReport> {
        padded(&unblock.puk)?;
        check_new(&unblock.new)?;
        self.with_card(|card, _| {
            self.check_puk(card, unblock.last_try)?;
            let (puk, new) = (&unblock.puk, &unblock.new);
            let changed = card.change_reference(ins::RESET_RETRY_COUNTER, PIN, puk, new);
            self.count_puk(card, changed.is_ok());
            changed?;
            // What was kept is the PIN of before.
            self.pins.forget_all();
            self.report(card)
        })
    }

    pub(super) fn renew_management_key(&self) -> Result<TokenReport> {
        self.pins.get()?;
        self.with_card(|card, _| {
            let old = self.manage(card)?;
            self.verify_again(card)?;
            self.protect(card, &old)?;
            self.report(card)
        })
    }

    /// That the PUK may be sent: its last try is a person's to spend. A card before firmware 5.3 says how
    /// many are left only when it refuses one.
    fn check_puk(&self, card: &mut Card<'_>, last_try: bool) -> std::result::Result<(), Failure> {
        let left = match card.pin_metadata(PUK)? {
            Some(puk) => Some(puk.left),
            None => self.pins.puk_tries(),
        };
        match left {
            Some(0) => Err(BackendError::PinBlocked.into()),
            Some(1) if !last_try => Err(BackendError::LastTry.into()),
            _ => Ok(()),
        }
    }

    /// Keeps what the card said of the PUK, if it was refused. An answer that was lost says nothing.
    fn count_puk(&self, card: &Card<'_>, was_right: bool) {
        if was_right || card.refused_with.is_some() {
            self.pins.keep_puk_tries(card.refused_with);
        }
    }

    /// Brings the card back to how it left the factory. It does that only with PIN and PUK blocked, so
    /// both are blocked first, by what is nobody's.
    pub(super) fn back_to_factory(&self) -> Result<TokenReport> {
        self.with_card(|card, cache| {
            if card.version.is_none() {
                return Err(BackendError::MechanismInvalid(
                    "only a card with Yubico's extensions can be reset".to_owned(),
                )
                .into());
            }
            card.progress = Progress::Key;
            self.pins.forget_all();
            cache.clear();
            card.block_pin()?;
            card.block_puk()?;
            card.done(&Command::new(ins::RESET, 0, 0), "go back to the factory")?;
            self.report(card)
        })
    }
}

impl Card<'_> {
    fn block_pin(&mut self) -> std::result::Result<(), Failure> {
        for _ in 0..MOST_TRIES {
            let command = Command::with(ins::VERIFY, 0, PIN, NOBODYS.to_vec());
            let status = self.send(&command)?.status;
            match status.tries() {
                Some(0) => return Ok(()),
                Some(_) => {}
                None => return Err(status.error("count a wrong PIN").into()),
            }
        }
        Err(malformed("its PIN does not block"))
    }

    fn block_puk(&mut self) -> std::result::Result<(), Failure> {
        let nobodys = SecretBytes::copy_from(&NOBODYS);
        // One that could be set: a card may look at it before it counts.
        let new = SecretBytes::copy_from(b"00000000");
        for _ in 0..MOST_TRIES {
            let changed = self.change_reference(ins::RESET_RETRY_COUNTER, PIN, &nobodys, &new);
            match changed {
                Err(Failure::Answer(BackendError::PinBlocked)) => return Ok(()),
                Err(Failure::Answer(BackendError::PinIncorrect)) => {}
                Err(failure) => return Err(failure),
                Ok(()) => return Err(malformed("its PUK is nobody's")),
            }
        }
        Err(malformed("its PUK does not block"))
    }
}
