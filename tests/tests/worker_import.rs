//! Keys that `openssl` made, imported into a real SoftHSM token.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]

use std::path::PathBuf;

use keyward_backend::message::{ChangePin, Generate, Import, Outcome, SCAN_PAGE, ScanPage, Work};
use keyward_backend::{BackendError, KeyReport, VersionId};
use keyward_protocol::operation::KeyMaterial;
use keyward_protocol::{Algorithm, CoseKey, KeyType, Purpose, SecretBytes};
use keyward_tests::{Fault, FaultModule, SoftHsm, Worker, openssl};

const MESSAGE: &[u8] = b"a message of no particular length";
const CKA_EXTRACTABLE: u64 = 0x162;
const CKA_EC_POINT: u64 = 0x181;

#[test]
fn a_key_of_openssl_signs_as_openssl_would() {
    let hsm = SoftHsm::new();
    let mut worker = Worker::ready(&hsm, None);
    for key_type in [
        KeyType::P256,
        KeyType::P384,
        KeyType::Ed25519,
        KeyType::Rsa2048,
        KeyType::Rsa3072,
        KeyType::Rsa4096,
    ] {
        let (der, public) = generate(&hsm, key_type);
        let (id, report) = import(&mut worker, key_type, Purpose::Sign, &der).unwrap();
        let expected = CoseKey::from_spki(&openssl::public_der(&public).unwrap()).unwrap();
        assert_eq!(report.public, Some(expected));
        assert_eq!(report.key_type, Some(key_type));
        assert!(!report.local && !report.always_sensitive && !report.never_extractable);
        assert_eq!(worker.call(Work::Inspect(id)), Outcome::Key(Some(report)));
        for algorithm in Purpose::Sign.algorithms(key_type) {
            let signature = worker.sign(id, *algorithm, MESSAGE).unwrap();
            match algorithm {
                Algorithm::Ed25519 => openssl::verify_ed25519(&public, MESSAGE, &signature),
                Algorithm::Ps256 => openssl::verify_pss(&public, "sha256", MESSAGE, &signature),
                Algorithm::Rs256 => openssl::verify_pkcs1(&public, "sha256", MESSAGE, &signature),
                // Verified where it comes to DER, in the test of signatures.
                _ => Ok(()),
            }
            .unwrap();
        }
        assert_eq!(worker.call(Work::Destroy(id)), Outcome::Done);
        assert_eq!(worker.call(Work::Inspect(id)), Outcome::Key(None));
    }
}

#[test]
fn what_is_no_key_of_the_type_is_refused_and_leaves_nothing() {
    let hsm = SoftHsm::new();
    let mut worker = Worker::ready(&hsm, None);
    let (p256, _) = generate(&hsm, KeyType::P256);
    let (rsa, _) = generate(&hsm, KeyType::Rsa2048);
    let mut damaged = rsa.clone();
    let last = damaged.len() - 1;
    damaged[last] ^= 1;
    for (key_type, der) in [
        (KeyType::P384, &p256),
        (KeyType::Rsa2048, &p256),
        (KeyType::P256, &rsa),
        (KeyType::Rsa3072, &rsa),
        (KeyType::Rsa2048, &damaged),
        (KeyType::P256, &b"no key at all".to_vec()),
        (KeyType::P256, &Vec::new()),
    ] {
        let refused = import(&mut worker, key_type, Purpose::Sign, der);
        assert!(
            matches!(refused, Err(BackendError::Invalid(_))),
            "{refused:?}"
        );
    }
    for (key_type, claimed, length) in [
        (KeyType::Aes256, KeyType::Aes256, 31),
        (KeyType::Aes256, KeyType::Aes128, 16),
        (KeyType::Aes256, KeyType::HmacSha256, 32),
    ] {
        let material = KeyMaterial::Secret(claimed, SecretBytes::zeroed(length));
        let refused = worker.import(key_type, Purpose::Wrap, material);
        assert!(
            matches!(refused, Err(BackendError::Invalid(_))),
            "{refused:?}"
        );
    }
    let refused = import(&mut worker, KeyType::P256, Purpose::Unwrap, &p256);
    assert!(matches!(refused, Err(BackendError::MechanismInvalid(_))));
    let page = scan(&mut worker, None);
    assert_eq!((page.keys, page.foreign), (vec![], 0));
}

