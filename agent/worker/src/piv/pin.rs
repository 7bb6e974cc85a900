//! The PIN: asked once, kept for a time, and never sent a second time after it was refused.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use keyward_backend::message::ChangePin;
use keyward_backend::token::PinTries;
use keyward_backend::{BackendError, Result, TokenReport};
use keyward_protocol::SecretBytes;
use keyward_protocol::piv::PinPolicy;
use zeroize::Zeroizing;

use super::Piv;
use super::apdu::Command;
use super::card::{Card, PIN, instruction as ins};
use super::failure::{Failure, Progress};
use super::key::Key;
use super::metadata::PinMetadata;
use super::status::Status;

/// A PIN is as long as this on the wire (SP 800-73-4 Part 2 §2.4.3).
const LENGTH: usize = 8;
/// The shortest that can be set.
const LEAST: usize = 6;

/// The PIN while a login is in force.
#[derive(Debug)]
pub(super) struct Keeper {
    held: Mutex<Held>,
    changed: Condvar,
    /// For how long a login is in force.
    lasts: Option<Duration>,
}

#[derive(Debug, Default)]
struct Held {
    pin: Option<SecretBytes>,
    until: Option<Instant>,
    /// What the card refused last, and how many tries it had then. It is not sent again, unless the
    /// card has more tries by now: somebody knew its PIN, or made another.
    refused: Option<(SecretBytes, Option<u8>)>,
    /// What the card was sent when it went away before it answered, and how many tries it had then.
    doubtful: Option<(SecretBytes, Option<u8>)>,
    /// Whether the agent heard last that one try is left.
    told_of_the_last: bool,
    /// How many tries at the PUK the card said are left.
    puk_tries: Option<u8>,
}

impl Keeper {
    pub(super) fn new(lasts: Option<Duration>) -> Self {
        Self {
            held: Mutex::default(),
            changed: Condvar::new(),
            lasts,
        }
    }

    /// Keeps the PIN that the card took just now.
    pub(super) fn keep(&self, pin: &SecretBytes) {
        let mut held = self.lock();
        held.until = self
            .lasts
            .and_then(|lasts| Instant::now().checked_add(lasts));
        held.pin = Some(SecretBytes::copy_from(pin.expose()));
        held.refused = None;
        held.doubtful = None;
        self.changed.notify_all();
    }

    /// Ends the login. What the card refused before, it would refuse again.
    pub(super) fn forget(&self) {
        let mut held = self.lock();
        held.pin = None;
        held.until = None;
    }

    /// What the agent hears of the tries that are left.
    pub(super) fn tell(&self, tries: PinTries) -> PinTries {
        self.lock().told_of_the_last = tries == PinTries::Final;
        tries
    }

    /// How many tries at the PUK the card said are left, if it refused one.
    pub(super) fn puk_tries(&self) -> Option<u8> {
        self.lock().puk_tries
    }

    pub(super) fn keep_puk_tries(&self, left: Option<u8>) {
        self.lock().puk_tries = left;
    }

    fn was_told_of_the_last(&self) -> bool {
        self.lock().told_of_the_last
    }

    /// Forgets everything: it is about another card, or the PIN is another one.
    pub(super) fn forget_all(&self) {
        *self.lock() = Held::default();
    }

    /// Notes a PIN that the card has refused.
    fn refuse(&self, pin: &SecretBytes, left: Option<u8>) {
        self.lock().refused = Some((SecretBytes::copy_from(pin.expose()), left));
    }

    /// Notes a PIN that the card may have counted or not.
    fn doubt(&self, pin: &SecretBytes, left: Option<u8>) {
        self.lock().doubtful = Some((SecretBytes::copy_from(pin.expose()), left));
    }

    /// Ends the doubt about a PIN by the tries that the card has now: with fewer it has refused it.
    fn decide(&self, pin: &SecretBytes, left: Option<u8>) {
        let mut held = self.lock();
        if let Some((doubtful, before)) = held.doubtful.take_if(|(doubtful, _)| doubtful == pin)
            && left.zip(before).is_some_and(|(now, then)| now < then)
        {
            held.refused = Some((doubtful, left));
        }
    }

    /// Whether a card with so many tries has refused this PIN.
    fn was_refused(&self, pin: &SecretBytes, left: Option<u8>) -> bool {
        let held = self.lock();
        let refused = held.refused.as_ref().filter(|(refused, _)| refused == pin);
        refused.is_some_and(|(_, before)| left.zip(*before).is_none_or(|(now, then)| now <= then))
    }

