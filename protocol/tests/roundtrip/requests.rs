//! What clients say.

use keyward_protocol::cbor::{self, CborError};
use keyward_protocol::key::{Format, Purpose};
use keyward_protocol::message::{Call, ClientMessage, Hello, ServerMessage};
use keyward_protocol::operation::*;
use keyward_protocol::piv::{PinPolicy, PivChoice, TouchPolicy};
use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;
use proptest::sample::select;

use crate::values::*;
use crate::{fields, one_encoding};

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
            bind: of(bind()),
            piv: of(piv_choice()),
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

fn piv_choice() -> impl Strategy<Value = PivChoice> {
    fields!(PivChoice {
        slot: of(any::<u8>()),
        pin_policy: of(select(PinPolicy::ALL)),
        touch_policy: of(select(TouchPolicy::ALL))
    })
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
        fields!(Attest {
            key: text(),
            nonce: byte_vec(),
            version: of(any::<u32>())
        })
        .prop_map(Request::from),
        fields!(Unseal { key: text() }).prop_map(Request::from),
        fields!(GetAttestationKey { token: of(text()) }).prop_map(Request::from),
        fields!(ActivateCredential {
            token: of(text()),
            challenge: byte_vec()
        })
        .prop_map(Request::from),
    ]
}

fn bind() -> impl Strategy<Value = BindPcrs> {
    fields!(BindPcrs {
        pcrs: vec(any::<u8>(), 0..4),
        recovery_key: of(text()),
        no_recovery: any::<bool>(),
    })
}

fn lifecycle_request() -> impl Strategy<Value = Request> {
    let material = prop_oneof![
        secret().prop_map(KeyMaterial::Pkcs8),
        secret().prop_map(KeyMaterial::Tss2),
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
            existing: of(text()),
            bind: of(bind()),
            piv: of(piv_choice()),
        })
        .prop_map(Request::from),
        fields!(Adopt {
            purpose: select(Purpose::ALL),
            place: text(),
            alias: of(text()),
            token: of(text()),
            formats: of(vec(select(Format::ALL), 0..7)),
            tags: of(tags()),
            key_type: of(key_type()),
        })
        .prop_map(Request::from),
        fields!(GetCertificate {
            key: text(),
            version: of(any::<u32>())
        })
        .prop_map(Request::from),
        fields!(WriteCertificate {
            key: text(),
            der: byte_vec()
        })
        .prop_map(Request::from),
        fields!(ChangePuk {
            token: of(text()),
            old: secret(),
            new: secret(),
            spend_withheld_try: any::<bool>()
        })
        .prop_map(Request::from),
        fields!(UnblockPin {
            token: of(text()),
            puk: secret(),
            new: secret(),
            spend_withheld_try: any::<bool>()
        })
        .prop_map(Request::from),
        fields!(NewManagementKey { token: of(text()) }).prop_map(Request::from),
        fields!(ResetToken {
            token: text(),
            serial: text()
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
        fields!(Export {
            key: text(),
            version: of(any::<u32>()),
            token: of(text())
        })
        .prop_map(Request::from),
        fields!(Reseal {
            key: text(),
            state: of(vec(any::<u8>(), 0..40).prop_map(Into::into)),
            drop_old: any::<bool>(),
        })
        .prop_map(Request::from),
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
        wait: any::<bool>(),
        request: request()
    });
    prop_oneof![
        1 => hello,
        8 => call.prop_map(ClientMessage::Call),
        1 => any::<u64>().prop_map(|id| ClientMessage::Cancel { id }),
    ]
}

proptest! {
    #[test]
    fn a_client_message_is_understood_as_it_was_meant(message in client_message()) {
        let bytes = message.encode();
        prop_assert_eq!(cbor::validate(&bytes), Ok(()));
        prop_assert_eq!(ClientMessage::decode(&bytes), Ok(message));
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
    fn what_is_cut_or_has_more_behind_it_is_refused(message in client_message(), more in vec(any::<u8>(), 1..4), place in any::<proptest::sample::Index>()) {
        let bytes = message.encode();
        let cut = &bytes[..place.index(bytes.len())];
        prop_assert!(ClientMessage::decode(cut).is_err());
        prop_assert!(ServerMessage::decode(cut).is_err());
        prop_assert_eq!(cbor::validate(cut), Err(CborError::Truncated));
        prop_assert_eq!(cbor::validate(&[bytes, more].concat()), Err(CborError::Trailing));
    }
}
