//! Touches: which use wants one, known before the card blinks.

use std::sync::PoisonError;
use std::time::{Duration, Instant};

use keyward_backend::message::Work;
use keyward_backend::{BackendError, Result};
use keyward_protocol::piv::TouchPolicy;

use super::Piv;
use super::session::Session;

/// For how long a touch counts for keys of policy `cached`. A card counts 15 seconds; who is told of
/// a touch that is not wanted loses less than who waits for one without knowing.
const CACHED: Duration = Duration::from_secs(13);

impl Session<'_> {
    /// Whether the card will wait for a touch before it does this.
    pub(super) fn wants_touch(&self, work: &Work) -> Result<bool> {
        let piv = self.piv;
        let id = match work {
            Work::Sign(sign) => sign.id,
            Work::Unwrap(unwrap) => unwrap.id,
            Work::Derive(derive) => derive.id,
            Work::Generate(_)
            | Work::Import(_)
            | Work::Adopt(_)
            | Work::Destroy(_)
            | Work::WriteCertificate(_) => {
                return piv.with_card(|card, _| card.management_wants_touch());
            }
            _ => return Ok(false),
        };
        // What was read since the card was inserted needs no transaction of its own.
        let known = self.place.as_ref().and_then(|place| piv.known_key(place));
        let policy = match known {
            Some(key) => key.touch_policy,
            None => {
                match piv.with_card(|card, cache| Ok(self.find(card, cache, id)?.touch_policy)) {
                    // That a key is not there says the use itself.
                    Err(BackendError::KeyNotFound) => None,
                    policy => policy?,
                }
            }
        };
        Ok(match policy {
            Some(TouchPolicy::Always) => true,
            Some(TouchPolicy::Cached) => !piv.was_touched(),
            Some(TouchPolicy::Never) | None => false,
        })
    }
}

impl Piv {
    /// Notes that a key was used that wants a touch now and then: just now, unless one counted still.
    pub(super) fn touched(&self) {
        if !self.was_touched() {
            let mut touched = self.touched.lock().unwrap_or_else(PoisonError::into_inner);
            *touched = Some(Instant::now());
        }
    }

    /// The card is not where it was: what was proven to it is gone.
    pub(super) fn forget_card(&self) {
        self.pins.forget();
        *self.touched.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Whether a touch counts still.
    fn was_touched(&self) -> bool {
        let touched = *self.touched.lock().unwrap_or_else(PoisonError::into_inner);
        touched.is_some_and(|touched| touched.elapsed() < CACHED)
    }
}
