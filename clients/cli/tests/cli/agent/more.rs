//! Operations on keys that exist: their life, envelopes, wrapping, codes, copies and events.

use std::collections::BTreeMap;

use keyward_protocol::ciphertext::{Body, Ciphertext, Context, Header, Scheme};
use keyward_protocol::event::{Event, EventKind};
use keyward_protocol::message::ServerMessage;
use keyward_protocol::operation::{
    Absorbed, ActivatedCredential, Attested, BackupPart, CertificateRequest, DataKey, Decrypted,
    Done, Encrypted, Exported, KeyMaterial, MacTag, PcrChange, ReEncrypted, Recovered, Rescanned,
    Reseal, Resealed, ResealedPlace, Restored, SignInput, Signature, TokenAttestationKey, Unsealed,
    Verified, Wrapped,
};
use keyward_protocol::{
    ErrorCode, Failure, Format, KeyState, KeyType, Purpose, Request, SecretBytes, cbor,
};

use super::{described, key, not_found, refuse, signature};
use crate::fake::Peer;

/// What a copy consists of; two parts.
const COPY: &[u8] = b"keyward's copy";
const KEY: &str = "00000000-0000-4000-8000-000000000005";

/// The streams and the restoration of a connection.
#[derive(Default)]
pub(super) struct Connection {
    absorbed: u64,
    restored: u64,
}

