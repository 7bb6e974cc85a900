//! Keys of a card do all that keys do.

use std::fs;

use keyward_client::{
    key_format,
    protocol::{
        Algorithm, ErrorCode,
        operation::{
            Decrypt, Describe, Destroy, Ecdh, Enable, Encrypt, GetPublicKey, Rescan, Rotate, Sign,
            SignInput, Unwrap,
        },
        piv::PinPolicy,
    },
};
use keyward_tests::{piv::CardToken, request::refused};
use keyward_virtual_piv::Model;

use crate::backup::{backup, restore};

use super::*;

fn public(daemon: &Daemon, key: &str) -> keyward_client::protocol::CoseKey {
    let request = GetPublicKey {
        key: key.to_owned(),
        version: None,
    };
    daemon.client().call(request).expect("a key").cose_key
}

fn describe(daemon: &Daemon, key: &str) -> KeyDescription {
    let key = key.to_owned();
    let described = daemon.client().call(Describe { key });
    described.expect("a key")
}

/// Has a card do what yubico-piv-tool is told.
#[track_caller]
pub(super) fn yubico(card: &CardToken, arguments: &[&str]) -> Vec<u8> {
    let mut tool = card.rig().command("yubico-piv-tool");
    let output = tool.args(arguments).output();
    let output = output.expect("yubico-piv-tool runs; `make test` installs it");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {stderr}");
    output.stdout
}

#[test]
fn openssl_verifies_what_each_kind_of_key_signs() {
    let daemon = one_card(TokenSetup::piv(CARD));
    let mut client = daemon.client();
    let mut signature = |key: &str, algorithm| {
        let made = client.call(Sign {
            key: key.to_owned(),
            algorithm: Some(algorithm),
            input: SignInput::Message(b"message".to_vec()),
        });
        let made = made.unwrap_or_else(|error| panic!("{key}: {error:?}\n{}", daemon.stderr()));
        made.signature.to_vec()
    };
    for (kind, algorithm, hash) in [
        (KeyType::P256, Algorithm::Esp256, "sha256"),
        (KeyType::P384, Algorithm::Esp384, "sha384"),
    ] {
        daemon.create(kind.name(), Purpose::Sign, kind);
        let der =
            key_format::ecdsa_to_der(&signature(kind.name(), algorithm)).expect("two numbers");
        let public = daemon.public_file(kind.name());
        openssl::verify_ecdsa(&public, hash, b"message", &der).expect("a signature");
        openssl::verify_ecdsa(&public, hash, b"another", &der).unwrap_err();
    }
    daemon.create("ed25519", Purpose::Sign, KeyType::Ed25519);
    let made = signature("ed25519", Algorithm::Ed25519);
    openssl::verify_ed25519(&daemon.public_file("ed25519"), b"message", &made)
        .expect("a signature");
    daemon.create("rsa", Purpose::Sign, KeyType::Rsa2048);
    let public = daemon.public_file("rsa");
    let made = signature("rsa", Algorithm::Rs256);
    openssl::verify_pkcs1(&public, "sha256", b"message", &made).expect("a signature");
    let made = signature("rsa", Algorithm::Ps256);
    openssl::verify_pss(&public, "sha256", b"message", &made).expect("a signature");
    assert_sound(&daemon, CARD);
}

#[test]
fn openssl_agrees_wraps_and_the_card_opens() {
    let daemon = one_card(TokenSetup::piv(CARD));
    daemon.create("agree", Purpose::Agree, KeyType::P256);
    daemon.create("unwrap", Purpose::Unwrap, KeyType::Rsa2048);
    daemon.create("open", Purpose::Encrypt, KeyType::P256);
    let mut client = daemon.client();
    let (private, peer) = (daemon.dir().join("peer.key"), daemon.dir().join("peer.pem"));
    openssl::generate_ec("P-256", &private).expect("a key");
    openssl::write_public(&private, &peer).expect("its public part");
    let spki = openssl::public_der(&peer).expect("SPKI");
    let agreed = client.call(Ecdh {
        key: "agree".to_owned(),
        peer: keyward_client::protocol::CoseKey::from_spki(&spki).expect("a key"),
        kdf: None,
        version: None,
    });
    let right = openssl::derive(&private, &daemon.public_file("agree")).expect("a secret");
    assert_eq!(agreed.expect("a secret").secret.expose(), right);
    let file = daemon.public_file("unwrap");
    let wrapped = openssl::encrypt_oaep_sha256(&file, b"a data key").expect("wrapped");
    let unwrap = |ciphertext: Vec<u8>| Unwrap {
        key: "unwrap".to_owned(),
        algorithm: None,
        ciphertext: ciphertext.into(),
        label: None,
        version: None,
    };
    let opened = client.call(unwrap(wrapped.clone())).expect("it opens");
    assert_eq!(opened.plaintext.expose(), b"a data key");
    let mut other = wrapped;
    other[100] ^= 1;
    let failure = refused(client.call(unwrap(other)));
    assert_eq!(failure.code, ErrorCode::UnwrapFailed, "{failure}");
    let sealed = client.call(Encrypt {
        key: "open".to_owned(),
        plaintext: secret("secret"),
        context: None,
        algorithm: None,
    });
    let decrypt = Decrypt {
        ciphertext: sealed.expect("HPKE").ciphertext,
        key: None,
        context: None,
    };
    let opened = client.call(decrypt).expect("it opens");
    assert_eq!(opened.plaintext.expose(), b"secret");
    let plaintext: Vec<u8> = (0..300_000).map(|i: u32| (i / 3) as u8).collect();
    let file = daemon.cli_with(&["encrypt", "--to", "open"], &plaintext);
    assert!(file.starts_with(b"age-encryption.org/v1\n"));
    assert!(daemon.cli_with(&["decrypt"], &file) == plaintext);
    assert_sound(&daemon, CARD);
}

