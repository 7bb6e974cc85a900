//! Keys as values of the Rust client, and its examples.

use std::process::{Command, Output};

use keyward_client::{
    Agent, Error,
    protocol::{Algorithm, CoseKey, KeyType, Purpose},
};
use keyward_tests::{Daemon, Setup, TokenSetup, openssl, site::program};
use p256::ecdsa::{Signature as P256Signature, signature::Verifier};
use p256::elliptic_curve::sec1::ToSec1Point;
use p384::ecdsa::Signature as P384Signature;
use signature::{SignatureEncoding, Signer};

fn agent(daemon: &Daemon) -> Agent {
    Agent::from(daemon.client())
}

/// Runs an example of the Rust client against a daemon.
fn example(daemon: &Daemon, name: &str, arguments: &[&str]) -> Output {
    let path = program("keyward").with_file_name("examples").join(name);
    Command::new(&path)
        .args(arguments)
        .env("KEYWARD_SOCK", daemon.socket())
        .stdin(std::process::Stdio::null())
        .output()
        .unwrap_or_else(|error| {
            panic!(
                "{}: {error}; cargo build --workspace --all-targets",
                path.display()
            )
        })
}

#[track_caller]
fn printed(output: Output) -> String {
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{stderr}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_signing_key_is_a_signer_of_the_signature_crate() {
    let daemon = Daemon::start(Setup::new());
    daemon.create("p256", Purpose::Sign, KeyType::P256);
    daemon.create("p384", Purpose::Sign, KeyType::P384);
    daemon.create("rsa", Purpose::Sign, KeyType::Rsa2048);
    let agent = agent(&daemon);

    let key = agent.signing_key("p256").unwrap();
    let signature: P256Signature = key.try_sign(b"message").unwrap();
    key.p256().unwrap().verify(b"message", &signature).unwrap();
    assert!(key.p256().unwrap().verify(b"other", &signature).is_err());
    assert!(key.p384().is_none());

    let key = agent.signing_key("p384").unwrap();
    let signature: P384Signature = key.try_sign(b"message").unwrap();
    key.p384().unwrap().verify(b"message", &signature).unwrap();
    let wrong: Result<P256Signature, _> = key.try_sign(b"message");
    assert!(wrong.is_err(), "a P-384 key makes no P-256 signature");

    let key = agent
        .signing_key("rsa")
        .unwrap()
        .with_algorithm(Algorithm::Rs256);
    let signature: keyward_client::key::RsaSignature = key.try_sign(b"message").unwrap();
    openssl::verify_pkcs1(
        &daemon.public_file("rsa"),
        "sha256",
        b"message",
        &signature.to_vec(),
    )
    .unwrap();
}

#[test]
fn handles_agree_and_unwrap() {
    let daemon = Daemon::start(Setup::new());
    daemon.create("meeting", Purpose::Agree, KeyType::P256);
    daemon.create("inbox", Purpose::Unwrap, KeyType::Rsa2048);
    let agent = agent(&daemon);

    let secret = p256::SecretKey::from_slice(&[7; 32]).unwrap();
    let point = secret.public_key().to_sec1_point(false);
    let peer = CoseKey::from_sec1(point.as_bytes()).unwrap();
    let key = agent.agreement_key("meeting").unwrap();
    let ours = key.agree_raw(&peer).unwrap();
    let theirs = {
        let point = key.public_key().cose_key.to_sec1().unwrap();
        let public = p256::PublicKey::from_sec1_bytes(&point).unwrap();
        p256::ecdh::diffie_hellman(secret.to_nonzero_scalar(), public.as_affine())
    };
    assert_eq!(ours.expose(), theirs.raw_secret_bytes().as_slice());
    let derived = key.agree(&peer, None, b"one", 32).unwrap();
    assert_eq!(derived, key.agree(&peer, None, b"one", 32).unwrap());
    assert_ne!(derived, key.agree(&peer, None, b"two", 32).unwrap());

    let key = agent.unwrapping_key("inbox").unwrap();
    let wrapped = openssl::encrypt_oaep_sha256(&daemon.public_file("inbox"), b"secret").unwrap();
    assert_eq!(key.unwrap(&wrapped).unwrap().expose(), b"secret");
    assert!(matches!(key.unwrap(&[1; 256]), Err(Error::Refused(_))));
}

#[test]
fn a_key_of_another_purpose_is_refused_when_it_is_opened() {
    let daemon = Daemon::start(Setup::new());
    daemon.create("k", Purpose::Agree, KeyType::P256);
    let refused = agent(&daemon).signing_key("k").err().unwrap();
    assert!(matches!(
        refused,
        Error::WrongPurpose {
            purpose: Purpose::Agree,
            wanted: Purpose::Sign,
            ..
        }
    ));
    assert!(matches!(
        agent(&daemon).signing_key("nobody").err().unwrap(),
        Error::Refused(failure) if failure.code == keyward_client::protocol::ErrorCode::NotFound
    ));
}

#[test]
fn the_examples_do_what_they_say() {
    let daemon = Daemon::start(Setup::new().token(TokenSetup::new("main")));
    daemon.create("release", Purpose::Sign, KeyType::P256);
    daemon.create("meeting", Purpose::Agree, KeyType::P384);
    daemon.create("backups", Purpose::Encrypt, KeyType::Aes256);

    let der = printed(example(&daemon, "sign", &["release"]));
    assert!(der.starts_with("30"), "{der}");
    let peer = daemon.public_file("meeting");
    let secret = printed(example(
        &daemon,
        "agree",
        &["meeting", peer.to_str().unwrap()],
    ));
    assert_eq!(secret.trim().len(), 64, "{secret}");
    let told = printed(example(&daemon, "envelope", &["backups"]));
    assert!(
        told.contains("opened\nnot with another context: "),
        "{told}"
    );
    assert!(!example(&daemon, "sign", &["nobody"]).status.success());
}
