//! Keys that are bound to PCRs: a real keyward-worker with swtpm, and a recovery key in software.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod duplication;
mod rig;

use std::fs;

use keyward_backend::message::{Derive, Mac, Outcome, Unwrap, Work};
use keyward_backend::pcr::approval_message;
use keyward_backend::{BackendError, VersionId};
use keyward_protocol::operation::KeyMaterial;
use keyward_protocol::{Algorithm, KeyType, Purpose, SecretBytes};
use keyward_tests::{
    Worker, openssl,
    swtpm::{Act, wire::code},
};

use rig::{PCRS, Rig, other_key, public_of, sign_with};

#[test]
fn a_bound_key_is_used_while_its_pcrs_are_as_approved_and_again_after_another_approval() {
    for pin in [false, true] {
        let mut rig = Rig::new(pin);
        let id = rig.make(KeyType::P256, Purpose::Sign).unwrap();
        let signature = rig.sign(id).unwrap();
        assert_eq!(signature.len(), 64);
        rig.sign(id).unwrap();
        rig.extend(11);
        let refused = rig.sign(id).unwrap_err();
        assert_eq!(refused, BackendError::PcrMismatch("PCR 11 is".into()));
        assert_eq!(
            refused.to_string(),
            "the machine's PCR 11 is not what the key was bound to"
        );
        // How it is can be asked all the same.
        let report = rig.inspect(id);
        assert_eq!(report.bound.unwrap().pcrs, PCRS);
        let bound = rig.bound(id).unwrap();
        assert_eq!(bound.approved.len(), 1);
        assert_eq!(bound.approved[0][0], bound.current[0]);
        assert_ne!(bound.approved[0][1], bound.current[1]);
        assert_eq!(bound.authority, Some(rig.recovery_public()));

        rig.approve(id, false).unwrap();
        rig.sign(id).unwrap();
        assert_eq!(rig.bound(id).unwrap().approved.len(), 2);
        rig.extend(7);
        rig.approve(id, true).unwrap();
        rig.sign(id).unwrap();
        assert_eq!(rig.bound(id).unwrap().approved.len(), 1);

        // What it is bound to is in its file.
        rig.start_again();
        rig.sign(id).unwrap();
        rig.extend(7);
        assert!(matches!(rig.sign(id), Err(BackendError::PcrMismatch(_))));
    }
}

#[test]
fn an_approval_stays_good_for_the_values_it_names() {
    let mut rig = Rig::new(false);
    let id = rig.make(KeyType::P256, Purpose::Sign).unwrap();
    rig.extend(11);
    rig.approve(id, false).unwrap();
    rig.sign(id).unwrap();
    // PCRs are as they were at first.
    rig.reset();
    rig.sign(id).unwrap();
    rig.approve(id, true).unwrap();
    rig.sign(id).unwrap();
    rig.extend(11);
    assert!(rig.sign(id).is_err(), "it was dropped");
}

#[test]
fn a_key_with_a_pin_needs_both() {
    let mut rig = Rig::new(true);
    let id = rig.make(KeyType::P256, Purpose::Sign).unwrap();
    rig.worker.call(Work::Logout);
    assert_eq!(rig.sign(id), Err(BackendError::LoginRequired));
    rig.worker.login(rig.token.pin()).unwrap();
    rig.sign(id).unwrap();
    rig.extend(7);
    assert!(rig.sign(id).is_err());
}

