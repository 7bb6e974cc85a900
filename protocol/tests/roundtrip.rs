//! Whatever can be said is understood as it was meant, and has one encoding.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]

use keyward_protocol::cbor::{self, CborError};
use keyward_protocol::event::{Event, EventKind};
use keyward_protocol::frame::{self, FrameReader};
use keyward_protocol::key::{Format, KeyState, Purpose};
use keyward_protocol::message::{Call, ClientMessage, Hello, ServerMessage, Welcome};
use keyward_protocol::operation::*;
use keyward_protocol::{
    Algorithm, CoseKey, ErrorCode, Failure, KeyType, Request, SecretBytes, Thumbprint,
};
use minicbor::bytes::ByteVec;
use minicbor::{Decode, Encode};
use proptest::collection::{btree_map, vec};
use proptest::option::of;
use proptest::prelude::*;
use proptest::sample::select;

fn text() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z]{0,5}", ".{0,300}"]
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![vec(any::<u8>(), 0..30), vec(any::<u8>(), 0..700)]
}

fn byte_vec() -> impl Strategy<Value = ByteVec> {
    bytes().prop_map(ByteVec::from)
}

fn secret() -> impl Strategy<Value = SecretBytes> {
    bytes().prop_map(|bytes| SecretBytes::copy_from(&bytes))
}

fn tags() -> impl Strategy<Value = std::collections::BTreeMap<String, String>> {
    btree_map(text(), text(), 0..8)
}

fn algorithm() -> impl Strategy<Value = Algorithm> {
    select(&Algorithm::ALL[..])
}

fn key_type() -> impl Strategy<Value = KeyType> {
    select(&KeyType::ALL[..])
}

fn cose_key() -> impl Strategy<Value = CoseKey> {
    let rsa = (128_usize..300, vec(any::<u8>(), 300), 1_u32..).prop_map(|(length, mut n, e)| {
        n.truncate(length);
        n[0] |= 1;
        n[length - 1] |= 1;
        CoseKey::rsa(&n, &(e | 3).to_be_bytes()).unwrap()
    });
    prop_oneof![
        any::<([u8; 32], [u8; 32])>().prop_map(|(x, y)| CoseKey::P256 { x, y }),
        (vec(any::<u8>(), 48), vec(any::<u8>(), 48))
            .prop_map(|(x, y)| CoseKey::ec2(&x, &y).unwrap()),
        any::<[u8; 32]>().prop_map(|x| CoseKey::Ed25519 { x }),
        rsa,
    ]
}

fn sign_input() -> impl Strategy<Value = SignInput> {
    prop_oneof![
        bytes().prop_map(SignInput::Message),
        bytes().prop_map(SignInput::Digest),
        any::<u32>().prop_map(SignInput::Absorbed)
    ]
}

fn kdf() -> impl Strategy<Value = Kdf> {
    (algorithm(), of(byte_vec()), of(byte_vec()), any::<u32>()).prop_map(
        |(algorithm, salt, info, length)| Kdf {
            algorithm,
            salt,
            info,
            length,
        },
    )
}

/// A strategy of a struct by the strategies of its fields.
macro_rules! fields {
    ($type:ident { $($field:ident: $strategy:expr),* $(,)? }) => {
        ($($strategy,)*).prop_map(|($($field,)*)| $type { $($field),* })
    };
}

fn request() -> impl Strategy<Value = Request> {
    let version = || of(any::<u32>());
    prop_oneof![
        fields!(Sign {
            key: text(),
            algorithm: of(algorithm()),
            input: sign_input()
        })
        .prop_map(Request::from),
        fields!(Verify {
            key: text(),
            algorithm: of(algorithm()),
            input: sign_input(),
            signature: byte_vec(),
            version: version()
        })
        .prop_map(Request::from),
        fields!(Unwrap {
            key: text(),
            algorithm: of(algorithm()),
            ciphertext: byte_vec(),
            label: of(byte_vec()),
            version: version()
        })
        .prop_map(Request::from),
        fields!(Ecdh {
            key: text(),
            peer: cose_key(),
            kdf: of(kdf()),
            version: version()
        })
        .prop_map(Request::from),
        fields!(Random {
            length: any::<u32>(),
            token: of(text())
        })
        .prop_map(Request::from),
        fields!(GetPublicKey {
            key: text(),
            version: version()
        })
        .prop_map(Request::from),
        fields!(Create {
            purpose: select(Purpose::ALL),
            key_type: key_type(),
            alias: of(text()),
            token: of(text()),
            formats: of(vec(select(Format::ALL), 0..7)),
            tags: of(tags()),
        })
        .prop_map(Request::from),
        fields!(Destroy {
            key: text(),
            now: any::<bool>()
        })
        .prop_map(Request::from),
        fields!(Unlock {
            token: of(text()),
            pin: of(secret()),
            spend_withheld_try: any::<bool>()
        })
        .prop_map(Request::from),
        fields!(Lock { token: of(text()) }).prop_map(Request::from),
        fields!(AcceptToken { token: text() }).prop_map(Request::from),
        fields!(List { after: of(text()) }).prop_map(Request::from),
        fields!(Describe { key: text() }).prop_map(Request::from),
        Just(()).prop_map(|()| Request::from(Status {})),
        envelope_request(),
        lifecycle_request(),
    ]
}

