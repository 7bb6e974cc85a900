//! Keys: made, brought, used, moved; and their PIN policies.

use aws_lc_rs::signature::{self, UnparsedPublicKey, VerificationAlgorithm};
use p256::elliptic_curve::sec1::ToSec1Point as _;
use sha2::{Digest as _, Sha256, Sha384};

use super::*;

const MESSAGE: &[u8] = b"what is signed";
const SHA256_INFO: &[u8] =
    b"\x30\x31\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\x00\x04\x20";

const RSA_3072: u8 = 0x05;
const RSA_4096: u8 = 0x16;

fn point(public: &[u8]) -> &[u8] {
    tlv::only(public, 0x86).unwrap()
}

fn numbers(public: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let fields = tlv::parse(public).unwrap();
    let number = |tag| tlv::find(&fields, tag).unwrap().to_vec();
    (number(0x81), number(0x82))
}

fn verifies(
    algorithm: &'static dyn VerificationAlgorithm,
    public: &[u8],
    signature: &[u8],
) -> bool {
    let key = UnparsedPublicKey::new(algorithm, public);
    key.verify(MESSAGE, signature).is_ok()
}

/// EMSA-PKCS1-v1_5.
fn padded(length: usize) -> Vec<u8> {
    let digest = Sha256::digest(MESSAGE);
    let filling = vec![0xff; length - digest.len() - SHA256_INFO.len() - 3];
    [&[0, 1], &filling[..], &[0], SHA256_INFO, &digest].concat()
}

#[test]
fn a_key_of_an_elliptic_curve_signs_a_digest() {
    for model in Model::ALL {
        let card = Terminal::managed(model);
        assert_eq!(card.verify(PIN), Some(Status::OK));
        let public = card.generate(0x9a, P256, 0, 0);
        let (signature, status) = card.try_use(0x9a, P256, 0x81, &Sha256::digest(MESSAGE));
        assert_eq!(status, Status::OK);
        let algorithm = &signature::ECDSA_P256_SHA256_ASN1;
        assert!(verifies(algorithm, point(&public), &signature));

        let public = card.generate(0x9d, P384, 0, 0);
        let (signature, status) = card.try_use(0x9d, P384, 0x81, &Sha384::digest(MESSAGE));
        assert_eq!(status, Status::OK);
        let algorithm = &signature::ECDSA_P384_SHA384_ASN1;
        assert!(verifies(algorithm, point(&public), &signature));
    }
}

#[test]
fn a_shorter_digest_gets_zeros_before_it_and_a_longer_one_is_refused() {
    let card = Terminal::managed(Model::YubiKey5);
    let public = card.generate(0x9e, P384, 0, 0);
    let (signature, status) = card.try_use(0x9e, P384, 0x81, &Sha256::digest(MESSAGE));
    assert_eq!(status, Status::OK);
    let algorithm = &signature::ECDSA_P384_SHA256_ASN1;
    assert!(verifies(algorithm, point(&public), &signature));
    let (_, status) = card.try_use(0x9e, P384, 0x81, &[1; 49]);
    assert_eq!(status, Status::WRONG_DATA);
}

#[test]
fn a_key_of_an_elliptic_curve_agrees_on_a_secret() {
    let card = Terminal::managed(Model::YubiKey4);
    for algorithm in [P256, P384] {
        let ours = card.generate(0x9e, algorithm, 0, 0);
        let theirs = card.generate(0x82, algorithm, 1, 0);
        let (left, _) = card.try_use(0x9e, algorithm, 0x85, point(&theirs));
        let (right, _) = card.try_use(0x82, algorithm, 0x85, point(&ours));
        assert_eq!(left.len(), (point(&ours).len() - 1) / 2);
        assert_eq!(left, right);
        let mut off = point(&theirs).to_vec();
        *off.last_mut().unwrap() ^= 1;
        let (_, status) = card.try_use(0x9e, algorithm, 0x85, &off);
        assert_eq!(status, Status::WRONG_DATA, "a point off the curve");
    }
}

