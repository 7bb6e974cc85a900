//! The files of TPM keys between keyward and the provider tpm2-openssl, on a TPM of their own.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::path::{Path, PathBuf};
use std::process::Command;

use keyward_backend::VersionId;
use keyward_backend::key_file::KeyFile;
use keyward_protocol::Purpose;
use keyward_tests::{Swtpm, openssl};
use keyward_worker::tpm::store::{Entry, Held, Made, Store};
use tempfile::TempDir;

const MESSAGE: &[u8] = b"a message";

#[test]
fn the_provider_signs_with_the_file_of_the_store_as_it_stands() {
    let provider = Provider::start();
    let long = "x".repeat(Entry::MAX_LABEL);
    let labels = [
        "keyward:1",
        "a\n-----BEGIN PRIVATE KEY-----\nb",
        "\u{1}\"Schlüssel\"\r",
        &long,
    ];
    for (options, label) in [P256, P384, P256, P256].into_iter().zip(labels) {
        let made = provider.generate(options);
        let id = VersionId::random();
        provider.store.put(id, &entry(label, &made)).unwrap();
        let there = provider.store.get(id).unwrap().unwrap();
        assert_eq!(there.label, label);
        provider.assert_signs(&provider.store.path(id), &made, None);
    }
}

#[test]
fn an_authorisation_value_is_asked_for_in_a_file_that_keyward_wrote() {
    let provider = Provider::start();
    let made = provider.generate(&[P256, &["-pkeyopt", "user-auth:abc"]].concat());
    let key = read(&made);
    assert!(!key.empty_auth);
    let again = provider.write("again.pem", key.to_pem().unwrap().as_bytes());
    provider.assert_signs(&again, &made, Some("abc"));
    let wrong = provider.sign(&again, Some("abd"));
    assert!(wrong.is_err(), "it was signed with another value");
}

#[test]
fn a_persistent_parent_is_written_as_the_provider_reads_it() {
    let provider = Provider::start();
    let primary = provider.dir.path().join("primary.ctx");
    let primary = primary.to_str().unwrap();
    provider.tool(
        "tpm2_createprimary",
        &["-C", "o", "-G", "ecc", "-c", primary],
    );
    provider.tool(
        "tpm2_evictcontrol",
        &["-C", "o", "-c", primary, "0x81000001"],
    );
    provider.tool("tpm2_flushcontext", &["-t"]);
    let made = provider.generate(&[P256, &["-pkeyopt", "parent:0x81000001"]].concat());
    let key = read(&made);
    assert_eq!(key.parent, 0x8100_0001);
    let again = provider.write("again.pem", key.to_pem().unwrap().as_bytes());
    provider.assert_signs(&again, &made, None);
    let elsewhere = KeyFile {
        parent: 0x4000_0001,
        ..key
    };
    let elsewhere = provider.write("elsewhere.pem", elsewhere.to_pem().unwrap().as_bytes());
    assert!(
        provider.sign(&elsewhere, None).is_err(),
        "a parent is a parent"
    );
}

#[test]
fn an_rsa_key_goes_both_ways() {
    let provider = Provider::start();
    let made = provider.generate(&["-algorithm", "RSA", "-pkeyopt", "bits:2048"]);
    let again = read(&made).to_pem().unwrap();
    let again = provider.write("again.pem", again.as_bytes());
    let signature = provider.sign(&again, None).unwrap();
    openssl::verify_pkcs1(&provider.public(&made, None), "sha256", MESSAGE, &signature).unwrap();
}

const P256: &[&str] = &["-algorithm", "EC", "-pkeyopt", "group:P-256"];
const P384: &[&str] = &["-algorithm", "EC", "-pkeyopt", "group:P-384"];

fn entry(label: &str, made: &Path) -> Entry {
    Entry {
        label: label.into(),
        made: Made::Generated,
        purpose: Purpose::Sign,
        bound: None,
        key: Held::File(read(made)),
    }
}

fn read(path: &Path) -> KeyFile {
    KeyFile::from_pem(&std::fs::read(path).unwrap()).unwrap()
}

fn with(command: &mut Command, auth: Option<&str>) {
    if let Some(auth) = auth {
        command.env("AUTH", auth).args(["-passin", "env:AUTH"]);
    }
}

/// `openssl` with the provider, a TPM for it, and a folder.
struct Provider {
    swtpm: Swtpm,
    store: Store,
    dir: TempDir,
}

impl Provider {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self {
            swtpm: Swtpm::start(),
            store: Store::open(&dir.path().join("store")).unwrap(),
            dir,
        }
    }

    fn generate(&self, options: &[&str]) -> PathBuf {
        let path = self.write(&format!("{}.pem", VersionId::random()), b"");
        let mut command = self.openssl("genpkey");
        openssl::run(command.args(options).arg("-out").arg(&path))
            .expect("tpm2-openssl makes a key; `make test` installs it");
        path
    }

    #[track_caller]
    fn assert_signs(&self, key: &Path, made: &Path, auth: Option<&str>) {
        let signature = self.sign(key, auth).unwrap();
        openssl::verify_ecdsa(&self.public(made, auth), "sha256", MESSAGE, &signature).unwrap();
    }

    fn sign(&self, key: &Path, auth: Option<&str>) -> Result<Vec<u8>, openssl::Error> {
        let mut command = self.openssl("pkeyutl");
        command.args(["-sign", "-rawin", "-digest", "sha256", "-in"]);
        command.arg(self.write("message", MESSAGE));
        command.arg("-inkey").arg(key);
        with(&mut command, auth);
        openssl::run(&mut command)
    }

    /// The public key of what the provider itself made.
    fn public(&self, made: &Path, auth: Option<&str>) -> PathBuf {
        let path = made.with_extension("pub");
        let mut command = self.openssl("pkey");
        with(&mut command, auth);
        command.arg("-in").arg(made).arg("-pubout").arg("-out");
        openssl::run(command.arg(&path)).unwrap();
        path
    }

    fn openssl(&self, name: &str) -> Command {
        let mut command = openssl::command(name);
        command.args(["-provider", "tpm2", "-provider", "default"]);
        command.env("TPM2OPENSSL_TCTI", self.swtpm.tcti());
        command
    }

    #[track_caller]
    fn tool(&self, name: &str, arguments: &[&str]) {
        let output = Command::new(name)
            .args(arguments)
            .env("TPM2TOOLS_TCTI", self.swtpm.tcti())
            .output()
            .expect("tpm2-tools run; type `make test`, which installs tpm2-tools");
        assert!(output.status.success(), "{name}: {output:?}");
    }

    fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.dir.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }
}
