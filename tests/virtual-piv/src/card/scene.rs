//! What happens around the card: who touches it and when, what goes wrong.

use std::collections::VecDeque;
use std::time::Duration;

const TOUCH_TIMEOUT: Duration = Duration::from_secs(15);
const TOUCH_CACHE: Duration = Duration::from_secs(15);
/// Waiting ends by a change; this is how long one wait for it is.
const LONG: Duration = Duration::from_secs(3600);

/// When somebody touches a card that blinks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Touch {
    /// At once.
    AtOnce,
    /// So long after it began to blink.
    After(Duration),
    /// Not at all.
    Never,
    /// When the test calls [`Card::press`](super::Card::press).
    ByHand,
}

/// A command and its answer, without what was in them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exchange {
    /// INS
    pub instruction: u8,
    /// P1
    pub p1: u8,
    /// P2
    pub p2: u8,
    /// How much data came, in all pieces.
    pub sent: usize,
    /// How much data the answer has, in all pieces.
    pub received: usize,
    /// The status word of the command as a whole, which GET RESPONSE may give later. `None` if the
    /// card was pulled, or the test made the answer.
    pub status: Option<u16>,
}

pub(super) struct Scene {
    pub(super) touch: Touch,
    pub(super) touch_timeout: Duration,
    pub(super) touch_cache: Duration,
    pub(super) pull_at: Option<u8>,
    pub(super) pull_after: Option<u8>,
    pub(super) pull_after_pin: bool,
    pub(super) delay: Duration,
    pub(super) answers: VecDeque<(u8, Vec<u8>)>,
    pub(super) blinking: bool,
    pub(super) blinks: u64,
    pressed: bool,
}

impl Scene {
    pub(super) fn new() -> Self {
        Self {
            touch: Touch::AtOnce,
            touch_timeout: TOUCH_TIMEOUT,
            touch_cache: TOUCH_CACHE,
            pull_at: None,
            pull_after: None,
            pull_after_pin: false,
            delay: Duration::ZERO,
            answers: VecDeque::new(),
            blinking: false,
            blinks: 0,
            pressed: false,
        }
    }

    pub(super) fn press(&mut self) {
        self.pressed = self.blinking;
    }

    pub(super) fn begin_to_blink(&mut self) {
        self.blinking = true;
        self.pressed = false;
        self.blinks = self.blinks.saturating_add(1);
    }

    /// Whether a card that has blinked so long has been touched, or how long it still waits.
    pub(super) fn touched_after(&self, waited: Duration) -> Result<bool, Duration> {
        let due = match self.touch {
            Touch::AtOnce => Some(Duration::ZERO),
            Touch::After(time) => Some(time),
            Touch::Never | Touch::ByHand => None,
        };
        let due = due.filter(|due| *due <= self.touch_timeout);
        if self.pressed || due.is_some_and(|due| due <= waited) {
            return Ok(true);
        }
        if waited >= self.touch_timeout {
            return Ok(false);
        }
        let end = due.unwrap_or(self.touch_timeout);
        Err(end.saturating_sub(waited).min(LONG))
    }

    /// Takes the first answer that a test has for this instruction.
    pub(super) fn take_answer(&mut self, instruction: u8) -> Option<Vec<u8>> {
        let mut answers = self.answers.iter();
        let place = answers.position(|(of, _)| *of == instruction)?;
        self.answers.remove(place).map(|(_, raw)| raw)
    }
}
