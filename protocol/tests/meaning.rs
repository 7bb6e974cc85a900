//! Each field is under the number that SPEC.md gives it: values made here and bytes made by the
//! second implementation are the same.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]

use keyward_protocol::key::{Format, Purpose};
use keyward_protocol::message::{Call, ClientMessage};
use keyward_protocol::operation::*;
use keyward_protocol::{Algorithm, CoseKey, KeyType, OperationCode, Request, SecretBytes};

use read::unhex;

#[path = "../vectors/read.rs"]
mod read;

const UUID: &str = "0b8f6f0e-5f0c-4c53-9d0a-3f3a54b0c9a1";
/// SHA-256 of `abc` (FIPS 180-2 appendix B.1).
const DIGEST: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

#[test]
fn every_field_is_under_its_number() {
    let requests: Vec<Request> = vec![
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
            bind: Some(BindPcrs {
                pcrs: vec![7, 11],
                recovery_key: Some("rescue".into()),
                no_recovery: false,
            }),
            piv: None,
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
        Encrypt {
            key: "k".into(),
            plaintext: SecretBytes::copy_from(b"plain"),
            context: context(),
            algorithm: Some(Algorithm::A256Gcm),
        }
        .into(),
        Decrypt {
            ciphertext: (0..40).collect::<Vec<u8>>().into(),
            key: Some("k".into()),
            context: context(),
        }
        .into(),
        GenerateDataKey {
            key: "k".into(),
            context: context(),
            length: Some(16),
            with_plaintext: true,
        }
        .into(),
        ReEncrypt {
            ciphertext: (0..40).collect::<Vec<u8>>().into(),
            source_key: Some("old".into()),
            source_context: Some([("a".into(), "1".into())].into()),
            key: Some("new".into()),
            context: context(),
        }
        .into(),
        Wrap {
            key: "k".into(),
            algorithm: Some(Algorithm::A256Kwp),
            plaintext: SecretBytes::copy_from(&(0..24).collect::<Vec<u8>>()),
        }
        .into(),
        Mac {
            key: "k".into(),
            message: SecretBytes::copy_from(b"message"),
        }
        .into(),
        VerifyMac {
            key: "k".into(),
            message: SecretBytes::copy_from(b"message"),
            tag: (0..48).collect::<Vec<u8>>().into(),
            version: Some(2),
        }
        .into(),
        HpkeOpen {
            key: "k".into(),
            algorithm: Some(Algorithm::Hpke0),
            enc: (0..65).collect::<Vec<u8>>().into(),
            ciphertext: (0..20).collect::<Vec<u8>>().into(),
            info: Some(b"info".to_vec().into()),
            aad: Some(b"aad".to_vec().into()),
            version: Some(1),
        }
        .into(),
        RequestCertificate {
            key: "k".into(),
            algorithm: Some(Algorithm::Esp256),
            subject: "CN=example.org".into(),
            names: vec![
                SubjectAltName::Dns("example.org".into()),
                SubjectAltName::Email("a@example.org".into()),
                SubjectAltName::Uri("https://example.org".into()),
                SubjectAltName::Ip(vec![192, 0, 2, 1].into()),
                SubjectAltName::Ip((0..16).collect::<Vec<u8>>().into()),
            ],
        }
        .into(),
        Attest {
            key: "k".into(),
            nonce: (0..32).collect::<Vec<u8>>().into(),
            version: Some(1),
        }
        .into(),
        GetAttestationKey {
            token: Some("main".into()),
        }
        .into(),
        ActivateCredential {
            token: Some("main".into()),
            challenge: (0..40).collect::<Vec<u8>>().into(),
        }
        .into(),
        Import {
            purpose: Purpose::Encrypt,
            material: KeyMaterial::Secret(
                KeyType::Aes256,
                SecretBytes::copy_from(&(0..32).collect::<Vec<u8>>()),
            ),
            alias: Some("web".into()),
            tokens: Some(vec!["main".into(), "spare".into()]),
            formats: Some(vec![Format::Raw]),
            tags: Some(
                [("b", "2"), ("aa", "1")]
                    .map(|(k, v)| (k.into(), v.into()))
                    .into(),
            ),
            existing: Some("k".into()),
            bind: Some(BindPcrs {
                pcrs: vec![7, 11],
                recovery_key: Some("rescue".into()),
                no_recovery: false,
            }),
            piv: None,
        }
        .into(),
        Rotate { key: "k".into() }.into(),
        Enable { key: "k".into() }.into(),
        Disable { key: "k".into() }.into(),
        MarkCompromised { key: "k".into() }.into(),
        Alias {
            key: "k".into(),
            add: vec!["web".into(), "www".into()],
            remove: vec!["old".into()],
        }
        .into(),
        Tag {
            key: "k".into(),
            set: [("b", "2"), ("aa", "1")]
                .map(|(k, v)| (k.into(), v.into()))
                .into(),
            remove: vec!["old".into()],
        }
        .into(),
        ChangePin {
            token: Some("main".into()),
            old: SecretBytes::copy_from(b"1234"),
            new: SecretBytes::copy_from(b"123456"),
            spend_withheld_try: true,
        }
        .into(),
        Rescan {
            token: Some("main".into()),
        }
        .into(),
        Backup { offset: 1 << 40 }.into(),
        Restore {
            offset: 49_152,
            bytes: b"part".to_vec().into(),
            total: 49_156,
            digest: std::array::from_fn::<u8, 32, _>(|i| i as u8).into(),
            dry_run: true,
        }
        .into(),
        AcceptRegistry {}.into(),
        Unseal { key: "k".into() }.into(),
        Adopt {
            purpose: Purpose::Sign,
            place: "9a".into(),
            alias: Some("web".into()),
            token: Some("main".into()),
            formats: Some(vec![Format::Raw, Format::Digest]),
            tags: Some(
                [("b", "2"), ("aa", "1")]
                    .map(|(k, v)| (k.into(), v.into()))
                    .into(),
            ),
            key_type: Some(KeyType::P256),
        }
        .into(),
        Export {
            key: "k".into(),
            version: Some(2),
            token: Some("main".into()),
        }
        .into(),
        GetCertificate {
            key: "k".into(),
            version: Some(2),
        }
        .into(),
        ChangePuk {
            token: Some("card".into()),
            old: SecretBytes::copy_from(b"12345678"),
            new: SecretBytes::copy_from(b"87654321"),
            spend_withheld_try: true,
        }
        .into(),
        UnblockPin {
            token: Some("card".into()),
            puk: SecretBytes::copy_from(b"12345678"),
            new: SecretBytes::copy_from(b"654321"),
            spend_withheld_try: true,
        }
        .into(),
        NewManagementKey {
            token: Some("card".into()),
        }
        .into(),
        ResetToken {
            token: "card".into(),
            serial: "12345678".into(),
        }
        .into(),
        WriteCertificate {
            key: "k".into(),
            der: (0..40).collect::<Vec<u8>>().into(),
        }
        .into(),
        Reseal {
            key: "k".into(),
            state: Some((0..32).collect::<Vec<u8>>().into()),
            drop_old: true,
        }
        .into(),
        Subscribe {}.into(),
        Absorb {
            stream: 3,
            offset: 1 << 40,
            bytes: b"part".to_vec().into(),
        }
        .into(),
    ];
    assert_eq!(requests.len(), OperationCode::ALL.len());
    for request in requests {
        let form = if matches!(
            request.code(),
            OperationCode::Status | OperationCode::Subscribe | OperationCode::AcceptRegistry
        ) {
            "shortest"
        } else {
            "all fields"
        };
        let name = format!("{}, {form}", request.code().name());
        let bytes = vector("requests.json", &name);
        let call = ClientMessage::Call(Call {
            id: 7,
            deadline_ms: None,
            wait: false,
            request,
        });
        assert_eq!(call.encode(), bytes, "{name}");
        assert_eq!(ClientMessage::decode(&bytes).as_ref(), Ok(&call), "{name}");
    }
}

fn context() -> Option<std::collections::BTreeMap<String, String>> {
    Some(
        [("b", "2"), ("aa", "1"), ("", "é")]
            .map(|(k, v)| (k.into(), v.into()))
            .into(),
    )
}

fn peer() -> CoseKey {
    CoseKey::from_spki(&vector("spki.json", "ec-p-256")).unwrap()
}

fn vector(file: &str, name: &str) -> Vec<u8> {
    let vectors: Vec<serde_json::Value> = read::vectors(file);
    let vector = vectors.iter().find(|v| v["name"] == name).unwrap();
    unhex(vector["hex"].as_str().unwrap())
}
