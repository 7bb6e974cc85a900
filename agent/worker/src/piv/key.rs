//! A key in its slot: what the card says about it, and which of keyward's key versions it is.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use keyward_backend::{BackendError, KeyReport, VersionId};
use keyward_protocol::piv::{PinPolicy, PivLocator, TouchPolicy};
use keyward_protocol::{CoseKey, KeyType, Purpose, Thumbprint};
use zeroize::Zeroizing;

use super::apdu::Command;
use super::card::{Card, instruction as ins};
use super::certificate;
use super::failure::Failure;
use super::metadata::{MetadataError, SlotMetadata, pin_policy, touch_policy};
use super::note::{Note, Origin};
use super::slot::Slot;
use super::status::Status;

/// For how long it is believed what is in a slot, while the card stays where it is.
const BELIEVED: Duration = Duration::from_millis(500);

/// A key in its slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) slot: Slot,
    pub(super) public: CoseKey,
    pub(super) key_type: KeyType,
    /// When it wants a PIN; what the slot is for, where the card does not say it.
    pub(super) pin_policy: PinPolicy,
    /// When it wants a touch; `None` where the card does not say it.
    pub(super) touch_policy: Option<TouchPolicy>,
    /// Whether the card made it; `None` where that can't be known.
    pub(super) generated: Option<bool>,
    /// What keyward wrote about it.
    pub(super) note: Option<Note>,
}

/// What is in a slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Content {
    /// Nothing that can be seen.
    Empty,
    /// A key of a kind that keyward does not use.
    Foreign,
    /// A key.
    Key(Arc<Key>),
}

/// What the registry says about the key that is to be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) slot: Slot,
    /// Whether another program has put the key there.
    pub(super) adopted: bool,
    pub(super) thumbprint: Option<[u8; 32]>,
}

/// What was read since the card was inserted.
#[derive(Debug, Default)]
pub(super) struct Cache {
    contents: HashMap<Slot, Content>,
    /// What the card said of a slot, where it says it, and when.
    answers: HashMap<Slot, (Zeroizing<Vec<u8>>, Instant)>,
    notes: HashMap<Slot, Option<Note>>,
}

impl Cache {
    pub(super) fn clear(&mut self) {
        self.contents.clear();
        self.answers.clear();
        self.notes.clear();
    }

    /// The key of a place, if it was read since the card was inserted.
    pub(super) fn known(&self, place: &Place) -> Option<Arc<Key>> {
        let Some(Content::Key(key)) = self.contents.get(&place.slot) else {
            return None;
        };
        let thumbprint = place.thumbprint;
        let same = thumbprint.is_none_or(|wanted| wanted == Thumbprint::of(&key.public).0);
        same.then(|| key.clone())
    }

    /// Asks the card once more what is in a slot, where it says it and was not asked just now: another
    /// program can put a key there while the card stays where it is.
    pub(super) fn doubt(&mut self, card: &mut Card<'_>, slot: Slot) -> Result<(), Failure> {
        let Some((before, asked)) = self.answers.get_mut(&slot) else {
            return Ok(());
        };
        if asked.elapsed() < BELIEVED {
            return Ok(());
        }
        match card.slot_metadata(slot)? {
            Some(now) if now == *before => *asked = Instant::now(),
            _ => {
                self.answers.remove(&slot);
                self.contents.remove(&slot);
            }
        }
        Ok(())
    }

    pub(super) fn forget(&mut self, slot: Slot) {
        self.contents.remove(&slot);
        self.answers.remove(&slot);
        self.notes.remove(&slot);
    }