#[test]
fn a_request_and_a_certificate_go_through_the_card() {
    let daemon = one_card(TokenSetup::piv(CARD));
    let create = [
        "key",
        "create",
        "web",
        "--purpose",
        "sign",
        "--type",
        "p256",
    ];
    daemon.cli(&[&create[..], &["--slot", "9a"]].concat());
    let file = |name: &str| daemon.dir().join(name);
    let text = |name: &str| file(name).to_str().expect("UTF-8").to_owned();
    daemon.cli(&[
        "key",
        "csr",
        "web",
        "--subject",
        "CN=web",
        "-o",
        &text("csr"),
    ]);
    let mut authority = openssl::command("req");
    authority.args([
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
    ]);
    authority.args(["-nodes", "-subj", "/CN=authority", "-days", "2", "-keyout"]);
    let authority = authority
        .arg(file("ca.key"))
        .arg("-out")
        .arg(file("ca.crt"));
    openssl::run(authority).expect("an authority");
    let mut issue = openssl::command("x509");
    issue.args(["-req", "-days", "2", "-in"]).arg(file("csr"));
    issue
        .arg("-CA")
        .arg(file("ca.crt"))
        .arg("-CAkey")
        .arg(file("ca.key"));
    openssl::run(issue.arg("-out").arg(file("web.crt"))).expect("a certificate");
    let none = daemon.cli_fails(&["key", "certificate", "web"], b"");
    assert!(none.contains("certificate"), "{none}");
    daemon.cli(&["key", "set-certificate", "web", &text("web.crt")]);
    let der = |pem: &[u8]| {
        fs::write(file("pem"), pem).unwrap();
        let mut convert = openssl::command("x509");
        let convert = convert.args(["-outform", "DER", "-in"]).arg(file("pem"));
        openssl::run(convert).expect("a certificate")
    };
    let issued = der(&fs::read(file("web.crt")).unwrap());
    assert_eq!(der(&daemon.cli(&["key", "certificate", "web"])), issued);
    // Programs that know nothing of keyward find it, too.
    let card = daemon.card(CARD);
    let found = yubico(card, &["-a", "read-certificate", "-s", "9a"]);
    assert_eq!(der(&found), issued);
    // One of another key is refused.
    let wrong = daemon.cli_fails(&["key", "set-certificate", "web", &text("ca.crt")], b"");
    assert!(wrong.contains("another public key"), "{wrong}");
    daemon.cli(&["key", "set-certificate", "web", "--remove"]);
    daemon.cli_fails(&["key", "certificate", "web"], b"");
    assert_sound(&daemon, CARD);
}

#[test]
fn slot_and_policies_are_as_chosen_and_shown_and_kept_by_a_rotation() {
    let daemon = one_card(TokenSetup::piv(CARD));
    let create = ["key", "create", "k", "--purpose", "sign", "--type", "p256"];
    let chosen = [
        "--slot",
        "9c",
        "--pin-policy",
        "once",
        "--touch-policy",
        "cached",
    ];
    daemon.cli(&[&create[..], &chosen].concat());
    let serial = daemon.card(CARD).card().serial();
    let whole = format!("piv:serial={serial};slot=9c;pin-policy=once;touch-policy=cached");
    assert_eq!(locator(&describe(&daemon, "k")), whole);
    let shown = String::from_utf8(daemon.cli(&["key", "show", "k"])).unwrap();
    assert!(shown.contains(&whole), "{shown}");
    daemon
        .client()
        .call(Rotate { key: "k".into() })
        .expect("a new version");
    let rotated = describe(&daemon, "k");
    let place: keyward_client::protocol::piv::PivLocator = locator(&rotated).parse().unwrap();
    assert_ne!(place.slot, 0x9c);
    assert_eq!(place.pin_policy, Some(PinPolicy::Once));
    assert_eq!(place.touch_policy, Some(TouchPolicy::Cached));
    sign_once(&daemon, "k").expect("a signature");
    // A slot that has a key is never taken.
    let taken = daemon.cli_fails(
        &[
            "key",
            "create",
            "other",
            "--purpose",
            "sign",
            "--type",
            "p256",
            "--slot",
            "9c",
        ],
        b"",
    );
    assert!(taken.contains("9c"), "{taken}");
    assert_sound(&daemon, CARD);
}

