//! Every vector of `vectors/`: what must be accepted is, and comes out as the same bytes; what
//! must be refused is, for the reason that the vector gives.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]

use keyward_protocol::cbor::{self, CborError};
use keyward_protocol::frame::{self, FrameReader};
use keyward_protocol::message::{ClientMessage, ClientMessageError, ServerMessage};
use keyward_protocol::operation::{self, Operation};
use keyward_protocol::spki::SpkiError;
use keyward_protocol::{CoseKey, KeyType, OperationCode, Thumbprint};
use serde::Deserialize;

use read::unhex;

#[path = "../vectors/read.rs"]
mod read;

#[derive(Deserialize)]
struct Vector {
    name: String,
    hex: String,
    outcome: String,
    error: Option<String>,
    id: Option<u64>,
    side: Option<String>,
    same: Option<bool>,
    body: Option<bool>,
    operation: Option<String>,
    deadline: Option<u32>,
    #[serde(default)]
    wait: bool,
    code: Option<String>,
    kind: Option<String>,
    thumbprint: Option<String>,
    key_type: Option<String>,
    cose_key: Option<String>,
    limit: Option<usize>,
    frames: Option<Vec<String>>,
    left: Option<usize>,
}

impl Vector {
    /// The reason that it gives is this one.
    #[track_caller]
    fn refused_as(&self, name: &str) {
        assert_eq!(self.error.as_deref(), Some(name), "{}", self.name);
    }

    fn bytes(&self) -> Vec<u8> {
        unhex(&self.hex)
    }

    fn accepted(&self) -> bool {
        match self.outcome.as_str() {
            "accept" => true,
            "reject" => false,
            other => panic!("{}: the outcome {other}", self.name),
        }
    }

    /// The reason of a reject.
    fn reason(&self) -> &str {
        self.error.as_deref().expect("a reject has its error")
    }
}

/// The vectors of a file, of which about half must be rejects.
fn vectors(file: &str) -> Vec<Vector> {
    let vectors: Vec<Vector> = read::vectors(file);
    let rejects = vectors.iter().filter(|v| !v.accepted()).count();
    assert!(rejects * 3 >= vectors.len(), "{file}: too few rejects");
    vectors
}

fn name(error: CborError) -> &'static str {
    match error {
        CborError::Truncated => "truncated",
        CborError::Trailing => "trailing",
        CborError::NotShortest => "not-shortest",
        CborError::Indefinite => "indefinite",
        CborError::KeyOrder => "key-order",
        CborError::Utf8 => "utf8",
        CborError::TooDeep => "too-deep",
        CborError::Unsupported => "unsupported",
        CborError::Shape => "shape",
        _ => "new",
    }
}

#[test]
fn items_of_the_profile_are_told_from_others() {
    for vector in vectors("cbor.json") {
        match cbor::validate(&vector.bytes()) {
            Ok(()) => assert!(vector.accepted(), "{}: accepted", vector.name),
            Err(error) => vector.refused_as(name(error)),
        }
    }
}

#[test]
fn streams_fall_into_their_frames_however_they_arrive() {
    for vector in vectors("frames.json") {
        let bytes = vector.bytes();
        for step in [1, 3, bytes.len().max(1)] {
            let mut reader = FrameReader::default();
            let mut frames = Vec::new();
            let mut refused = false;
            for piece in bytes.chunks(step) {
                reader.push(piece);
                loop {
                    match reader.next_frame(vector.limit.unwrap()) {
                        Ok(Some(frame)) => frames.push(frame.to_vec()),
                        Ok(None) => break,
                        Err(_) => {
                            refused = true;
                            break;
                        }
                    }
                }
                if refused {
                    break;
                }
            }
            assert_eq!(refused, !vector.accepted(), "{}", vector.name);
            let wanted: Vec<_> = vector.frames.iter().flatten().map(|f| unhex(f)).collect();
            assert_eq!(frames, wanted, "{}", vector.name);
            if vector.accepted() {
                let left = vector.left.unwrap();
                assert_eq!(reader.is_partial(), left > 0, "{}", vector.name);
                let mut again = Vec::new();
                for frame in &frames {
                    frame::write(frame, vector.limit.unwrap(), &mut again).unwrap();
                }
                assert_eq!(again, bytes[..bytes.len() - left], "{}", vector.name);
            }
        }
    }
}

#[test]
fn hello_and_welcome_are_read_as_they_are_written() {
    for vector in vectors("hello.json") {
        let bytes = vector.bytes();
        let error = if vector.side.as_deref() == Some("client") {
            match ClientMessage::decode(&bytes) {
                Ok(message) => {
                    assert!(
                        matches!(message, ClientMessage::Hello(_)),
                        "{}",
                        vector.name
                    );
                    same(&vector, &message.encode());
                    continue;
                }
                Err(ClientMessageError::Malformed(error)) => error,
                Err(error) => panic!("{}: {error}", vector.name),
            }
        } else {
            match ServerMessage::decode(&bytes) {
                Ok(message) => {
                    assert!(
                        matches!(message, ServerMessage::Welcome(_)),
                        "{}",
                        vector.name
                    );
                    same(&vector, &encoded(&message));
                    continue;
                }
                Err(error) => error,
            }
        };
        vector.refused_as(name(error));
    }
}

