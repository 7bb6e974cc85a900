//! The reference implementation, the program `age`: it opens what we write, and we open what it
//! writes. The file key goes through an X25519 stanza, which the tests make and open themselves.

use std::io::Write;
use std::process::{Command, Stdio};

use aws_lc_rs::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::agreement::{PrivateKey, UnparsedPublicKey, X25519, agree};
use aws_lc_rs::hkdf::{HKDF_SHA256, Salt};
use base64ct::{Base64Unpadded, Encoding};
use keyward_client::age::{Decryptor, Encryptor, FileKey, Stanza};
use keyward_protocol::SecretBytes;

/// The identity of the vectors.
const IDENTITY: &str = "AGE-SECRET-KEY-1EGTZVFFV20835NWYV6270LXYVK2VKNX2MMDKWYKLMGR48UAWX40Q2P2LM0";
/// Bech32's alphabet.
const ALPHABET: &str = "QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L";

#[test]
fn the_age_program_opens_what_was_encrypted_here() {
    for length in [0, 1, 65535, 65536, 65537, 131_072, 600_000] {
        let plaintext: Vec<u8> = (0..length).map(|i: usize| (i / 3) as u8).collect();
        let file_key = FileKey::random().unwrap();
        let stanzas = vec![crate::stanza(), wrap(&file_key)];
        let mut file = Vec::new();
        let encryptor = Encryptor::new(&file_key, stanzas).unwrap();
        encryptor.encrypt(&*plaintext, &mut file, |_| {}).unwrap();
        assert!(age(&["--decrypt"], &file) == plaintext, "{length}");
    }
}

#[test]
fn what_the_age_program_encrypted_is_opened_here() {
    for length in [0, 1, 65535, 65536, 65537, 131_072, 600_000] {
        let plaintext: Vec<u8> = (0..length).map(|i: usize| (i / 3) as u8).collect();
        let file = age(&["--encrypt"], &plaintext);
        let decryptor = Decryptor::read(&*file).unwrap();
        let file_key = decryptor.stanzas().iter().find_map(unwrap).unwrap();
        let mut came = Vec::new();
        let payload = decryptor.open(&file_key).unwrap();
        payload.write_to(&mut came, |_| {}).unwrap();
        assert!(came == plaintext, "{length}");
    }
}

/// Runs the program with the identity.
fn age(arguments: &[&str], input: &[u8]) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let identity = folder.path().join("identity");
    std::fs::write(&identity, IDENTITY).unwrap();
    let mut child = Command::new("age")
        .args(arguments)
        .arg("--identity")
        .arg(&identity)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the program age is needed: apt-get install age");
    let mut stdin = child.stdin.take().unwrap();
    let output = std::thread::scope(|scope| {
        scope.spawn(move || stdin.write_all(input).unwrap());
        child.wait_with_output().unwrap()
    });
    assert!(output.status.success());
    output.stdout
}

fn wrap(file_key: &FileKey) -> Stanza {
    let ephemeral = PrivateKey::generate(&X25519).unwrap();
    let share = ephemeral.compute_public_key().unwrap();
    let identity = identity().compute_public_key().unwrap();
    let key = wrap_key(
        &ephemeral,
        identity.as_ref(),
        share.as_ref(),
        identity.as_ref(),
    );
    let mut body = file_key.secret().expose().to_vec();
    key.seal_in_place_append_tag(
        Nonce::assume_unique_for_key([0; 12]),
        Aad::empty(),
        &mut body,
    )
    .unwrap();
    Stanza {
        arguments: vec![
            "X25519".into(),
            Base64Unpadded::encode_string(share.as_ref()),
        ],
        body,
    }
}

fn unwrap(stanza: &Stanza) -> Option<FileKey> {
    let [first, share] = stanza.arguments.as_slice() else {
        return None;
    };
    let share = Base64Unpadded::decode_vec(share)
        .ok()
        .filter(|_| first == "X25519")?;
    let public = identity().compute_public_key().unwrap();
    let key = wrap_key(&identity(), &share, &share, public.as_ref());
    let mut body = stanza.body.clone();
    let nonce = Nonce::assume_unique_for_key([0; 12]);
    let opened = key.open_in_place(nonce, Aad::empty(), &mut body).unwrap();
    FileKey::from_secret(SecretBytes::copy_from(opened))
}

fn wrap_key(ours: &PrivateKey, theirs: &[u8], share: &[u8], recipient: &[u8]) -> LessSafeKey {
    let salt = Salt::new(HKDF_SHA256, &[share, recipient].concat());
    let theirs = UnparsedPublicKey::new(&X25519, theirs);
    agree(ours, theirs, aws_lc_rs::error::Unspecified, |secret| {
        let prk = salt.extract(secret);
        let okm = prk.expand(&[b"age-encryption.org/v1/X25519"], &CHACHA20_POLY1305)?;
        Ok(LessSafeKey::new(UnboundKey::from(okm)))
    })
    .unwrap()
}

/// The bytes of the identity, whose checksum is age's to look at.
fn identity() -> PrivateKey {
    let digits = IDENTITY.strip_prefix("AGE-SECRET-KEY-1").unwrap();
    let mut bits = digits[..digits.len() - 6]
        .chars()
        .map(|digit| ALPHABET.find(digit).unwrap())
        .flat_map(|value| (0..5).rev().map(move |bit| value >> bit & 1));
    let mut bytes = [0u8; 32];
    for byte in &mut bytes {
        *byte = (0..8).fold(0, |sum, _| sum << 1 | bits.next().unwrap() as u8);
    }
    PrivateKey::from_private_key(&X25519, &bytes).unwrap()
}
