//! The fixed answers: a token `main` with a key of each kind.

mod card;
mod envelope;
mod more;

use std::collections::BTreeMap;

use keyward_protocol::operation::{
    Done, Holding, KeyDescription, KeyList, KeySummary, LoginState, PlacementDescription,
    PublicKey, RandomBytes, SharedSecret, Signature, StatusReport, TokenStatus, Unwrapped,
    Verified, VersionDescription,
};
use keyward_protocol::{
    Algorithm, CoseKey, ErrorCode, Failure, Format, KeyState, KeyType, Purpose, Request,
    SecretBytes, Thumbprint,
};

use crate::fake::{Fake, Peer};
use keyward_protocol::message::ServerMessage;

/// The one PIN that opens the token.
const PIN: &[u8] = b"1234";
/// When everything was made.
const MADE: u64 = 1_700_000_000;

pub(crate) fn start() -> Fake {
    Fake::start(|_, mut peer| {
        peer.greet();
        let mut connection = more::Connection::default();
        while let Some(call) = peer.call() {
            if envelope::answer(&mut peer, call.id, &call.request) {
                continue;
            }
            let request = card::answer(&mut peer, call.id, call.request);
            let request =
                request.and_then(|request| connection.answer(&mut peer, call.id, request));
            if let Some(request) = request {
                answer(&mut peer, call.id, request);
            }
        }
    })
}

fn answer(peer: &mut Peer, id: u64, request: Request) {
    match request {
        Request::Status(_) => peer.reply(id, &status()),
        Request::List(list) => peer.reply(id, &page(list.after.as_deref())),
        Request::Describe(describe) => match key(&describe.key).or_else(|| by_id(&describe.key)) {
            Some(key) => peer.reply(id, &key),
            None => not_found(peer, id, &describe.key),
        },
        Request::GetPublicKey(get) => match key(&get.key) {
            Some(key) => peer.reply(id, &public(&key)),
            None => not_found(peer, id, &get.key),
        },
        Request::Create(create) => match create.alias.as_deref() {
            Some("release") => refuse(
                peer,
                id,
                Failure::new(ErrorCode::Exists, "the name release is taken"),
            ),
            alias => {
                let formats = create.formats.unwrap_or(vec![Format::Raw]);
                let mut made = described(alias.unwrap(), create.purpose, create.key_type, &formats);
                made.tags = create.tags.unwrap_or_default();
                peer.reply(id, &made);
            }
        },
        Request::Sign(sign) => match key(&sign.key) {
            Some(key) => peer.reply(
                id,
                &Signature {
                    signature: signature(key.algorithms[0]).into(),
                    algorithm: key.algorithms[0],
                    key: key.id,
                    version: 1,
                },
            ),
            None => not_found(peer, id, &sign.key),
        },
        Request::Verify(verify) => match key(&verify.key) {
            Some(key) => {
                let valid = *verify.signature == signature(key.algorithms[0])
                    && verify.input.bytes() == b"hello\n";
                peer.reply(id, &Verified { valid, version: 1 });
            }
            None => not_found(peer, id, &verify.key),
        },
        Request::Unwrap(unwrap) => {
            if unwrap.ciphertext.starts_with(b"sealed") {
                let reply = Unwrapped {
                    plaintext: SecretBytes::copy_from(b"the plaintext\n"),
                    key: "1".into(),
                    version: 1,
                };
                peer.reply(id, &reply);
            } else {
                let failure = Failure::new(ErrorCode::UnwrapFailed, "it did not open");
                refuse(peer, id, failure);
            }
        }
        Request::Ecdh(ecdh) => {
            let length = ecdh.kdf.map_or(32, |kdf| kdf.length);
            let reply = SharedSecret {
                secret: SecretBytes::copy_from(&vec![b's'; length as usize]),
                key: "1".into(),
                version: 1,
            };
            peer.reply(id, &reply);
        }
        Request::Random(random) => {
            let reply = RandomBytes {
                bytes: SecretBytes::copy_from(&vec![0xa5; random.length as usize]),
                token: "main".into(),
            };
            peer.reply(id, &reply);
        }
        Request::Unlock(unlock) => match unlock.pin {
            Some(pin) if pin.expose() != PIN => {
                let failure = Failure::new(ErrorCode::PinIncorrect, "the PIN of main is wrong");
                refuse(peer, id, failure.hint("keyward unlock main"));
            }
            _ => peer.reply(id, &Done {}),
        },
        Request::Destroy(destroy) if key(&destroy.key).is_none() => {
            not_found(peer, id, &destroy.key);
        }
        Request::AcceptToken(accept) if accept.token != "main" => {
            let failure = Failure::new(ErrorCode::Denied, "uid 1000 may not manage\u{1b}[2J");
            refuse(peer, id, failure);
        }
        Request::Destroy(_)
        | Request::Lock(_)
        | Request::AcceptToken(_)
        | Request::AcceptRegistry(_) => {
            peer.reply(id, &Done {});
        }
        other => refuse(
            peer,
            id,
            Failure::new(ErrorCode::Unsupported, format!("{:?}", other.code())),
        ),
    }
}

fn not_found(peer: &mut Peer, id: u64, name: &str) {
    let message = format!("there is no key {name}");
    refuse(peer, id, Failure::new(ErrorCode::NotFound, message));
}