fn envelope_request() -> impl Strategy<Value = Request> {
    let version = || of(any::<u32>());
    let name = prop_oneof![
        text().prop_map(SubjectAltName::Dns),
        text().prop_map(SubjectAltName::Email),
        text().prop_map(SubjectAltName::Uri),
        any::<[u8; 4]>().prop_map(|ip| SubjectAltName::Ip(ip.to_vec().into())),
        any::<[u8; 16]>().prop_map(|ip| SubjectAltName::Ip(ip.to_vec().into())),
    ];
    prop_oneof![
        fields!(Encrypt {
            key: text(),
            plaintext: secret(),
            context: of(tags()),
            algorithm: of(algorithm())
        })
        .prop_map(Request::from),
        fields!(Decrypt {
            ciphertext: byte_vec(),
            key: of(text()),
            context: of(tags())
        })
        .prop_map(Request::from),
        fields!(GenerateDataKey {
            key: text(),
            context: of(tags()),
            length: of(any::<u32>()),
            with_plaintext: any::<bool>()
        })
        .prop_map(Request::from),
        fields!(ReEncrypt {
            ciphertext: byte_vec(),
            source_key: of(text()),
            source_context: of(tags()),
            key: of(text()),
            context: of(tags())
        })
        .prop_map(Request::from),
        fields!(Wrap {
            key: text(),
            algorithm: of(algorithm()),
            plaintext: secret()
        })
        .prop_map(Request::from),
        fields!(Mac {
            key: text(),
            message: secret()
        })
        .prop_map(Request::from),
        fields!(VerifyMac {
            key: text(),
            message: secret(),
            tag: byte_vec(),
            version: version()
        })
        .prop_map(Request::from),
        fields!(HpkeOpen {
            key: text(),
            algorithm: of(algorithm()),
            enc: byte_vec(),
            ciphertext: byte_vec(),
            info: of(byte_vec()),
            aad: of(byte_vec()),
            version: version()
        })
        .prop_map(Request::from),
        fields!(RequestCertificate {
            key: text(),
            algorithm: of(algorithm()),
            subject: text(),
            names: vec(name, 0..5)
        })
        .prop_map(Request::from),
    ]
}

fn lifecycle_request() -> impl Strategy<Value = Request> {
    let material = prop_oneof![
        secret().prop_map(KeyMaterial::Pkcs8),
        (key_type(), secret()).prop_map(|(key_type, bytes)| KeyMaterial::Secret(key_type, bytes)),
    ];
    prop_oneof![
        fields!(Import {
            purpose: select(Purpose::ALL),
            material: material,
            alias: of(text()),
            tokens: of(vec(text(), 0..3)),
            formats: of(vec(select(Format::ALL), 0..7)),
            tags: of(tags()),
            existing: of(text())
        })
        .prop_map(Request::from),
        fields!(Rotate { key: text() }).prop_map(Request::from),
        fields!(Enable { key: text() }).prop_map(Request::from),
        fields!(Disable { key: text() }).prop_map(Request::from),
        fields!(MarkCompromised { key: text() }).prop_map(Request::from),
        fields!(Alias {
            key: text(),
            add: vec(text(), 0..3),
            remove: vec(text(), 0..3)
        })
        .prop_map(Request::from),
        fields!(Tag {
            key: text(),
            set: tags(),
            remove: vec(text(), 0..3)
        })
        .prop_map(Request::from),
        fields!(ChangePin {
            token: of(text()),
            old: secret(),
            new: secret(),
            spend_withheld_try: any::<bool>()
        })
        .prop_map(Request::from),
        Just(()).prop_map(|()| Request::from(AcceptRegistry {})),
        fields!(Rescan { token: of(text()) }).prop_map(Request::from),
        fields!(Backup {
            offset: any::<u64>()
        })
        .prop_map(Request::from),
        fields!(Restore {
            offset: any::<u64>(),
            bytes: byte_vec(),
            total: any::<u64>(),
            digest: any::<[u8; 32]>().prop_map(Into::into),
            dry_run: any::<bool>()
        })
        .prop_map(Request::from),
        Just(()).prop_map(|()| Request::from(Subscribe {})),
        fields!(Absorb {
            stream: any::<u32>(),
            offset: any::<u64>(),
            bytes: byte_vec()
        })
        .prop_map(Request::from),
    ]
}

