//! Making keys: in a free slot, with a note beside it, and read back.

use keyward_backend::message::Generate;
use keyward_backend::{BackendError, KeyReport, Result};
use keyward_protocol::piv::{PinPolicy, TouchPolicy};
use keyward_protocol::{CoseKey, KeyType, Purpose};

use super::apdu::Command;
use super::card::{Card, instruction as ins};
use super::failure::{Failure, Progress, malformed};
use super::identity::Version;
use super::key::{Cache, Content, default_pin_policy};
use super::metadata::{algorithm, pin_number, public_key, touch_number};
use super::note::{Note, Origin, digest};
use super::session::Session;
use super::slot::Slot;
use super::{makes, tlv, uses};

/// What was chosen for a key, beside its kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Choice {
    pub(super) slot: Option<Slot>,
    pub(super) pin: Option<PinPolicy>,
    pub(super) touch: Option<TouchPolicy>,
}

impl Session<'_> {
    pub(super) fn generate_key(&self, generate: &Generate) -> Result<KeyReport> {
        let choice = choice(generate)?;
        let piv = self.piv;
        piv.pins.get()?;
        piv.with_card(|card, cache| {
            let fits = |version, key_type| makes(version, key_type);
            check_kind(generate.purpose, generate.key_type, card.version, fits)?;
            let slot = self.free_slot(card, cache, generate, choice)?;
            piv.manage(card)?;
            card.progress = Progress::Key;
            cache.forget(slot);
            let made = card.make_key(slot, generate.key_type, choice)?;
            let finished =
                self.finish(card, cache, generate, slot, made, choice, Origin::Generated);
            if finished.is_err() {
                // Not to be left behind. Why it is not right says more than why it can't go.
                let _ = card.clear_slot(slot, None);
            }
            finished
        })
    }

    /// The slot for a new key: the chosen one, or the first free one of those that no program of the
    /// desktop uses by itself. What is there is never overwritten.
    pub(super) fn free_slot(
        &self,
        card: &mut Card<'_>,
        cache: &mut Cache,
        generate: &Generate,
        choice: Choice,
    ) -> std::result::Result<Slot, Failure> {
        cache.clear();
        let Some(version) = card.version else {
            return Err(BackendError::MechanismInvalid(
                "a PIV card without Yubico's extensions keeps no notes of keyward's: make the key with its \
                 issuer's tools, with a certificate, and type `keyward key adopt`"
                    .to_owned(),
            )
            .into());
        };
        if (choice.pin.is_some() || choice.touch.is_some()) && !version.has_policies() {
            return Err(BackendError::MechanismInvalid(
                "this card has no policies for PIN and touch".to_owned(),
            )
            .into());
        }
        for slot in Slot::all() {
            let note = cache.note(card, slot)?;
            if note.is_some_and(|note| note.id == generate.id)
                && let Content::Key(key) = cache.content(card, slot)?
                && key.is_keywards()
            {
                return Err(BackendError::Exists(generate.id.to_string()).into());
            }
        }
        if let Some(slot) = choice.slot {
            return match is_free(&cache.content(card, slot)?) {
                true => Ok(slot),
                false => Err(BackendError::PlaceTaken(format!(
                    "slot {slot} of the card has a key, which keyward does not overwrite; where it is not in \
                     the list, `keyward key adopt` uses it"
                ))
                .into()),
            };
        }
        for slot in Slot::retired() {
            // What another program has put there without a certificate, an older card does not show.
            if !version.has_metadata() && cache.content(card, slot)? == Content::Empty {
                return Err(BackendError::Invalid(format!(
                    "this card does not say which slots are empty: keys that another program has imported \
                     without a certificate can't be seen before firmware 5.3; choose the slot yourself: \
                     `keyward key create … --slot {slot}`"
                ))
                .into());
            }
            if is_free(&cache.content(card, slot)?) {
                return Ok(slot);
            }
        }
        Err(BackendError::TokenFull.into())
    }

    /// Writes the note of a key that is in its slot now, and reads back what is there.
    #[allow(clippy::too_many_arguments, reason = "the parts of one note")]
    pub(super) fn finish(
        &self,
        card: &mut Card<'_>,
        cache: &mut Cache,
        generate: &Generate,
        slot: Slot,
        public: CoseKey,
        choice: Choice,
        origin: Origin,
    ) -> std::result::Result<KeyReport, Failure> {
        let key_unsafe = |what: &str| -> Failure {
            match origin {
                // It stays where it was.
                Origin::Adopted => BackendError::Refused(format!("it was not taken over: {what}")),
                _ => BackendError::KeyUnsafe(what.to_owned()),
            }
            .into()
        };
        let note = note_of(card, generate, slot, public, choice, origin)?;
        card.put_object(slot.note(), &note.to_object())?;
        cache.forget(slot);
        let Content::Key(key) = cache.content(card, slot)? else {
            return Err(key_unsafe("it is not in its slot"));
        };
        if key.note.as_ref() != Some(&note) {
            return Err(key_unsafe("its note can't be read back as it was written"));
        }
        if key.key_type != generate.key_type {
            return Err(key_unsafe("it is of another type"));
        }
        let is_generated = origin == Origin::Generated;
        if key
            .generated
            .is_some_and(|generated| generated != is_generated)
            && origin != Origin::Adopted
        {
            return Err(key_unsafe(
                "the card says that it came into its slot otherwise",
            ));
        }
        let pin = choice.pin.unwrap_or(default_pin_policy(slot));
        let touch = choice.touch.unwrap_or(TouchPolicy::Never);
        let policies = (key.pin_policy, key.touch_policy.unwrap_or(touch));
        if origin != Origin::Adopted && policies != (pin, touch) {
            return Err(key_unsafe("its policies for PIN and touch are others"));
        }
        Ok(key.report(card))
    }
}

