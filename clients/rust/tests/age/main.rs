//! The age format: against its own vectors, against the program `age`, and at its borders.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]

mod agent;
#[path = "../client/fake.rs"]
mod fake;
mod header;
mod payload;
mod program;
mod testkit;

use keyward_client::age::{Decryptor, Encryptor, FileKey, HeaderError, PayloadError, Stanza};
use keyward_protocol::SecretBytes;

/// The same key as the vectors have.
fn file_key() -> FileKey {
    FileKey::from_secret(SecretBytes::copy_from(b"YELLOW SUBMARINE")).unwrap()
}

fn stanza() -> Stanza {
    Stanza {
        arguments: vec!["example.com/test".into(), "1".into()],
        body: b"wrapped".to_vec(),
    }
}

/// A file of one stanza.
fn encrypted(plaintext: &[u8]) -> Vec<u8> {
    let mut file = Vec::new();
    let encryptor = Encryptor::new(&file_key(), vec![stanza()]).unwrap();
    let count = encryptor.encrypt(plaintext, &mut file, |_| {}).unwrap();
    assert_eq!(count, plaintext.len() as u64);
    file
}

/// What comes out before the end or the first error.
fn decrypted(file: &[u8]) -> (Vec<u8>, Result<u64, PayloadError>) {
    let payload = Decryptor::read(file).unwrap().open(&file_key()).unwrap();
    let mut plaintext = Vec::new();
    let result = payload.write_to(&mut plaintext, |_| {});
    (plaintext, result)
}

/// Where the chunks of a file begin.
fn payload_start(file: &[u8]) -> usize {
    let header = keyward_client::age::Header::read(&mut &*file).unwrap();
    header.to_bytes().len() + 16
}

fn header_error(file: &[u8]) -> HeaderError {
    Decryptor::read(file).unwrap_err()
}
