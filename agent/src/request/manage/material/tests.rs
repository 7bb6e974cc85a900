#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING,
    ECDSA_P521_SHA512_FIXED_SIGNING, EcdsaKeyPair,
};
use keyward_protocol::SecretBytes;
use proptest::prelude::*;

use super::*;

fn pkcs8(bytes: &[u8]) -> Result<Kind, Failure> {
    inspect(&KeyMaterial::Pkcs8(SecretBytes::copy_from(bytes)))
}

fn refused(bytes: &[u8]) -> String {
    let failure = pkcs8(bytes).unwrap_err();
    assert_eq!(failure.code, ErrorCode::Invalid);
    failure.message
}

fn p256() -> (Vec<u8>, CoseKey) {
    let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
    let der = EcdsaKeyPair::generate_pkcs8(algorithm, &SystemRandom::new()).unwrap();
    let pair = EcdsaKeyPair::from_pkcs8(algorithm, der.as_ref()).unwrap();
    let public = CoseKey::from_sec1(pair.public_key().as_ref()).unwrap();
    (der.as_ref().to_vec(), public)
}

fn rsa_2048() -> (Vec<u8>, Vec<u8>) {
    let pair = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
    let der: Pkcs8V1Der<'static> = pair.as_der().unwrap();
    (der.as_ref().to_vec(), pair.public_key().as_ref().to_vec())
}

/// A PrivateKeyInfo of version 1 around a private key.
fn around(
    oid: ObjectIdentifier,
    parameters: Option<der::asn1::AnyRef<'_>>,
    inner: &[u8],
) -> Vec<u8> {
    let algorithm = AlgorithmIdentifierRef { oid, parameters };
    let key = OctetStringRef::new(inner).unwrap();
    PrivateKeyInfoRef::new(algorithm, key).to_der().unwrap()
}

#[test]
fn the_public_part_is_computed_from_the_private_one() {
    let (der, public) = p256();
    let kind = pkcs8(&der).unwrap();
    assert_eq!((kind.key_type, kind.public), (KeyType::P256, Some(public)));

    let algorithm = &ECDSA_P384_SHA384_FIXED_SIGNING;
    let der = EcdsaKeyPair::generate_pkcs8(algorithm, &SystemRandom::new()).unwrap();
    let pair = EcdsaKeyPair::from_pkcs8(algorithm, der.as_ref()).unwrap();
    let public = CoseKey::from_sec1(pair.public_key().as_ref());
    let kind = pkcs8(der.as_ref()).unwrap();
    assert_eq!((kind.key_type, kind.public), (KeyType::P384, public));

    let pair = Ed25519KeyPair::generate().unwrap();
    let x = pair.public_key().as_ref().try_into().unwrap();
    for der in [pair.to_pkcs8v1().unwrap(), pair.to_pkcs8().unwrap()] {
        let kind = pkcs8(der.as_ref()).unwrap();
        assert_eq!(kind.key_type, KeyType::Ed25519);
        assert_eq!(kind.public, Some(CoseKey::Ed25519 { x }));
    }

    let (der, public) = rsa_2048();
    let kind = pkcs8(&der).unwrap();
    assert_eq!(kind.key_type, KeyType::Rsa2048);
    let Some(CoseKey::Rsa { n, e }) = kind.public else {
        panic!("{kind:?}");
    };
    assert_eq!(e, RSA_EXPONENT);
    assert!(public.windows(n.len()).any(|window| window == n));
}

#[test]
fn a_secret_key_is_as_long_as_its_type() {
    let secret = |key_type, length| {
        let bytes = SecretBytes::zeroed(length);
        inspect(&KeyMaterial::Secret(key_type, bytes)).map(|kind| kind.public)
    };
    assert_eq!(secret(KeyType::Aes128, 16), Ok(None));
    assert_eq!(secret(KeyType::HmacSha512, 64), Ok(None));
    let words = secret(KeyType::Aes256, 16).unwrap_err().message;
    assert!(words.contains("has 32 bytes, not 16"), "{words}");
    let words = secret(KeyType::P256, 32).unwrap_err().message;
    assert!(words.contains("PKCS#8"), "{words}");
}

#[test]
fn what_is_not_der_of_one_key_alone_is_refused() {
    let (der, _) = p256();
    let mut longer = der.clone();
    longer.push(0);
    for bytes in [
        &[][..],
        b"-----BEGIN PRIVATE KEY-----",
        &der[1..],
        &der[..der.len() - 1],
        &longer,
    ] {
        assert!(refused(bytes).contains("PrivateKeyInfo in DER"));
    }
    // An attribute behind the key: [0] {}.
    let mut with_attributes = der.clone();
    with_attributes.extend([0xa0, 0]);
    let length = u8::try_from(with_attributes.len() - 3).unwrap();
    assert_eq!(with_attributes[..2], [0x30, 0x81]);
    with_attributes[2] = length;
    assert!(refused(&with_attributes).contains("nothing beside the key"));
}

