//! The wrappers of `openssl` say yes to what is right and no to what is not.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::{fs, path::PathBuf};

use keyward_tests::openssl::{self, Error};
use tempfile::TempDir;

const MESSAGE: &[u8] = b"a message";

#[test]
fn an_ecdsa_signature_holds_for_its_message_only() {
    let keys = Keys::new(|private| openssl::generate_ec("P-384", private).unwrap());
    let signature = keys.sign(&["dgst", "-sha384"]);
    openssl::verify_ecdsa(&keys.public, "sha384", MESSAGE, &signature).unwrap();
    refused(openssl::verify_ecdsa(
        &keys.public,
        "sha384",
        b"another",
        &signature,
    ));
}

#[test]
fn an_rsa_signature_holds_with_its_own_padding_only() {
    let keys = Keys::new(|private| generate("RSA", private));
    let pkcs1 = keys.sign(&["dgst", "-sha256"]);
    let pss = keys.sign(&[
        "dgst",
        "-sha256",
        "-sigopt",
        "rsa_padding_mode:pss",
        "-sigopt",
        "rsa_pss_saltlen:digest",
    ]);
    openssl::verify_pkcs1(&keys.public, "sha256", MESSAGE, &pkcs1).unwrap();
    openssl::verify_pss(&keys.public, "sha256", MESSAGE, &pss).unwrap();
    refused(openssl::verify_pkcs1(&keys.public, "sha256", MESSAGE, &pss));
    refused(openssl::verify_pss(&keys.public, "sha256", MESSAGE, &pkcs1));
}

#[test]
fn an_ed25519_signature_holds_for_its_message_only() {
    let keys = Keys::new(|private| generate("ED25519", private));
    let message = keys.dir.path().join("message");
    fs::write(&message, MESSAGE).unwrap();
    let mut command = openssl::command("pkeyutl");
    command
        .args(["-sign", "-rawin", "-inkey"])
        .arg(&keys.private)
        .arg("-in")
        .arg(message);
    let signature = openssl::run(&mut command).unwrap();
    openssl::verify_ed25519(&keys.public, MESSAGE, &signature).unwrap();
    refused(openssl::verify_ed25519(
        &keys.public,
        b"another",
        &signature,
    ));
}

#[test]
fn an_oaep_ciphertext_opens_with_its_hash_and_label_only() {
    let keys = Keys::new(|private| generate("RSA", private));
    let plain = openssl::encrypt_oaep_sha256(&keys.public, MESSAGE).unwrap();
    let labelled = openssl::encrypt_oaep(&keys.public, "sha1", b"label", MESSAGE).unwrap();
    let sha256 = ["rsa_oaep_md:sha256", "rsa_mgf1_md:sha256"];
    let sha1 = [
        "rsa_oaep_md:sha1",
        "rsa_mgf1_md:sha1",
        "rsa_oaep_label:6c6162656c",
    ];
    assert_eq!(keys.decrypt(&plain, &sha256).unwrap(), MESSAGE);
    assert_eq!(keys.decrypt(&labelled, &sha1).unwrap(), MESSAGE);
    refused(keys.decrypt(&plain, &sha1));
    refused(keys.decrypt(&labelled, &sha1[..2]));
}

#[test]
fn both_sides_derive_the_same_secret() {
    let [ours, theirs] =
        [(); 2].map(|()| Keys::new(|private| openssl::generate_ec("P-256", private).unwrap()));
    let secret = openssl::derive(&ours.private, &theirs.public).unwrap();
    assert_eq!(secret.len(), 32);
    assert_eq!(
        secret,
        openssl::derive(&theirs.private, &ours.public).unwrap()
    );
    assert!(
        openssl::public_der(&ours.public)
            .unwrap()
            .starts_with(&[0x30])
    );
}

struct Keys {
    dir: TempDir,
    private: PathBuf,
    public: PathBuf,
}

impl Keys {
    fn new(make: impl Fn(&PathBuf)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let [private, public] = ["private.pem", "public.pem"].map(|name| dir.path().join(name));
        make(&private);
        openssl::write_public(&private, &public).unwrap();
        Self {
            dir,
            private,
            public,
        }
    }

    fn sign(&self, command: &[&str]) -> Vec<u8> {
        let message = self.dir.path().join("message");
        fs::write(&message, MESSAGE).unwrap();
        let mut sign = openssl::command(command[0]);
        openssl::run(
            sign.args(&command[1..])
                .arg("-sign")
                .arg(&self.private)
                .arg(message),
        )
        .unwrap()
    }

    fn decrypt(&self, ciphertext: &[u8], options: &[&str]) -> Result<Vec<u8>, Error> {
        let path = self.dir.path().join("ciphertext");
        fs::write(&path, ciphertext).unwrap();
        let mut command = openssl::command("pkeyutl");
        command
            .args(["-decrypt", "-pkeyopt", "rsa_padding_mode:oaep", "-inkey"])
            .arg(&self.private)
            .arg("-in")
            .arg(path);
        options.iter().for_each(|option| {
            command.args(["-pkeyopt", option]);
        });
        openssl::run(&mut command)
    }
}

fn generate(algorithm: &str, private: &PathBuf) {
    openssl::run(
        openssl::command("genpkey")
            .args(["-algorithm", algorithm, "-out"])
            .arg(private),
    )
    .unwrap();
}

#[track_caller]
fn refused<T>(result: Result<T, Error>) {
    assert!(
        matches!(result, Err(Error::Failed { .. })),
        "openssl did not refuse"
    );
}
