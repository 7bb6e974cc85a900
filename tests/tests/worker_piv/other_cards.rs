use keyward_backend::message::{Adopt, Import};
use keyward_protocol::operation::KeyMaterial;

use super::slots::{pkcs8, yubico};
use super::*;

#[test]
fn a_card_without_metadata_knows_its_keys() {
    let mut rig = Rig::new(Model::YubiKey4);
    assert_eq!(
        rig.worker.open().unwrap().identity.model,
        "YubiKey PIV 4.3.5"
    );
    // Which slots are empty, it can't say.
    let unsaid = rig.make(KeyType::P256, None);
    assert!(
        matches!(&unsaid, Err(BackendError::Invalid(why)) if why.contains("--slot 82")),
        "{unsaid:?}"
    );
    let made = rig.key_in(0x82);
    assert!(made.report.local);
    let generate = generate(KeyType::P256, in_slot(0x83));
    let id = generate.id;
    let material = KeyMaterial::Pkcs8(pkcs8());
    let imported = rig.worker.call(Work::Import(Import { generate, material }));
    let Outcome::Key(Some(report)) = imported else {
        panic!("{imported:?}");
    };
    assert!(!report.local);
    let put = Key { id, report };
    assert_eq!((made.slot(), put.slot()), ("82", "83"));
    for key in [&made, &put] {
        rig.sign(key).unwrap();
        rig.sign_by_note(key).unwrap();
        let shown = rig.worker.call(Work::Inspect(key.id));
        assert_eq!(shown, Outcome::Key(Some(key.report.clone())));
    }
    let destroyed = rig.worker.call(Work::Destroy(put.id));
    assert_eq!(destroyed, Outcome::Overwritten);
    assert_eq!(rig.sign(&put), Err(BackendError::KeyNotFound));
    assert_eq!(rig.key_in(0x83).slot(), "83");
    rig.sign(&made).unwrap();
    rig.assert_sound();
}

#[test]
fn a_card_without_extensions_is_used_with_the_key_that_its_certificate_is_of() {
    let token = PivToken::new(Model::Generic, SERIAL);
    let public = token.rig().folder().join("public.pem");
    let certificate = token.rig().folder().join("certificate.pem");
    let (public, certificate) = (public.to_str().unwrap(), certificate.to_str().unwrap());
    yubico(
        &token,
        &["-a", "generate", "-s", "9a", "-A", "ECCP256", "-o", public],
    );
    keyward_tests::openssl::issue(token.rig().folder());
    yubico(
        &token,
        &["-a", "import-certificate", "-s", "9a", "-i", certificate],
    );

    let mut rig = Rig::with(token, None);
    let report = rig.worker.open().unwrap();
    assert_eq!(report.identity.manufacturer, "PIV");
    assert!(report.key_types.is_empty() && report.algorithms.contains(&Algorithm::Esp256));
    let refused = rig.make(KeyType::P256, None);
    assert!(
        matches!(refused, Err(BackendError::MechanismInvalid(_))),
        "{refused:?}"
    );
    let generate = generate(KeyType::P256, None);
    let id = generate.id;
    let place = "9a".to_owned();
    let Outcome::Key(Some(report)) = rig.worker.call(Work::Adopt(Adopt { generate, place })) else {
        panic!("it is not taken over");
    };
    assert!(!report.local, "nobody knows where the key was made");
    let key = Key { id, report };
    for _ in 0..3 {
        rig.sign(&key).unwrap();
    }
    rig.assert_sound();
}
