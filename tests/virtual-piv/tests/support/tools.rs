//! What the tests of foreign clients have in common: a rig with one card, and the tools on it.
#![allow(dead_code, reason = "each test uses some of it")]

use std::{
    fs,
    path::PathBuf,
    process::{Command, Output},
};

use keyward_virtual_piv::{Card, Model, Rig};

use crate::client::Said as _;

/// The PIN of the factory.
pub(crate) const PIN: &str = "123456";
/// The PUK of the factory.
pub(crate) const PUK: &str = "12345678";

/// A rig with a card, and a folder for what goes in and out of its tools.
pub(crate) struct Tools {
    pub(crate) rig: Rig,
    pub(crate) card: Card,
}

impl Tools {
    #[track_caller]
    pub(crate) fn new(model: Model) -> Self {
        let card = Card::new(model, 12_345_678);
        Self {
            rig: Rig::with(&card),
            card,
        }
    }

    /// The file of that name.
    pub(crate) fn path(&self, name: &str) -> String {
        let path = self.rig.folder().join(name);
        path.to_str().unwrap().to_owned()
    }

    pub(crate) fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> String {
        fs::write(self.path(name), bytes).unwrap();
        self.path(name)
    }

    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap()
    }

    /// A tool in the folder, with words as one would type them.
    pub(crate) fn tool(&self, program: &str, words: &str) -> Command {
        let mut command = self.rig.command(program);
        command
            .current_dir(self.rig.folder())
            .args(words.split_whitespace());
        command
    }

    /// `yubico-piv-tool`, which takes a reader of any name here.
    pub(crate) fn yubico(&self, words: &str) -> Command {
        let mut command = self.tool("yubico-piv-tool", words);
        command.arg("--reader=");
        command
    }

    /// `pkcs11-tool` with this module.
    pub(crate) fn pkcs11(&self, module: &str, words: &str) -> Command {
        let mut command = self.tool("pkcs11-tool", words);
        command.arg("--module").arg(library(module));
        command
    }

    /// `openssl`.
    pub(crate) fn openssl(&self, words: &str) -> Command {
        self.tool("openssl", words)
    }

    /// Makes a key by `yubico-piv-tool`, with its public key in `SLOT.pem`.
    #[track_caller]
    pub(crate) fn generate(&self, slot: &str, algorithm: &str, more: &str) {
        self.yubico(&format!(
            "-a generate -s {slot} -A {algorithm} -o {slot}.pem {more}"
        ))
        .succeeds();
    }

    /// A certificate in `SLOT.crt`, which some authority issued for the key of `SLOT.pem`.
    #[track_caller]
    pub(crate) fn issue(&self, slot: &str) {
        if !PathBuf::from(self.path("authority.crt")).exists() {
            let made = "req -new -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 9";
            let made =
                format!("{made} -keyout authority.key -out authority.crt -subj /CN=authority");
            self.openssl(&made).succeeds();
        }
        let issue = "x509 -new -days 9 -CA authority.crt -CAkey authority.key";
        self.openssl(&format!(
            "{issue} -subj /CN=holder-{slot} -force_pubkey {slot}.pem -out {slot}.crt"
        ))
        .succeeds();
    }

    /// Puts that certificate into the slot.
    #[track_caller]
    pub(crate) fn certify(&self, slot: &str) {
        self.issue(slot);
        self.yubico(&format!("-a import-certificate -s {slot} -i {slot}.crt"))
            .succeeds();
    }

    /// Whether `openssl` finds that the key of `SLOT.pem` made this signature of `message`.
    #[track_caller]
    pub(crate) fn assert_signed(&self, slot: &str, hash: &str, more: &str) {
        let verify = format!("dgst -{hash} -verify {slot}.pem -signature signature {more} message");
        let said = self.openssl(&verify).succeeds();
        assert!(said.contains("Verified OK"), "{said}");
    }

    /// What a tool writes on stdout alone.
    #[track_caller]
    pub(crate) fn output(&self, command: &mut Command) -> Vec<u8> {
        let Output {
            status,
            stdout,
            stderr,
        } = command.output().unwrap();
        let stderr = String::from_utf8_lossy(&stderr);
        assert!(status.success(), "{command:?} failed: {stderr}");
        stdout
    }

    /// How many tries `yubico-piv-tool` says the PIN has.
    #[track_caller]
    pub(crate) fn tries(&self) -> String {
        let status = self.yubico("-a status").succeeds();
        let (_, tries) = status.split_once("PIN tries left:\t").unwrap();
        tries.trim_end().to_owned()
    }
}

/// Where a PKCS#11 module is.
#[track_caller]
fn library(name: &str) -> PathBuf {
    let folders = [
        "/usr/lib/x86_64-linux-gnu",
        "/usr/lib/aarch64-linux-gnu",
        "/usr/lib64",
        "/usr/lib",
        "/usr/local/lib",
    ];
    let mut paths = folders
        .iter()
        .map(|folder| PathBuf::from(folder).join(name));
    let found = paths.find(|path| path.exists());
    found.unwrap_or_else(|| panic!("there is no {name}; type `make test`, which installs it"))
}