#[test]
fn a_key_of_curve25519_signs_or_agrees_and_nothing_else() {
    let card = Terminal::managed(Model::YubiKey57);
    let public = card.generate(0x9e, ED25519, 0, 0);
    let (signature, status) = card.try_use(0x9e, ED25519, 0x81, MESSAGE);
    assert_eq!(status, Status::OK);
    assert!(verifies(&signature::ED25519, point(&public), &signature));
    let (_, status) = card.try_use(0x9e, ED25519, 0x85, point(&public));
    assert_eq!(status, Status::WRONG_DATA);

    let ours = card.generate(0x82, X25519, 1, 0);
    let theirs = card.generate(0x83, X25519, 1, 0);
    let (left, _) = card.try_use(0x82, X25519, 0x85, point(&theirs));
    let (right, _) = card.try_use(0x83, X25519, 0x85, point(&ours));
    assert_eq!(left.len(), 32);
    assert_eq!(left, right);
    let (_, status) = card.try_use(0x82, X25519, 0x85, &[0; 32]);
    assert_eq!(status, Status::WRONG_DATA, "a point of small order");
    let (_, status) = card.try_use(0x82, X25519, 0x81, &[1; 32]);
    assert_eq!(status, Status::WRONG_DATA);
}

#[test]
fn a_key_of_rsa_does_the_bare_operation() {
    for algorithm in [RSA_2048, RSA_3072, RSA_4096] {
        let card = Terminal::managed(Model::YubiKey57);
        let (n, e) = numbers(&card.generate(0x9e, algorithm, 0, 0));
        let (signature, status) = card.try_use(0x9e, algorithm, 0x81, &padded(n.len()));
        assert_eq!(status, Status::OK);
        assert_eq!(signature.len(), n.len());
        let key = signature::RsaPublicKeyComponents { n: &n, e: &e };
        let algorithm = &signature::RSA_PKCS1_2048_8192_SHA256;
        key.verify(algorithm, MESSAGE, &signature).unwrap();
    }
}

#[test]
fn a_key_of_rsa_1024_is_made_and_works() {
    let card = Terminal::managed(Model::YubiKey4);
    let (n, e) = numbers(&card.generate(0x9e, RSA_1024, 0, 0));
    assert_eq!(n.len(), 128);
    let (signature, status) = card.try_use(0x9e, RSA_1024, 0x81, &padded(128));
    assert_eq!(status, Status::OK);
    let key = signature::RsaPublicKeyComponents { n: &n, e: &e };
    let algorithm = &signature::RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY;
    key.verify(algorithm, MESSAGE, &signature).unwrap();
}

#[test]
fn rsa_takes_a_number_as_long_as_the_modulus_and_below_it() {
    let card = Terminal::managed(Model::YubiKey5);
    let (n, _) = numbers(&card.generate(0x9e, RSA_2048, 0, 0));
    for wrong in [&n[..], &[0xff; 256], &[0; 255], &[0; 257]] {
        let (_, status) = card.try_use(0x9e, RSA_2048, 0x81, wrong);
        assert_eq!(status, Status::WRONG_DATA);
    }
}

#[test]
fn a_key_that_was_brought_is_the_same_key() {
    for model in YUBIKEYS {
        let card = Terminal::managed(model);
        let secret = p256::SecretKey::from_slice(&[7; 32]).unwrap();
        let scalar = object(0x06, &secret.to_bytes());
        let data = [scalar, object(0xaa, &[1])].concat();
        assert_eq!(card.status(0xfe, P256, 0x9a, &data), Status::OK);
        let (signature, _) = card.try_use(0x9a, P256, 0x81, &Sha256::digest(MESSAGE));
        let public = secret.public_key().to_sec1_point(false);
        let algorithm = &signature::ECDSA_P256_SHA256_ASN1;
        assert!(verifies(algorithm, public.as_bytes(), &signature));
    }
}

