//! Key slots: what makes, brings, moves, describes and uses the keys in them.

use super::Reply;
use super::chain::Whole;
use super::key::{Algorithm, PrivateKey};
use super::piv::{ATTESTATION, MANAGEMENT, Piv};
use super::policy::{PinPolicy, Policies, TouchPolicy};
use super::status::Status;
use super::tlv;

/// A key in a slot.
pub(super) struct Slot {
    pub(super) key: PrivateKey,
    pub(super) policies: Policies,
    pub(super) origin: Origin,
}

/// Where a key comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    Generated = 1,
    Imported = 2,
}

impl Piv {
    /// GENERATE ASYMMETRIC KEY PAIR. What was in the slot is gone.
    pub(super) fn generate(&mut self, command: &Whole) -> Reply {
        let number = self.slot_to_write(command.p2)?;
        if command.p1 != 0 {
            return Err(Status::WRONG_PARAMETERS);
        }
        let template = tlv::parse(&command.data).ok_or(Status::WRONG_DATA)?;
        let template = tlv::find(&template, 0xac).ok_or(Status::WRONG_DATA)?;
        let template = tlv::parse(template).ok_or(Status::WRONG_DATA)?;
        let algorithm = match tlv::find(&template, 0x80) {
            Some([identifier]) => self.algorithm(*identifier)?,
            _ => return Err(Status::WRONG_DATA),
        };
        let policies = Policies::parse(&template, number, self.model)?;
        let key = PrivateKey::generate(algorithm)?;
        let answer = tlv::object(0x7f49, &key.public()?);
        let slot = Slot {
            key,
            policies,
            origin: Origin::Generated,
        };
        self.slots.insert(number, slot);
        Ok(answer)
    }

    /// IMPORT ASYMMETRIC KEY.
    pub(super) fn import(&mut self, command: &Whole) -> Reply {
        let number = self.slot_to_write(command.p2)?;
        let algorithm = self.algorithm(command.p1)?;
        let parts = tlv::parse(&command.data).ok_or(Status::WRONG_DATA)?;
        let policies = Policies::parse(&parts, number, self.model)?;
        let slot = Slot {
            key: PrivateKey::import(algorithm, &parts)?,
            policies,
            origin: Origin::Imported,
        };
        self.slots.insert(number, slot);
        Ok(vec![])
    }

    /// MOVE KEY: P1 is where to, FF for nowhere; P2 is where from.
    pub(super) fn move_key(&mut self, command: &Whole) -> Reply {
        let from = self.slot_to_write(command.p2)?;
        let to = match command.p1 {
            0xff => None,
            to => Some(self.slot_to_write(to)?),
        };
        if to.is_some() && (from == ATTESTATION || to == Some(ATTESTATION)) {
            return Err(Status::WRONG_PARAMETERS);
        }
        let slot = self
            .slots
            .remove(&from)
            .ok_or(Status::REFERENCE_NOT_FOUND)?;
        if let Some(to) = to {
            self.slots.insert(to, slot);
        }
        Ok(vec![])
    }

    /// GET METADATA of a key, of the management key, of PIN and PUK.
    pub(super) fn metadata(&self, command: &Whole) -> Reply {
        if command.p1 != 0 {
            return Err(Status::WRONG_PARAMETERS);
        }
        let fields: Vec<(u32, Vec<u8>)> = match command.p2 {
            number @ (0x80 | 0x81) => {
                let reference = if number == 0x80 { &self.pin } else { &self.puk };
                vec![
                    (0x01, vec![0xff]),
                    (0x05, vec![u8::from(reference.is_factory())]),
                    (0x06, vec![reference.most, reference.left]),
                ]
            }
            MANAGEMENT => {
                let touch = match self.management.touch {
                    true => TouchPolicy::Always,
                    false => TouchPolicy::Never,
                };
                vec![
                    (0x01, vec![self.management.cipher as u8]),
                    (0x02, vec![0, touch as u8]),
                    (0x05, vec![u8::from(self.management.is_factory())]),
                ]
            }
            number => {
                let slot = self.slots.get(&number).ok_or(Status::REFERENCE_NOT_FOUND)?;
                vec![
                    (0x01, vec![slot.key.algorithm().identifier()]),
                    (0x02, slot.policies.bytes().to_vec()),
                    (0x03, vec![slot.origin as u8]),
                    (0x04, slot.key.public()?),
                ]
            }
        };
        let fields = fields.iter().map(|(tag, value)| tlv::object(*tag, value));
        Ok(fields.collect::<Vec<_>>().concat())
    }

    /// GENERAL AUTHENTICATE with a key of a slot (SP 800-73-4 Part 2 Appendix A.3 to A.5). A PIN
    /// that policy `always` wants serves one of these, whatever comes of it.
    pub(super) fn use_key(&mut self, command: &Whole) -> Reply {
        let allowed = self.may_use(command.p2);
        self.pin_fresh = false;
        allowed?;
        let slot = self.slots.get(&command.p2).ok_or(Status::WRONG_DATA)?;
        if slot.key.algorithm().identifier() != command.p1 {
            return Err(Status::WRONG_DATA);
        }
        let template = tlv::only(&command.data, 0x7c).ok_or(Status::WRONG_DATA)?;
        let objects = tlv::parse(template).ok_or(Status::WRONG_DATA)?;
        let part = |tag| tlv::find(&objects, tag).filter(|value| !value.is_empty());
        let answer = match (part(0x81), part(0x85)) {
            (Some(challenge), None) => slot.key.respond(challenge)?,
            (None, Some(peer)) => slot.key.agree(peer)?,
            _ => return Err(Status::WRONG_DATA),
        };
        Ok(tlv::object(0x7c, &tlv::object(0x82, &answer)))
    }

    /// Whether the PIN is as the key's policy wants it. 9E and such need none.
    pub(super) fn may_use(&self, number: u8) -> Reply<()> {
        // The key that attests does nothing else.
        if number == ATTESTATION {
            return Err(Status::WRONG_DATA);
        }
        let slot = self.slots.get(&number).ok_or(Status::WRONG_DATA)?;
        let satisfied = match slot.policies.pin {
            PinPolicy::Never => true,
            PinPolicy::Once => self.pin_verified,
            PinPolicy::Always => self.pin_verified && self.pin_fresh,
        };
        satisfied
            .then_some(())
            .ok_or(Status::SECURITY_STATUS_NOT_SATISFIED)
    }

    fn slot_to_write(&self, number: u8) -> Reply<u8> {
        if !self.managed {
            return Err(Status::SECURITY_STATUS_NOT_SATISFIED);
        }
        match number {
            0x9a | 0x9c | 0x9d | 0x9e | 0x82..=0x95 => Ok(number),
            ATTESTATION if !self.model.is_generic() => Ok(number),
            _ => Err(Status::WRONG_PARAMETERS),
        }
    }

    fn algorithm(&self, identifier: u8) -> Reply<Algorithm> {
        Algorithm::from_identifier(identifier)
            .filter(|algorithm| self.model.has(*algorithm))
            .ok_or(Status::WRONG_DATA)
    }
}
