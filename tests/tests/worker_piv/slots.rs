use keyward_backend::message::{Adopt, Derive};
use keyward_protocol::SecretBytes;
use keyward_protocol::operation::KeyMaterial;
use minicbor::bytes::ByteArray;

use super::*;

#[test]
fn new_keys_go_into_free_slots_of_retired_keys() {
    let mut rig = Rig::new(Model::YubiKey57);
    let slots: Vec<_> = (0..3).map(|_| rig.key().slot().to_owned()).collect();
    assert_eq!(slots, ["82", "83", "84"]);
}

#[test]
fn a_slot_that_has_a_key_is_never_overwritten() {
    let mut rig = Rig::new(Model::YubiKey57);
    let choice = PivChoice {
        slot: Some(0x9a),
        ..PivChoice::default()
    };
    let key = rig.make(KeyType::P256, Some(choice)).unwrap();
    let second = rig.make(KeyType::P256, Some(choice));
    assert!(
        matches!(&second, Err(BackendError::PlaceTaken(why)) if why.contains("9a")),
        "{second:?}"
    );
    rig.sign(&key).unwrap();
}

#[test]
fn a_key_that_is_not_the_registrys_is_not_used() {
    let mut rig = Rig::new(Model::YubiKey57);
    let (key, other) = (rig.key(), rig.key());
    let mut swapped = key.clone();
    swapped.report.public = other.report.public.clone();
    assert!(matches!(
        rig.sign(&swapped),
        Err(BackendError::KeyChanged(_))
    ));
    // What the registry knows is enough, also without a note.
    swapped = key.clone();
    swapped.id = VersionId::random();
    rig.sign(&swapped).unwrap();
    assert_eq!(rig.sign_by_note(&swapped), Err(BackendError::KeyNotFound));
}

#[test]
fn a_key_that_another_program_put_over_ours_is_not_used() {
    let mut rig = Rig::new(Model::YubiKey5);
    let key = rig.key();
    yubico(&rig.token, &["-a", "generate", "-s", "82", "-A", "ECCP256"]);
    // The card was in its reader all the time; whoever looks sees it.
    let shown = rig.worker.call(Work::Inspect(key.id));
    assert_eq!(shown, Outcome::Key(None));
    assert!(matches!(rig.sign(&key), Err(BackendError::KeyChanged(_))));
    assert_eq!(rig.sign_by_note(&key), Err(BackendError::KeyNotFound));
}

#[test]
fn a_shared_secret_is_of_the_key_that_is_meant_or_of_none() {
    let mut rig = Rig::new(Model::YubiKey5);
    let agree = Generate {
        purpose: Purpose::Agree,
        ..generate(KeyType::P256, None)
    };
    let (id, peer) = (agree.id, rig.key().public().clone());
    let made = rig.worker.call(Work::Generate(agree));
    let Outcome::Key(Some(report)) = made else {
        panic!("{made:?}");
    };
    let key = Key { id, report };
    let mut derive = || {
        let peer = peer.clone();
        let derive = Work::Derive(Derive { id, peer });
        let call = rig.worker.send_expecting(derive, Some(key.expected()));
        rig.worker.receive(call)
    };
    assert!(matches!(derive(), Some(Outcome::Secret(_))));
    // Nobody looks at the card between this and the next use.
    yubico(
        &rig.token,
        &["-a", "generate", "-s", key.slot(), "-A", "ECCP256"],
    );
    let changed = || matches!(derive(), Some(Outcome::Failed(BackendError::KeyChanged(_))));
    // It is asked anew every half second.
    assert!(keyward_tests::wait_for(changed, keyward_tests::PATIENCE));
}

#[test]
fn a_key_of_another_program_is_taken_over() {
    let mut rig = Rig::new(Model::YubiKey5);
    yubico(&rig.token, &["-a", "generate", "-s", "9a", "-A", "RSA2048"]);
    let adopt = |place: &str, key_type| {
        Work::Adopt(Adopt {
            generate: generate(key_type, None),
            place: place.to_owned(),
        })
    };
    let refused = rig.worker.call(adopt("9c", KeyType::Rsa2048));
    let empty = "slot 9c of the card has no key".to_owned();
    assert_eq!(refused, Outcome::Failed(BackendError::Invalid(empty)));
    let refused = rig.worker.call(adopt("9b", KeyType::P256));
    assert!(matches!(refused, Outcome::Failed(BackendError::Invalid(_))));
    // Which type it is, the card says.
    let work = adopt("9a", KeyType::P256);
    let Work::Adopt(Adopt { generate, .. }) = &work else {
        unreachable!()
    };
    let id = generate.id;
    let Outcome::Key(Some(report)) = rig.worker.call(work) else {
        panic!("it is not taken over");
    };
    assert!(report.local);
    assert_eq!(report.key_type, Some(KeyType::Rsa2048));
    assert!(
        report.locator.ends_with(";adopted=yes"),
        "{}",
        report.locator
    );
    let key = Key { id, report };
    rig.sign(&key).unwrap();
    rig.sign_by_note(&key).unwrap();
    let again = rig.worker.call(adopt("9a", KeyType::Rsa2048));
    assert!(matches!(
        again,
        Outcome::Failed(BackendError::PlaceTaken(_))
    ));
    // Keyward forgets it, and leaves it to whoever has put it there.
    assert_eq!(rig.worker.call(Work::Destroy(id)), Outcome::Done);
    assert_eq!(rig.worker.call(Work::Inspect(id)), Outcome::Key(None));
    rig.sign(&key).unwrap();
}

