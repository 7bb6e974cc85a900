//! The card: what goes in and out of it, and what a test does with it from outside.
//!
//! [`Card::transmit`] does one command at a time. While it waits for a touch it holds no lock, so
//! that a test can press, pull, or look.

pub mod apdu;
mod applet;
mod attestation;
mod certificate;
mod chain;
mod issuer;
mod key;
mod management_key;
mod model;
mod object;
mod pin;
mod piv;
mod policy;
mod random;
mod scene;
mod slot;
mod state;
mod status;
#[cfg(test)]
mod tests;
pub mod tlv;

use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use apdu::Command;
use chain::Whole;
pub use model::Model;
pub use scene::{Exchange, Touch};
use state::{Begun, State};
pub use status::Status;

/// The data of an answer, or the status word of a failure.
type Reply<T = Vec<u8>> = Result<T, Status>;

/// A card, as somebody holds it: all clones are the same one.
#[derive(Clone)]
pub struct Card {
    model: Model,
    serial: u32,
    inside: Arc<Inside>,
}

/// One time that the card was in a reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Insertion(u64);

struct Inside {
    state: Mutex<State>,
    /// Something that a waiting command looks at has changed.
    changed: Condvar,
}

/// What a command needs of a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TouchNeed {
    None,
    /// A touch of its own.
    Fresh,
    /// One, unless there was one lately.
    Cached,
}

impl fmt::Debug for Card {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Card")
            .field("model", &self.model)
            .field("serial", &self.serial)
            .finish_non_exhaustive()
    }
}

/// In the reader.
impl Card {
    /// A card from the factory, in no reader. Touched at once when it blinks.
    #[must_use]
    pub fn new(model: Model, serial: u32) -> Self {
        Self {
            model,
            serial,
            inside: Arc::new(Inside {
                state: Mutex::new(State::new(model, serial)),
                changed: Condvar::new(),
            }),
        }
    }

    /// Answer to reset.
    #[must_use]
    pub fn atr(&self) -> Vec<u8> {
        self.model.atr()
    }

    /// Power off, on, or reset: no application is selected, nothing is verified, a command that is
    /// under way never ends.
    pub fn power(&self) {
        self.lock().power();
        self.inside.changed.notify_all();
    }

    /// Puts it into a reader. What an older insertion still waits for is lost.
    #[must_use]
    pub fn insert(&self) -> Insertion {
        let insertion = self.lock().insert();
        self.inside.changed.notify_all();
        Insertion(insertion)
    }

    /// Takes it out.
    pub fn remove(&self) {
        self.lock().remove();
        self.inside.changed.notify_all();
    }

    /// Whether it is in the reader, by this insertion.
    #[must_use]
    pub fn is_inserted(&self, insertion: Insertion) -> bool {
        self.lock().is_in(insertion.0)
    }

    /// Does a command and gives the answer, which ends in a status word. Waits while a touch is
    /// awaited. `None` if the card was pulled meanwhile, or is in a reader by another insertion.
    #[must_use]
    pub fn transmit(&self, insertion: Insertion, command: &[u8]) -> Option<Vec<u8>> {
        let mut state = self.wait_while(self.lock(), |state| {
            state.is_in(insertion.0) && state.is_busy()
        });
        if !state.is_in(insertion.0) {
            return None;
        }
        let epoch = state.epoch();
        let answer = match Command::parse(command) {
            None => Some(chain::only(Status::WRONG_LENGTH)),
            Some(command) => match state.begin(&command) {
                Begun::Answered(answer) => Some(answer),
                Begun::Pulled => None,
                Begun::Whole(whole) => {
                    let answer;
                    (state, answer) = self.run(state, epoch, &whole);
                    answer
                }
            },
        };
        if state.epoch() == epoch {
            state.idle();
        }
        drop(state);
        self.inside.changed.notify_all();
        answer
    }

