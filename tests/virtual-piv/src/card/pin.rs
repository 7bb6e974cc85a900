//! PIN and PUK, and the commands that take them (SP 800-73-4 Part 2 §3.2).

use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use super::Reply;
use super::chain::Whole;
use super::piv::Piv;
use super::status::Status;

/// A PIN or PUK as it is sent: filled up with FF.
type Value = [u8; 8];

const PIN: Value = *b"123456\xff\xff";
const PUK: Value = *b"12345678";
const TRIES: u8 = 3;

/// A PIN or PUK, and how often it may still be wrong.
pub(super) struct Reference {
    value: Zeroizing<Value>,
    factory: Value,
    /// How many tries there are after a right one.
    pub(super) most: u8,
    pub(super) left: u8,
}

impl Reference {
    pub(super) fn pin() -> Self {
        Self::new(PIN, TRIES)
    }

    pub(super) fn puk() -> Self {
        Self::new(PUK, TRIES)
    }

    fn new(factory: Value, tries: u8) -> Self {
        Self {
            value: Zeroizing::new(factory),
            factory,
            most: tries,
            left: tries,
        }
    }

    pub(super) fn is_blocked(&self) -> bool {
        self.left == 0
    }

    pub(super) fn is_factory(&self) -> bool {
        *self.value == self.factory
    }

    pub(super) fn is(&self, candidate: &[u8]) -> bool {
        bool::from(self.value.as_slice().ct_eq(candidate))
    }

    /// That it is of use: one that is blocked is refused before its form is looked at.
    fn open(&self) -> Reply<()> {
        match self.is_blocked() {
            true => Err(Status::AUTHENTICATION_METHOD_BLOCKED),
            false => Ok(()),
        }
    }

    /// Compares, and counts.
    fn check(&mut self, candidate: &[u8]) -> Reply<()> {
        self.open()?;
        if self.is(candidate) {
            self.left = self.most;
            return Ok(());
        }
        self.left = self.left.saturating_sub(1);
        Err(Status::tries_left(self.left))
    }

    fn replace(&mut self, value: Value) {
        self.value = Zeroizing::new(value);
        self.left = self.most;
    }
}

impl Piv {
    /// VERIFY: with a PIN, as a question without one, or to take back what was verified.
    pub(super) fn verify(&mut self, command: &Whole) -> Reply {
        if command.p2 != 0x80 {
            return Err(Status::REFERENCE_NOT_FOUND);
        }
        match (command.p1, command.data.as_slice()) {
            (0xff, []) => {
                self.forget_pin();
                Ok(vec![])
            }
            (0x00, []) if self.pin.is_blocked() => Err(Status::AUTHENTICATION_METHOD_BLOCKED),
            (0x00, []) if self.pin_verified => Ok(vec![]),
            (0x00, []) => Err(Status::tries_left(self.pin.left)),
            (0x00, pin) => {
                self.pin.open()?;
                self.well_formed(pin)?;
                self.forget_pin();
                self.pin.check(pin).map_err(|status| self.last_of(status))?;
                self.pin_verified = true;
                self.pin_fresh = true;
                Ok(vec![])
            }
            _ => Err(Status::WRONG_PARAMETERS),
        }
    }

    /// CHANGE REFERENCE DATA: the old one, then the new one. Whoever knew the PIN has verified it.
    pub(super) fn change_reference(&mut self, command: &Whole) -> Reply {
        let (old, new) = two(&command.data)?;
        if command.p1 != 0 {
            return Err(Status::WRONG_PARAMETERS);
        }
        match command.p2 {
            0x80 => {
                self.pin.open()?;
                self.well_formed(old.as_slice())?;
                is_new(&new, self.model.is_generic())?;
                self.forget_pin();
                self.pin.check(old.as_slice())?;
                self.pin.replace(*new);
                self.pin_verified = true;
                self.pin_fresh = true;
            }
            0x81 => {
                self.puk.open()?;
                is_new(&new, false)?;
                let high = new.iter().any(|byte| (0x80..0xff).contains(byte));
                if high && self.model.is_5_7() {
                    return Err(Status::WRONG_DATA);
                }
                self.puk.check(old.as_slice())?;
                self.puk.replace(*new);
            }
            _ => return Err(Status::REFERENCE_NOT_FOUND),
        }
        Ok(vec![])
    }