#[test]
fn a_token_that_makes_an_imported_key_extractable_keeps_none() {
    let hsm = SoftHsm::new();
    let faults = FaultModule::new(&hsm);
    let mut worker = Worker::ready(&hsm, Some(&faults));
    let lie = Fault::Replace(vec![(CKA_EXTRACTABLE, vec![1])]);
    faults.set("C_GetAttributeValue", &lie);
    let (der, _) = generate(&hsm, KeyType::P256);
    let refused = import(&mut worker, KeyType::P256, Purpose::Sign, &der);
    assert!(
        matches!(refused, Err(BackendError::KeyUnsafe(_))),
        "{refused:?}"
    );
    for purpose in [Purpose::Encrypt, Purpose::Wrap] {
        let refused = worker.generate(KeyType::Aes256, purpose);
        assert!(
            matches!(refused, Err(BackendError::KeyUnsafe(_))),
            "{refused:?}"
        );
        let secret = KeyMaterial::Secret(KeyType::Aes256, SecretBytes::zeroed(32));
        let refused = worker.import(KeyType::Aes256, purpose, secret);
        assert!(
            matches!(refused, Err(BackendError::KeyUnsafe(_))),
            "{refused:?}"
        );
    }
    faults.clear("C_GetAttributeValue");
    assert_eq!(scan(&mut worker, None).keys, vec![]);
}

#[test]
fn a_token_that_shows_another_public_key_keeps_none() {
    let hsm = SoftHsm::new();
    let faults = FaultModule::new(&hsm);
    let mut worker = Worker::ready(&hsm, Some(&faults));
    let (_, other) = worker.generate(KeyType::P256, Purpose::Sign).unwrap();
    let point = other.public.unwrap().to_sec1().unwrap();
    let point = [&[0x04, 0x41], point.as_slice()].concat();
    let lie = Fault::Replace(vec![(CKA_EC_POINT, point)]);
    faults.set("C_GetAttributeValue", &lie);
    let (der, _) = generate(&hsm, KeyType::P256);
    let refused = import(&mut worker, KeyType::P256, Purpose::Sign, &der);
    assert!(
        matches!(refused, Err(BackendError::KeyUnsafe(_))),
        "{refused:?}"
    );
    faults.clear("C_GetAttributeValue");
    assert_eq!(scan(&mut worker, None).keys.len(), 1);
}

#[test]
fn a_private_object_that_can_not_be_made_leaves_no_public_one() {
    let hsm = SoftHsm::new();
    let faults = FaultModule::new(&hsm);
    let mut worker = Worker::ready(&hsm, Some(&faults));
    let (der, _) = generate(&hsm, KeyType::P256);
    // CKR_DEVICE_MEMORY, from the first call.
    faults.set("C_CreateObject", &Fault::ErrorOnce(0x31));
    let refused = import(&mut worker, KeyType::P256, Purpose::Sign, &der);
    assert_eq!(refused.map(|_| ()), Err(BackendError::TokenFull));
    assert!(import(&mut worker, KeyType::P256, Purpose::Sign, &der).is_ok());
}

#[test]
fn a_scan_finds_every_key_once_in_the_order_of_the_ids() {
    let hsm = SoftHsm::new();
    let mut worker = Worker::start(&hsm, None);
    worker.open().unwrap();
    let outcome = worker.call(Work::Scan(None));
    assert_eq!(outcome, Outcome::Failed(BackendError::LoginRequired));
    worker.login(hsm.pin()).unwrap();
    let empty = ScanPage {
        keys: vec![],
        more: false,
        foreign: 0,
    };
    assert_eq!(scan(&mut worker, None), empty);
    let mut made = Vec::new();
    for number in 0..130 {
        let (key_type, purpose) = match number % 3 {
            0 => (KeyType::P256, Purpose::Sign),
            1 => (KeyType::Aes256, Purpose::Encrypt),
            _ => (KeyType::HmacSha256, Purpose::Mac),
        };
        made.push(worker.generate(key_type, purpose).unwrap().0);
    }
    made.sort_unstable();
    let mut found = Vec::new();
    let mut after = None;
    loop {
        let page = scan(&mut worker, after);
        assert!(page.keys.len() <= SCAN_PAGE && page.foreign == 0);
        assert!(page.keys.iter().all(|key| key.label == "keyward test"));
        found.extend(page.keys.iter().map(|key| key.id));
        after = found.last().copied();
        if !page.more {
            break;
        }
    }
    assert_eq!(found, made);
    let rest = scan(&mut worker, Some(made[99]));
    let rest: Vec<_> = rest.keys.iter().map(|key| key.id).collect();
    assert_eq!(rest, made[100..]);
}

#[test]
fn a_pin_is_changed_by_who_knows_it() {
    let hsm = SoftHsm::new();
    let mut worker = Worker::ready(&hsm, None);
    let (id, _) = worker.generate(KeyType::P256, Purpose::Sign).unwrap();
    for new in ["123", "", &"1".repeat(256)] {
        let refused = change_pin(&mut worker, hsm.pin(), new);
        assert!(
            matches!(refused, Err(BackendError::Invalid(_))),
            "{refused:?}"
        );
    }
    let refused = change_pin(&mut worker, "11111111", "22222222");
    assert_eq!(refused, Err(BackendError::PinIncorrect));
    assert_eq!(change_pin(&mut worker, hsm.pin(), "22222222"), Ok(true));
    assert!(worker.sign(id, Algorithm::Esp256, MESSAGE).is_ok());
    let mut other = Worker::start(&hsm, None);
    other.open().unwrap();
    assert_eq!(other.login(hsm.pin()), Err(BackendError::PinIncorrect));
    assert!(other.login("22222222").unwrap().logged_in);
    assert!(other.sign(id, Algorithm::Esp256, MESSAGE).is_ok());
    // Without a login too.
    assert_eq!(other.call(Work::Logout), Outcome::Done);
    assert_eq!(
        change_pin(&mut other, "22222222", "grün-und-lang"),
        Ok(false)
    );
    assert!(other.login("grün-und-lang").unwrap().logged_in);
}