    fn run<'a>(
        &'a self,
        state: MutexGuard<'a, State>,
        epoch: u64,
        command: &Whole,
    ) -> (MutexGuard<'a, State>, Option<Vec<u8>>) {
        let (state, here) = self.wait_for_delay(state, epoch);
        if !here {
            return (state, None);
        }
        let (mut state, touched) = self.wait_for_touch(state, epoch, command);
        let answer = touched.and_then(|touched| state.finish(command, touched));
        (state, answer)
    }

    /// Whether the card is still there when the delay is over.
    fn wait_for_delay<'a>(
        &'a self,
        mut state: MutexGuard<'a, State>,
        epoch: u64,
    ) -> (MutexGuard<'a, State>, bool) {
        let start = Instant::now();
        loop {
            let left = state.scene.delay.saturating_sub(start.elapsed());
            if state.epoch() != epoch || left.is_zero() {
                let here = state.epoch() == epoch;
                return (state, here);
            }
            state = self.wait(state, left);
        }
    }

    /// Whether what the command needs of a person is given in time; `None` if the card is gone.
    fn wait_for_touch<'a>(
        &'a self,
        mut state: MutexGuard<'a, State>,
        epoch: u64,
        command: &Whole,
    ) -> (MutexGuard<'a, State>, Option<bool>) {
        if !state.blink_for(command) {
            return (state, Some(true));
        }
        self.inside.changed.notify_all();
        let start = Instant::now();
        loop {
            if state.epoch() != epoch {
                return (state, None);
            }
            match state.scene.touched_after(start.elapsed()) {
                Ok(touched) => {
                    state.stop_blinking(touched);
                    return (state, Some(touched));
                }
                Err(left) => state = self.wait(state, left),
            }
        }
    }
}

/// What a test does.
impl Card {
    /// When somebody touches the card that blinks.
    pub fn touch(&self, touch: Touch) {
        self.set(|state| state.scene.touch = touch);
    }

    /// Touches the card now. Too early or too late, it is for nothing.
    pub fn press(&self) {
        self.set(|state| state.scene.press());
    }

    /// How long the card blinks before it gives up: 15 s if nothing else is said.
    pub fn touch_timeout(&self, timeout: Duration) {
        self.set(|state| state.scene.touch_timeout = timeout);
    }

    /// How long a touch serves keys of policy `cached`: 15 s if nothing else is said.
    pub fn touch_cache(&self, time: Duration) {
        self.set(|state| state.scene.touch_cache = time);
    }

    /// The card is pulled when the next command with this instruction comes, before it is done.
    pub fn pull_at(&self, instruction: u8) {
        self.set(|state| state.scene.pull_at = Some(instruction));
    }

    /// The next command with this instruction is done, and the card pulled before the answer.
    pub fn pull_after(&self, instruction: u8) {
        self.set(|state| state.scene.pull_after = Some(instruction));
    }

    /// The next VERIFY that has a PIN is done, and the card pulled before the answer.
    pub fn pull_after_pin(&self) {
        self.set(|state| state.scene.pull_after_pin = true);
    }

    /// Takes back what [`pull_at`](Self::pull_at), [`pull_after`](Self::pull_after) and
    /// [`answer`](Self::answer) have prepared and no command has met yet.
    pub fn forget_faults(&self) {
        self.set(|state| {
            state.scene.pull_at = None;
            state.scene.pull_after = None;
            state.scene.pull_after_pin = false;
            state.scene.answers.clear();
        });
    }

    /// How long each command takes, besides.
    pub fn delay(&self, delay: Duration) {
        self.set(|state| state.scene.delay = delay);
    }

    /// The next command with this instruction is not done and has this answer: the bytes as they
    /// are, with a status word or without.
    pub fn answer(&self, instruction: u8, raw: Vec<u8>) {
        self.set(|state| state.scene.answers.push_back((instruction, raw)));
    }
}

/// What a test sees.
impl Card {
    /// The kind of card.
    #[must_use]
    pub fn model(&self) -> Model {
        self.model
    }

    /// The serial number.
    #[must_use]
    pub fn serial(&self) -> u32 {
        self.serial
    }