/// What was chosen for a key.
pub(super) fn choice(generate: &Generate) -> Result<Choice> {
    let Some(piv) = generate.piv else {
        return Ok(Choice::default());
    };
    let slot = match piv.slot {
        Some(reference) => Some(Slot::new(reference).ok_or_else(|| {
            BackendError::Invalid(format!(
                "{reference:02x} is no slot for keys: 9a, 9c, 9d, 9e and 82 to 95 are"
            ))
        })?),
        None => None,
    };
    Ok(Choice {
        slot,
        pin: piv.pin_policy,
        touch: piv.touch_policy,
    })
}

/// The note about a key. A card that shows its keys shows what would be noted beside.
fn note_of(
    card: &Card<'_>,
    generate: &Generate,
    slot: Slot,
    public: CoseKey,
    choice: Choice,
    origin: Origin,
) -> std::result::Result<Note, Failure> {
    let shows = card.version.is_some_and(Version::has_metadata);
    let pin = choice.pin.unwrap_or(default_pin_policy(slot));
    let touch = choice.touch.unwrap_or(TouchPolicy::Never);
    // Whoever put a key there that is taken over has chosen, and only the card may know what.
    let known = origin != Origin::Adopted || choice.touch.is_some();
    Ok(Note {
        id: generate.id,
        label: generate.label.clone(),
        spki: digest(&public).ok_or_else(|| malformed("it is no public key"))?,
        purpose: generate.purpose,
        origin,
        public: Some(public).filter(|_| !shows),
        policies: Some((pin_number(pin), touch_number(touch))).filter(|_| known && !shows),
    })
}

/// Whether a slot can take a new key.
pub(super) fn is_free(content: &Content) -> bool {
    match content {
        Content::Empty => true,
        Content::Foreign => false,
        Content::Key(key) => key.is_overwritten(),
    }
}

/// That keys of a kind are of use, and can be on a card.
pub(super) fn check_kind(
    purpose: Purpose,
    key_type: KeyType,
    version: Option<Version>,
    fits: impl Fn(Option<Version>, KeyType) -> bool,
) -> Result<()> {
    if purpose.algorithms(key_type).is_empty() {
        return Err(BackendError::MechanismInvalid(format!(
            "a key of type {key_type} has no use for purpose {purpose}"
        )));
    }
    match fits(version, key_type) {
        true => Ok(()),
        false if uses(version, key_type) => Err(BackendError::MechanismInvalid(format!(
            "this card makes weak keys of type {key_type} (CVE-2017-15361)"
        ))),
        false => Err(BackendError::MechanismInvalid(format!(
            "this card has no keys of type {key_type}"
        ))),
    }
}

impl Card<'_> {
    /// GENERATE ASYMMETRIC KEY PAIR: a new key, over whatever is in the slot.
    pub(super) fn make_key(
        &mut self,
        slot: Slot,
        key_type: KeyType,
        choice: Choice,
    ) -> std::result::Result<CoseKey, Failure> {
        let number = algorithm(key_type)
            .ok_or_else(|| BackendError::MechanismInvalid(format!("no keys of type {key_type}")))?;
        let mut template = tlv::of(0x80, &[number]);
        put_policies(choice, &mut template);
        let command = Command::with(
            ins::GENERATE_ASYMMETRIC_KEY_PAIR,
            0,
            slot.reference(),
            tlv::of(0xac, &template),
        );
        let answer = self.done(&command, "make a key")?;
        Ok(public_key(tlv::only(&answer.data, 0x7f49)?, number)?)
    }
}

/// The policies of a new key, where they are not those of its slot.
pub(super) fn put_policies(choice: Choice, template: &mut Vec<u8>) {
    if let Some(policy) = choice.pin {
        tlv::put(0xaa, &[pin_number(policy)], template);
    }
    if let Some(policy) = choice.touch {
        tlv::put(0xab, &[touch_number(policy)], template);
    }
}
