//! A keyward-worker with PIV cards: how it holds a card that others use, too.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]

mod attestation;
mod faults;
mod hot_plug;
mod other_cards;
mod pin;
mod provision;
mod sharing;
mod slots;
mod touch;

use keyward_backend::message::{Expected, Generate, Outcome, Sign, Work};
use keyward_backend::{BackendError, KeyReport, VersionId};
use keyward_protocol::operation::SignInput;
use keyward_protocol::piv::PivChoice;
use keyward_protocol::{Algorithm, CoseKey, KeyType, Purpose, Thumbprint};
use keyward_tests::worker::start_of_piv;
use keyward_tests::{PIV_PIN, PivToken, Worker};
use keyward_virtual_piv::Model;

const SERIAL: u32 = 12_345_678;
const MESSAGE: &[u8] = b"a message";

/// A card, and a worker that is logged in to it.
struct Rig {
    // The worker ends before its card.
    worker: Worker,
    token: PivToken,
}

/// A key as the registry has it.
#[derive(Clone, Debug)]
struct Key {
    id: VersionId,
    report: KeyReport,
}

impl Rig {
    fn new(model: Model) -> Self {
        Self::with(PivToken::new(model, SERIAL), None)
    }

    fn with(token: PivToken, pin_seconds: Option<u64>) -> Self {
        let start = start_of_piv(None, pin_seconds);
        let mut worker = Worker::start_piv_with(&token, &start);
        worker.open().expect("an open card");
        worker.login(PIV_PIN).expect("a login");
        Self { worker, token }
    }

    fn make(&mut self, key_type: KeyType, piv: Option<PivChoice>) -> Result<Key, BackendError> {
        let generate = generate(key_type, piv);
        let id = generate.id;
        match self.worker.call(Work::Generate(generate)) {
            Outcome::Key(Some(report)) => Ok(Key { id, report }),
            Outcome::Failed(error) => Err(error),
            other => panic!("{other:?}"),
        }
    }

    fn key(&mut self) -> Key {
        self.make(KeyType::P256, None).expect("a key")
    }

    /// A key in a slot that was chosen: a card that does not show all its keys wants that.
    fn key_in(&mut self, slot: u8) -> Key {
        self.make(KeyType::P256, in_slot(slot)).expect("a key")
    }

    /// Signs, with what the registry would have of the key.
    fn sign(&mut self, key: &Key) -> Result<(), BackendError> {
        let call = self.worker.send_expecting(sign(key), Some(key.expected()));
        signed(self.worker.receive(call).expect("the worker runs"))
    }

    /// Signs, and is told by the notes alone where the key is.
    fn sign_by_note(&mut self, key: &Key) -> Result<(), BackendError> {
        signed(self.worker.call(sign(key)))
    }

    /// Waits until the worker says that the card is not as it was.
    fn wait_for_change(&mut self) {
        let changed = self.worker.receive(keyward_backend::message::UNASKED);
        assert_eq!(changed, Some(Outcome::Changed));
    }

    /// No try was lost, nothing is verified, and the worker is the one that it was.
    fn assert_sound(&mut self) {
        let card = self.token.card();
        assert_eq!(card.pin_tries(), 3);
        assert!(!card.pin_is_verified() && !card.is_managed());
    }
}

impl Key {
    fn expected(&self) -> Expected {
        Expected {
            locator: self.report.locator.clone(),
            thumbprint: Some(Thumbprint::of(self.public()).0.into()),
        }
    }

    fn public(&self) -> &CoseKey {
        self.report.public.as_ref().unwrap()
    }

    fn slot(&self) -> &str {
        let (_, rest) = self.report.locator.split_once("slot=").unwrap();
        &rest[..2]
    }
}

fn in_slot(slot: u8) -> Option<PivChoice> {
    Some(PivChoice {
        slot: Some(slot),
        ..PivChoice::default()
    })
}

fn generate(key_type: KeyType, piv: Option<PivChoice>) -> Generate {
    Generate {
        id: VersionId::random(),
        label: "test.1".to_owned(),
        key_type,
        purpose: Purpose::Sign,
        piv,
    }
}

fn sign(key: &Key) -> Work {
    let algorithm = match key.report.key_type.unwrap() {
        KeyType::P256 => Algorithm::Esp256,
        KeyType::P384 => Algorithm::Esp384,
        KeyType::Ed25519 => Algorithm::Ed25519,
        _ => Algorithm::Rs256,
    };
    Work::Sign(Sign {
        id: key.id,
        algorithm,
        input: SignInput::Message(MESSAGE.to_vec()),
    })
}

fn signed(outcome: Outcome) -> Result<(), BackendError> {
    match outcome {
        Outcome::Signature(_) => Ok(()),
        Outcome::Failed(error) => Err(error),
        other => panic!("{other:?}"),
    }
}