    /// Whether it waits for a touch.
    #[must_use]
    pub fn is_blinking(&self) -> bool {
        self.lock().scene.blinking
    }

    /// Waits until it waits for a touch, at most so long; says whether it does.
    #[must_use]
    pub fn wait_for_blinking(&self, limit: Duration) -> bool {
        let start = Instant::now();
        let mut state = self.lock();
        while !state.scene.blinking {
            let left = limit.saturating_sub(start.elapsed());
            if left.is_zero() {
                return false;
            }
            state = self.wait(state, left);
        }
        true
    }

    /// How often it has begun to wait for a touch.
    #[must_use]
    pub fn blinks(&self) -> u64 {
        self.lock().scene.blinks
    }

    /// How many commands with this instruction it has got. The pieces of one are one.
    #[must_use]
    pub fn count(&self, instruction: u8) -> u64 {
        let state = self.lock();
        state.counts.get(&instruction).copied().unwrap_or(0)
    }

    /// What it has got, in order.
    #[must_use]
    pub fn log(&self) -> Vec<Exchange> {
        self.lock().log.clone()
    }

    /// How often the PIN may still be wrong.
    #[must_use]
    pub fn pin_tries(&self) -> u8 {
        self.lock().piv.pin.left
    }

    /// How often the PUK may still be wrong.
    #[must_use]
    pub fn puk_tries(&self) -> u8 {
        self.lock().piv.puk.left
    }

    /// Whether this is the PIN. It costs no try.
    #[must_use]
    pub fn pin_is(&self, pin: &[u8]) -> bool {
        self.lock().piv.pin.is(&filled(pin))
    }

    /// Whether this is the PUK. It costs no try.
    #[must_use]
    pub fn puk_is(&self, puk: &[u8]) -> bool {
        self.lock().piv.puk.is(&filled(puk))
    }

    /// Whether the PIN is verified at this moment.
    #[must_use]
    pub fn pin_is_verified(&self) -> bool {
        self.lock().piv.pin_verified
    }

    /// Whether the management key is proved at this moment.
    #[must_use]
    pub fn is_managed(&self) -> bool {
        self.lock().piv.managed
    }

    /// The numbers of the slots that hold a key, without that of attestation.
    #[must_use]
    pub fn slots(&self) -> Vec<u8> {
        let state = self.lock();
        let numbers = state.piv.slots.keys().copied();
        numbers.filter(|slot| *slot != piv::ATTESTATION).collect()
    }

    /// What a data object holds, whatever protects it.
    #[must_use]
    pub fn object(&self, id: u32) -> Option<Vec<u8>> {
        let mut state = self.lock();
        // It is missing below if that fails.
        let _ = attestation::provision(&mut state.piv);
        state.piv.objects.get(id).map(<[u8]>::to_vec)
    }

    /// The certificate, in DER, up to which attestations of all virtual cards verify. Its key is in
    /// the source of this program: whoever trusts it in earnest trusts everybody.
    #[must_use]
    pub fn attestation_root() -> Vec<u8> {
        // It fails without random numbers alone, and then what it is for fails, too.
        attestation::root().unwrap_or_default()
    }
}

impl Card {
    fn set(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.lock());
        self.inside.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        let state = self.inside.state.lock();
        state.unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>, limit: Duration) -> MutexGuard<'a, State> {
        let waited = self.inside.changed.wait_timeout(state, limit);
        waited.unwrap_or_else(PoisonError::into_inner).0
    }

    fn wait_while<'a>(
        &self,
        state: MutexGuard<'a, State>,
        condition: impl Fn(&State) -> bool,
    ) -> MutexGuard<'a, State> {
        let changed = &self.inside.changed;
        let waited = changed.wait_while(state, |state| condition(state));
        waited.unwrap_or_else(PoisonError::into_inner)
    }
}

fn filled(pin: &[u8]) -> Vec<u8> {
    let filling = 8_usize.saturating_sub(pin.len());
    [pin, &vec![0xff; filling]].concat()
}
