//! Attestations, as a verifier sees them.

use rustls_pki_types::{CertificateDer, UnixTime};
use webpki::{EndEntityCert, KeyUsage};
use x509_cert::certificate::Certificate;
use x509_cert::der::asn1::ObjectIdentifier;
use x509_cert::der::{Decode as _, Encode as _};

use super::*;

const SIGNATURE_ALGORITHMS: &[&dyn rustls_pki_types::SignatureVerificationAlgorithm] = &[
    webpki::aws_lc_rs::ECDSA_P256_SHA256,
    webpki::aws_lc_rs::ECDSA_P384_SHA384,
    webpki::aws_lc_rs::RSA_PKCS1_2048_8192_SHA256,
    webpki::aws_lc_rs::ED25519,
];

/// The certificate of the key that attests.
fn intermediate(card: &Terminal) -> Vec<u8> {
    let (answer, status) = card.get(0x5f_ff01);
    assert_eq!(status, Status::OK);
    let fields = tlv::parse(tlv::only(&answer, 0x53).unwrap()).unwrap();
    assert_eq!(tlv::find(&fields, 0x71), Some(&[0][..]), "not compressed");
    tlv::find(&fields, 0x70).unwrap().to_vec()
}

/// The algorithm of the public key in a certificate, and its parameter.
fn key_algorithm(certificate: &[u8]) -> (String, Option<String>) {
    let certificate = Certificate::from_der(certificate).unwrap();
    let info = certificate.tbs_certificate().subject_public_key_info();
    let parameters = info.algorithm.parameters.as_ref();
    let curve = parameters.and_then(|any| any.decode_as::<ObjectIdentifier>().ok());
    (
        info.algorithm.oid.to_string(),
        curve.map(|curve| curve.to_string()),
    )
}

/// Whether there is a path from the attestation to the root.
fn verifies(attestation: &[u8], intermediate: &[u8], root: &[u8]) -> bool {
    let (attestation, root) = (
        CertificateDer::from(attestation),
        CertificateDer::from(root),
    );
    let anchors = [webpki::anchor_from_trusted_cert(&root).unwrap()];
    let intermediates = [CertificateDer::from(intermediate)];
    let Ok(certificate) = EndEntityCert::try_from(&attestation) else {
        return false;
    };
    let path = certificate.verify_for_usage(
        SIGNATURE_ALGORITHMS,
        &anchors,
        &intermediates,
        UnixTime::since_unix_epoch(std::time::Duration::from_secs(1_800_000_000)),
        KeyUsage::server_auth(),
        None,
        None,
    );
    path.is_ok()
}

/// What is in an extension of Yubico's arc.
fn extension(attestation: &[u8], number: u32) -> Option<Vec<u8>> {
    let certificate = Certificate::from_der(attestation).unwrap();
    let name = format!("1.3.6.1.4.1.41482.3.{number}");
    let mut extensions = certificate.tbs_certificate().extensions()?.iter();
    let extension = extensions.find(|extension| extension.extn_id.to_string() == name)?;
    Some(extension.extn_value.as_bytes().to_vec())
}

#[test]
fn an_attestation_verifies_up_to_the_root() {
    for model in YUBIKEYS {
        let card = Terminal::managed(model);
        card.generate(0x9a, P256, 0, 0);
        let attestation = card.data(0xf9, 0x9a, 0, &[]);
        let root = Card::attestation_root();
        assert!(verifies(&attestation, &intermediate(&card), &root));
    }
}

#[test]
fn an_attestation_of_another_card_or_a_changed_one_does_not_verify() {
    let (card, other) = (
        Terminal::managed(Model::YubiKey5),
        Terminal::of(Model::YubiKey5),
    );
    card.generate(0x9a, P256, 0, 0);
    let mut attestation = card.data(0xf9, 0x9a, 0, &[]);
    let root = Card::attestation_root();
    assert!(!verifies(&attestation, &intermediate(&other), &root));
    *attestation.last_mut().unwrap() ^= 1;
    assert!(!verifies(&attestation, &intermediate(&card), &root));
}

#[test]
fn an_attestation_is_of_the_key_in_the_slot() {
    for (algorithm, model) in [
        (P256, Model::YubiKey4),
        (P384, Model::YubiKey5),
        (RSA_2048, Model::YubiKey5),
        (ED25519, Model::YubiKey57),
        (X25519, Model::YubiKey57),
    ] {
        let card = Terminal::managed(model);
        let public = card.generate(0x82, algorithm, 0, 0);
        let attestation = card.data(0xf9, 0x82, 0, &[]);
        let certificate = Certificate::from_der(&attestation).unwrap();
        let info = certificate.tbs_certificate().subject_public_key_info();
        let fields = tlv::parse(&public).unwrap();
        let info = info.to_der().unwrap();
        let number = fields[0].value;
        assert!(info.windows(number.len()).any(|window| window == number));
        let subject = certificate.tbs_certificate().subject().to_string();
        assert_eq!(subject, "CN=YubiKey PIV Attestation 82");
    }
}