fn client_message() -> impl Strategy<Value = ClientMessage> {
    let hello = (
        any::<(u32, u32)>(),
        vec(text(), 0..4),
        text(),
        of(any::<u32>()),
    )
        .prop_map(|((oldest, newest), features, software, max_frame)| {
            ClientMessage::Hello(Hello {
                oldest,
                newest,
                features,
                max_frame,
                ..Hello::new(software)
            })
        });
    let call = fields!(Call {
        id: any::<u64>(),
        deadline_ms: of(any::<u32>()),
        request: request()
    });
    prop_oneof![
        1 => hello,
        8 => call.prop_map(ClientMessage::Call),
        1 => any::<u64>().prop_map(|id| ClientMessage::Cancel { id }),
    ]
}

fn key_description() -> impl Strategy<Value = KeyDescription> {
    let placement = || {
        fields!(PlacementDescription {
            token: text(),
            locator: text(),
            local: any::<bool>(),
            always_sensitive: any::<bool>(),
            never_extractable: any::<bool>(),
        })
    };
    let version = fields!(VersionDescription {
        version: any::<u32>(),
        state: select(KeyState::ALL),
        created: any::<u64>(),
        thumbprint: proptest::option::of(any::<[u8; 32]>().prop_map(Thumbprint)),
        placements: vec(placement(), 0..3),
        id: text(),
    });
    fields!(KeyDescription {
        id: text(),
        aliases: vec(text(), 0..3),
        purpose: select(Purpose::ALL),
        key_type: key_type(),
        state: select(KeyState::ALL),
        algorithms: vec(algorithm(), 0..4),
        formats: vec(select(Format::ALL), 0..7),
        tags: tags(),
        created: any::<u64>(),
        versions: vec(version, 0..3),
    })
}

fn status_report() -> impl Strategy<Value = StatusReport> {
    let token = fields!(TokenStatus {
        name: text(),
        kind: text(),
        login: select(LoginState::ALL),
        identity: of(text()),
        problem: of(text()),
        pending: any::<u64>(),
        restarts: any::<u64>(),
        worker_pid: of(any::<u32>()),
    });
    let holding = fields!(Holding {
        name: text(),
        holds: any::<bool>(),
        detail: of(text())
    });
    fields!(StatusReport {
        software: text(),
        mode: text(),
        started: any::<u64>(),
        tokens: vec(token, 0..3),
        protections: vec(holding, 0..4),
        keys: any::<u64>(),
        audit_records: any::<u64>(),
        management_refused: of(text()),
        connections: any::<u64>(),
    })
}

fn key_list() -> impl Strategy<Value = KeyList> {
    let summary = fields!(KeySummary {
        id: text(),
        aliases: vec(text(), 0..3),
        purpose: select(Purpose::ALL),
        key_type: key_type(),
        state: select(KeyState::ALL),
        tokens: vec(text(), 0..3),
    });
    fields!(KeyList {
        keys: vec(summary, 0..4),
        next: of(text())
    })
}

fn public_key() -> impl Strategy<Value = PublicKey> {
    fields!(PublicKey {
        cose_key: cose_key(),
        spki: byte_vec(),
        thumbprint: any::<[u8; 32]>().prop_map(Thumbprint),
        key: text(),
        version: any::<u32>(),
    })
}

fn failure() -> impl Strategy<Value = Failure> {
    fields!(Failure {
        code: select(ErrorCode::ALL),
        message: text(),
        hint: of(text()),
        audit_id: of(text()),
    })
}

fn event() -> impl Strategy<Value = Event> {
    fields!(Event {
        kind: any::<u32>().prop_map(|n| EventKind::from_number(n % 16)),
        token: of(text()),
        key: of(text()),
        count: of(any::<u64>()),
    })
}