/// An accepted vector that has nothing unknown comes out as it went in.
fn same(vector: &Vector, again: &[u8]) {
    assert!(vector.accepted(), "{}: accepted", vector.name);
    let same = again == vector.bytes();
    assert_eq!(same, vector.same.unwrap_or(true), "{}", vector.name);
}

fn encoded(message: &ServerMessage<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    message.encode_into(&mut bytes);
    bytes
}

#[test]
fn calls_and_cancels_are_taken_or_answered_as_the_specification_says() {
    for vector in vectors("requests.json") {
        let answer = match ClientMessage::decode(&vector.bytes()) {
            Ok(message) => {
                same(&vector, &message.encode());
                let id = match &message {
                    ClientMessage::Call(call) => {
                        let operation = call.request.code().name();
                        assert_eq!(
                            vector.operation.as_deref(),
                            Some(operation),
                            "{}",
                            vector.name
                        );
                        assert_eq!(call.deadline_ms, vector.deadline, "{}", vector.name);
                        assert_eq!(call.wait, vector.wait, "{}", vector.name);
                        call.id
                    }
                    ClientMessage::Cancel { id } => *id,
                    ClientMessage::Hello(_) => panic!("{}: a hello", vector.name),
                };
                assert_eq!(vector.id, Some(id), "{}", vector.name);
                continue;
            }
            Err(ClientMessageError::Malformed(_)) => ("malformed", None),
            Err(ClientMessageError::Body { id, .. }) => ("malformed", Some(id)),
            Err(ClientMessageError::UnknownOperation { id, .. }) => ("unsupported", Some(id)),
            Err(error) => panic!("{}: {error}", vector.name),
        };
        assert!(!vector.accepted(), "{}: refused", vector.name);
        assert_eq!(answer, (vector.reason(), vector.id), "{}", vector.name);
    }
}

#[test]
fn replies_are_read_as_answers_of_their_operation() {
    for vector in vectors("replies.json") {
        let bytes = vector.bytes();
        let operation = vector.operation.as_deref().unwrap();
        let code = *OperationCode::ALL
            .iter()
            .find(|c| c.name() == operation)
            .unwrap();
        let (id, body) = match ServerMessage::decode(&bytes) {
            Ok(ServerMessage::Reply { id, body }) => (id, body),
            Ok(other) => panic!("{}: {other:?}", vector.name),
            Err(error) => {
                assert_eq!(vector.body, Some(false), "{}: {error}", vector.name);
                assert_eq!(vector.reason(), name(error), "{}", vector.name);
                continue;
            }
        };
        match reply_again(code, body) {
            Ok(body) => {
                same(&vector, &encoded(&ServerMessage::Reply { id, body: &body }));
                assert_eq!(vector.id, Some(id), "{}", vector.name);
            }
            Err(error) => {
                assert_eq!(vector.body, Some(true), "{}: {error}", vector.name);
                assert_eq!(vector.reason(), name(error), "{}", vector.name);
            }
        }
    }
}

