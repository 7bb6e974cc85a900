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
        let id = match work {
            Work::Sign(sign) => sign.id,
            Work::Unwrap(unwrap) => unwrap.id,
            Work::Derive(derive) => derive.id,
            _ => return Ok(false),
        };
        let piv = self.piv;
        // What was read since the card was inserted needs no transaction of its own.
        let known = self.place.as_ref().and_then(|place| piv.known_key(place));
        if let Some(key) = known {
            return Ok(match key.touch_policy {
                Some(TouchPolicy::Always) => true,
                Some(TouchPolicy::Cached) => !piv.was_touched(),
                Some(TouchPolicy::Never) | None => false,
            });
        }
        let policy = piv.with_card(|card, cache| Ok(self.find(card, cache, id)?.touch_policy));
        match policy {
            Ok(Some(TouchPolicy::Always)) => Ok(true),
            Ok(Some(TouchPolicy::Cached)) => Ok(!piv.was_touched()),
            // That a key is not there says the use itself.
            Ok(_) | Err(BackendError::KeyNotFound) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

impl Piv {
    /// Notes that the card was touched just now.
    pub(super) fn touched(&self) {
        let mut touched = self.touched.lock().unwrap_or_else(PoisonError::into_inner);
        *touched = Some(Instant::now());
    }

    /// Whether a touch counts still.
    fn was_touched(&self) -> bool {
        let touched = *self.touched.lock().unwrap_or_else(PoisonError::into_inner);
        touched.is_some_and(|touched| touched.elapsed() < CACHED)
    }
}