#[test]
fn keys_of_other_kinds_are_refused() {
    let algorithm = &ECDSA_P521_SHA512_FIXED_SIGNING;
    let der = EcdsaKeyPair::generate_pkcs8(algorithm, &SystemRandom::new()).unwrap();
    assert!(refused(der.as_ref()).contains("curve"));
    let x25519 = ObjectIdentifier::new_unwrap("1.3.101.110");
    assert!(refused(&around(x25519, None, &[4, 32])).contains("algorithm"));
    let null = Some(der::asn1::AnyRef::NULL);
    assert!(refused(&around(ID_ED25519, null, &[4, 32])).contains("algorithm"));
    assert!(refused(&around(RSA_ENCRYPTION, None, &[4, 32])).contains("algorithm"));
    assert!(
        refused(&around(
            ID_ED25519,
            None,
            &[[4, 31].as_slice(), &[7; 31]].concat()
        ))
        .len()
            > 9
    );
}

/// An EC key of a number on P-256.
fn ec_key(private: &[u8], public: Option<&[u8]>, curve: Option<ObjectIdentifier>) -> Vec<u8> {
    let key = EcPrivateKey {
        private_key: private,
        parameters: curve.map(EcParameters::NamedCurve),
        public_key: public,
    };
    let parameters = Some((&SECP256R1).into());
    around(ID_EC_PUBLIC_KEY, parameters, &key.to_der().unwrap())
}

#[test]
fn an_ec_key_must_be_a_number_of_its_curve_and_agree_with_its_public_part() {
    let one = {
        let mut one = [0; 32];
        one[31] = 1;
        one
    };
    let kind = pkcs8(&ec_key(&one, None, None)).unwrap();
    let generator = kind.public.and_then(|public| public.to_sec1()).unwrap();
    assert!(pkcs8(&ec_key(&one, Some(&generator), Some(SECP256R1))).is_ok());
    assert!(refused(&ec_key(&[0; 32], None, None)).contains("range"));
    assert!(refused(&ec_key(&[0xff; 32], None, None)).contains("range"));
    assert!(refused(&ec_key(&one[1..], None, None)).contains("DER"));
    assert!(refused(&ec_key(&one, None, Some(SECP384R1))).contains("two curves"));
    let (_, other) = p256();
    let other = other.to_sec1().unwrap();
    assert!(refused(&ec_key(&one, Some(&other), None)).contains("another private key"));
}

#[test]
fn an_rsa_key_must_have_65537_and_numbers_that_belong_together() {
    let (der, _) = rsa_2048();
    let info = PrivateKeyInfoRef::from_der(&der).unwrap();
    let inner = info.private_key.as_bytes();
    let good = pkcs1::RsaPrivateKey::<UintRef<'_>>::from_der(inner).unwrap();
    let null = Some(der::asn1::AnyRef::NULL);
    let with = |key: &pkcs1::RsaPrivateKey<UintRef<'_>>| {
        refused(&around(RSA_ENCRYPTION, null, &key.to_der().unwrap()))
    };
    let mut key = good.clone();
    key.public_exponent = UintRef::new(&[3]).unwrap();
    assert!(with(&key).contains("65537"));
    let mut key = good.clone();
    key.prime1 = good.prime2;
    assert!(with(&key).contains("belong together"));
    let mut other = good.private_exponent.as_bytes().to_vec();
    other[9] ^= 1;
    let mut key = good.clone();
    key.private_exponent = UintRef::new(&other).unwrap();
    assert!(with(&key).contains("belong together"));
    let mut short = good.clone();
    short.modulus = UintRef::new(&good.modulus.as_bytes()[..255]).unwrap();
    assert!(with(&short).contains("bits"));
}

proptest! {
    #[test]
    fn nothing_in_the_bytes_makes_it_panic(
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
        cut in any::<prop::sample::Index>(),
        noise in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let _ = pkcs8(&noise);
        let (mut der, _) = p256();
        let place = at.index(der.len());
        der[place] = byte;
        // A changed key that is taken is at least one that agrees with itself.
        let _ = pkcs8(&der);
        let _ = pkcs8(&der[..cut.index(der.len())]);
    }
}