fn refuse(peer: &mut Peer, id: u64, failure: Failure) {
    let id = Some(id);
    peer.say(&ServerMessage::Failure { id, failure });
}

fn key(name: &str) -> Option<KeyDescription> {
    let both = [Format::Raw, Format::Digest];
    let (purpose, key_type, formats): (_, _, &[Format]) = match name {
        "release" => (Purpose::Sign, KeyType::P256, &both),
        "messages" => (Purpose::Sign, KeyType::P384, &both[..1]),
        "edwards" => (Purpose::Sign, KeyType::Ed25519, &both[..1]),
        "backup" => (Purpose::Unwrap, KeyType::Rsa3072, &[]),
        "meet" => (Purpose::Agree, KeyType::P384, &[]),
        "vault" => (Purpose::Encrypt, KeyType::Aes256, &[]),
        "sealed" => (Purpose::Encrypt, KeyType::P256, &[]),
        "old" => (Purpose::Encrypt, KeyType::Rsa3072, &[]),
        "kek" => (Purpose::Wrap, KeyType::Aes256, &[]),
        "hmac" => (Purpose::Mac, KeyType::HmacSha256, &[]),
        _ => return None,
    };
    Some(described(name, purpose, key_type, formats))
}

fn by_id(id: &str) -> Option<KeyDescription> {
    let keys = ["release", "messages", "backup"]
        .into_iter()
        .filter_map(key);
    keys.into_iter().find(|key| key.id == id)
}

fn described(
    name: &str,
    purpose: Purpose,
    key_type: KeyType,
    formats: &[Format],
) -> KeyDescription {
    let names = ["release", "messages", "edwards", "backup", "meet", "vault"];
    let number = names.iter().position(|known| *known == name).unwrap_or(9);
    let tags = match name {
        "backup" => BTreeMap::from([("team".to_owned(), "web".to_owned())]),
        _ => BTreeMap::new(),
    };
    KeyDescription {
        id: format!("00000000-0000-4000-8000-00000000000{number}"),
        aliases: vec![name.into()],
        purpose,
        key_type,
        state: KeyState::Active,
        algorithms: purpose.algorithms(key_type).to_vec(),
        formats: formats.to_vec(),
        tags,
        created: MADE,
        versions: vec![VersionDescription {
            version: 1,
            state: KeyState::Active,
            created: MADE,
            thumbprint: (!key_type.is_secret()).then_some(Thumbprint([number as u8; 32])),
            id: format!("00000000-0000-4000-9000-00000000000{number}"),
            placements: vec![PlacementDescription {
                token: "main".into(),
                locator: format!("pkcs11:token=main;id=%0{number}"),
                local: true,
                always_sensitive: true,
                never_extractable: true,
                bound: None,
            }],
        }],
        destruction: None,
    }
}

/// Two keys on the first page, one on the second.
fn page(after: Option<&str>) -> KeyList {
    let names: &[&str] = match after {
        None => &["release", "messages"],
        Some(_) => &["backup"],
    };
    let keys: Vec<KeySummary> = names
        .iter()
        .filter_map(|name| key(name))
        .map(|key| KeySummary {
            id: key.id,
            aliases: key.aliases,
            purpose: key.purpose,
            key_type: key.key_type,
            state: key.state,
            tokens: vec!["main".into()],
        })
        .collect();
    let next = keys.last().map(|key| key.id.clone());
    KeyList {
        next: next.filter(|_| after.is_none()),
        keys,
    }
}

fn public(key: &KeyDescription) -> PublicKey {
    let pem = match key.key_type {
        KeyType::P256 => include_str!("../../../rust/tests/keys/p256.pem"),
        KeyType::P384 => include_str!("../../../rust/tests/keys/p384.pem"),
        KeyType::Ed25519 => include_str!("../../../rust/tests/keys/ed25519.pem"),
        _ => include_str!("../../../rust/tests/keys/rsa2048.pem"),
    };
    let cose_key: CoseKey = keyward_client::key_format::parse(pem.as_bytes()).unwrap();
    PublicKey {
        spki: cose_key.to_spki().unwrap().into(),
        thumbprint: Thumbprint::of(&cose_key),
        cose_key,
        key: key.id.clone(),
        version: 1,
    }
}

/// Printable, so that a case can show it.
fn signature(algorithm: Algorithm) -> Vec<u8> {
    let length = match algorithm {
        Algorithm::Esp384 => 96,
        _ => 64,
    };
    vec![b'A'; length]
}

pub(crate) fn status() -> StatusReport {
    StatusReport {
        software: "fake/1".into(),
        mode: "user".into(),
        started: MADE,
        tokens: vec![TokenStatus {
            name: "main".into(),
            kind: "pkcs11".into(),
            login: LoginState::Locked,
            identity: Some("SoftHSM project, SoftHSM v2, 0123".into()),
            problem: Some("it needs its PIN: keyward unlock main".into()),
            pending: 0,
            restarts: 2,
            worker_pid: Some(77),
            lockout_seconds: None,
        }],
        protections: vec![
            Holding {
                name: "agent landlock".into(),
                holds: true,
                detail: Some("ABI 3".into()),
            },
            Holding {
                name: "pidfd".into(),
                holds: false,
                detail: Some("needs Linux 6.5".into()),
            },
        ],
        keys: 3,
        audit_records: 12,
        management_refused: None,
        connections: 1,
    }
}
