//! Keys of purpose `encrypt`: `data`, its spare `spare`, and `away`, which makes ciphertexts and
//! whose token is absent when one is to be opened.

use std::collections::BTreeMap;

use keyward_protocol::operation::{DataKey, Decrypted, Encrypted};
use keyward_protocol::{ErrorCode, Failure, Request, SecretBytes};

use super::refuse;
use crate::fake::Peer;

/// How the keys' ids begin.
const ID: &str = "00000000-0000-4000-8000-00000000000";

/// Whether it was one of these requests.
pub(super) fn answer(peer: &mut Peer, id: u64, request: &Request) -> bool {
    match request {
        Request::GenerateDataKey(asked) => {
            let Some(key) = key(&asked.key) else {
                return false;
            };
            let plaintext = vec![b'k'; asked.length.unwrap_or(32) as usize];
            let reply = DataKey {
                ciphertext: seal(&key, &asked.context, &plaintext).into(),
                plaintext: asked
                    .with_plaintext
                    .then(|| SecretBytes::copy_from(&plaintext)),
                key,
                version: 1,
            };
            peer.reply(id, &reply);
        }
        Request::Encrypt(asked) => {
            let Some(key) = key(&asked.key) else {
                return false;
            };
            let reply = Encrypted {
                ciphertext: seal(&key, &asked.context, asked.plaintext.expose()).into(),
                key,
                version: 1,
            };
            peer.reply(id, &reply);
        }
        Request::Decrypt(asked) => {
            let Some(key) = asked.key.clone().filter(|key| key.starts_with(ID)) else {
                return false;
            };
            let front = seal(&key, &asked.context, b"");
            if key.ends_with('c') {
                let failure = Failure::new(ErrorCode::TokenAbsent, "the token blue is not there");
                refuse(peer, id, failure.hint("plug in the token blue"));
            } else if let Some(plaintext) = asked.ciphertext.strip_prefix(&*front) {
                let reply = Decrypted {
                    plaintext: SecretBytes::copy_from(plaintext),
                    key,
                    version: 1,
                };
                peer.reply(id, &reply);
            } else {
                let failure = Failure::new(ErrorCode::UnwrapFailed, "it did not open");
                refuse(peer, id, failure);
            }
        }
        _ => return false,
    }
    true
}

fn key(name: &str) -> Option<String> {
    let names = ["data", "spare", "away"];
    let digit = names
        .iter()
        .zip("abc".chars())
        .find(|(n, _)| **n == name)?
        .1;
    Some(format!("{ID}{digit}"))
}

/// Key, context and plaintext side by side.
fn seal(key: &str, context: &Option<BTreeMap<String, String>>, plaintext: &[u8]) -> Vec<u8> {
    [format!("{key}{context:?}").as_bytes(), plaintext].concat()
}