#[test]
fn what_is_imported_signs_as_it_did_outside_under_the_policies_that_were_chosen() {
    let daemon = one_card(TokenSetup::piv(CARD));
    let (private, public_file) = (
        daemon.dir().join("key.pem"),
        daemon.dir().join("public.pem"),
    );
    openssl::generate_ec("P-384", &private).expect("a key");
    openssl::write_public(&private, &public_file).expect("its public part");
    let import = ["key", "import", "k", "--purpose", "sign", "--slot", "9e"];
    let pem = fs::read(&private).expect("a private key");
    daemon.cli_with(&[&import[..], &["--pin-policy", "never"]].concat(), &pem);
    let key = describe(&daemon, "k");
    assert!(
        locator(&key).contains("slot=9e;pin-policy=never"),
        "{key:?}"
    );
    assert!(!key.versions[0].placements[0].local);
    let sent = daemon.card(CARD).pins_sent();
    let made = sign_once(&daemon, "k").expect("a signature");
    assert_eq!(daemon.card(CARD).pins_sent(), sent, "it wants none");
    let der = key_format::ecdsa_to_der(&made.signature).expect("two numbers");
    openssl::verify_ecdsa(&public_file, "sha384", b"message", &der).expect("a signature");
    assert_sound(&daemon, CARD);
}

#[test]
fn what_is_destroyed_is_gone_from_every_kind_of_card() {
    for model in [Model::YubiKey5, Model::YubiKey57] {
        let daemon = one_card(TokenSetup::piv_of(CARD, model));
        daemon.create_signer("k");
        let slots = daemon.card(CARD).card().slots();
        let before = public(&daemon, "k");
        let destroy = Destroy {
            key: "k".into(),
            now: true,
        };
        daemon.client().call(destroy).expect("destroyed");
        let failure = refused(sign_once(&daemon, "k"));
        assert_eq!(failure.code, ErrorCode::NotFound, "{failure}");
        // Where a card can't delete a key another one is over it, which is nobody's.
        let kept = daemon.card(CARD).card().slots();
        match model {
            Model::YubiKey57 => assert!(kept.is_empty(), "{kept:02x?}"),
            _ => assert_eq!(kept, slots),
        }
        let rescanned = daemon
            .client()
            .call(Rescan { token: None })
            .expect("a look");
        assert!(rescanned.recovered.is_empty(), "{rescanned:?}");
        daemon.create_signer("next");
        assert_ne!(public(&daemon, "next"), before);
        assert_sound(&daemon, CARD);
    }
}

#[test]
fn another_daemon_finds_the_keys_of_the_card() {
    let first = one_card(TokenSetup::piv(CARD));
    let signer = first.create_signer("k");
    let opener = first.create("open", Purpose::Encrypt, KeyType::P256);
    let before = public(&first, "k");
    let second = one_card(TokenSetup::same_piv(CARD, first.card(CARD)));
    let found = second
        .client()
        .call(Rescan { token: None })
        .expect("a look");
    let mut keys: Vec<_> = found.recovered.iter().map(|one| one.key.clone()).collect();
    keys.sort();
    let mut expected = [signer.id.clone(), opener.id.clone()];
    expected.sort();
    assert_eq!(keys, expected, "{found:?}");
    for key in keys {
        second.client().call(Enable { key }).expect("enabled");
    }
    assert_eq!(public(&second, &signer.id), before);
    // Both use the card.
    for _ in 0..5 {
        sign_once(&first, "k").expect("a signature");
        sign_once(&second, &signer.id).expect("a signature");
    }
    assert_sound(&first, CARD);
}

#[test]
fn a_backup_brings_the_keys_of_a_card_back() {
    let mut daemon = one_card(TokenSetup::piv(CARD));
    let signer = daemon.create_signer("k");
    let document = backup(&mut daemon.client());
    daemon.terminate();
    fs::remove_dir_all(daemon.state()).expect("the state");
    daemon.start_again();
    daemon.wait_for_token(CARD, LoginState::Unlocked);
    let restored = restore(&daemon, &document, false).expect("restored");
    assert!(restored.complete, "{restored:?}");
    let enabled = daemon.client().call(Enable { key: "k".into() });
    assert_eq!(enabled.expect("enabled"), signer);
    sign_once(&daemon, "k").expect("a signature");
    assert_sound(&daemon, CARD);
}