#[test]
fn keys_of_every_kind_are_bound() {
    let mut rig = Rig::new(true);
    let dir = tempfile::tempdir().unwrap();
    let agree = rig.make(KeyType::P256, Purpose::Agree).unwrap();
    let unwrap = rig.make(KeyType::Rsa2048, Purpose::Unwrap).unwrap();
    let mac = rig.make(KeyType::HmacSha256, Purpose::Mac).unwrap();
    let public = dir.path().join("public.der");
    let spki = rig.inspect(unwrap).public.unwrap().to_spki().unwrap();
    fs::write(&public, spki).unwrap();
    let ciphertext = openssl::encrypt_oaep_sha256(&public, b"a key").unwrap();
    let work = || {
        [
            Work::Derive(Derive {
                id: agree,
                peer: public_of(&other_key()),
            }),
            Work::Unwrap(Unwrap {
                id: unwrap,
                algorithm: Algorithm::RsaOaepSha256,
                ciphertext: ciphertext.clone().into(),
                label: Vec::new().into(),
            }),
            Work::Mac(Mac {
                id: mac,
                algorithm: Algorithm::HmacSha256,
                message: SecretBytes::copy_from(b"message"),
            }),
        ]
    };
    let [derive, open, code] = work();
    assert!(matches!(rig.worker.call(derive), Outcome::Secret(_)));
    match rig.worker.call(open) {
        Outcome::Secret(opened) => assert_eq!(opened.expose(), b"a key"),
        other => panic!("{other:?}"),
    }
    assert!(matches!(rig.worker.call(code), Outcome::Mac(_)));
    // What is secret was so on the bus.
    assert!(!rig.token.proxy().saw(b"message"));
    rig.extend(7);
    for work in work() {
        let refused = rig.worker.call(work);
        assert!(
            matches!(refused, Outcome::Failed(BackendError::PcrMismatch(_))),
            "{refused:?}"
        );
    }
}

#[test]
fn an_imported_secret_key_is_bound() {
    let mut rig = Rig::new(true);
    let id = VersionId::random();
    let mut make = rig.order(id, KeyType::HmacSha256, Purpose::Mac);
    let bytes = SecretBytes::copy_from(&[5; 32]);
    make.material = Some(KeyMaterial::Secret(KeyType::HmacSha256, bytes));
    assert!(rig.order_of(make).unwrap().bound.is_some());
    let mac = || {
        Work::Mac(Mac {
            id,
            algorithm: Algorithm::HmacSha256,
            message: SecretBytes::copy_from(b"message"),
        })
    };
    assert!(matches!(rig.worker.call(mac()), Outcome::Mac(_)));
    rig.extend(11);
    let refused = rig.worker.call(mac());
    assert!(
        matches!(refused, Outcome::Failed(BackendError::PcrMismatch(_))),
        "{refused:?}"
    );
}

#[test]
fn sealed_data_is_bound_and_passes_in_no_clear() {
    for pin in [false, true] {
        let mut rig = Rig::new(pin);
        let id = VersionId::random();
        let secret = b"what nobody on the bus may see";
        let mut make = rig.order(id, KeyType::Data, Purpose::Seal);
        let bytes = SecretBytes::copy_from(secret);
        make.material = Some(KeyMaterial::Secret(KeyType::Data, bytes));
        let report = rig.order_of(make).unwrap();
        assert_eq!(report.key_type, Some(KeyType::Data));
        let unseal = |rig: &mut Rig| rig.worker.call(Work::UnsealData(id));
        match unseal(&mut rig) {
            Outcome::Secret(opened) => assert_eq!(opened.expose(), secret),
            other => panic!("{other:?}"),
        }
        assert!(!rig.token.proxy().saw(secret));
        rig.extend(11);
        let refused = unseal(&mut rig);
        let mismatch = matches!(refused, Outcome::Failed(BackendError::PcrMismatch(_)));
        assert!(mismatch, "{refused:?}");
        rig.approve(id, false).unwrap();
        assert!(matches!(unseal(&mut rig), Outcome::Secret(_)));
    }
}

#[test]
fn without_a_recovery_key_nothing_can_be_approved() {
    let mut rig = Rig::new(true);
    let id = VersionId::random();
    let mut make = rig.order(id, KeyType::P256, Purpose::Sign);
    make.binding.approval = None;
    rig.order_of(make).unwrap();
    rig.sign(id).unwrap();
    assert_eq!(rig.bound(id).unwrap().authority, None);
    rig.extend(7);
    assert!(matches!(rig.sign(id), Err(BackendError::PcrMismatch(_))));
    assert!(matches!(
        rig.approve(id, false),
        Err(BackendError::Invalid(_))
    ));
    rig.reset();
    rig.sign(id).unwrap();
}

