//! A host's side of the card, for tests: it selects, verifies, and looks at status words.

use aes::cipher::{Array, BlockCipherEncrypt as _, KeyInit as _};

use crate::card::tlv::{self, object};
use crate::card::{Card, Insertion, Model, Status};

/// The management key of the factory.
pub const FACTORY_KEY: [u8; 24] = [
    1, 2, 3, 4, 5, 6, 7, 8, 1, 2, 3, 4, 5, 6, 7, 8, 1, 2, 3, 4, 5, 6, 7, 8,
];

/// A card that is in a reader. When it is dropped the card stays there.
#[derive(Debug)]
pub struct Terminal {
    /// The card.
    pub card: Card,
    /// How it is in the reader.
    pub insertion: Insertion,
}

/// An answer: its data, and its status word.
pub type Answer = (Vec<u8>, Status);

impl Terminal {
    /// Puts the card in and selects PIV.
    #[must_use]
    pub fn new(card: &Card) -> Self {
        let terminal = Self {
            insertion: card.insert(),
            card: card.clone(),
        };
        let _ = terminal.select(&[0xa0, 0x00, 0x00, 0x03, 0x08]);
        terminal
    }

    /// Selects an application.
    #[must_use]
    pub fn select(&self, identifier: &[u8]) -> Option<Answer> {
        self.send(0xa4, 0x04, 0x00, identifier)
    }

    /// Sends a command in as many pieces as it needs and fetches all of the answer. `None` if the
    /// card was pulled; an answer without a status word has the status word 0.
    #[must_use]
    pub fn send(&self, instruction: u8, p1: u8, p2: u8, data: &[u8]) -> Option<Answer> {
        let mut pieces = data.chunks(255);
        let mut piece = pieces.next().unwrap_or_default();
        for next in pieces {
            let (_, status) = self.transmit(0x10, [instruction, p1, p2], piece)?;
            if status != Status::OK {
                return Some((vec![], status));
            }
            piece = next;
        }
        let (mut all, mut status) = self.transmit(0x00, [instruction, p1, p2], piece)?;
        while status.0 >> 8 == 0x61 {
            let (more, next) = self.transmit(0x00, [0xc0, 0, 0], &[])?;
            all.extend(more);
            status = next;
        }
        Some((all, status))
    }

    /// Verifies a PIN.
    #[must_use]
    pub fn verify(&self, pin: &[u8]) -> Option<Status> {
        let filling = vec![0xff; 8_usize.saturating_sub(pin.len())];
        let (_, status) = self.send(0x20, 0, 0x80, &[pin, &filling].concat())?;
        Some(status)
    }

    /// Proves the management key of the factory, by the single authentication.
    #[must_use]
    pub fn manage(&self) -> Option<Status> {
        let aes = self.card.model() == Model::YubiKey57;
        let algorithm = if aes { 0x0a } else { 0x03 };
        let asked = object(0x7c, &object(0x81, &[]));
        let (challenge, status) = self.send(0x87, algorithm, 0x9b, &asked)?;
        if status != Status::OK {
            return Some(status);
        }
        let challenge = tlv::only(&challenge, 0x7c)
            .and_then(|template| tlv::only(template, 0x81))
            .unwrap_or_default();
        let answer = if aes {
            let mut block = Array::try_from(challenge).unwrap_or_default();
            aes::Aes192::new(&FACTORY_KEY.into()).encrypt_block(&mut block);
            block.to_vec()
        } else {
            let mut block = Array::try_from(challenge).unwrap_or_default();
            des::TdesEde3::new(&FACTORY_KEY.into()).encrypt_block(&mut block);
            block.to_vec()
        };
        let answer = object(0x7c, &object(0x82, &answer));
        let (_, status) = self.send(0x87, algorithm, 0x9b, &answer)?;
        Some(status)
    }

    fn transmit(&self, class: u8, header: [u8; 3], data: &[u8]) -> Option<Answer> {
        let mut command = vec![class];
        command.extend(header);
        if let Ok(length @ 1..) = u8::try_from(data.len()) {
            command.push(length);
            command.extend(data);
        }
        command.push(0);
        let mut answer = self.card.transmit(self.insertion, &command)?;
        let Some([high, low]) = answer.last_chunk().copied() else {
            return Some((answer, Status(0)));
        };
        answer.truncate(answer.len().saturating_sub(2));
        Some((answer, Status(u16::from_be_bytes([high, low]))))
    }
}
