//! Bundles as a TPM would make them, and as somebody would who has none.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]

mod piv;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use keyward_protocol::CoseKey;
use keyward_protocol::attestation::enrolment::Enrolment;
use keyward_protocol::attestation::enrolment::Pending;
use keyward_protocol::attestation::tpm::{Attributes as A, Public, TpmError};
use keyward_protocol::attestation::{
    Bundle, Document, Statement, TpmIdentity, TpmStatement, qualifying_data,
};

use crate::enrol::{ChallengeError, Endorsement, WrongAnswer, challenge, enrol};
use crate::verify::{Attested, Bound, Refused, Said, Unbound, Vouchers, verify};

const NONCE: &[u8] = &[7; 16];
const KEY: u32 =
    A::FIXED_TPM | A::FIXED_PARENT | A::SENSITIVE_DATA_ORIGIN | A::USER_WITH_AUTH | A::SIGN;
const AK: u32 = KEY | A::RESTRICTED;
const ECDSA: &[u8] = &[0x00, 0x18, 0x00, 0x0b];
const NULL: &[u8] = &[0x00, 0x10];

/// A key of P-256, in software.
struct Key(EcdsaKeyPair);

impl Key {
    fn new() -> Self {
        Self(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap())
    }

    fn public(&self) -> CoseKey {
        CoseKey::from_sec1(self.0.public_key().as_ref()).unwrap()
    }

    fn area(&self, attributes: u32) -> Vec<u8> {
        self.area_with(attributes, &[], ECDSA)
    }

    /// TPMT_PUBLIC.
    fn area_with(&self, attributes: u32, policy: &[u8], scheme: &[u8]) -> Vec<u8> {
        let point = self.0.public_key().as_ref()[1..].to_vec();
        [
            &[0x00, 0x23, 0x00, 0x0b][..],
            &attributes.to_be_bytes(),
            &sized(policy),
            NULL,
            scheme,
            &[0x00, 0x03],
            NULL,
            &sized(&point[..32]),
            &sized(&point[32..]),
        ]
        .concat()
    }

    /// TPMT_SIGNATURE.
    fn sign(&self, message: &[u8]) -> Vec<u8> {
        let signature = self.0.sign(&SystemRandom::new(), message).unwrap();
        let (r, s) = signature.as_ref().split_at(32);
        [ECDSA, &sized(r), &sized(s)].concat()
    }
}

fn sized(bytes: &[u8]) -> Vec<u8> {
    let length = u16::try_from(bytes.len()).unwrap();
    [&length.to_be_bytes(), bytes].concat()
}

fn name(area: &[u8]) -> Vec<u8> {
    Public::parse(area).unwrap().name
}

/// TPMS_ATTEST.
fn attest(head: &[u8], data: &[u8], name: &[u8]) -> Vec<u8> {
    [
        head,
        &sized(&[0x00, 0x0b]),
        &sized(data),
        &[0; 16],
        &[1],
        &[0; 8],
        &sized(name),
        &sized(name),
    ]
    .concat()
}

const CERTIFY: &[u8] = &[0xff, 0x54, 0x43, 0x47, 0x80, 0x17];

fn statement(key: &Key, ak: &Key) -> TpmStatement {
    let (public, ak_area) = (key.area(KEY), ak.area(AK));
    let attest = attest(CERTIFY, &qualifying_data(NONCE), &name(&public));
    TpmStatement {
        signature: ak.sign(&attest).into(),
        public: public.into(),
        attest: attest.into(),
        key: TpmIdentity {
            ak: ak_area.into(),
            ek: None,
            ek_certificates: Vec::new(),
        },
        chain: Vec::new(),
    }
}

fn bundle(key: &Key, statement: TpmStatement) -> Bundle {
    Bundle::new(Statement::Tpm(statement), NONCE.to_vec(), key.public())
}

fn enrolment(ak: &Key) -> Enrolment {
    Enrolment::new(&Pending::new(name(&ak.area(AK)), [5; 32], [6; 32]), 1)
}

fn verdict(bundle: &Bundle, enrolments: &[Enrolment]) -> Result<Attested, Refused> {
    // As it comes from a file.
    let bundle = Bundle::from_document(&bundle.to_document().unwrap()).unwrap();
    let vouchers = Vouchers {
        enrolments,
        ..Vouchers::default()
    };
    verify(&bundle, NONCE, &vouchers)
}

/// What is refused, although the attestation key is enrolled.
#[track_caller]
fn refused(key: &Key, ak: &Key, change: impl FnOnce(&mut TpmStatement)) -> Refused {
    let mut statement = statement(key, ak);
    change(&mut statement);
    verdict(&bundle(key, statement), &[enrolment(ak)]).unwrap_err()
}

