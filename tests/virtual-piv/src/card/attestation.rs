//! ATTEST: the card says by a certificate that it made a key.

use sha2::{Digest as _, Sha256};

use super::Reply;
use super::certificate::{self, Content};
use super::chain::Whole;
use super::key::{Algorithm, PrivateKey};
use super::object::ATTESTATION_CERTIFICATE;
use super::piv::{ATTESTATION, Piv};
use super::policy::{PinPolicy, Policies, TouchPolicy};
use super::slot::{Origin, Slot};
use super::status::Status;
use super::tlv::{self, object};

const ROOT_NAME: &str = "Virtual PIV Root CA";
const CARD_NAME: &str = "Virtual PIV Attestation";

/// 1.3.6.1.4.1.41482.3, Yubico's arc of PIV extensions; one number follows.
const ARC: [u8; 9] = [0x2b, 0x06, 0x01, 0x04, 0x01, 0x82, 0xc4, 0x0a, 0x03];
const FIRMWARE: u8 = 3;
const SERIAL: u8 = 7;
const POLICIES: u8 = 8;
const FORM_FACTOR: u8 = 9;
/// A key with USB-A, for the key ring.
const KEYCHAIN_USB_A: u8 = 1;

/// Puts in the key that attests and its certificate, as the factory does; but when they are first
/// asked for, since a key of RSA takes its time.
pub(super) fn provision(piv: &mut Piv) -> Reply<()> {
    if piv.provisioned {
        return Ok(());
    }
    let algorithm = if piv.model.is_5_7() {
        Algorithm::P384
    } else {
        Algorithm::Rsa2048
    };
    let key = PrivateKey::generate(algorithm)?;
    let certificate = card_certificate(&key)?;
    let mut value = object(0x70, &certificate);
    value.extend(object(0x71, &[0]));
    value.extend(object(0xfe, &[]));
    let slot = Slot {
        key,
        policies: Policies {
            pin: PinPolicy::Never,
            touch: TouchPolicy::Never,
        },
        origin: Origin::Generated,
    };
    piv.slots.insert(ATTESTATION, slot);
    piv.objects.put(ATTESTATION_CERTIFICATE, &value)?;
    piv.provisioned = true;
    Ok(())
}

/// Whether a command looks at what [`provision`] puts in, or replaces it.
pub(super) fn is_about(command: &Whole) -> bool {
    let names = |number| [command.p1, command.p2].contains(&number);
    match command.instruction {
        0x47 | 0xf6 | 0xf7 | 0xfe => names(ATTESTATION),
        0xcb | 0xdb => command.data.windows(3).any(|id| id == [0x5f, 0xff, 0x01]),
        _ => false,
    }
}

/// The root that signs the certificates of all virtual cards. Everybody knows its key.
pub(super) fn root() -> Reply {
    let content = Content {
        issuer: ROOT_NAME,
        subject: ROOT_NAME,
        key: &root_key()?,
        extensions: &[certificate::authority(1)],
    };
    certificate::certificate(&content, &root_key()?)
}

impl Piv {
    pub(super) fn attest(&mut self, command: &Whole) -> Reply {
        let number = command.p1;
        if command.p2 != 0 || number == ATTESTATION {
            return Err(Status::WRONG_PARAMETERS);
        }
        let slot = self.slots.get(&number).ok_or(Status::WRONG_DATA)?;
        if slot.origin != Origin::Generated {
            return Err(Status::WRONG_DATA);
        }
        provision(self)?;
        let slot = self.slots.get(&number).ok_or(Status::WRONG_DATA)?;
        let signer = self.slots.get(&ATTESTATION).ok_or(Status::WRONG_DATA)?;
        let version = self.model.version().unwrap_or_default();
        let mut extensions = vec![
            extension(FIRMWARE, &version),
            extension(SERIAL, &certificate::unsigned(&self.serial.to_be_bytes())),
            extension(POLICIES, &slot.policies.bytes()),
        ];
        if self.model.has_serial_instruction() {
            extensions.push(extension(FORM_FACTOR, &[KEYCHAIN_USB_A]));
        }
        let content = Content {
            issuer: CARD_NAME,
            subject: &format!("YubiKey PIV Attestation {number:02x}"),
            key: &slot.key,
            extensions: &extensions,
        };
        certificate::certificate(&content, &signer.key)
    }
}

fn card_certificate(key: &PrivateKey) -> Reply {
    let content = Content {
        issuer: ROOT_NAME,
        subject: CARD_NAME,
        key,
        extensions: &[certificate::authority(0)],
    };
    certificate::certificate(&content, &root_key()?)
}

fn root_key() -> Reply<PrivateKey> {
    let scalar = Sha256::digest(b"the root of virtual PIV cards");
    let part = tlv::Tlv {
        tag: 0x06,
        value: &scalar,
    };
    PrivateKey::import(Algorithm::P256, &[part])
}

fn extension(number: u8, value: &[u8]) -> Vec<u8> {
    let mut oid = ARC.to_vec();
    oid.push(number);
    certificate::extension(&oid, value)
}