    /// A copy of the PIN, for one use.
    pub(super) fn get(&self) -> Result<SecretBytes> {
        let mut held = self.lock();
        if held.until.is_some_and(|until| until <= Instant::now()) {
            held.pin = None;
        }
        match &held.pin {
            Some(pin) => Ok(SecretBytes::copy_from(pin.expose())),
            None => Err(BackendError::LoginRequired),
        }
    }

    /// Whether a login is in force.
    pub(super) fn is_held(&self) -> bool {
        self.get().is_ok()
    }

    /// Wipes the PIN when its time is over, without anybody asking for it, and says so.
    pub(super) fn watch(&self, mut expired: impl FnMut()) -> ! {
        let mut held = self.lock();
        loop {
            let now = Instant::now();
            match held.until {
                Some(until) if until <= now => {
                    held.pin = None;
                    held.until = None;
                    drop(held);
                    expired();
                    held = self.lock();
                }
                Some(until) => {
                    let left = until.saturating_duration_since(now);
                    let waited = self.changed.wait_timeout(held, left);
                    held = waited.unwrap_or_else(PoisonError::into_inner).0;
                }
                None => {
                    held = (self.changed.wait(held)).unwrap_or_else(PoisonError::into_inner);
                }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A PIN as it is sent: padded with FF.
pub(super) fn padded(pin: &SecretBytes) -> Result<Zeroizing<[u8; LENGTH]>> {
    let mut padded = Zeroizing::new([0xff; LENGTH]);
    match padded.get_mut(..pin.len()).filter(|_| !pin.is_empty()) {
        Some(place) => place.copy_from_slice(pin.expose()),
        None => {
            return Err(BackendError::Invalid(format!(
                "a PIN or PUK of a PIV card has 1 to {LENGTH} bytes; it was not sent, and no try was spent"
            )));
        }
    }
    Ok(padded)
}

/// That a PIN or PUK can be set.
pub(super) fn check_new(pin: &SecretBytes) -> Result<()> {
    match (LEAST..=LENGTH).contains(&pin.len()) && !pin.expose().contains(&0xff) {
        true => Ok(()),
        false => Err(BackendError::Invalid(format!(
            "a new PIN or PUK of a PIV card must have {LEAST} to {LENGTH} bytes"
        ))),
    }
}

fn pin_tries(left: Option<u8>) -> PinTries {
    match left {
        Some(0) => PinTries::Blocked,
        Some(1) => PinTries::Final,
        Some(_) => PinTries::Several,
        None => PinTries::Unknown,
    }
}

impl Card<'_> {
    /// What the card says about PIN or PUK; `None` from one that does not say it.
    pub(super) fn pin_metadata(
        &mut self,
        reference: u8,
    ) -> std::result::Result<Option<PinMetadata>, Failure> {
        if !self.version.is_some_and(|version| version.has_metadata()) {
            return Ok(None);
        }
        let command = Command::new(ins::GET_METADATA, 0, reference);
        let answer = self.send(&command)?;
        match answer.status {
            Status::SUCCESS => Ok(Some(PinMetadata::parse(&answer.data)?)),
            _ => Ok(None),
        }
    }

    /// What the card says about tries at its PIN.
    pub(super) fn pin_tries(&mut self) -> std::result::Result<PinTries, Failure> {
        Ok(pin_tries(self.pin_left()?))
    }

    /// How many tries at the PIN are left; `None` where it does not say it, since the PIN is verified.
    fn pin_left(&mut self) -> std::result::Result<Option<u8>, Failure> {
        match self.pin_metadata(PIN)? {
            Some(metadata) => Ok(Some(metadata.left)),
            None => self.tries(),
        }
    }

    /// CHANGE REFERENCE DATA or RESET RETRY COUNTER: both prove one secret and set another.
    pub(super) fn change_reference(
        &mut self,
        instruction: u8,
        reference: u8,
        old: &SecretBytes,
        new: &SecretBytes,
    ) -> std::result::Result<(), Failure> {
        let (old, new) = (padded(old)?, padded(new)?);
        let data = [old.as_slice(), new.as_slice()].concat();
        // What is in force behind it, a lost answer leaves open.
        self.progress = Progress::Key;
        self.may_be_verified();
        let status = self
            .send(&Command::with(instruction, 0, reference, data))?
            .status;
        self.refused_with = status.tries();
        match (status, status.tries()) {
            (Status::SUCCESS, _) => Ok(()),
            (_, Some(0)) => Err(BackendError::PinBlocked.into()),
            (_, Some(_)) => Err(BackendError::PinIncorrect.into()),
            (Status::INCORRECT_DATA | Status::WRONG_LENGTH, None) => Err(BackendError::Invalid(
                "the card does not take the new PIN or PUK; it may want more kinds of characters"
                    .to_owned(),
            )
            .into()),
            (status, None) => Err(status.error("change it").into()),
        }
    }
}

impl Piv {
    pub(super) fn log_in(&self, pin: &SecretBytes) -> Result<TokenReport> {
        padded(pin)?;
        self.with_card(|card, _| {
            if !self.pins.is_held() {
                self.verify_first(card, pin)?;
            }
            self.report(card)
        })
    }

    fn verify_first(
        &self,
        card: &mut Card<'_>,
        pin: &SecretBytes,
    ) -> std::result::Result<(), Failure> {
        let left = self.check_try(card, pin)?;
        // Where the card goes away before it answers, the tries that it has then tell whether it was
        // refused.
        let sent = self.send_pin(card, pin);
        match &sent {
            Ok(()) => self.pins.keep(pin),
            Err(Failure::Pcsc(_)) => self.pins.doubt(pin, left),
            Err(Failure::Answer(_)) => {}
        }
        sent
    }

    /// That a PIN of a person's may be sent, and how many tries are left for it.
    fn check_try(
        &self,
        card: &mut Card<'_>,
        pin: &SecretBytes,
    ) -> std::result::Result<Option<u8>, Failure> {
        let left = card.pin_left()?;
        match pin_tries(left) {
            PinTries::Blocked => return Err(BackendError::PinBlocked.into()),
            // The agent was told of another number, and has not asked anybody whether to spend this.
            PinTries::Final if !self.pins.was_told_of_the_last() => {
                return Err(BackendError::LastTry.into());
            }
            _ => {}
        }
        self.pins.decide(pin, left);
        match self.pins.was_refused(pin, left) {
            true => Err(BackendError::PinIncorrect.into()),
            false => Ok(left),
        }
    }

    /// Verifies the PIN for a use of a key, if the key wants it, right before that use.
    pub(super) fn unlock(
        &self,
        card: &mut Card<'_>,
        key: &Key,
    ) -> std::result::Result<(), Failure> {
        match key.pin_policy {
            PinPolicy::Never => Ok(()),
            PinPolicy::Once | PinPolicy::Always => self.verify_again(card),
        }
    }

    /// Verifies the PIN of the login that is in force.
    pub(super) fn verify_again(&self, card: &mut Card<'_>) -> std::result::Result<(), Failure> {
        let pin = self.pins.get()?;
        // Somebody else may have spent tries, or changed the PIN: the last try is a person's to spend.
        if let Some(0 | 1) = card.tries()? {
            // Where it is blocked, the next login says so.
            self.pins.forget();
            return Err(BackendError::LoginRequired.into());
        }
        match self.send_pin(card, &pin) {
            // It was right before; somebody has changed it.
            Err(Failure::Answer(BackendError::PinIncorrect)) => {
                Err(BackendError::LoginRequired.into())
            }
            sent => sent,
        }
    }

    fn send_pin(&self, card: &mut Card<'_>, pin: &SecretBytes) -> std::result::Result<(), Failure> {
        let verified = card.verify(pin);
        if let Err(Failure::Answer(BackendError::PinIncorrect | BackendError::PinBlocked)) =
            verified
        {
            self.pins.forget();
            self.pins.refuse(pin, card.tries().ok().flatten());
        }
        verified
    }

    pub(super) fn set_pin(&self, change: &ChangePin) -> Result<TokenReport> {
        padded(&change.old)?;
        check_new(&change.new)?;
        self.with_card(|card, _| {
            let was_held = self.pins.is_held();
            self.check_try(card, &change.old)?;
            let changed =
                card.change_reference(ins::CHANGE_REFERENCE_DATA, PIN, &change.old, &change.new);
            if let Err(Failure::Answer(BackendError::PinIncorrect | BackendError::PinBlocked)) =
                changed
            {
                (self.pins).refuse(&change.old, card.tries().ok().flatten());
            }
            changed?;
            if was_held {
                self.pins.keep(&change.new);
            }
            self.report(card)
        })
    }
}

#[cfg(test)]
mod tests;
