#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]
//! What is encrypted here, `openssl` decrypts.

use std::path::PathBuf;
use std::process::Command;

use super::*;

/// A public key, and what its private half decrypts.
pub(in super::super) fn pair() -> (CoseKey, impl Fn(&[u8]) -> SecretBytes) {
    let vectors = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../protocol/vectors");
    let private = vectors.join("keys/private/rsa-2048.pem");
    let spki = run(Command::new("openssl")
        .args(["pkey", "-pubout", "-outform", "DER", "-in"])
        .arg(&private));
    let public = CoseKey::from_spki(&spki).unwrap();
    let decrypt = move |encrypted: &[u8]| {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), encrypted).unwrap();
        let mut plaintext = run(Command::new("openssl")
            .args(["pkeyutl", "-decrypt", "-inkey"])
            .arg(&private)
            .args(["-pkeyopt", "rsa_padding_mode:oaep"])
            .args(["-pkeyopt", "rsa_oaep_md:sha256"])
            .args(["-pkeyopt", "rsa_mgf1_md:sha256", "-in"])
            .arg(file.path()));
        SecretBytes::take_from(&mut plaintext)
    };
    (public, decrypt)
}

fn run(command: &mut Command) -> Vec<u8> {
    let output = command.output().expect("openssl is there");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    output.stdout
}

#[test]
fn openssl_decrypts_what_was_encrypted_here() {
    let (public, decrypt) = pair();
    for length in [0, 1, 16, 32, 256 - 66] {
        let message = SecretBytes::copy_from(&vec![5; length]);
        let encrypted = seal(&public, &message).unwrap();
        assert_eq!(encrypted.len(), 256);
        assert_ne!(seal(&public, &message).unwrap(), encrypted);
        assert_eq!(decrypt(&encrypted), message);
    }
    let long = SecretBytes::zeroed(256 - 65);
    assert_eq!(seal(&public, &long), Err(SealError::TooLong));
}

#[test]
fn only_rsa_keys_that_are_long_enough_are_encrypted_to() {
    let message = SecretBytes::copy_from(b"x");
    let of = |length: usize| {
        let n = [&[0x80][..], &vec![0; length - 2], &[1]].concat();
        CoseKey::rsa(&n, &[1, 0, 1]).unwrap()
    };
    for key in [CoseKey::Ed25519 { x: [1; 32] }, of(128), of(192)] {
        assert_eq!(seal(&key, &message), Err(SealError::Key));
    }
}