impl Connection {
    /// Answers, or gives the request back.
    pub(super) fn answer(&mut self, peer: &mut Peer, id: u64, request: Request) -> Option<Request> {
        let named = match &request {
            Request::Rotate(r) => Some(&r.key),
            Request::Enable(r) => Some(&r.key),
            Request::Reseal(r) => Some(&r.key),
            Request::Disable(r) => Some(&r.key),
            Request::MarkCompromised(r) => Some(&r.key),
            Request::Alias(r) => Some(&r.key),
            Request::Tag(r) => Some(&r.key),
            Request::RequestCertificate(r) => Some(&r.key),
            Request::Attest(r) => Some(&r.key),
            Request::Export(r) => Some(&r.key),
            Request::Encrypt(r) => Some(&r.key),
            Request::GenerateDataKey(r) => Some(&r.key),
            Request::Wrap(r) => Some(&r.key),
            Request::Mac(r) => Some(&r.key),
            Request::VerifyMac(r) => Some(&r.key),
            Request::HpkeOpen(r) => Some(&r.key),
            _ => None,
        };
        if let Some(name) = named.filter(|name| key(name).is_none()) {
            not_found(peer, id, name);
            return None;
        }
        match request {
            Request::Rotate(r) => change(peer, id, &r.key, |key| {
                let mut next = key.versions[0].clone();
                next.version = 2;
                key.versions[0].state = KeyState::Deactivated;
                key.versions.push(next);
            }),
            Request::Enable(r) => change(peer, id, &r.key, |_| {}),
            Request::Reseal(r) => peer.reply(id, &resealed(&r)),
            Request::Disable(r) => change(peer, id, &r.key, |key| key.state = KeyState::Suspended),
            Request::MarkCompromised(r) => {
                change(peer, id, &r.key, |key| key.state = KeyState::Compromised);
            }
            Request::Alias(r) => change(peer, id, &r.key, |key| {
                key.aliases.retain(|alias| !r.remove.contains(alias));
                key.aliases.extend(r.add);
            }),
            Request::Tag(r) => change(peer, id, &r.key, |key| {
                key.tags.extend(r.set);
                key.tags.retain(|name, _| !r.remove.contains(name));
            }),
            Request::RequestCertificate(r) => {
                // What was asked for, so that a case can look.
                let der = format!("{} {:?}", r.subject, r.names).into_bytes();
                let reply = CertificateRequest {
                    der: der.into(),
                    key: KEY.into(),
                    version: 1,
                };
                peer.reply(id, &reply);
            }
            Request::Attest(_) => {
                let reply = Attested {
                    bundle: vector("bundle: all fields").into(),
                    key: KEY.into(),
                    version: 1,
                };
                peer.reply(id, &reply);
            }
            Request::GetAttestationKey(_) => {
                let reply = TokenAttestationKey {
                    document: vector("attestation-key: all fields").into(),
                    token: "main".into(),
                };
                peer.reply(id, &reply);
            }
            Request::ActivateCredential(_) => {
                let secret = SecretBytes::copy_from(&[b'x'; 32]);
                peer.reply(id, &ActivatedCredential { secret });
            }
            Request::Export(r) => {
                let reply = Exported {
                    pem: format!("-----BEGIN TSS2 PRIVATE KEY-----\n{:?}\n", r.version),
                    token: r.token.unwrap_or("main".into()),
                    version: r.version.unwrap_or(1),
                    parent: 0x8100_0001,
                };
                peer.reply(id, &reply);
            }
            Request::Import(r) => {
                let (key_type, length) = match &r.material {
                    KeyMaterial::Secret(key_type, bytes) => (*key_type, bytes.len()),
                    KeyMaterial::Pkcs8(der) | KeyMaterial::Tss2(der) => (KeyType::P256, der.len()),
                };
                let formats = r.formats.unwrap_or_default();
                let alias = r.alias.or(r.existing).unwrap_or_default();
                let mut made = described(&alias, r.purpose, key_type, &formats);
                made.tags = r.tags.unwrap_or_default();
                made.tags.insert("bytes".into(), length.to_string());
                let place = made.versions[0].placements.remove(0);
                for token in r.tokens.unwrap_or(vec!["main".into()]) {
                    let mut place = place.clone();
                    place.token = token;
                    place.local = false;
                    made.versions[0].placements.push(place);
                }
                peer.reply(id, &made);
            }
            Request::Unseal(r) if r.key == "disk" => {
                let reply = Unsealed {
                    data: SecretBytes::copy_from(b"open sesame\n"),
                    key: KEY.into(),
                    version: 1,
                };
                peer.reply(id, &reply);
            }
            Request::Unseal(r) => not_found(peer, id, &r.key),
            Request::Adopt(r) => {
                let formats = r.formats.unwrap_or(vec![Format::Raw]);
                let alias = r.alias.unwrap_or_default();
                let mut made = described(&alias, r.purpose, KeyType::P256, &formats);
                let place = &mut made.versions[0].placements[0];
                place.locator = format!("tpm:handle={};name=000b", r.place);
                place.token = r.token.unwrap_or("main".into());
                place.local = false;
                peer.reply(id, &made);
            }
            Request::ChangePin(r) if r.old.expose() != super::PIN => {
                let failure = Failure::new(ErrorCode::PinIncorrect, "the PIN of main is wrong");
                refuse(peer, id, failure);
            }
            Request::ChangePin(_) => peer.reply(id, &Done {}),
            Request::Rescan(_) => peer.reply(id, &rescanned()),
            Request::Encrypt(r) => {
                let reply = Encrypted {
                    ciphertext: ciphertext(&r.key, r.plaintext.len(), r.context).into(),
                    key: KEY.into(),
                    version: 1,
                };
                peer.reply(id, &reply);
            }
            Request::Decrypt(r) => match Ciphertext::decode(&r.ciphertext) {
                Ok(_) if r.context.is_none() => {
                    peer.reply(id, &decrypted());
                }
                _ => {
                    let failure = Failure::new(ErrorCode::UnwrapFailed, "it did not open");
                    refuse(peer, id, failure);
                }
            },
            Request::HpkeOpen(r) => {
                assert_eq!(r.enc.len(), 65);
                peer.reply(id, &decrypted());
            }
            Request::ReEncrypt(r) => {
                let key = r.key.unwrap_or("vault".into());
                let reply = ReEncrypted {
                    ciphertext: ciphertext(&key, 5, r.context).into(),
                    key: KEY.into(),
                    version: 2,
                    source_key: KEY.into(),
                    source_version: 1,
                };
                peer.reply(id, &reply);
            }
            Request::GenerateDataKey(r) => {
                let length = r.length.unwrap_or(32) as usize;
                let plaintext = || SecretBytes::copy_from(&vec![b'd'; length]);
                let reply = DataKey {
                    plaintext: r.with_plaintext.then(plaintext),
                    ciphertext: ciphertext(&r.key, length, r.context).into(),
                    key: KEY.into(),
                    version: 1,
                };
                peer.reply(id, &reply);
            }
            Request::Wrap(r) => {
                let reply = Wrapped {
                    ciphertext: [b"wrapped ", r.plaintext.expose()].concat().into(),
                    algorithm: key(&r.key).unwrap().algorithms[0],
                    key: KEY.into(),
                    version: 1,
                };
                peer.reply(id, &reply);
            }
            Request::Mac(r) => {
                let reply = MacTag {
                    tag: vec![b'm'; 32].into(),
                    algorithm: key(&r.key).unwrap().algorithms[0],
                    key: KEY.into(),
                    version: 1,
                };
                peer.reply(id, &reply);
            }
            Request::VerifyMac(r) => {
                let valid = **r.tag == [b'm'; 32];
                peer.reply(id, &Verified { valid, version: 1 });
            }
            Request::Absorb(r) => {
                if r.offset == 0 {
                    self.absorbed = 0;
                }
                assert_eq!(r.offset, self.absorbed);
                self.absorbed += r.bytes.len() as u64;
                let length = self.absorbed;
                peer.reply(id, &Absorbed { length });
            }
            Request::Sign(r) if matches!(r.input, SignInput::Absorbed(_)) => {
                let key = key(&r.key).unwrap();
                let mut signature = signature(key.algorithms[0]);
                // What a case can see of the length.
                signature[..8].copy_from_slice(format!("{:08}", self.absorbed).as_bytes());
                let reply = Signature {
                    signature: signature.into(),
                    algorithm: key.algorithms[0],
                    key: key.id,
                    version: 1,
                };
                peer.reply(id, &reply);
            }
            Request::Backup(r) => {
                let at = r.offset as usize;
                let half = COPY.len() / 2;
                let (bytes, next) = match at {
                    0 => (&COPY[..half], Some(half as u64)),
                    _ => (&COPY[at..], None),
                };
                let reply = BackupPart {
                    bytes: bytes.to_vec().into(),
                    next,
                    total: COPY.len() as u64,
                };
                peer.reply(id, &reply);
            }
            Request::Restore(r) if !COPY.starts_with(&r.bytes[..7.min(r.bytes.len())]) => {
                refuse(peer, id, Failure::new(ErrorCode::Invalid, "it is no copy"));
            }
            Request::Restore(r) => {
                if r.offset == 0 {
                    self.restored = 0;
                }
                self.restored += r.bytes.len() as u64;
                let reply = Restored {
                    complete: self.restored == r.total,
                    added: 2,
                    merged: 1,
                    kept: vec!["key release: it is suspended here".into()],
                    bound: Some(vec!["key web version 1 on the token chip: PCRs 7, 11; nobody approves other values".into()]),
                };
                peer.reply(id, &reply);
            }
            Request::Subscribe(_) => {
                peer.reply(id, &Done {});
                for event in events() {
                    peer.say(&ServerMessage::Event(event));
                }
                peer.hang_up();
            }
            other => return Some(other),
        }
        None
    }
}