#[test]
fn a_key_of_rsa_is_brought_by_five_numbers_that_belong_together() {
    let pair = aws_lc_rs::rsa::KeyPair::generate(aws_lc_rs::rsa::KeySize::Rsa2048).unwrap();
    let der = aws_lc_rs::encoding::AsDer::as_der(&pair).unwrap();
    let info: pkcs8::PrivateKeyInfoRef<'_> = pkcs8::der::Decode::from_der(der.as_ref()).unwrap();
    let key: pkcs1::RsaPrivateKeyRef<'_> =
        pkcs8::der::Decode::from_der(info.private_key.as_bytes()).unwrap();
    let numbers = [
        key.prime1,
        key.prime2,
        key.exponent1,
        key.exponent2,
        key.coefficient,
    ];
    let tagged = |numbers: &[Vec<u8>]| {
        let objects = numbers.iter().zip(1..);
        let objects = objects.map(|(number, tag)| object(tag, number));
        [objects.collect::<Vec<_>>().concat(), object(0xaa, &[1])].concat()
    };
    let right = numbers.map(|number| number.as_bytes().to_vec());
    let card = Terminal::managed(Model::YubiKey5);
    assert_eq!(
        card.status(0xfe, RSA_2048, 0x9c, &tagged(&right)),
        Status::OK
    );
    let n = key.modulus.as_bytes();
    assert_eq!(
        super::super::key::rsa::EXPONENT,
        *key.public_exponent.as_bytes()
    );
    let (signature, _) = card.try_use(0x9c, RSA_2048, 0x81, &padded(256));
    let public = signature::RsaPublicKeyComponents { n, e: &[1, 0, 1] };
    let algorithm = &signature::RSA_PKCS1_2048_8192_SHA256;
    public.verify(algorithm, MESSAGE, &signature).unwrap();

    for place in 0..5 {
        let mut wrong = right.clone();
        *wrong[place].last_mut().unwrap() ^= 2;
        let status = card.status(0xfe, RSA_2048, 0x9c, &tagged(&wrong));
        assert_eq!(status, Status::WRONG_DATA, "number {place}");
    }
    let status = card.status(0xfe, RSA_2048, 0x9c, &tagged(&right[..4]));
    assert_eq!(status, Status::WRONG_DATA);
    let status = card.status(0xfe, RSA_1024, 0x9c, &tagged(&right));
    assert_eq!(status, Status::WRONG_DATA, "another size than it says");
}

#[test]
fn scalars_that_are_none_are_not_brought() {
    let card = Terminal::managed(Model::YubiKey57);
    for (algorithm, data) in [
        (P256, object(0x06, &[0; 32])),
        (P256, object(0x06, &[0xff; 32])),
        (P256, object(0x06, &[])),
        (P256, object(0x07, &[1; 32])),
        (P384, object(0x06, &[0; 48])),
        (ED25519, object(0x07, &[1; 31])),
        (X25519, object(0x08, &[1; 33])),
        (0x12, object(0x06, &[1; 32])),
    ] {
        let status = card.status(0xfe, algorithm, 0x9a, &data);
        assert_eq!(status, Status::WRONG_DATA);
    }
    assert!(card.card.slots().is_empty());
}

#[test]
fn keys_are_made_and_brought_by_whoever_knows_the_management_key() {
    let card = Terminal::of(Model::YubiKey57);
    let refused = Status::SECURITY_STATUS_NOT_SATISFIED;
    assert_eq!(card.try_generate(0x9a, P256, 0, 0).1, refused);
    let scalar = object(0x06, &[1; 32]);
    assert_eq!(card.status(0xfe, P256, 0x9a, &scalar), refused);
    assert_eq!(card.status(0xf6, 0xff, 0x9a, &[]), refused);
}

#[test]
fn there_are_twenty_four_slots_and_that_of_attestation() {
    let card = Terminal::managed(Model::YubiKey5);
    let slots = [0x9a, 0x9c, 0x9d, 0x9e].into_iter().chain(0x82..=0x95);
    for slot in slots.clone() {
        card.generate(slot, P256, 0, 0);
    }
    assert_eq!(card.card.slots().len(), 24);
    for other in [0x80, 0x81, 0x96, 0x99, 0x9b, 0x9f, 0xf8] {
        assert_eq!(
            card.try_generate(other, P256, 0, 0).1,
            Status::WRONG_PARAMETERS
        );
    }
    card.generate(0xf9, P256, 0, 0);
    let plain = Terminal::managed(Model::Generic);
    assert_eq!(
        plain.try_generate(0xf9, P256, 0, 0).1,
        Status::WRONG_PARAMETERS
    );
}

#[test]
fn the_pin_policy_of_a_slot_is_that_of_the_standard() {
    for (slot, policy) in [(0x9a, 2), (0x9c, 3), (0x9d, 2), (0x9e, 1), (0x95, 2)] {
        let card = Terminal::managed(Model::YubiKey5);
        card.generate(slot, P256, 0, 0);
        assert_eq!(card.metadata(slot, 0x02), [policy, 1], "{slot:02x}");
    }
}

