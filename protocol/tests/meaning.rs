//! Each field is under the number that SPEC.md gives it: values made here and bytes made by the
//! second implementation are the same.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]

use std::path::Path;

use keyward_protocol::key::{Format, Purpose};
use keyward_protocol::message::{Call, ClientMessage};
use keyward_protocol::operation::*;
use keyward_protocol::{Algorithm, CoseKey, KeyType, OperationCode, Request, SecretBytes};

const UUID: &str = "0b8f6f0e-5f0c-4c53-9d0a-3f3a54b0c9a1";
/// SHA-256 of `abc` (FIPS 180-2 appendix B.1).
const DIGEST: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

#[test]
fn every_field_is_under_its_number() {
    let requests: [Request; 14] = [
        Sign {
            key: UUID.into(),
            algorithm: Some(Algorithm::Esp256),
            input: SignInput::Message(b"abc".into()),
        }
        .into(),
        Verify {
            key: "k".into(),
            algorithm: Some(Algorithm::Ed25519),
            input: SignInput::Digest(unhex(DIGEST)),
            signature: (0..64).collect::<Vec<u8>>().into(),
            version: Some(2),
        }
        .into(),
        Unwrap {
            key: "k".into(),
            algorithm: Some(Algorithm::RsaOaepSha256),
            ciphertext: (0..=255).collect::<Vec<u8>>().into(),
            label: Some(b"label".to_vec().into()),
            version: Some(3),
        }
        .into(),
        Ecdh {
            key: "k".into(),
            peer: peer(),
            kdf: Some(Kdf {
                algorithm: Algorithm::EcdhHkdfSha256,
                salt: Some(b"salt".to_vec().into()),
                info: Some(b"info".to_vec().into()),
                length: 32,
            }),
            version: Some(1),
        }
        .into(),
        Random {
            length: 1024,
            token: Some("main".into()),
        }
        .into(),
        GetPublicKey {
            key: "k".into(),
            version: Some(4),
        }
        .into(),
        Create {
            purpose: Purpose::Sign,
            key_type: KeyType::P256,
            alias: Some("web".into()),
            token: Some("main".into()),
            formats: Some(vec![Format::Raw, Format::Digest]),
            tags: Some(
                [("b", "2"), ("aa", "1"), ("", "é")]
                    .map(|(k, v)| (k.into(), v.into()))
                    .into(),
            ),
        }
        .into(),
        Destroy {
            key: "k".into(),
            now: true,
        }
        .into(),
        Unlock {
            token: Some("main".into()),
            pin: Some(SecretBytes::copy_from(b"1234")),
            spend_withheld_try: true,
        }
        .into(),
        Lock {
            token: Some("main".into()),
        }
        .into(),
        AcceptToken {
            token: "main".into(),
        }
        .into(),
        List {
            after: Some(UUID.into()),
        }
        .into(),
        Describe { key: "k".into() }.into(),
        Status {}.into(),
    ];
    assert_eq!(requests.len(), OperationCode::ALL.len());
    for request in requests {
        let form = if request.code() == OperationCode::Status {
            "shortest"
        } else {
            "all fields"
        };
        let name = format!("{}, {form}", request.code().name());
        let bytes = vector("requests.json", &name);
        let call = ClientMessage::Call(Call {
            id: 7,
            deadline_ms: None,
            request,
        });
        assert_eq!(call.encode(), bytes, "{name}");
        assert_eq!(ClientMessage::decode(&bytes).as_ref(), Ok(&call), "{name}");
    }
}

fn peer() -> CoseKey {
    CoseKey::from_spki(&vector("spki.json", "ec-p-256")).unwrap()
}

fn vector(file: &str, name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("vectors")
        .join(file);
    let file: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let vectors = file["vectors"].as_array().unwrap();
    let vector = vectors.iter().find(|v| v["name"] == name).unwrap();
    unhex(vector["hex"].as_str().unwrap())
}

fn unhex(hex: &str) -> Vec<u8> {
    let digits = |i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap();
    (0..hex.len()).step_by(2).map(digits).collect()
}
