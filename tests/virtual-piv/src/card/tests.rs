//! The behaviours of the card, as sentences.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]

mod attesting;
mod faults;
mod keys;
mod management;
mod models;
mod objects;
mod pins;
mod properties;
mod selecting;
mod touching;
mod vectors;

use super::tlv::{self, object};
use super::{Card, Model, Status};
use crate::Terminal;

const YUBIKEYS: [Model; 3] = [Model::YubiKey4, Model::YubiKey5, Model::YubiKey57];

const PIN: &[u8] = b"123456\xff\xff";
const PUK: &[u8] = b"12345678";
const WRONG: &[u8] = b"000000\xff\xff";

const P256: u8 = 0x11;
const P384: u8 = 0x14;
const RSA_1024: u8 = 0x06;
const RSA_2048: u8 = 0x07;
const ED25519: u8 = 0xe0;
const X25519: u8 = 0xe1;

impl Terminal {
    fn of(model: Model) -> Self {
        Self::new(&Card::new(model, 12_345_678))
    }

    /// With the management key proved.
    fn managed(model: Model) -> Self {
        let terminal = Self::of(model);
        assert_eq!(terminal.manage(), Some(Status::OK));
        terminal
    }

    fn status(&self, instruction: u8, p1: u8, p2: u8, data: &[u8]) -> Status {
        self.send(instruction, p1, p2, data).unwrap().1
    }

    fn data(&self, instruction: u8, p1: u8, p2: u8, data: &[u8]) -> Vec<u8> {
        let (answer, status) = self.send(instruction, p1, p2, data).unwrap();
        assert_eq!(status, Status::OK);
        answer
    }

    fn tries(&self) -> Status {
        self.status(0x20, 0, 0x80, &[])
    }

    /// Makes a key; policies 0 are not said.
    fn try_generate(&self, slot: u8, algorithm: u8, pin: u8, touch: u8) -> (Vec<u8>, Status) {
        let mut template = object(0x80, &[algorithm]);
        if pin != 0 {
            template.extend(object(0xaa, &[pin]));
        }
        if touch != 0 {
            template.extend(object(0xab, &[touch]));
        }
        self.send(0x47, 0, slot, &object(0xac, &template)).unwrap()
    }

    /// Makes a key and gives the public one, as the card tells it.
    fn generate(&self, slot: u8, algorithm: u8, pin: u8, touch: u8) -> Vec<u8> {
        let (answer, status) = self.try_generate(slot, algorithm, pin, touch);
        assert_eq!(status, Status::OK);
        tlv::only(&answer, 0x7f49).unwrap().to_vec()
    }

    /// GENERAL AUTHENTICATE with what is in tag 81 or 85.
    fn try_use(&self, slot: u8, algorithm: u8, tag: u32, input: &[u8]) -> (Vec<u8>, Status) {
        let template = [object(0x82, &[]), object(tag, input)].concat();
        let (answer, status) = self
            .send(0x87, algorithm, slot, &object(0x7c, &template))
            .unwrap();
        let output = tlv::only(&answer, 0x7c).and_then(|answer| tlv::only(answer, 0x82));
        (output.unwrap_or_default().to_vec(), status)
    }

    fn sign_status(&self, slot: u8) -> Status {
        self.try_use(slot, P256, 0x81, &[7; 32]).1
    }

    fn metadata(&self, slot: u8, tag: u32) -> Vec<u8> {
        let metadata = self.data(0xf7, 0, slot, &[]);
        let fields = tlv::parse(&metadata).unwrap();
        tlv::find(&fields, tag).unwrap().to_vec()
    }

    fn get(&self, id: u32) -> (Vec<u8>, Status) {
        let id = object(0x5c, &id.to_be_bytes()[1..]);
        self.send(0xcb, 0x3f, 0xff, &id).unwrap()
    }

    fn put(&self, id: u32, value: &[u8]) -> Status {
        let id = object(0x5c, &id.to_be_bytes()[1..]);
        let data = [id, object(0x53, value)].concat();
        self.status(0xdb, 0x3f, 0xff, &data)
    }

    fn block_pin(&self) {
        while self.verify(WRONG).unwrap() != Status::AUTHENTICATION_METHOD_BLOCKED {}
    }

    fn block_puk(&self) {
        let wrong = [WRONG, WRONG].concat();
        while self.status(0x2c, 0, 0x80, &wrong) != Status::AUTHENTICATION_METHOD_BLOCKED {}
    }
}
