//! The PIV application: what it keeps, what of it ends with the session, its commands.

use std::collections::BTreeMap;

use super::attestation;
use super::chain::Whole;
use super::issuer;
use super::management_key::{Challenge, Cipher, ManagementKey};
use super::model::Model;
use super::object::{ATTESTATION_CERTIFICATE, Objects};
use super::pin::Reference;
use super::policy::TouchPolicy;
use super::slot::Slot;
use super::status::Status;
use super::{Reply, TouchNeed};

/// The slot of the card management key.
pub(super) const MANAGEMENT: u8 = 0x9b;
/// The slot of the key that attests others.
pub(super) const ATTESTATION: u8 = 0xf9;

pub(super) struct Piv {
    pub(super) model: Model,
    pub(super) serial: u32,
    pub(super) pin: Reference,
    pub(super) puk: Reference,
    pub(super) management: ManagementKey,
    pub(super) slots: BTreeMap<u8, Slot>,
    pub(super) objects: Objects,
    /// Whether the key that attests and its certificate are in their places, or have been.
    pub(super) provisioned: bool,

    /// From here on: the session's.
    pub(super) pin_verified: bool,
    /// Nothing has used a key since the PIN was verified.
    pub(super) pin_fresh: bool,
    /// The management key has been proved.
    pub(super) managed: bool,
    pub(super) challenge: Option<Challenge>,
}

impl Piv {
    pub(super) fn new(model: Model, serial: u32) -> Self {
        let mut piv = Self {
            model,
            serial,
            pin: Reference::pin(),
            puk: Reference::puk(),
            management: ManagementKey::factory(factory_cipher(model)),
            slots: BTreeMap::new(),
            objects: Objects::default(),
            provisioned: model.is_generic(),
            pin_verified: false,
            pin_fresh: false,
            managed: false,
            challenge: None,
        };
        if model.is_generic() {
            issuer::issue(&mut piv);
        }
        piv
    }

    /// RESET leaves the key that attests, and its certificate.
    pub(super) fn set_to_factory(&mut self) {
        self.end_session();
        self.pin = Reference::pin();
        self.puk = Reference::puk();
        self.management = ManagementKey::factory(factory_cipher(self.model));
        self.slots.retain(|number, _| *number == ATTESTATION);
        self.objects.keep_only(ATTESTATION_CERTIFICATE);
    }

    /// What was proved is forgotten: power off, another application selected.
    pub(super) fn end_session(&mut self) {
        self.forget_pin();
        self.managed = false;
        self.challenge = None;
    }

    pub(super) fn command(&mut self, command: &Whole) -> Reply {
        let model = self.model;
        let own = !model.is_generic();
        if attestation::is_about(command) {
            attestation::provision(self)?;
        }
        match command.instruction {
            0x20 => self.verify(command),
            0x24 => self.change_reference(command),
            0x2c => self.reset_retry_counter(command),
            0x47 => self.generate(command),
            0x87 if command.p2 == MANAGEMENT => self.authenticate_management(command),
            0x87 => self.use_key(command),
            0xcb => self.get_data(command),
            0xdb => self.put_data(command),
            0xf6 if model.is_5_7() => self.move_key(command),
            0xf7 if model.has_metadata() => self.metadata(command),
            0xf8 if model.has_serial_instruction() => Ok(self.serial.to_be_bytes().to_vec()),
            0xf9 if own => self.attest(command),
            0xfa if own => self.set_pin_retries(command),
            0xfb if own => self.reset(command),
            0xfd if own => model
                .version()
                .map(|version| version.to_vec())
                .ok_or(Status::INSTRUCTION_NOT_SUPPORTED),
            0xfe if own => self.import(command),
            0xff if own => self.set_management_key(command),
            _ => Err(Status::INSTRUCTION_NOT_SUPPORTED),
        }
    }

    /// Whether somebody must touch the card before the command is done. Not before one that the PIN
    /// would stop.
    pub(super) fn touch_need(&self, command: &Whole) -> TouchNeed {
        if command.instruction != 0x87 {
            return TouchNeed::None;
        }
        if command.p2 == MANAGEMENT {
            let last = self.management.touch && Self::is_last_step(&command.data);
            return if last {
                TouchNeed::Fresh
            } else {
                TouchNeed::None
            };
        }
        let Some(slot) = self.slots.get(&command.p2) else {
            return TouchNeed::None;
        };
        match slot.policies.touch {
            _ if self.may_use(command.p2).is_err() => TouchNeed::None,
            TouchPolicy::Never => TouchNeed::None,
            TouchPolicy::Always => TouchNeed::Fresh,
            TouchPolicy::Cached => TouchNeed::Cached,
        }
    }
}

fn factory_cipher(model: Model) -> Cipher {
    if model.is_5_7() {
        Cipher::Aes192
    } else {
        Cipher::TripleDes
    }
}