#[test]
fn a_forged_approval_is_refused_and_nothing_is_made() {
    let mut rig = Rig::new(false);
    let id = VersionId::random();
    let other = VersionId::random();
    let values = rig.values();
    let forged = [
        // Another key, another policyRef, other values.
        sign_with(&other_key(), &approval_message(id, &values)),
        sign_with(&rig.recovery, &approval_message(other, &values)),
        sign_with(&rig.recovery, &approval_message(id, &values[..1])),
        vec![0; 64],
        vec![1; 63],
    ];
    for signature in &forged {
        let mut make = rig.order(id, KeyType::P256, Purpose::Sign);
        make.binding.approval.as_mut().unwrap().signature = signature.clone().into();
        let refused = rig.order_of(make).unwrap_err();
        assert!(matches!(refused, BackendError::Invalid(_)), "{refused}");
    }
    assert!(rig.token.key_files().is_empty());
    let make = rig.order(id, KeyType::P256, Purpose::Sign);
    rig.order_of(make).unwrap();
    for signature in forged {
        let values = rig.values();
        let refused = rig.approve_with(id, values, signature, false).unwrap_err();
        assert!(matches!(refused, BackendError::Invalid(_)), "{refused}");
    }
    assert_eq!(rig.bound(id).unwrap().approved.len(), 1);
    rig.sign(id).unwrap();
}

#[test]
fn a_file_that_was_changed_opens_nothing() {
    let mut rig = Rig::new(false);
    let id = rig.make(KeyType::P256, Purpose::Sign).unwrap();
    rig.extend(11);
    // Somebody writes the values of now into the file: the signature is not of these.
    let file = rig.token.keys().join(&rig.token.key_files()[0]);
    let text = fs::read_to_string(&file).unwrap();
    let now = &rig.values()[1];
    let digits: String = now.value.iter().map(|byte| format!("{byte:02x}")).collect();
    let zeros = "0".repeat(64);
    assert!(text.contains(&format!("11={zeros}")));
    fs::write(
        &file,
        text.replace(&format!("11={zeros}"), &format!("11={digits}")),
    )
    .unwrap();
    rig.start_again();
    let refused = rig.sign(id).unwrap_err();
    assert!(
        matches!(&refused, BackendError::Refused(words) if words.contains("recovery key's")),
        "{refused}"
    );
    // Or takes the binding out: then the TPM wants its policy.
    let lines = text.lines().filter(|line| !line.starts_with("pcr-"));
    fs::write(
        &file,
        lines.map(|line| format!("{line}\n")).collect::<String>(),
    )
    .unwrap();
    rig.start_again();
    assert!(matches!(rig.sign(id), Err(BackendError::Refused(_))));
}

#[test]
fn pcrs_that_change_in_the_middle_are_looked_at_again() {
    let mut rig = Rig::new(false);
    let id = rig.make(KeyType::P256, Purpose::Sign).unwrap();
    let proxy = rig.token.proxy();
    // TPM_RC_PCR_CHANGED.
    proxy.once(code::SIGN, 0, Act::Answer(0x128));
    rig.sign(id).unwrap();
    assert_eq!(rig.token.proxy().acted(), 1);
}

#[test]
fn a_reset_does_not_change_what_was_approved() {
    let mut rig = Rig::new(true);
    let id = rig.make(KeyType::P256, Purpose::Sign).unwrap();
    rig.sign(id).unwrap();
    rig.token.reset();
    rig.sign(id).unwrap();
    let before = rig.token.proxy().count(code::VERIFY_SIGNATURE);
    rig.sign(id).unwrap();
    rig.sign(id).unwrap();
    let after = rig.token.proxy().count(code::VERIFY_SIGNATURE);
    assert_eq!(before, after, "what was verified is not verified each time");
}

#[test]
fn more_approvals_than_a_key_can_have_are_refused() {
    let mut rig = Rig::new(false);
    let id = rig.make(KeyType::P256, Purpose::Sign).unwrap();
    for _ in 0..3 {
        rig.extend(11);
        rig.approve(id, false).unwrap();
    }
    rig.extend(11);
    let refused = rig.approve(id, false).unwrap_err();
    assert!(matches!(&refused, BackendError::Invalid(words) if words.contains("drop")));
    rig.approve(id, true).unwrap();
    rig.sign(id).unwrap();
}

#[test]
fn a_pkcs11_token_has_no_pcrs() {
    let hsm = keyward_tests::SoftHsm::new();
    let mut worker = Worker::ready(&hsm, None);
    let refused = worker.call(Work::ReadPcrs(PCRS.to_vec()));
    assert!(
        matches!(
            &refused,
            Outcome::Failed(BackendError::MechanismInvalid(words)) if words.contains("TPM")
        ),
        "{refused:?}"
    );
}