#[test]
fn an_attestation_says_firmware_serial_number_policies_and_form() {
    let card = Terminal::managed(Model::YubiKey57);
    card.generate(0x9c, P256, 2, 3);
    let attestation = card.data(0xf9, 0x9c, 0, &[]);
    assert_eq!(extension(&attestation, 3).unwrap(), [5, 7, 1]);
    assert_eq!(
        extension(&attestation, 7).unwrap(),
        [0x02, 0x04, 0x00, 0xbc, 0x61, 0x4e]
    );
    assert_eq!(extension(&attestation, 8).unwrap(), [2, 3]);
    assert_eq!(extension(&attestation, 9).unwrap(), [1]);
    assert_eq!(extension(&attestation, 10), None, "it is no key for FIPS");

    let card = Terminal::managed(Model::YubiKey4);
    card.generate(0x9c, P256, 0, 0);
    let attestation = card.data(0xf9, 0x9c, 0, &[]);
    assert_eq!(extension(&attestation, 3).unwrap(), [4, 3, 5]);
    assert_eq!(extension(&attestation, 8).unwrap(), [3, 1]);
    assert_eq!(extension(&attestation, 9), None);
}

#[test]
fn a_key_that_was_brought_is_not_attested() {
    let card = Terminal::managed(Model::YubiKey5);
    assert_eq!(
        card.status(0xfe, P256, 0x9a, &object(0x06, &[1; 32])),
        Status::OK
    );
    assert_eq!(card.status(0xf9, 0x9a, 0, &[]), Status::WRONG_DATA);
    assert_eq!(card.status(0xf9, 0x9c, 0, &[]), Status::WRONG_DATA, "none");
    assert_eq!(card.status(0xf9, 0xf9, 0, &[]), Status::WRONG_PARAMETERS);
}

#[test]
fn a_key_that_attests_can_be_replaced_by_one_of_any_kind() {
    for algorithm in [P384, RSA_2048, ED25519] {
        let card = Terminal::managed(Model::YubiKey57);
        card.generate(0x9a, P256, 0, 0);
        card.generate(0xf9, algorithm, 0, 0);
        let attestation = card.data(0xf9, 0x9a, 0, &[]);
        assert!(Certificate::from_der(&attestation).is_ok());
        let root = Card::attestation_root();
        assert!(!verifies(&attestation, &intermediate(&card), &root));
    }
}

#[test]
fn the_root_is_the_same_each_time_but_for_serial_number_and_signature() {
    let roots = [Card::attestation_root(), Card::attestation_root()];
    let keys = roots.map(|root| {
        let root = Certificate::from_der(&root).unwrap();
        let tbs = root.tbs_certificate();
        (
            tbs.subject().to_string(),
            tbs.subject_public_key_info().to_der().unwrap(),
        )
    });
    assert_eq!(keys[0], keys[1]);
    assert_eq!(keys[0].0, "CN=Virtual PIV Root CA");
}

#[test]
fn the_key_that_attests_is_of_rsa_before_firmware_5_7_and_of_p_384_from_then_on() {
    for model in [Model::YubiKey4, Model::YubiKey5] {
        let (algorithm, _) = key_algorithm(&intermediate(&Terminal::of(model)));
        assert_eq!(algorithm, "1.2.840.113549.1.1.1");
    }
    let card = Terminal::of(Model::YubiKey57);
    let (_, curve) = key_algorithm(&intermediate(&card));
    assert_eq!(curve.as_deref(), Some("1.3.132.0.34"));
    assert_eq!(card.metadata(0xf9, 0x01), [P384]);
    assert_eq!(card.metadata(0xf9, 0x03), [1]);
}

#[test]
fn a_key_that_attests_and_was_deleted_stays_so() {
    let card = Terminal::managed(Model::YubiKey57);
    card.generate(0x9a, P256, 0, 0);
    assert_eq!(card.status(0xf6, 0xff, 0xf9, &[]), Status::OK);
    assert_eq!(card.status(0xf9, 0x9a, 0, &[]), Status::WRONG_DATA);
    assert_eq!(card.status(0xf7, 0, 0xf9, &[]), Status::REFERENCE_NOT_FOUND);
}