#[test]
fn no_pin_is_changed_at_another_token_or_a_blocked_one() {
    let hsm = SoftHsm::new();
    let faults = FaultModule::new(&hsm);
    let mut worker = Worker::ready(&hsm, Some(&faults));
    faults.set("C_GetTokenInfo", &Fault::Serial("other"));
    let refused = change_pin(&mut worker, hsm.pin(), "22222222");
    assert!(
        matches!(refused, Err(BackendError::TokenChanged(_))),
        "{refused:?}"
    );
    faults.clear("C_GetTokenInfo");
    // CKF_USER_PIN_LOCKED.
    faults.set("C_GetTokenInfo", &Fault::Flags(0x4_0000));
    let refused = change_pin(&mut worker, hsm.pin(), "22222222");
    assert_eq!(refused, Err(BackendError::PinBlocked));
    faults.clear("C_GetTokenInfo");
    assert_eq!(change_pin(&mut worker, hsm.pin(), "22222222"), Ok(true));
}

fn change_pin(worker: &mut Worker, old: &str, new: &str) -> Result<bool, BackendError> {
    let change = ChangePin {
        old: SecretBytes::copy_from(old.as_bytes()),
        new: SecretBytes::copy_from(new.as_bytes()),
    };
    match worker.call(Work::ChangePin(change)) {
        Outcome::Token(report) => Ok(report.logged_in),
        Outcome::Failed(error) => Err(error),
        other => panic!("{other:?}"),
    }
}

fn scan(worker: &mut Worker, after: Option<VersionId>) -> ScanPage {
    match worker.call(Work::Scan(after)) {
        Outcome::Keys(page) => page,
        other => panic!("{other:?}"),
    }
}

fn import(
    worker: &mut Worker,
    key_type: KeyType,
    purpose: Purpose,
    der: &[u8],
) -> Result<(VersionId, KeyReport), BackendError> {
    let material = KeyMaterial::Pkcs8(SecretBytes::copy_from(der));
    worker.import(key_type, purpose, material)
}

/// A key of openssl: PKCS#8 in DER, and the file of its public key.
fn generate(hsm: &SoftHsm, key_type: KeyType) -> (Vec<u8>, PathBuf) {
    let private = hsm.dir().join(format!("{key_type}.pem"));
    let public = hsm.dir().join(format!("{key_type}.pub"));
    let mut command = openssl::command("genpkey");
    match key_type.rsa_bits() {
        Some(bits) => command
            .args(["-algorithm", "RSA", "-pkeyopt"])
            .arg(format!("rsa_keygen_bits:{bits}")),
        None if key_type == KeyType::Ed25519 => command.args(["-algorithm", "ED25519"]),
        None => command
            .args(["-algorithm", "EC", "-pkeyopt"])
            .arg(format!("ec_paramgen_curve:{key_type}")),
    };
    openssl::run(command.arg("-out").arg(&private)).unwrap();
    openssl::write_public(&private, &public).unwrap();
    let mut command = openssl::command("pkcs8");
    command.args(["-topk8", "-nocrypt", "-outform", "DER", "-in"]);
    (openssl::run(command.arg(&private)).unwrap(), public)
}

#[test]
fn an_id_that_is_taken_is_refused_as_taken_and_its_key_stays() {
    let hsm = SoftHsm::new();
    let mut worker = Worker::ready(&hsm, None);
    let (der, _) = generate(&hsm, KeyType::P256);
    let (id, report) = import(&mut worker, KeyType::P256, Purpose::Sign, &der).unwrap();
    let again = || Generate {
        id,
        label: "again".to_owned(),
        key_type: KeyType::P256,
        purpose: Purpose::Sign,
        piv: None,
    };
    let exists = Outcome::Failed(BackendError::Exists(id.to_string()));
    assert_eq!(worker.call(Work::Generate(again())), exists);
    let material = KeyMaterial::Pkcs8(SecretBytes::copy_from(&der));
    let import = Work::Import(Import {
        generate: again(),
        material,
    });
    assert_eq!(worker.call(import), exists);
    assert_eq!(worker.call(Work::Inspect(id)), Outcome::Key(Some(report)));
}