#[test]
fn an_enrolled_attestation_key_makes_it_hardware() {
    let (key, ak) = (Key::new(), Key::new());
    let bundle = bundle(&key, statement(&key, &ak));
    let attested = verdict(&bundle, &[enrolment(&Key::new()), enrolment(&ak)]).unwrap();
    assert_eq!(attested.key, key.public());
    assert!(matches!(attested.said, Said::Tpm { policy: None, .. }));
    assert_eq!(
        attested.bound,
        Ok(Bound::Enrolment {
            ek_fingerprint: [5; 32],
            enrolled: 1
        })
    );
}

#[test]
fn what_nobody_vouches_for_is_not_bound() {
    let (key, ak) = (Key::new(), Key::new());
    let bundle = bundle(&key, statement(&key, &ak));
    let bound = |enrolments: &[Enrolment]| verdict(&bundle, enrolments).unwrap().bound;
    assert_eq!(bound(&[]), Err(Unbound::NothingGiven));
    let others = [enrolment(&Key::new()), enrolment(&key)];
    assert_eq!(bound(&others), Err(Unbound::OtherEnrolment));
}

#[test]
fn the_certificate_of_an_endorsement_key_binds_nothing() {
    let (key, ak) = (Key::new(), Key::new());
    let mut statement = statement(&key, &ak);
    statement.key.ek = Some(Key::new().area(KEY).into());
    statement.key.ek_certificates = vec![vec![0x30; 500].into()];
    let attested = verdict(&bundle(&key, statement), &[]).unwrap();
    assert_eq!(attested.bound, Err(Unbound::NothingGiven));
}

#[test]
fn another_nonce_is_refused_in_each_place() {
    let (key, ak) = (Key::new(), Key::new());
    let whole = bundle(&key, statement(&key, &ak));
    let vouchers = Vouchers::default();
    let other = verify(&whole, &[8; 16], &vouchers);
    assert_eq!(other.unwrap_err(), Refused::Nonce);
    // An old one, with the new nonce written over it.
    let mut replayed = statement(&key, &ak);
    let old = attest(CERTIFY, &qualifying_data(&[8; 16]), &name(&key.area(KEY)));
    replayed.signature = ak.sign(&old).into();
    replayed.attest = old.into();
    let replayed = verdict(&bundle(&key, replayed), &[enrolment(&ak)]);
    assert_eq!(replayed.unwrap_err(), Refused::SignedNonce);
    // The nonce itself, without the words that say what it is for.
    let bare = refused(&key, &ak, |statement| {
        let bare = attest(CERTIFY, NONCE, &name(&statement.public));
        statement.signature = ak.sign(&bare).into();
        statement.attest = bare.into();
    });
    assert_eq!(bare, Refused::SignedNonce);
}

#[test]
fn the_certify_of_another_key_is_refused() {
    let (key, other, ak) = (Key::new(), Key::new(), Key::new());
    let swapped = refused(&key, &ak, |statement| {
        statement.public = other.area(KEY).into();
    });
    assert_eq!(swapped, Refused::OtherKey);
    // The whole statement of another key, with this one's public key in front of it.
    let whole = bundle(&key, statement(&other, &ak));
    let whole = verdict(&whole, &[enrolment(&ak)]);
    assert_eq!(whole.unwrap_err(), Refused::Swapped);
}

#[test]
fn what_another_attestation_key_signed_is_refused() {
    let (key, ak, other) = (Key::new(), Key::new(), Key::new());
    let signed = refused(&key, &ak, |statement| {
        statement.signature = other.sign(&statement.attest).into();
    });
    assert_eq!(signed, Refused::Signature);
    let changed = refused(&key, &ak, |statement| {
        let last = statement.attest.len() - 1;
        statement.attest[last] ^= 1;
    });
    assert_eq!(changed, Refused::Signature);
}

#[test]
fn what_no_tpm_made_is_refused() {
    let (key, ak) = (Key::new(), Key::new());
    for (head, wanted) in [
        ([0xff, 0x54, 0x43, 0x48, 0x80, 0x17], TpmError::NotGenerated),
        // TPM2_Quote, and TPM2_CertifyCreation, which does not say that the key is there.
        ([0xff, 0x54, 0x43, 0x47, 0x80, 0x18], TpmError::NotCertify),
        ([0xff, 0x54, 0x43, 0x47, 0x80, 0x1a], TpmError::NotCertify),
    ] {
        let forged = refused(&key, &ak, |statement| {
            let said = attest(&head, &qualifying_data(NONCE), &name(&statement.public));
            statement.signature = ak.sign(&said).into();
            statement.attest = said.into();
        });
        let Refused::Structure { error, .. } = forged else {
            panic!("{forged:?}");
        };
        assert_eq!(error, wanted);
    }
}

