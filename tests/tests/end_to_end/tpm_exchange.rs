//! Keys between keyward and other programs on the same TPM: tpm2-openssl's files, both ways.

use std::path::{Path, PathBuf};
use std::process::Command;

use keyward_client::key_format;
use keyward_client::protocol::operation::{
    Describe, Export, Import, KeyDescription, KeyMaterial, LoginState, Verify,
};
use keyward_client::protocol::{
    Algorithm, ErrorCode, KeyType, Purpose, SecretBytes, operation::Sign, operation::SignInput,
};
use keyward_tests::{
    Daemon, Setup, TokenSetup, openssl,
    request::{refused, sign},
    swtpm::tpm2,
};

const MESSAGE: &[u8] = b"a message";
const EC: &[&str] = &["-algorithm", "EC", "-pkeyopt", "group:P-256"];
const RSA: &[&str] = &["-algorithm", "RSA", "-pkeyopt", "bits:2048"];
const BELOW_ROOT: &[&str] = &["-pkeyopt", "parent:0x81000001"];

fn start(setup: TokenSetup) -> Daemon {
    let daemon = Daemon::start(Setup::new().token(setup));
    daemon.wait_for_token("main", LoginState::Unlocked);
    daemon
}

/// `openssl` with the provider. What keyward has loaded is put away first: without a resource manager
/// the two share three slots.
#[track_caller]
fn provider(daemon: &Daemon, name: &str) -> Command {
    let tcti = daemon.tpm("main").proxy().tcti();
    let flushed = tpm2(&tcti, "tpm2_flushcontext", &["-t"]);
    assert!(flushed.status.success(), "{flushed:?}");
    let mut command = openssl::command(name);
    command.args(["-provider", "tpm2", "-provider", "default"]);
    command.env("TPM2OPENSSL_TCTI", tcti);
    command
}

/// A key that the provider makes; the path of its file.
#[track_caller]
fn made_by_openssl(daemon: &Daemon, name: &str, options: &[&str]) -> PathBuf {
    let path = daemon.dir().join(format!("{name}.tss2"));
    let mut command = provider(daemon, "genpkey");
    openssl::run(command.args(options).arg("-out").arg(&path)).unwrap();
    path
}

#[track_caller]
fn public_by_openssl(daemon: &Daemon, key: &Path) -> PathBuf {
    let path = key.with_extension("pub");
    let mut command = provider(daemon, "pkey");
    command.arg("-in").arg(key).arg("-pubout").arg("-out");
    openssl::run(command.arg(&path)).unwrap();
    path
}

fn sign_by_openssl(daemon: &Daemon, key: &Path) -> Result<Vec<u8>, openssl::Error> {
    let message = daemon.dir().join("message");
    std::fs::write(&message, MESSAGE).unwrap();
    let mut command = provider(daemon, "pkeyutl");
    command.args(["-sign", "-rawin", "-digest", "sha256", "-in"]);
    openssl::run(command.arg(message).arg("-inkey").arg(key))
}

fn describe(daemon: &Daemon, key: &str) -> KeyDescription {
    daemon.client().call(Describe { key: key.into() }).unwrap()
}

fn import(file: &[u8], purpose: Purpose) -> Import {
    Import {
        purpose,
        material: KeyMaterial::Tss2(SecretBytes::copy_from(file)),
        alias: None,
        tokens: None,
        formats: None,
        tags: None,
        existing: None,
        bind: None,
        piv: None,
    }
}

fn export(key: &str) -> Export {
    Export {
        key: key.into(),
        version: None,
        token: None,
    }
}

#[test]
fn keys_that_openssl_made_sign_in_keyward() {
    for setup in [TokenSetup::tpm_without_pin("main"), TokenSetup::tpm("main")] {
        let mut daemon = start(setup);
        let cases = [
            ("owner", EC.to_vec()),
            ("root", [EC, BELOW_ROOT].concat()),
            ("rsa", RSA.to_vec()),
        ];
        for (name, options) in &cases {
            let file = made_by_openssl(&daemon, name, options);
            let bytes = std::fs::read(&file).unwrap();
            daemon.cli_with(&["key", "import", name, "--purpose", "sign"], &bytes);
            let public = public_by_openssl(&daemon, &file);
            let algorithm = (*name == "rsa").then_some(Algorithm::Rs256);
            let request = Sign {
                algorithm,
                ..sign(name, MESSAGE)
            };
            let signature = daemon.client().call(request).unwrap().signature;
            match *name {
                "rsa" => openssl::verify_pkcs1(&public, "sha256", MESSAGE, &signature).unwrap(),
                _ => {
                    let der = key_format::ecdsa_to_der(&signature).unwrap();
                    openssl::verify_ecdsa(&public, "sha256", MESSAGE, &der).unwrap();
                }
            }
            // The file is as good as before.
            sign_by_openssl(&daemon, &file).unwrap();
        }
        // They come back after a restart, and from their copies.
        daemon.terminate();
        for file in daemon.tpm("main").key_files() {
            std::fs::remove_file(daemon.tpm("main").keys().join(file)).unwrap();
        }
        daemon.start_again();
        for (name, _) in &cases {
            let signs = || daemon.client().call(sign(name, MESSAGE)).is_ok();
            assert!(keyward_tests::wait_for(signs, keyward_tests::PATIENCE));
        }
    }
}