#[test]
fn keys_of_another_program_are_counted_and_not_shown() {
    let mut rig = Rig::new(Model::YubiKey5);
    yubico(&rig.token, &["-a", "generate", "-s", "9a", "-A", "RSA1024"]);
    let key = rig.key();
    let Outcome::Keys(page) = rig.worker.call(Work::Scan(None)) else {
        panic!("no page");
    };
    let ids: Vec<_> = page.keys.iter().map(|key| key.id).collect();
    assert_eq!((ids, page.foreign), (vec![key.id], 1));
}

#[test]
fn a_destroyed_key_frees_its_slot_also_where_it_can_only_be_overwritten() {
    for (model, said) in [
        (Model::YubiKey57, Outcome::Done),
        (Model::YubiKey5, Outcome::Overwritten),
    ] {
        let mut rig = Rig::new(model);
        let key = rig.key();
        assert_eq!(rig.worker.call(Work::Destroy(key.id)), said);
        assert_eq!(rig.sign_by_note(&key), Err(BackendError::KeyNotFound));
        assert_eq!(rig.sign(&key), Err(BackendError::KeyNotFound));
        assert_eq!(rig.key().slot(), key.slot());
    }
}

#[test]
fn the_keys_of_a_card_are_found_by_another_worker() {
    let mut rig = Rig::new(Model::YubiKey57);
    let key = rig.key();
    let mut other = Worker::start_piv(&rig.token);
    other.open().unwrap();
    other.login(PIV_PIN).unwrap();
    let Outcome::Keys(page) = other.call(Work::Scan(None)) else {
        panic!("no page");
    };
    assert_eq!(page.keys[0].label, "test.1");
    assert_eq!(
        other.call(Work::Inspect(key.id)),
        Outcome::Key(Some(key.report.clone()))
    );
    other.sign(key.id, Algorithm::Esp256, MESSAGE).unwrap();
    // Both use the card in turn.
    for _ in 0..10 {
        rig.sign(&key).unwrap();
        other.sign(key.id, Algorithm::Esp256, MESSAGE).unwrap();
    }
    rig.assert_sound();
}

#[test]
fn an_imported_key_is_not_local() {
    let mut rig = Rig::new(Model::YubiKey57);
    let pkcs8 = pkcs8();
    let (id, report) = rig
        .worker
        .import(KeyType::P256, Purpose::Sign, KeyMaterial::Pkcs8(pkcs8))
        .unwrap();
    assert!(!report.local && !report.never_extractable);
    rig.sign(&Key { id, report }).unwrap();
}

/// A new P-256 key.
pub(super) fn pkcs8() -> SecretBytes {
    let curve = &aws_lc_rs::signature::ECDSA_P256_SHA256_FIXED_SIGNING;
    let key = aws_lc_rs::signature::EcdsaKeyPair::generate(curve).unwrap();
    SecretBytes::copy_from(key.to_pkcs8v1().unwrap().as_ref())
}

#[test]
fn a_certificate_is_kept_beside_its_key_and_no_other() {
    use keyward_backend::message::WriteCertificate;
    let mut rig = Rig::new(Model::YubiKey57);
    let (key, other) = (rig.key(), rig.key());
    let read = Work::ReadCertificate(key.id);
    assert_eq!(rig.worker.call(read), Outcome::Certificate(None));
    // Any certificate of the key serves: its attestation is one.
    let attest = keyward_backend::message::Attest {
        id: key.id,
        qualifying_data: ByteArray::from([0; 32]),
    };
    let Outcome::Attested(keyward_protocol::attestation::Statement::Piv(statement)) =
        rig.worker.call(Work::Attest(attest))
    else {
        panic!("no statement");
    };
    let write = |id, certificate| Work::WriteCertificate(WriteCertificate { id, certificate });
    let foreign = rig
        .worker
        .call(write(other.id, statement.certificate.clone()));
    assert!(matches!(foreign, Outcome::Failed(BackendError::Invalid(_))));
    let kept = rig
        .worker
        .call(write(key.id, statement.certificate.clone()));
    assert_eq!(kept, Outcome::Done);
    let shown = rig.worker.call(Work::ReadCertificate(key.id));
    assert_eq!(shown, Outcome::Certificate(Some(statement.certificate)));
    assert_eq!(rig.worker.call(write(key.id, vec![].into())), Outcome::Done);
    let gone = rig.worker.call(Work::ReadCertificate(key.id));
    assert_eq!(gone, Outcome::Certificate(None));
}

/// Has Yubico's tool do something.
#[track_caller]
pub(super) fn yubico(token: &PivToken, arguments: &[&str]) -> Vec<u8> {
    let output = token
        .rig()
        .command("yubico-piv-tool")
        .args(arguments)
        // A reader of any name.
        .arg("--reader=")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {said}");
    output.stdout
}
