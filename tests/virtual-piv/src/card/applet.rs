//! SELECT, and the applications of a YubiKey beside PIV, as far as clients of PIV look at them.

use super::Reply;
use super::chain::Whole;
use super::model::Model;
use super::status::Status;
use super::tlv::object;

/// The PIV application, version 1.0 (SP 800-73-4 Part 1 §2.2).
pub(super) const PIV: [u8; 11] = [
    0xa0, 0x00, 0x00, 0x03, 0x08, 0x00, 0x00, 0x10, 0x00, 0x01, 0x00,
];
const MANAGEMENT: [u8; 8] = [0xa0, 0x00, 0x00, 0x05, 0x27, 0x47, 0x11, 0x17];
const OTP: [u8; 8] = [0xa0, 0x00, 0x00, 0x05, 0x27, 0x20, 0x01, 0x01];
const OPENPGP: [u8; 6] = [0xd2, 0x76, 0x00, 0x01, 0x24, 0x01];
/// Shorter ones name nobody's application.
const SHORTEST: usize = 5;

/// An application.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Applet {
    Piv,
    Management,
    Otp,
    OpenPgp,
}

impl Applet {
    /// The application whose identifier begins so.
    pub(super) fn find(identifier: &[u8], model: Model) -> Option<Self> {
        let all: [(Self, &[u8]); 4] = [
            (Self::Piv, &PIV),
            (Self::Management, &MANAGEMENT),
            (Self::Otp, &OTP),
            (Self::OpenPgp, &OPENPGP),
        ];
        let mut all = all.into_iter();
        let (applet, _) = all.find(|(applet, whole)| {
            let has = *applet == Self::Piv || !model.is_generic();
            has && identifier.len() >= SHORTEST && whole.starts_with(identifier)
        })?;
        Some(applet)
    }

    /// The answer to SELECT.
    pub(super) fn selected(self, model: Model) -> Vec<u8> {
        let [major, minor, patch] = model.version().unwrap_or_default();
        match self {
            Self::Piv => property_template(model),
            Self::Management => {
                format!("Virtual mgr - FW version {major}.{minor}.{patch}").into_bytes()
            }
            Self::Otp => otp_status(model),
            Self::OpenPgp => vec![],
        }
    }
}

/// What the applications beside PIV answer.
pub(super) fn command(applet: Applet, model: Model, serial: u32, command: &Whole) -> Reply {
    let version = model.version().unwrap_or_default();
    match (applet, command.instruction, command.p1, command.p2) {
        (Applet::Management, 0x1d, 0, 0) => Ok(device_information(version, serial)),
        (Applet::Otp, 0x01, 0x10, 0) => Ok(serial.to_be_bytes().to_vec()),
        (Applet::Otp, 0x03, _, _) => Ok(otp_status(model)),
        (Applet::OpenPgp, 0xca, high, low) => openpgp(u16::from_be_bytes([high, low]), serial),
        _ => Err(Status::INSTRUCTION_NOT_SUPPORTED),
    }
}

/// The application property template (SP 800-73-4 Part 2 Table 3): a YubiKey's is the shortest.
fn property_template(model: Model) -> Vec<u8> {
    let mut template = object(0x4f, PIV.get(5..).unwrap_or_default());
    let authority = object(0x4f, PIV.get(..5).unwrap_or_default());
    template.extend(object(0x79, &authority));
    if model.is_generic() {
        template.extend(object(0x50, b"Virtual PIV"));
        let algorithms: Vec<u8> = [0x03_u8, 0x06, 0x07, 0x11, 0x14]
            .iter()
            .flat_map(|identifier| object(0x80, &[*identifier]))
            .chain(object(0x06, &[0]))
            .collect();
        template.extend(object(0xac, &algorithms));
    }
    object(0x61, &template)
}

/// The length, then what the management application knows of the device.
fn device_information(version: [u8; 3], serial: u32) -> Vec<u8> {
    // OTP, U2F, OpenPGP, PIV, OATH, FIDO2
    const CAPABILITIES: [u8; 2] = [0x02, 0x3b];
    let fields = [
        object(0x01, &CAPABILITIES),
        object(0x02, &serial.to_be_bytes()),
        object(0x03, &CAPABILITIES),
        object(0x04, &[1]),
        object(0x05, &version),
        object(0x0a, &[0]),
    ]
    .concat();
    let mut information = vec![u8::try_from(fields.len()).unwrap_or(u8::MAX)];
    information.extend(fields);
    information
}

/// Firmware, programming sequence, and no slot that is in use.
fn otp_status(model: Model) -> Vec<u8> {
    let mut status = model.version().unwrap_or_default().to_vec();
    status.extend([0, 0, 0]);
    status
}

/// What scdaemon asks before it takes a card for one of OpenPGP (GET DATA of the OpenPGP card).
fn openpgp(tag: u16, serial: u32) -> Reply {
    const HISTORICAL: [u8; 8] = [0x00, 0x73, 0x00, 0x00, 0x80, 0x05, 0x90, 0x00];
    const PIN_STATUS: [u8; 7] = [0x00, 0x7f, 0x7f, 0x7f, 0x03, 0x00, 0x03];
    const EXTENDED_CAPABILITIES: [u8; 10] =
        [0x7d, 0x00, 0x0b, 0xfe, 0x08, 0x00, 0x00, 0xff, 0x00, 0x00];
    const RSA_2048: [u8; 6] = [0x01, 0x08, 0x00, 0x00, 0x11, 0x00];
    // Version 3.4, manufacturer 0006, the serial number in decimal digits, two in a byte.
    let digits = format!("{:08}", serial % 100_000_000);
    let number = u32::from_str_radix(&digits, 16).unwrap_or_default();
    let mut identifier = OPENPGP.to_vec();
    identifier.extend([0x03, 0x04, 0x00, 0x06]);
    identifier.extend(number.to_be_bytes());
    identifier.extend([0, 0]);
    Ok(match tag {
        0x004f => identifier,
        0x5f52 => HISTORICAL.to_vec(),
        0x00c4 => PIN_STATUS.to_vec(),
        0x0065 => object(0x65, &[]),
        0x006e => {
            let discretionary = [
                object(0xc0, &EXTENDED_CAPABILITIES),
                object(0xc1, &RSA_2048),
                object(0xc2, &RSA_2048),
                object(0xc3, &RSA_2048),
                object(0xc4, &PIN_STATUS),
                object(0xc5, &[0; 60]),
                object(0xc6, &[0; 60]),
                object(0xcd, &[0; 12]),
            ];
            let related = [
                object(0x4f, &identifier),
                object(0x5f52, &HISTORICAL),
                object(0x73, &discretionary.concat()),
            ];
            object(0x6e, &related.concat())
        }
        _ => return Err(Status::REFERENCE_NOT_FOUND),
    })
}