#[test]
fn a_key_of_keyward_signs_in_openssl_and_comes_back_as_the_same_key() {
    let daemon = start(TokenSetup::tpm_without_pin("main"));
    for key_type in [KeyType::P256, KeyType::Rsa2048] {
        let name = key_type.name();
        let made = daemon.create(name, Purpose::Sign, key_type);
        let file = daemon.dir().join(format!("{name}.tss2"));
        let path = file.to_str().unwrap();
        daemon.cli(&["key", "export", name, "-o", path]);
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(
            text.starts_with("-----BEGIN TSS2 PRIVATE KEY-----\n"),
            "{text}"
        );
        let signature = sign_by_openssl(&daemon, &file).unwrap();
        let public = daemon.public_file(name);
        match key_type {
            KeyType::P256 => openssl::verify_ecdsa(&public, "sha256", MESSAGE, &signature).unwrap(),
            _ => openssl::verify_pkcs1(&public, "sha256", MESSAGE, &signature).unwrap(),
        }
        let algorithm = (key_type != KeyType::P256).then_some(Algorithm::Rs256);
        let raw = match key_type {
            KeyType::P256 => key_format::ecdsa_from_der(&signature, 32).unwrap(),
            _ => signature,
        };
        let verify = Verify {
            key: name.into(),
            algorithm,
            input: SignInput::Message(MESSAGE.to_vec()),
            signature: raw.into(),
            version: None,
        };
        assert!(daemon.client().call(verify).unwrap().valid);
        let again = daemon.client().call(import(text.as_bytes(), Purpose::Sign));
        let again = again.unwrap();
        assert_ne!(again.id, made.id);
        assert_eq!(
            describe(&daemon, &again.id).versions[0].thumbprint,
            made.versions[0].thumbprint
        );
    }
    let exported = |r: &&serde_json::Value| r["op"] == "export" && r["outcome"] == "ok";
    assert_eq!(daemon.audit().iter().filter(exported).count(), 2);
}

#[test]
fn what_can_not_be_exported_says_why() {
    let pinned = start(TokenSetup::tpm("main"));
    pinned.create_signer("k");
    let failure = refused(pinned.client().call(export("k")));
    assert_eq!(failure.code, ErrorCode::MechanismInvalid);
    assert!(failure.message.contains("PIN"), "{failure}");
    let daemon = Daemon::start(Setup::new());
    daemon.create_signer("k");
    let failure = refused(daemon.client().call(export("k")));
    assert_eq!(failure.code, ErrorCode::MechanismInvalid);
    assert!(failure.message.contains("PKCS#11"), "{failure}");
}

#[test]
fn files_that_keyward_can_not_use_are_refused_and_nothing_is_kept() {
    let daemon = start(TokenSetup::tpm_without_pin("main"));
    let password = [EC, &["-pkeyopt", "user-auth:abc"]].concat();
    let file = |path: PathBuf| std::fs::read(path).unwrap();
    let password = file(made_by_openssl(&daemon, "password", &password));
    let good = file(made_by_openssl(&daemon, "good", EC));
    let elsewhere = {
        let other = start(TokenSetup::tpm_without_pin("main"));
        file(made_by_openssl(&other, "elsewhere", EC))
    };
    let half = good[..good.len() / 2].to_vec();
    for (bytes, purpose, code, words) in [
        (&password, Purpose::Sign, ErrorCode::Invalid, "password"),
        (
            &elsewhere,
            Purpose::Sign,
            ErrorCode::TokenFailed,
            "does not load",
        ),
        (&half, Purpose::Sign, ErrorCode::Invalid, "damaged"),
        (&good, Purpose::Mac, ErrorCode::Invalid, "can't mac"),
    ] {
        let failure = refused(daemon.client().call(import(bytes, purpose)));
        assert_eq!(failure.code, code, "{failure}");
        assert!(failure.message.contains(words), "{failure}");
    }
    assert_eq!(daemon.tpm("main").key_files(), [""; 0]);
    let hsm = Daemon::start(Setup::new());
    let failure = refused(hsm.client().call(import(&good, Purpose::Sign)));
    assert_eq!(failure.code, ErrorCode::MechanismInvalid, "{failure}");
    // One of the keys that the provider makes also agrees on secrets.
    let agree = daemon.client().call(import(&good, Purpose::Agree)).unwrap();
    assert_eq!(agree.purpose, Purpose::Agree);
    let signed = daemon.client().call(sign(&agree.id, MESSAGE));
    assert_eq!(refused(signed).code, ErrorCode::WrongPurpose);
}
