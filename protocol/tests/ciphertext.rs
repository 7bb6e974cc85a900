//! Ciphertexts: every vector of `vectors/ciphertext.json`, and any that the types can hold.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]

use keyward_protocol::cbor::CborError;
use keyward_protocol::ciphertext::{
    Body, Ciphertext, CiphertextError, Context, Header, MAX_CIPHERTEXT, Scheme,
};
use proptest::collection::vec;
use proptest::prelude::*;
use serde::Deserialize;
use std::collections::BTreeMap;
use uuid::Uuid;

use read::{unhex, vectors};

#[path = "../vectors/read.rs"]
mod read;

#[derive(Deserialize)]
struct Vector {
    name: String,
    hex: String,
    error: Option<String>,
    #[serde(flatten)]
    accepted: Option<Accepted>,
}

#[derive(Deserialize)]
struct Accepted {
    scheme: String,
    kid: String,
    version: u32,
    context: BTreeMap<String, String>,
    aad: String,
    content: String,
    plaintext: String,
    iv: Option<String>,
    ek: Option<String>,
    encrypted_key: Option<String>,
}

fn name(error: CiphertextError) -> &'static str {
    match error {
        CiphertextError::TooLarge => "too-large",
        CiphertextError::NotCiphertext => "not-ciphertext",
        CiphertextError::UnknownFormat(_) => "unknown-format",
        CiphertextError::Malformed(error) => match error {
            CborError::Truncated => "truncated",
            CborError::Trailing => "trailing",
            CborError::NotShortest => "not-shortest",
            CborError::Indefinite => "indefinite",
            CborError::KeyOrder => "key-order",
            CborError::Unsupported => "unsupported",
            CborError::Shape => "shape",
            _ => "new",
        },
        _ => "new",
    }
}

fn scheme(name: &str) -> Scheme {
    match name {
        "A128GCM" => Scheme::A128Gcm,
        "A256GCM" => Scheme::A256Gcm,
        "HPKE-0" => Scheme::Hpke0,
        "HPKE-7" => Scheme::Hpke7,
        "RSA-OAEP" => Scheme::RsaOaep,
        other => panic!("{other}"),
    }
}

#[test]
fn ciphertexts_are_read_and_made_as_the_vectors_say() {
    let (mut accepted, mut refused) = (0, 0);
    for vector in vectors::<Vector>("ciphertext.json") {
        let bytes = unhex(&vector.hex);
        match Ciphertext::decode(&bytes) {
            Ok(ciphertext) => {
                let wanted = vector.accepted.expect(&vector.name);
                check(&vector.name, &ciphertext, &wanted);
                assert_eq!(ciphertext.encode(), bytes, "{}", vector.name);
                accepted += 1;
            }
            Err(error) => {
                let wanted = vector.error.as_deref();
                assert_eq!(wanted, Some(name(error)), "{}: {error}", vector.name);
                refused += 1;
            }
        }
    }
    assert!(
        accepted >= 30 && refused >= 100,
        "{accepted} and {refused} vectors"
    );
}

fn check(name: &str, ciphertext: &Ciphertext, wanted: &Accepted) {
    assert_eq!(ciphertext.scheme(), scheme(&wanted.scheme), "{name}");
    assert_eq!(ciphertext.kid().to_string(), wanted.kid, "{name}");
    assert_eq!(ciphertext.version(), wanted.version, "{name}");
    assert_eq!(ciphertext.content(), unhex(&wanted.content), "{name}");
    let plaintext = ciphertext.plaintext_length();
    assert_eq!(plaintext, wanted.plaintext.len() / 2, "{name}");
    let bytes = |hex: &Option<String>| hex.as_deref().map(unhex);
    let iv = ciphertext.iv().map(|iv| iv.to_vec());
    assert_eq!(iv, bytes(&wanted.iv), "{name}");
    let ek = ciphertext.ek().map(|ek| ek.to_vec());
    assert_eq!(ek, bytes(&wanted.ek), "{name}");
    let key = ciphertext.encrypted_key().map(<[u8]>::to_vec);
    assert_eq!(key, bytes(&wanted.encrypted_key), "{name}");
    let context = Context::new(wanted.context.clone()).unwrap();
    assert_eq!(ciphertext.aad(&context), unhex(&wanted.aad), "{name}");
}