/// The answer decodes to itself from one deterministic item.
fn answers<T>(answer: &T) -> Result<(), TestCaseError>
where
    T: Encode<()> + for<'b> Decode<'b, ()> + PartialEq + std::fmt::Debug,
{
    let body = cbor::encode(answer);
    prop_assert_eq!(cbor::validate(&body), Ok(()));
    prop_assert_eq!(&cbor::decode_known::<T>(&body).unwrap(), answer);
    prop_assert_eq!(&cbor::decode_exact::<T>(&body).unwrap(), answer);
    let message = ServerMessage::Reply { id: 7, body: &body };
    let mut bytes = Vec::new();
    message.encode_into(&mut bytes);
    prop_assert_eq!(ServerMessage::decode(&bytes), Ok(message));
    Ok(())
}

/// What was accepted has no other encoding than the one that came, unless it holds what is to be ignored.
fn one_encoding(bytes: &[u8]) -> Result<(), TestCaseError> {
    if let Ok(message) = ClientMessage::decode(bytes)
        && !matches!(message, ClientMessage::Hello(_))
    {
        prop_assert_eq!(message.encode(), bytes);
    }
    if let Ok(message) = ServerMessage::decode(bytes) {
        let mut again = Vec::new();
        message.encode_into(&mut again);
        prop_assert_eq!(cbor::validate(&again), Ok(()));
        prop_assert_eq!(ServerMessage::decode(&again), Ok(message));
    }
    Ok(())
}

