//! What a card says about its keys, as a verifier takes it who has neither worker nor card.

use keyward_attestation::chain::Roots;
use keyward_attestation::verify::{Attested, Bound, Refused, Said, Unbound, Vouchers, verify};
use keyward_backend::message::{Attest, Outcome, Work};
use keyward_backend::{BackendError, VersionId};
use keyward_protocol::attestation::{Bundle, Document, PivStatement, Statement};
use keyward_protocol::operation::KeyMaterial;
use keyward_protocol::piv::{PinPolicy, PivChoice, TouchPolicy};
use keyward_protocol::{CoseKey, KeyType, Purpose};
use keyward_virtual_piv::{Card, Model};
use minicbor::bytes::ByteArray;

use super::slots::pkcs8;
use super::{Rig, SERIAL};

const NONCE: &[u8] = &[7; 16];

fn ask(rig: &mut Rig, id: VersionId) -> Outcome {
    let qualifying_data = ByteArray::from([0; 32]);
    rig.worker.call(Work::Attest(Attest {
        id,
        qualifying_data,
    }))
}

fn statement(rig: &mut Rig, id: VersionId) -> PivStatement {
    match ask(rig, id) {
        Outcome::Attested(Statement::Piv(statement)) => statement,
        other => panic!("{other:?}"),
    }
}

fn verdict(key: &CoseKey, statement: PivStatement) -> Result<Attested, Refused> {
    let root = der::pem::encode_string(
        "CERTIFICATE",
        der::pem::LineEnding::LF,
        &Card::attestation_root(),
    );
    let roots = Roots::from_pem(root.unwrap().as_bytes()).unwrap();
    let bundle = Bundle::new(Statement::Piv(statement), NONCE.to_vec(), key.clone());
    let bundle = Bundle::from_document(&bundle.to_document().unwrap()).unwrap();
    let vouchers = Vouchers {
        piv_roots: Some(&roots),
        now: 1_800_000_000,
        ..Vouchers::default()
    };
    verify(&bundle, NONCE, &vouchers)
}

#[test]
fn a_key_that_was_made_in_the_card_is_hardware_with_its_policies() {
    for model in [Model::YubiKey5, Model::YubiKey57] {
        let mut rig = Rig::new(model);
        let choice = PivChoice {
            pin_policy: Some(PinPolicy::Always),
            touch_policy: Some(TouchPolicy::Cached),
            ..PivChoice::default()
        };
        let key = rig.make(KeyType::P384, Some(choice)).unwrap();
        let statement = statement(&mut rig, key.id);
        let attested = verdict(&key.report.public.unwrap(), statement).unwrap();
        assert_eq!(attested.bound, Ok(Bound::Certificate));
        let Said::Piv(card) = attested.said else {
            panic!("{:?}", attested.said);
        };
        assert_eq!(card.serial, Some(SERIAL));
        assert_eq!((card.pin_policy, card.touch_policy), (3, 3));
    }
}

#[test]
fn what_a_card_says_of_one_key_says_nothing_of_another() {
    let mut rig = Rig::new(Model::YubiKey57);
    let (one, other) = (rig.key(), rig.key());
    let of_one = statement(&mut rig, one.id);
    let refused = verdict(&other.report.public.unwrap(), of_one.clone());
    assert_eq!(refused.unwrap_err(), Refused::OtherKey);
    // Without the certificate of slot f9 nobody vouches for it.
    let bare = PivStatement {
        chain: Vec::new(),
        ..of_one
    };
    let bare = verdict(&one.report.public.unwrap(), bare).unwrap();
    assert_eq!(bare.bound, Err(Unbound::NoCardCertificate));
}

#[test]
fn a_key_that_was_brought_to_the_card_is_not_attested() {
    let mut rig = Rig::new(Model::YubiKey57);
    let material = KeyMaterial::Pkcs8(pkcs8());
    let imported = rig.worker.import(KeyType::P256, Purpose::Sign, material);
    let (id, _) = imported.unwrap();
    let outcome = ask(&mut rig, id);
    let failed = matches!(outcome, Outcome::Failed(BackendError::MechanismInvalid(_)));
    assert!(failed, "{outcome:?}");
}