#[test]
fn every_cut_and_every_flipped_bit_is_refused_or_still_one_encoding() {
    for vector in vectors::<Vector>("ciphertext.json")
        .iter()
        .filter(|v| v.hex.len() < 2000)
    {
        let bytes = unhex(&vector.hex);
        if Ciphertext::decode(&bytes).is_err() {
            continue;
        }
        for end in 0..bytes.len() {
            assert!(
                Ciphertext::decode(&bytes[..end]).is_err(),
                "{}",
                vector.name
            );
        }
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            if let Ok(other) = Ciphertext::decode(&flipped) {
                assert_eq!(other.encode(), flipped, "{}, bit {bit}", vector.name);
            }
        }
    }
}

fn ciphertext() -> impl Strategy<Value = Ciphertext> {
    let scheme = prop::sample::select(&Scheme::ALL[..]);
    let key = prop::sample::select(&[256, 384, 512][..]);
    let iv = any::<[u8; 12]>();
    let point = vec(any::<u8>(), 64);
    let content = vec(any::<u8>(), 16..600);
    let header = (scheme, any::<u128>(), 1..=u32::MAX);
    (header, iv, point, key, content).prop_map(
        |((scheme, kid, version), iv, point, key, content)| {
            let header = Header::new(scheme, Uuid::from_u128(kid), version).unwrap();
            let body = match scheme {
                Scheme::Hpke0 | Scheme::Hpke7 => Body::Hpke {
                    ek: [&[4], &point[..]].concat().try_into().unwrap(),
                },
                Scheme::RsaOaep => Body::RsaOaep {
                    iv,
                    encrypted_key: vec![7; key],
                },
                _ => Body::AesGcm { iv },
            };
            Ciphertext::new(header, body, content).unwrap()
        },
    )
}

fn context() -> impl Strategy<Value = Context> {
    prop::collection::btree_map("\\PC{1,30}", "\\PC{0,40}", 0..16)
        .prop_map(|entries| Context::new(entries).unwrap())
}

proptest! {
    #[test]
    fn what_is_made_is_read_again(ciphertext in ciphertext()) {
        let bytes = ciphertext.encode();
        prop_assert_eq!(Ciphertext::decode(&bytes), Ok(ciphertext));
    }

    #[test]
    fn any_bytes_are_refused_or_are_the_one_encoding(bytes in vec(any::<u8>(), 0..300)) {
        for tag in [&[][..], &[0xd0], &[0xd8, 96]] {
            let bytes = [tag, &bytes].concat();
            if let Ok(ciphertext) = Ciphertext::decode(&bytes) {
                prop_assert_eq!(ciphertext.encode(), bytes);
            }
        }
    }

    #[test]
    fn other_headers_and_contexts_have_another_aad(a in (ciphertext(), context()), b in (ciphertext(), context())) {
        let same = a.0.header() == b.0.header() && a.1 == b.1;
        prop_assert_eq!(a.0.aad(&a.1) == b.0.aad(&b.1), same);
    }
}

#[test]
fn parts_that_do_not_fit_make_no_ciphertext() {
    let header = |scheme| Header::new(scheme, Uuid::nil(), 1).unwrap();
    let aes = || Body::AesGcm { iv: [0; 12] };
    let rsa = |length| Body::RsaOaep {
        iv: [0; 12],
        encrypted_key: vec![0; length],
    };
    let shape = Err(CiphertextError::Malformed(CborError::Shape));
    for (scheme, body) in [
        (Scheme::Hpke7, aes()),
        (Scheme::RsaOaep, aes()),
        (Scheme::A256Gcm, rsa(256)),
        (Scheme::RsaOaep, rsa(255)),
        (Scheme::Hpke0, Body::Hpke { ek: [2; 65] }),
    ] {
        assert_eq!(Ciphertext::new(header(scheme), body, vec![0; 16]), shape);
    }
    let new = |length| Ciphertext::new(header(Scheme::A256Gcm), aes(), vec![0; length]);
    assert_eq!(new(15), shape);
    let rest = new(1000).unwrap().encode().len() - 1000;
    assert!(new(MAX_CIPHERTEXT - rest).is_ok());
    let too_large = Err(CiphertextError::TooLarge);
    assert_eq!(new(MAX_CIPHERTEXT - rest + 1), too_large);
    assert!(Header::new(Scheme::A256Gcm, Uuid::nil(), 0).is_none());
}
