//! Destroying keys: deleted where the card can (from firmware 5.7), and else overwritten by a key that
//! nobody uses, which is noted beside it.

use keyward_backend::{BackendError, Destroyed, Result, VersionId};
use keyward_protocol::{KeyType, Purpose};

use super::apdu::Command;
use super::card::{Card, instruction as ins};
use super::failure::{Failure, Progress, malformed};
use super::generate::Choice;
use super::identity::Version;
use super::note::{Note, Origin, digest};
use super::session::Session;
use super::slot::Slot;

/// Where MOVE KEY makes a key vanish.
const NOWHERE: u8 = 0xff;

impl Session<'_> {
    pub(super) fn destroy_key(&self, id: VersionId) -> Result<Destroyed> {
        let piv = self.piv;
        piv.pins.get()?;
        piv.with_card(|card, cache| {
            cache.clear();
            let key = match self.find(card, cache, id) {
                // Where another program has put a key over it, it is gone, too.
                Err(Failure::Answer(BackendError::KeyNotFound | BackendError::KeyChanged(_))) => {
                    return Ok(Destroyed::Removed);
                }
                found => found?,
            };
            let adopted = (self.place.as_ref()).map_or(key.is_adopted(), |place| place.adopted);
            // Without Yubico's extensions there is no note of it: the registry alone knows it.
            if adopted && card.version.is_none() {
                return Ok(Destroyed::Removed);
            }
            piv.manage(card)?;
            card.progress = Progress::Key;
            cache.forget(key.slot);
            if adopted {
                // Another program has put it there, and may use it still.
                card.remove_object(key.slot.note())?;
                return Ok(Destroyed::Removed);
            }
            card.clear_slot(key.slot, Some(id))
        })
    }
}

impl Card<'_> {
    /// Ends the key of a slot, and what was kept beside it. The key first: what is left of the rest
    /// says nothing about another key.
    pub(super) fn clear_slot(
        &mut self,
        slot: Slot,
        id: Option<VersionId>,
    ) -> std::result::Result<Destroyed, Failure> {
        if self.version.is_some_and(Version::deletes) {
            let command = Command::new(ins::MOVE_KEY, NOWHERE, slot.reference());
            self.done(&command, "delete the key")?;
            self.remove_object(slot.certificate())?;
            self.remove_object(slot.note())?;
            return Ok(Destroyed::Removed);
        }
        let public = self.make_key(slot, KeyType::P256, Choice::default())?;
        let note = Note {
            id: id.unwrap_or_else(VersionId::random),
            label: String::new(),
            spki: digest(&public).ok_or_else(|| malformed("it made no key"))?,
            purpose: Purpose::Sign,
            origin: Origin::Overwritten,
            public: None,
            policies: None,
        };
        self.put_object(slot.note(), &note.to_object())?;
        self.remove_object(slot.certificate())?;
        Ok(Destroyed::Overwritten)
    }

    /// Removes an object, if there is one.
    pub(super) fn remove_object(&mut self, tag: u32) -> std::result::Result<(), Failure> {
        match self.object(tag)? {
            Some(_) => self.put_object(tag, &[]),
            None => Ok(()),
        }
    }
}
