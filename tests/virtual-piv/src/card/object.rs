//! Data objects: GET DATA and PUT DATA (SP 800-73-4 Part 2 §3.1.2 and §3.3.2).

use std::collections::BTreeMap;

use super::Reply;
use super::chain::Whole;
use super::piv::Piv;
use super::status::Status;
use super::tlv;

/// The most that one object holds.
pub(super) const MOST: usize = 3_052;
/// The most that all of them hold.
pub(super) const CAPACITY: usize = 51_200;

const DISCOVERY: u32 = 0x7e;
const BIOMETRIC_GROUP: u32 = 0x7f61;
/// The certificate of the key that attests.
pub(super) const ATTESTATION_CERTIFICATE: u32 = 0x5f_ff01;
/// Cardholder unique identifier.
pub(super) const CHUID: u32 = 0x5f_c102;
/// Card capability container.
pub(super) const CAPABILITIES: u32 = 0x5f_c107;
/// Fingerprints, facial image, printed information, iris images.
const BEHIND_PIN: [u32; 4] = [0x5f_c103, 0x5f_c108, 0x5f_c109, 0x5f_c121];

#[derive(Default)]
pub(super) struct Objects(BTreeMap<u32, Vec<u8>>);

impl Objects {
    pub(super) fn get(&self, id: u32) -> Option<&[u8]> {
        self.0.get(&id).map(Vec::as_slice)
    }

    /// Puts an object in the place of what was there; an empty one is none.
    pub(super) fn put(&mut self, id: u32, value: &[u8]) -> Reply<()> {
        let others = self.0.iter().filter(|(other, _)| **other != id);
        let used = others.fold(0_usize, |sum, (_, value)| sum.saturating_add(value.len()));
        if value.len() > MOST || used.saturating_add(value.len()) > CAPACITY {
            return Err(Status::NOT_ENOUGH_MEMORY);
        }
        if value.is_empty() {
            self.0.remove(&id);
        } else {
            self.0.insert(id, value.to_vec());
        }
        Ok(())
    }

    /// Takes all out but one.
    pub(super) fn keep_only(&mut self, id: u32) {
        self.0.retain(|other, _| *other == id);
    }
}

impl Piv {
    /// GET DATA.
    pub(super) fn get_data(&self, command: &Whole) -> Reply {
        let objects = self.objects_of(command)?;
        let id = match objects.as_slice() {
            [object] if object.tag == 0x5c => identifier(object.value)?,
            _ => return Err(Status::WRONG_DATA),
        };
        if id == DISCOVERY {
            return Ok(discovery());
        }
        let locked = BEHIND_PIN.contains(&id) && !self.pin_verified;
        // A YubiKey tells that an object is not there before it asks for the PIN.
        match self.objects.get(id) {
            _ if locked && self.model.is_generic() => Err(Status::SECURITY_STATUS_NOT_SATISFIED),
            None => Err(Status::NOT_FOUND),
            Some(_) if locked => Err(Status::SECURITY_STATUS_NOT_SATISFIED),
            Some(value) => Ok(tlv::object(0x53, value)),
        }
    }

    /// PUT DATA.
    pub(super) fn put_data(&mut self, command: &Whole) -> Reply {
        if !self.managed {
            return Err(Status::SECURITY_STATUS_NOT_SATISFIED);
        }
        let objects = self.objects_of(command)?;
        let [id, value] = objects.as_slice() else {
            return Err(Status::WRONG_DATA);
        };
        if (id.tag, value.tag) != (0x5c, 0x53) {
            return Err(Status::WRONG_DATA);
        }
        match identifier(id.value)? {
            DISCOVERY | BIOMETRIC_GROUP => Err(Status::WRONG_DATA),
            id => {
                self.objects.put(id, value.value)?;
                Ok(vec![])
            }
        }
    }

    fn objects_of<'a>(&self, command: &'a Whole) -> Reply<Vec<tlv::Tlv<'a>>> {
        if (command.p1, command.p2) != (0x3f, 0xff) {
            return Err(Status::WRONG_PARAMETERS);
        }
        tlv::parse(&command.data).ok_or(Status::WRONG_DATA)
    }
}

fn identifier(bytes: &[u8]) -> Reply<u32> {
    match bytes {
        [0x7e] => Ok(DISCOVERY),
        [0x7f, 0x61] => Ok(BIOMETRIC_GROUP),
        [0x5f, high, low] => Ok(u32::from_be_bytes([0, 0x5f, *high, *low])),
        _ => Err(Status::WRONG_DATA),
    }
}

/// The application's identifier, and that its own PIN is the one that serves.
fn discovery() -> Vec<u8> {
    let mut objects = tlv::object(0x4f, &super::applet::PIV);
    objects.extend(tlv::object(0x5f2f, &[0x40, 0x00]));
    tlv::object(DISCOVERY, &objects)
}