#[test]
fn a_key_of_policy_never_wants_no_pin() {
    let card = Terminal::managed(Model::YubiKey4);
    card.generate(0x9a, P256, 1, 0);
    assert_eq!(card.sign_status(0x9a), Status::OK);
}

#[test]
fn a_key_of_policy_once_wants_the_pin_once() {
    for model in Model::ALL {
        let card = Terminal::managed(model);
        card.generate(0x9a, P256, 0, 0);
        let refused = Status::SECURITY_STATUS_NOT_SATISFIED;
        assert_eq!(card.sign_status(0x9a), refused);
        assert_eq!(card.verify(PIN), Some(Status::OK));
        for _ in 0..3 {
            assert_eq!(card.sign_status(0x9a), Status::OK);
        }
        assert_eq!(card.status(0x20, 0xff, 0x80, &[]), Status::OK);
        assert_eq!(card.sign_status(0x9a), refused);
    }
}

#[test]
fn a_key_of_policy_always_wants_the_pin_before_each_use() {
    for model in Model::ALL {
        let card = Terminal::managed(model);
        card.generate(0x9c, P256, 0, 0);
        let refused = Status::SECURITY_STATUS_NOT_SATISFIED;
        assert_eq!(card.verify(PIN), Some(Status::OK));
        assert_eq!(card.sign_status(0x9c), Status::OK);
        assert_eq!(card.sign_status(0x9c), refused);
        assert_eq!(card.tries(), Status::OK, "for others it is still verified");
        assert_eq!(card.verify(PIN), Some(Status::OK));
        assert_eq!(card.sign_status(0x9c), Status::OK);
    }
}

#[test]
fn the_use_of_another_key_takes_the_pin_from_one_of_policy_always() {
    let card = Terminal::managed(Model::YubiKey5);
    card.generate(0x9a, P256, 0, 0);
    card.generate(0x9c, P256, 0, 0);
    assert_eq!(card.verify(PIN), Some(Status::OK));
    assert_eq!(card.sign_status(0x9a), Status::OK);
    assert_eq!(
        card.sign_status(0x9c),
        Status::SECURITY_STATUS_NOT_SATISFIED
    );
}

#[test]
fn policies_that_there_are_not_are_refused() {
    let card = Terminal::managed(Model::YubiKey57);
    for (pin, touch) in [(4, 0), (5, 0), (6, 0), (0, 4), (0, 0xff)] {
        assert_eq!(
            card.try_generate(0x9a, P256, pin, touch).1,
            Status::WRONG_DATA
        );
    }
    let plain = Terminal::managed(Model::Generic);
    assert_eq!(plain.try_generate(0x9a, P256, 1, 0).1, Status::WRONG_DATA);
    assert_eq!(plain.try_generate(0x9a, P256, 0, 1).1, Status::WRONG_DATA);
}

#[test]
fn an_empty_slot_and_another_algorithm_are_wrong_data() {
    let card = Terminal::managed(Model::YubiKey5);
    assert_eq!(card.sign_status(0x9e), Status::WRONG_DATA);
    card.generate(0x9e, P384, 0, 0);
    assert_eq!(card.sign_status(0x9e), Status::WRONG_DATA);
    assert_eq!(card.sign_status(0xf9), Status::WRONG_DATA);
}

#[test]
fn a_key_moves_to_another_slot_and_keeps_its_policies() {
    let card = Terminal::managed(Model::YubiKey57);
    let public = card.generate(0x9a, P256, 1, 3);
    assert_eq!(card.status(0xf6, 0x82, 0x9a, &[]), Status::OK);
    assert_eq!(card.card.slots(), [0x82]);
    assert_eq!(card.metadata(0x82, 0x04), public);
    assert_eq!(card.metadata(0x82, 0x02), [1, 3]);
    assert_eq!(
        card.status(0xf6, 0x83, 0x9a, &[]),
        Status::REFERENCE_NOT_FOUND
    );
    assert_eq!(card.status(0xf6, 0xf9, 0x82, &[]), Status::WRONG_PARAMETERS);
}

#[test]
fn a_key_that_is_deleted_is_gone() {
    let card = Terminal::managed(Model::YubiKey57);
    card.generate(0x95, P256, 0, 0);
    assert_eq!(card.status(0xf6, 0xff, 0x95, &[]), Status::OK);
    assert!(card.card.slots().is_empty());
    assert_eq!(card.status(0xf7, 0, 0x95, &[]), Status::REFERENCE_NOT_FOUND);
}