/// Decodes the body of a reply as the operation's answer and encodes it again.
fn reply_again(code: OperationCode, body: &[u8]) -> Result<Vec<u8>, CborError> {
    fn again<T: Operation>(body: &[u8]) -> Result<Vec<u8>, CborError> {
        cbor::decode_known::<T::Reply>(body).map(|reply| cbor::encode(&reply))
    }
    match code {
        OperationCode::Sign => again::<operation::Sign>(body),
        OperationCode::Verify => again::<operation::Verify>(body),
        OperationCode::Unwrap => again::<operation::Unwrap>(body),
        OperationCode::Ecdh => again::<operation::Ecdh>(body),
        OperationCode::Random => again::<operation::Random>(body),
        OperationCode::GetPublicKey => again::<operation::GetPublicKey>(body),
        OperationCode::Create => again::<operation::Create>(body),
        OperationCode::Destroy => again::<operation::Destroy>(body),
        OperationCode::Unlock => again::<operation::Unlock>(body),
        OperationCode::Lock => again::<operation::Lock>(body),
        OperationCode::AcceptToken => again::<operation::AcceptToken>(body),
        OperationCode::List => again::<operation::List>(body),
        OperationCode::Describe => again::<operation::Describe>(body),
        OperationCode::Status => again::<operation::Status>(body),
        OperationCode::Encrypt => again::<operation::Encrypt>(body),
        OperationCode::Decrypt => again::<operation::Decrypt>(body),
        OperationCode::GenerateDataKey => again::<operation::GenerateDataKey>(body),
        OperationCode::ReEncrypt => again::<operation::ReEncrypt>(body),
        OperationCode::Wrap => again::<operation::Wrap>(body),
        OperationCode::Mac => again::<operation::Mac>(body),
        OperationCode::VerifyMac => again::<operation::VerifyMac>(body),
        OperationCode::HpkeOpen => again::<operation::HpkeOpen>(body),
        OperationCode::RequestCertificate => again::<operation::RequestCertificate>(body),
        OperationCode::Attest => again::<operation::Attest>(body),
        OperationCode::GetAttestationKey => again::<operation::GetAttestationKey>(body),
        OperationCode::ActivateCredential => again::<operation::ActivateCredential>(body),
        OperationCode::Unseal => again::<operation::Unseal>(body),
        OperationCode::Adopt => again::<operation::Adopt>(body),
        OperationCode::Import => again::<operation::Import>(body),
        OperationCode::Rotate => again::<operation::Rotate>(body),
        OperationCode::Enable => again::<operation::Enable>(body),
        OperationCode::Disable => again::<operation::Disable>(body),
        OperationCode::MarkCompromised => again::<operation::MarkCompromised>(body),
        OperationCode::Alias => again::<operation::Alias>(body),
        OperationCode::Tag => again::<operation::Tag>(body),
        OperationCode::ChangePin => again::<operation::ChangePin>(body),
        OperationCode::AcceptRegistry => again::<operation::AcceptRegistry>(body),
        OperationCode::Export => again::<operation::Export>(body),
        OperationCode::GetCertificate => again::<operation::GetCertificate>(body),
        OperationCode::Reseal => again::<operation::Reseal>(body),
        OperationCode::Rescan => again::<operation::Rescan>(body),
        OperationCode::Backup => again::<operation::Backup>(body),
        OperationCode::Restore => again::<operation::Restore>(body),
        OperationCode::Subscribe => again::<operation::Subscribe>(body),
        OperationCode::Absorb => again::<operation::Absorb>(body),
        other => panic!("no vectors for {other:?}"),
    }
}

#[test]
fn failures_are_read_with_their_code() {
    for vector in vectors("failures.json") {
        let bytes = vector.bytes();
        match ServerMessage::decode(&bytes) {
            Ok(message) => {
                same(&vector, &encoded(&message));
                let ServerMessage::Failure { id, failure } = message else {
                    panic!("{}: {message:?}", vector.name);
                };
                assert_eq!(id, vector.id, "{}", vector.name);
                assert_eq!(
                    vector.code.as_deref(),
                    Some(failure.code.name()),
                    "{}",
                    vector.name
                );
            }
            Err(error) => vector.refused_as(name(error)),
        }
    }
}

#[test]
fn events_are_read_and_new_kinds_can_be_ignored() {
    for vector in vectors("events.json") {
        let bytes = vector.bytes();
        match ServerMessage::decode(&bytes) {
            Ok(message) => {
                same(&vector, &encoded(&message));
                let ServerMessage::Event(event) = message else {
                    panic!("{}: {message:?}", vector.name);
                };
                assert_eq!(vector.kind.as_deref(), event.kind.name(), "{}", vector.name);
            }
            Err(error) => vector.refused_as(name(error)),
        }
    }
}

#[test]
fn cose_keys_have_one_encoding_and_the_right_thumbprint() {
    for vector in vectors("cose_key.json") {
        match cbor::decode_exact::<CoseKey>(&vector.bytes()) {
            Ok(key) => {
                same(&vector, &cbor::encode(&key));
                let thumbprint = Thumbprint::of(&key);
                assert_eq!(
                    vector.thumbprint,
                    Some(thumbprint.to_string()),
                    "{}",
                    vector.name
                );
                assert_eq!(
                    Thumbprint::from_hex(&thumbprint.to_string()),
                    Some(thumbprint)
                );
                let key_type = key.key_type().map(KeyType::name);
                assert_eq!(vector.key_type.as_deref(), key_type, "{}", vector.name);
            }
            Err(error) => vector.refused_as(name(error)),
        }
    }
}

#[test]
fn subject_public_key_infos_become_cose_keys_and_back() {
    for vector in vectors("spki.json") {
        match CoseKey::from_spki(&vector.bytes()) {
            Ok(key) => {
                same(&vector, &key.to_spki().unwrap());
                let cose_key = unhex(vector.cose_key.as_deref().unwrap());
                assert_eq!(cbor::encode(&key), cose_key, "{}", vector.name);
            }
            Err(error) => {
                let error = match error {
                    SpkiError::Der => "der",
                    SpkiError::Unknown => "unknown",
                    _ => "new",
                };
                vector.refused_as(error);
            }
        }
    }
}