    /// The key of an id: in the slot where the registry has it, or the one whose note says so.
    pub(super) fn key(
        &mut self,
        card: &mut Card<'_>,
        id: VersionId,
        place: Option<&Place>,
    ) -> Result<Arc<Key>, Failure> {
        if let Some(place) = place {
            let Content::Key(key) = self.content(card, place.slot)? else {
                return Err(BackendError::KeyNotFound.into());
            };
            let thumbprint = Thumbprint::of(&key.public).0;
            let same = place.thumbprint.is_none_or(|wanted| wanted == thumbprint);
            return match same {
                true => Ok(key),
                false if key.is_overwritten() => Err(BackendError::KeyNotFound.into()),
                false => Err(BackendError::KeyChanged(format!(
                    "slot {} of the card has another key by now, and it was not used",
                    place.slot
                ))
                .into()),
            };
        }
        for slot in Slot::all() {
            if self.note(card, slot)?.is_some_and(|note| note.id == id)
                && let Content::Key(key) = self.content(card, slot)?
                && key.is_keywards()
            {
                return Ok(key);
            }
        }
        Err(BackendError::KeyNotFound.into())
    }

    /// What is in a slot.
    pub(super) fn content(&mut self, card: &mut Card<'_>, slot: Slot) -> Result<Content, Failure> {
        if let Some(content) = self.contents.get(&slot) {
            return Ok(content.clone());
        }
        let note = self.note(card, slot)?;
        let shows = card.version.is_some_and(|version| version.has_metadata());
        let content = match shows {
            true => match card.slot_metadata(slot)? {
                Some(answer) => {
                    let content = from_metadata(slot, &answer, note)?;
                    self.answers.insert(slot, (answer, Instant::now()));
                    content
                }
                None => Content::Empty,
            },
            false => card.content_without_metadata(slot, note)?,
        };
        self.contents.insert(slot, content.clone());
        Ok(content)
    }

    /// The note of a slot, whether it is about the key in it or not. One that can't be read is none.
    pub(super) fn note(
        &mut self,
        card: &mut Card<'_>,
        slot: Slot,
    ) -> Result<Option<Note>, Failure> {
        if let Some(note) = self.notes.get(&slot) {
            return Ok(note.clone());
        }
        let note = match card.version {
            Some(_) => {
                let object = card.object(slot.note())?;
                object.and_then(|object| Note::parse(&object).ok())
            }
            None => None,
        };
        self.notes.insert(slot, note.clone());
        Ok(note)
    }
}

impl Key {
    /// Whether its note says that it is a key version of keyward's, and is about this key.
    pub(super) fn is_keywards(&self) -> bool {
        let note = self.note.as_ref();
        note.is_some_and(|note| note.origin != Origin::Overwritten)
    }

    /// Whether it is there only to overwrite another.
    pub(super) fn is_overwritten(&self) -> bool {
        let note = self.note.as_ref();
        note.is_some_and(|note| note.origin == Origin::Overwritten)
    }

    /// Whether another program has put it there: keyward uses it, and does not remove it.
    pub(super) fn is_adopted(&self) -> bool {
        let note = self.note.as_ref();
        note.is_none_or(|note| note.origin == Origin::Adopted)
    }

    /// What it is for, where keyward knows that.
    pub(super) fn purpose(&self) -> Option<Purpose> {
        self.note.as_ref().map(|note| note.purpose)
    }

    /// The key as the agent sees it.
    pub(super) fn report(&self, card: &Card<'_>) -> KeyReport {
        let local = self.generated == Some(true);
        let locator = PivLocator {
            serial: card.identity.serial.clone(),
            slot: self.slot.reference(),
            pin_policy: self.touch_policy.map(|_| self.pin_policy),
            touch_policy: self.touch_policy,
            adopted: self.is_adopted(),
        };
        KeyReport {
            public: Some(self.public.clone()),
            locator: locator.to_string(),
            local,
            // PIV has no way for a private key to leave a card.
            always_sensitive: local,
            never_extractable: local,
            key_type: Some(self.key_type),
            blob: None,
            bound: None,
        }
    }
}

