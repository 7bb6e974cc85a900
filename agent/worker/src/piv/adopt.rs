//! Taking a key over that is in a slot already, whoever made it.

use keyward_backend::message::{Adopt, Generate};
use keyward_backend::{BackendError, KeyReport, Result};
use keyward_protocol::piv::parse_slot;

use super::generate::Choice;
use super::key::Content;
use super::note::Origin;
use super::session::Session;
use super::slot::Slot;

impl Session<'_> {
    pub(super) fn adopt_key(&self, adopt: &Adopt) -> Result<KeyReport> {
        let generate = &adopt.generate;
        let slot = parse_slot(&adopt.place)
            .and_then(Slot::new)
            .ok_or_else(|| {
                BackendError::Invalid(format!(
                    "{} is no slot for keys: 9a, 9c, 9d, 9e and 82 to 95 are",
                    adopt.place
                ))
            })?;
        let piv = self.piv;
        piv.pins.get()?;
        piv.with_card(|card, cache| {
            cache.clear();
            let key = match cache.content(card, slot)? {
                Content::Key(key) if !key.is_overwritten() => key,
                Content::Key(_) | Content::Empty => {
                    return Err(BackendError::Invalid(format!(
                        "slot {slot} of the card has no key"
                    ))
                    .into());
                }
                Content::Foreign => {
                    return Err(BackendError::Invalid(format!(
                        "the key in slot {slot} is of a kind or size that keyward does not use"
                    ))
                    .into());
                }
            };
            // Which type it is, the card says; the agent has only guessed.
            let generate = &Generate {
                key_type: key.key_type,
                ..generate.clone()
            };
            if generate.purpose.algorithms(key.key_type).is_empty() {
                return Err(BackendError::Invalid(format!(
                    "a key of type {} has no use for purpose {}",
                    key.key_type, generate.purpose
                ))
                .into());
            }
            if key.is_keywards() {
                return Err(BackendError::PlaceTaken(format!(
                    "the key in slot {slot} of the card is keyward's already; `keyward token rescan` finds it"
                ))
                .into());
            }
            // Without Yubico's extensions there is no place for a note: the registry alone knows it.
            if card.version.is_none() {
                return Ok(key.report(card));
            }
            piv.manage(card)?;
            let choice = Choice {
                slot: Some(slot),
                pin: Some(key.pin_policy),
                touch: key.touch_policy,
            };
            let public = key.public.clone();
            self.finish(card, cache, generate, slot, public, choice, Origin::Adopted)
        })
    }
}
