//! What agents say.

use keyward_protocol::cbor;
use keyward_protocol::event::{Event, EventCaller, EventKind};
use keyward_protocol::key::{Format, KeyState, Purpose};
use keyward_protocol::message::{ServerMessage, Welcome};
use keyward_protocol::operation::*;
use keyward_protocol::{ErrorCode, Failure, Thumbprint};
use minicbor::{Decode, Encode};
use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;
use proptest::sample::select;

use crate::fields;
use crate::values::*;

fn key_description() -> impl Strategy<Value = KeyDescription> {
    let placement = || {
        fields!(PlacementDescription {
            token: text(),
            locator: text(),
            local: any::<bool>(),
            always_sensitive: any::<bool>(),
            never_extractable: any::<bool>(),
            bound: of(fields!(BoundDescription {
                pcrs: vec(any::<u8>(), 0..4),
                recovery: of(any::<[u8; 32]>().prop_map(Thumbprint)),
                recovery_key: of(text()),
            })),
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
        destruction: of(text()),
    })
}

fn resealed() -> impl Strategy<Value = Resealed> {
    let digest = || any::<[u8; 32]>().prop_map(Into::into);
    let change = fields!(PcrChange {
        pcr: any::<u8>(),
        approved: digest(),
        current: digest(),
    });
    let place = fields!(ResealedPlace {
        version: any::<u32>(),
        token: text(),
        pcrs: vec(change, 0..3),
        approvals: any::<u32>(),
        approved: any::<bool>(),
        recovery_key: of(text()),
    });
    fields!(Resealed {
        key: text(),
        places: vec(place, 0..3),
        state: vec(any::<u8>(), 0..40).prop_map(Into::into),
        done: any::<bool>(),
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
        lockout_seconds: of(any::<u64>()),
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
        operation: of(any::<u32>()),
        caller: of(fields!(EventCaller {
            uid: any::<u32>(),
            pid: of(any::<u32>()),
            unit: of(text()),
            program: of(text())
        }))
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

proptest! {
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
        unsealed in fields!(Unsealed { data: secret(), key: text(), version: any::<u32>() }),
        destroyed in fields!(Destroyed { overwritten: of(vec(text(), 1..3)) }),
    ) {
        answers(&signature)?;
        answers(&verified)?;
        answers(&unwrapped)?;
        answers(&shared)?;
        answers(&random)?;
        answers(&unsealed)?;
        answers(&Done {})?;
        answers(&destroyed)?;
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
        attested in fields!(Attested { bundle: byte_vec(), key: text(), version: any::<u32>() }),
        attester in fields!(TokenAttestationKey { document: byte_vec(), token: text() }),
        activated in fields!(ActivatedCredential { secret: secret() }),
        request in fields!(CertificateRequest { der: byte_vec(), key: text(), version: any::<u32>() }),
    ) {
        answers(&encrypted)?;
        answers(&decrypted)?;
        answers(&data_key)?;
        answers(&again)?;
        answers(&wrapped)?;
        answers(&tag)?;
        answers(&request)?;
        answers(&attested)?;
        answers(&attester)?;
        answers(&activated)?;
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
        exported in fields!(Exported { pem: text(), token: text(), version: any::<u32>(), parent: any::<u32>() }),
        restored in fields!(Restored { complete: any::<bool>(), added: any::<u64>(), merged: any::<u64>(), kept: vec(text(), 0..3), bound: of(vec(text(), 0..3)) }),
        absorbed in fields!(Absorbed { length: any::<u64>() }),
        resealed in resealed(),
        certificate in fields!(Certificate { der: byte_vec(), token: text(), version: any::<u32>() }),
    ) {
        answers(&rescanned)?;
        answers(&part)?;
        answers(&restored)?;
        answers(&exported)?;
        answers(&absorbed)?;
        answers(&resealed)?;
        answers(&certificate)?;
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
}