impl Card<'_> {
    /// What a card says of a slot, if something is in it.
    fn slot_metadata(&mut self, slot: Slot) -> Result<Option<Zeroizing<Vec<u8>>>, Failure> {
        let answer = self.send(&Command::new(ins::GET_METADATA, 0, slot.reference()))?;
        match answer.status {
            Status::SUCCESS => Ok(Some(answer.data)),
            Status::REFERENCE_NOT_FOUND | Status::NOT_FOUND => Ok(None),
            status => Err(status.error("show what is in a slot").into()),
        }
    }

    /// A card that does not tell what is in a slot: it attests what it made, and what was put into it
    /// is known by its certificate or by the note.
    fn content_without_metadata(
        &mut self,
        slot: Slot,
        note: Option<Note>,
    ) -> Result<Content, Failure> {
        if let Some(attestation) = self.attestation(slot)? {
            let Ok(public) = certificate::public_key(&attestation) else {
                return Ok(Content::Foreign);
            };
            let policies = certificate::attested_policies(&attestation).ok().flatten();
            return Ok(known(slot, public, note, policies, Some(true)));
        }
        let told = note.as_ref().and_then(|note| note.public.clone());
        let certified = match self.object(slot.certificate())? {
            Some(object) => {
                let der = certificate::unpack(&object);
                match der.and_then(certificate::public_key) {
                    Ok(public) => Some(public),
                    Err(_) if told.is_none() => return Ok(Content::Foreign),
                    Err(_) => None,
                }
            }
            None => None,
        };
        // A card that attests has not made a key that it does not attest.
        let attests = self.version.is_some_and(|version| version.attests());
        let generated = attests.then_some(false);
        match told.or(certified) {
            Some(public) => {
                let policies = note.as_ref().and_then(|note| note.policies);
                let policies =
                    policies.and_then(|(pin, touch)| pin_policy(pin).zip(touch_policy(touch)));
                Ok(known(slot, public, note, policies, generated))
            }
            None => Ok(Content::Empty),
        }
    }

    /// The attestation of a key that the card made; `None` where it attests none.
    pub(super) fn attestation(
        &mut self,
        slot: Slot,
    ) -> Result<Option<Zeroizing<Vec<u8>>>, Failure> {
        if !self.version.is_some_and(|version| version.attests()) {
            return Ok(None);
        }
        let answer = self.send(&Command::new(ins::ATTEST, slot.reference(), 0))?;
        match answer.status {
            Status::SUCCESS => Ok(Some(answer.data).filter(|data| !data.is_empty())),
            Status::INCORRECT_DATA
            | Status::NOT_FOUND
            | Status::REFERENCE_NOT_FOUND
            | Status::CONDITIONS_NOT_SATISFIED => Ok(None),
            status if status.is_unknown_command() => Ok(None),
            // Whether it made the key is not said by that.
            status => Err(status.error("attest the key").into()),
        }
    }
}

fn from_metadata(slot: Slot, answer: &[u8], note: Option<Note>) -> Result<Content, Failure> {
    let metadata = match SlotMetadata::parse(answer) {
        Ok(metadata) => metadata,
        // Of a kind or a policy that is not known yet; the other slots are of use.
        Err(MetadataError::Value(_)) => return Ok(Content::Foreign),
        Err(error) => return Err(error.into()),
    };
    let policies = Some((metadata.pin_policy, metadata.touch_policy));
    Ok(match metadata.public {
        Some(public) => known(slot, public, note, policies, Some(metadata.generated)),
        None => Content::Foreign,
    })
}

fn known(
    slot: Slot,
    public: CoseKey,
    note: Option<Note>,
    policies: Option<(PinPolicy, TouchPolicy)>,
    generated: Option<bool>,
) -> Content {
    let Some(key_type) = public.key_type() else {
        return Content::Foreign;
    };
    Content::Key(Arc::new(Key {
        slot,
        note: note.filter(|note| note.is_about(&public)),
        public,
        key_type,
        pin_policy: policies.map_or(default_pin_policy(slot), |(pin, _)| pin),
        touch_policy: policies.map(|(_, touch)| touch),
        generated,
    }))
}

/// When a slot's key wants a PIN, where nothing else was chosen (SP 800-73-4 Part 1 Table 4b).
pub(super) fn default_pin_policy(slot: Slot) -> PinPolicy {
    match slot {
        Slot::SIGNATURE => PinPolicy::Always,
        Slot::CARD_AUTHENTICATION => PinPolicy::Never,
        _ => PinPolicy::Once,
    }
}