    /// RESET RETRY COUNTER: the PUK, then the new PIN. A right PUK leaves verified what was, a wrong
    /// one does not.
    pub(super) fn reset_retry_counter(&mut self, command: &Whole) -> Reply {
        let (puk, new) = two(&command.data)?;
        match (command.p1, command.p2) {
            (0, 0x80) => {}
            (0, _) => return Err(Status::REFERENCE_NOT_FOUND),
            _ => return Err(Status::WRONG_PARAMETERS),
        }
        self.puk.open()?;
        let can_be_one = is_new(&new, self.model.is_generic());
        if self.model.is_generic() {
            can_be_one?;
        }
        // A YubiKey looks at the PUK first: ykman blocks it by a PUK and a PIN of FF alone.
        self.puk
            .check(puk.as_slice())
            .inspect_err(|_| self.forget_pin())?;
        can_be_one?;
        self.pin.replace(*new);
        Ok(vec![])
    }

    /// SET PIN RETRIES: PIN and PUK are those of the factory again.
    pub(super) fn set_pin_retries(&mut self, command: &Whole) -> Reply {
        if !self.managed || !self.pin_verified {
            return Err(Status::SECURITY_STATUS_NOT_SATISFIED);
        }
        if command.p1 == 0 || command.p2 == 0 {
            return Err(Status::WRONG_DATA);
        }
        self.pin = Reference::new(PIN, command.p1);
        self.puk = Reference::new(PUK, command.p2);
        self.forget_pin();
        Ok(vec![])
    }

    /// RESET: only when neither PIN nor PUK is of use any more.
    pub(super) fn reset(&mut self, command: &Whole) -> Reply {
        if (command.p1, command.p2) != (0, 0) {
            return Err(Status::WRONG_PARAMETERS);
        }
        if !self.pin.is_blocked() || !self.puk.is_blocked() {
            return Err(Status::CONDITIONS_NOT_SATISFIED);
        }
        self.set_to_factory();
        Ok(vec![])
    }

    /// The standard has two ways to say that the last try was wrong, and there are cards of both.
    fn last_of(&self, status: Status) -> Status {
        if self.model.is_generic() && status == Status::tries_left(0) {
            return Status::AUTHENTICATION_METHOD_BLOCKED;
        }
        status
    }

    pub(super) fn forget_pin(&mut self) {
        self.pin_verified = false;
        self.pin_fresh = false;
    }

    /// Whether it can be a PIN. To a YubiKey any eight bytes are a try; a card by the standard
    /// refuses what its rules don't allow, and counts nothing.
    fn well_formed(&self, pin: &[u8]) -> Reply<()> {
        let right = match self.model.is_generic() {
            true => is_digits(pin),
            false => pin.len() == 8,
        };
        right.then_some(()).ok_or(Status::WRONG_DATA)
    }
}

fn two(data: &[u8]) -> Reply<(Zeroizing<Value>, Zeroizing<Value>)> {
    let (old, new) = data.split_first_chunk().ok_or(Status::WRONG_DATA)?;
    let new = Value::try_from(new).map_err(|_| Status::WRONG_DATA)?;
    Ok((Zeroizing::new(*old), Zeroizing::new(new)))
}

/// Six to eight characters, then FF alone.
fn is_new(value: &Value, digits: bool) -> Reply<()> {
    let length = value
        .iter()
        .position(|byte| *byte == 0xff)
        .unwrap_or(value.len());
    let filling = value.iter().skip(length).all(|byte| *byte == 0xff);
    if length < 6 || !filling || (digits && !is_digits(value)) {
        return Err(Status::WRONG_DATA);
    }
    Ok(())
}

fn is_digits(pin: &[u8]) -> bool {
    let length = pin.iter().take_while(|byte| byte.is_ascii_digit()).count();
    pin.len() == 8 && length >= 6 && pin.iter().skip(length).all(|byte| *byte == 0xff)
}