/// A vector of the protocol, about attestation.
fn vector(name: &str) -> Vec<u8> {
    let file = include_str!("../../../../../protocol/vectors/attestation.json");
    let file: serde_json::Value = serde_json::from_str(file).unwrap();
    let mut vectors = file["vectors"].as_array().unwrap().iter();
    let vector = vectors.find(|vector| vector["name"] == name).unwrap();
    let hex = vector["hex"].as_str().unwrap();
    let digits = |at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
    (0..hex.len()).step_by(2).map(digits).collect()
}

fn change(
    peer: &mut Peer,
    id: u64,
    name: &str,
    change: impl FnOnce(&mut keyward_protocol::operation::KeyDescription),
) {
    let mut key = key(name).unwrap();
    change(&mut key);
    peer.reply(id, &key);
}

fn decrypted() -> Decrypted {
    Decrypted {
        plaintext: SecretBytes::copy_from(b"hello\n"),
        key: KEY.into(),
        version: 1,
    }
}

/// A ciphertext of the key's first algorithm, with nothing in it that a cipher made.
fn ciphertext(name: &str, length: usize, context: Option<BTreeMap<String, String>>) -> Vec<u8> {
    Context::new(context.unwrap_or_default()).unwrap();
    let scheme = Scheme::of(key(name).unwrap().algorithms[0]).unwrap();
    let header = Header::new(scheme, KEY.parse().unwrap(), 1).unwrap();
    let body = match scheme {
        Scheme::Hpke0 | Scheme::Hpke7 => {
            let mut ek = [7; 65];
            ek[0] = 4;
            Body::Hpke { ek }
        }
        Scheme::RsaOaep => Body::RsaOaep {
            iv: [1; 12],
            encrypted_key: vec![2; 384],
        },
        _ => Body::AesGcm { iv: [1; 12] },
    };
    let ciphertext = Ciphertext::new(header, body, vec![b'c'; length + 16]);
    ciphertext.unwrap().encode()
}

fn rescanned() -> Rescanned {
    Rescanned {
        recovered: vec![Recovered {
            key: KEY.into(),
            version: 1,
            purpose: Purpose::Encrypt,
            key_type: KeyType::Aes256,
        }],
        known: 3,
        foreign: 1,
        refused: vec!["an object without CKA_ID\u{1b}[2J".into()],
        missing: vec!["00000000-0000-4000-8000-000000000004".into()],
    }
}

fn events() -> Vec<Event> {
    let token = Some("main".to_owned());
    let kinds = [EventKind::TokenInserted, EventKind::Unknown(99)];
    let mut events = Vec::from(kinds.map(|kind| Event {
        kind,
        token: token.clone(),
        key: None,
        count: None,
        operation: None,
        caller: None,
    }));
    events.push(Event {
        kind: EventKind::KeyStateChanged,
        token,
        key: Some(KEY.into()),
        count: None,
        operation: None,
        caller: None,
    });
    events.push(Event {
        kind: EventKind::Lost,
        token: None,
        key: None,
        count: Some(3),
        operation: None,
        caller: None,
    });
    // Each can be encoded.
    assert!(events.iter().all(|event| !cbor::encode(event).is_empty()));
    events
}

/// A key whose PCR 11 is another one now.
fn resealed(reseal: &Reseal) -> Resealed {
    let value = |pcr, approved: u8, current: u8| PcrChange {
        pcr,
        approved: [approved; 32].into(),
        current: [current; 32].into(),
    };
    Resealed {
        key: KEY.into(),
        places: vec![ResealedPlace {
            version: 1,
            token: "main".into(),
            pcrs: vec![value(7, 0xa7, 0xa7), value(11, 0, 0x11)],
            approvals: 1,
            approved: false,
            recovery_key: Some(KEY.into()),
        }],
        state: vec![1; 32].into(),
        done: reseal
            .state
            .as_ref()
            .is_some_and(|state| **state == [1; 32]),
    }
}