proptest! {
    #[test]
    fn a_client_message_is_understood_as_it_was_meant(message in client_message()) {
        let bytes = message.encode();
        prop_assert_eq!(cbor::validate(&bytes), Ok(()));
        prop_assert_eq!(ClientMessage::decode(&bytes), Ok(message));
    }

    #[test]
    fn a_welcome_a_failure_and_an_event_are_understood(
        welcome in fields!(Welcome {
            kind: Just(0_u32), version: any::<u32>(), features: vec(text(), 0..4), software: text(), max_frame: any::<u32>(),
        }),
        id in of(any::<u64>()), failure in failure(), event in event(),
    ) {
        for message in [ServerMessage::Welcome(welcome), ServerMessage::Failure { id, failure }, ServerMessage::Event(event)] {
            let mut bytes = Vec::new();
            message.encode_into(&mut bytes);
            prop_assert_eq!(cbor::validate(&bytes), Ok(()));
            prop_assert_eq!(ServerMessage::decode(&bytes), Ok(message));
        }
    }

    #[test]
    fn answers_about_keys_are_understood(
        description in key_description(), list in key_list(), public_key in public_key(), status in status_report(),
    ) {
        answers(&description)?;
        answers(&list)?;
        answers(&public_key)?;
        answers(&status)?;
    }

    #[test]
    fn answers_of_uses_are_understood(
        signature in fields!(Signature { signature: byte_vec(), algorithm: algorithm(), key: text(), version: any::<u32>() }),
        verified in fields!(Verified { valid: any::<bool>(), version: any::<u32>() }),
        unwrapped in fields!(Unwrapped { plaintext: secret(), key: text(), version: any::<u32>() }),
        shared in fields!(SharedSecret { secret: secret(), key: text(), version: any::<u32>() }),
        random in fields!(RandomBytes { bytes: secret(), token: text() }),
    ) {
        answers(&signature)?;
        answers(&verified)?;
        answers(&unwrapped)?;
        answers(&shared)?;
        answers(&random)?;
        answers(&Done {})?;
    }

    #[test]
    fn answers_about_envelopes_are_understood(
        encrypted in fields!(Encrypted { ciphertext: byte_vec(), key: text(), version: any::<u32>() }),
        decrypted in fields!(Decrypted { plaintext: secret(), key: text(), version: any::<u32>() }),
        data_key in fields!(DataKey { plaintext: of(secret()), ciphertext: byte_vec(), key: text(), version: any::<u32>() }),
        again in fields!(ReEncrypted {
            ciphertext: byte_vec(), key: text(), version: any::<u32>(), source_key: text(), source_version: any::<u32>(),
        }),
        wrapped in fields!(Wrapped { ciphertext: byte_vec(), algorithm: algorithm(), key: text(), version: any::<u32>() }),
        tag in fields!(MacTag { tag: byte_vec(), algorithm: algorithm(), key: text(), version: any::<u32>() }),
        request in fields!(CertificateRequest { der: byte_vec(), key: text(), version: any::<u32>() }),
    ) {
        answers(&encrypted)?;
        answers(&decrypted)?;
        answers(&data_key)?;
        answers(&again)?;
        answers(&wrapped)?;
        answers(&tag)?;
        answers(&request)?;
    }

    #[test]
    fn answers_about_what_is_kept_are_understood(
        rescanned in fields!(Rescanned {
            recovered: vec(fields!(Recovered {
                key: text(), version: any::<u32>(), purpose: select(Purpose::ALL), key_type: key_type(),
            }), 0..3),
            known: any::<u64>(), foreign: any::<u64>(), refused: vec(text(), 0..3), missing: vec(text(), 0..3),
        }),
        part in fields!(BackupPart { bytes: byte_vec(), next: of(any::<u64>()), total: any::<u64>() }),
        restored in fields!(Restored { complete: any::<bool>(), added: any::<u64>(), merged: any::<u64>(), kept: vec(text(), 0..3) }),
        absorbed in fields!(Absorbed { length: any::<u64>() }),
    ) {
        answers(&rescanned)?;
        answers(&part)?;
        answers(&restored)?;
        answers(&absorbed)?;
    }

    #[test]
    fn a_changed_byte_is_refused_or_means_just_what_it_says(
        message in client_message(), place in any::<proptest::sample::Index>(), byte in any::<u8>(),
    ) {
        let mut bytes = message.encode();
        let place = place.index(bytes.len());
        bytes[place] = byte;
        one_encoding(&bytes)?;
    }

    #[test]
    fn a_changed_byte_of_an_answer_does_no_harm(
        description in key_description(), place in any::<proptest::sample::Index>(), byte in any::<u8>(),
    ) {
        let mut body = cbor::encode(&description);
        let place = place.index(body.len());
        body[place] = byte;
        if let Ok(description) = cbor::decode_exact::<KeyDescription>(&body) {
            prop_assert_eq!(cbor::encode(&description), body);
        }
    }

    #[test]
    fn what_is_cut_or_has_more_behind_it_is_refused(message in client_message(), more in vec(any::<u8>(), 1..4), place in any::<proptest::sample::Index>()) {
        let bytes = message.encode();
        let cut = &bytes[..place.index(bytes.len())];
        prop_assert!(ClientMessage::decode(cut).is_err());
        prop_assert!(ServerMessage::decode(cut).is_err());
        prop_assert_eq!(cbor::validate(cut), Err(CborError::Truncated));
        prop_assert_eq!(cbor::validate(&[bytes, more].concat()), Err(CborError::Trailing));
    }

    #[test]
    fn arbitrary_bytes_do_no_harm(bytes in vec(any::<u8>(), 0..200)) {
        one_encoding(&bytes)?;
        let _ = CoseKey::from_spki(&bytes);
        let _ = CoseKey::from_sec1(&bytes);
    }

    #[test]
    fn frames_come_out_as_they_went_in(bodies in vec(bytes(), 0..6), step in 1_usize..900) {
        let mut stream = Vec::new();
        for body in &bodies {
            frame::write(body, frame::MAX_FRAME, &mut stream).unwrap();
        }
        let mut reader = FrameReader::default();
        let mut out = Vec::new();
        for piece in stream.chunks(step) {
            reader.push(piece);
            while let Some(frame) = reader.next_frame(frame::MAX_FRAME).unwrap() {
                out.push(frame.to_vec());
            }
        }
        prop_assert_eq!(out, bodies);
        prop_assert!(!reader.is_partial());
    }

    #[test]
    fn a_key_survives_every_form(key in cose_key()) {
        let bytes = cbor::encode(&key);
        prop_assert_eq!(&cbor::decode_exact::<CoseKey>(&bytes).unwrap(), &key);
        prop_assert_eq!(&CoseKey::from_spki(&key.to_spki().unwrap()).unwrap(), &key);
        if let Some(point) = key.to_sec1() {
            prop_assert_eq!(CoseKey::from_sec1(&point), Some(key.clone()));
        }
        let thumbprint = Thumbprint::of(&key);
        prop_assert_eq!(Thumbprint::from_hex(&thumbprint.to_string()), Some(thumbprint));
    }

    #[test]
    fn a_thumbprint_has_one_hexadecimal_form(text in "[0-9a-fA-F+ ]{62,66}") {
        if let Some(thumbprint) = Thumbprint::from_hex(&text) {
            prop_assert_eq!(thumbprint.to_string(), text);
        }
    }
}