#[test]
fn a_key_that_signs_what_it_is_told_attests_nothing() {
    let key = Key::new();
    for (attributes, policy, scheme) in [
        (KEY, &[][..], ECDSA),
        (AK & !A::SIGN, &[], ECDSA),
        (AK | A::DECRYPT, &[], ECDSA),
        (AK & !A::FIXED_TPM, &[], ECDSA),
        (AK & !A::FIXED_PARENT, &[], ECDSA),
        (AK & !A::SENSITIVE_DATA_ORIGIN, &[], ECDSA),
        (AK | A::ADMIN_WITH_POLICY, &[], ECDSA),
        (AK, &[1; 32], ECDSA),
        (AK, &[], NULL),
    ] {
        let ak = Key::new();
        let area = ak.area_with(attributes, policy, scheme);
        let mut statement = statement(&key, &ak);
        let pending = Pending::new(name(&area), [5; 32], [6; 32]);
        statement.key.ak = area.into();
        let refused = verdict(&bundle(&key, statement), &[Enrolment::new(&pending, 1)]);
        let refused = refused.unwrap_err();
        assert!(
            matches!(refused, Refused::NotAttestationKey(_)),
            "{attributes:#x} {refused:?}"
        );
    }
}

#[test]
fn a_key_that_was_made_elsewhere_or_may_leave_is_not_hardware() {
    let ak = Key::new();
    for missing in [A::FIXED_TPM, A::FIXED_PARENT, A::SENSITIVE_DATA_ORIGIN] {
        let key = Key::new();
        let refused = refused(&key, &ak, |statement| {
            let area = key.area(KEY & !missing);
            let said = attest(CERTIFY, &qualifying_data(NONCE), &name(&area));
            statement.signature = ak.sign(&said).into();
            statement.attest = said.into();
            statement.public = area.into();
        });
        assert!(matches!(refused, Refused::NotFixed(_)), "{refused:?}");
    }
}

#[test]
fn a_challenge_is_only_made_for_keys_that_can_answer_it_alone() {
    let (ak, ek) = (Key::new(), Key::new());
    let storage = A::FIXED_TPM
        | A::FIXED_PARENT
        | A::SENSITIVE_DATA_ORIGIN
        | A::ADMIN_WITH_POLICY
        | A::RESTRICTED
        | A::DECRYPT;
    let ek_area = |attributes: u32, cipher: &[u8]| {
        let area = ek.area_with(attributes, &[], NULL);
        // The cipher stands behind type, nameAlg, attributes and the empty policy.
        [&area[..10], cipher, &area[12..]].concat()
    };
    let aes: &[u8] = &[0x00, 0x06, 0x00, 0x80, 0x00, 0x43];
    let identity = |ak: Vec<u8>, ek: Vec<u8>| TpmIdentity {
        ak: ak.into(),
        ek: Some(ek.into()),
        ek_certificates: Vec::new(),
    };
    let fingerprint = crate::enrol::fingerprint(&ek.public()).unwrap();
    let known = Endorsement::Fingerprint(fingerprint);
    let good = identity(ak.area(AK), ek_area(storage, aes));
    let (made, pending) = challenge(&good, &known, 0).unwrap();
    assert_eq!(*pending.ak_name, name(&ak.area(AK)));
    assert!(made.to_document().is_ok() && pending.to_document().is_ok());
    // No two are alike, so that no answer is one to another.
    let (again, other) = challenge(&good, &known, 0).unwrap();
    assert!(made != again && pending.answer != other.answer);
    assert_eq!(enrol(&pending, &[0; 32], 0), Err(WrongAnswer));

    let other = challenge(&good, &Endorsement::Fingerprint([0; 32]), 0);
    assert_eq!(
        other.unwrap_err(),
        ChallengeError::OtherFingerprint(fingerprint)
    );
    let unrestricted = identity(ak.area(KEY), ek_area(storage, aes));
    let unrestricted = challenge(&unrestricted, &known, 0).unwrap_err();
    assert!(matches!(unrestricted, ChallengeError::NotAttestationKey(_)));
    for ek in [
        ek_area(storage & !A::RESTRICTED, aes),
        ek_area(storage & !A::FIXED_TPM, aes),
        ek_area(storage | A::SIGN, aes),
        ek_area(storage, NULL),
    ] {
        let none = challenge(&identity(ak.area(AK), ek), &known, 0).unwrap_err();
        assert!(
            matches!(none, ChallengeError::NotEndorsementKey(_)),
            "{none:?}"
        );
    }
}
