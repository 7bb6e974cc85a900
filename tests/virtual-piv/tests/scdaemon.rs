//! GnuPG's scdaemon, which takes a card for itself alone.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

#[path = "support/client.rs"]
mod client;
#[path = "support/tools.rs"]
mod tools;

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    process::{Child, ChildStdin, Command, Stdio},
};

use client::{Said as _, wait_for};
use keyward_virtual_piv::Model;
use tools::{PIN, Tools};

/// An scdaemon that obeys its stdin, and ends when that does.
struct Scdaemon {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<std::process::ChildStdout>,
}

impl Scdaemon {
    fn start(tools: &Tools) -> Self {
        home(tools);
        let program = ["/usr/lib/gnupg/scdaemon", "/usr/libexec/scdaemon"];
        let program = program.iter().find(|path| fs::exists(path).unwrap());
        let program = program.unwrap_or_else(|| panic!("no scdaemon; `make test` installs it"));
        let mut child = tools
            .tool(program, "--server --homedir gnupg")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().unwrap());
        let mut daemon = Self {
            child,
            input,
            output,
        };
        daemon.answer();
        daemon
    }

    /// What it answers to a command, up to OK or ERR.
    fn ask(&mut self, command: &str) -> String {
        writeln!(self.input.as_mut().unwrap(), "{command}").unwrap();
        self.answer()
    }

    fn answer(&mut self) -> String {
        let mut said = String::new();
        loop {
            let start = said.len();
            assert!(
                self.output.read_line(&mut said).unwrap() > 0,
                "it ended: {said}"
            );
            let line = &said[start..];
            if line.starts_with("OK") || line.starts_with("ERR") {
                return said;
            }
        }
    }
}

impl Drop for Scdaemon {
    fn drop(&mut self) {
        drop(self.input.take());
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A home of GnuPG's own in the folder of the rig.
fn home(tools: &Tools) {
    let home = tools.path("gnupg");
    fs::create_dir(&home).unwrap();
    let private = std::os::unix::fs::PermissionsExt::from_mode(0o700);
    fs::set_permissions(&home, private).unwrap();
    // Else it would look for USB readers by itself, past pcscd.
    fs::write(format!("{home}/scdaemon.conf"), "disable-ccid\n").unwrap();
}

#[test]
fn it_takes_the_card_and_others_are_refused_until_it_is_gone() {
    for model in [Model::YubiKey4, Model::YubiKey5, Model::YubiKey57] {
        let tools = Tools::new(model);
        let mut daemon = Scdaemon::start(&tools);
        let said = daemon.ask("SERIALNO");
        assert!(said.contains("S SERIALNO D27600012401"), "{said}");
        // Yubico, and the number that is printed on the key.
        assert!(said.contains("0006123456780000"), "{said}");
        tools.yubico("-a status").fails();
        // A restart of the conversation does not let go of it; the end of the daemon does.
        daemon.ask("RESTART");
        tools.yubico("-a status").fails();
        drop(daemon);
        tools.yubico("-a status").succeeds();
    }
}

#[test]
fn who_is_verified_is_forgotten_when_it_selects_its_own_application() {
    let tools = Tools::new(Model::YubiKey5);
    tools.yubico(&format!("-a verify-pin -P {PIN}")).succeeds();
    let mut daemon = Scdaemon::start(&tools);
    daemon.ask("SERIALNO openpgp");
    assert!(!tools.card.pin_is_verified());
}

/// 2.2 has no application for PIV; 2.4 has.
#[test]
fn it_has_the_piv_application_or_says_that_it_has_not() {
    let tools = Tools::new(Model::YubiKey5);
    let mut daemon = Scdaemon::start(&tools);
    daemon.ask("SERIALNO");
    let applications = daemon.ask("GETINFO app_list");
    let said = daemon.ask("SERIALNO piv");
    let has_it = applications.contains("piv:");
    assert_eq!(
        said.contains("\nOK") || said.starts_with("OK"),
        has_it,
        "{said}"
    );
}

#[test]
fn gpg_shows_the_card_and_nothing_of_it_is_left_running() {
    let tools = Tools::new(Model::YubiKey5);
    home(&tools);
    let gnupg = |program: &str, words: &str| -> Command {
        let mut command = tools.tool(program, words);
        command.env("GNUPGHOME", tools.path("gnupg"));
        command
    };
    let shown = gnupg("gpg", "--card-status").succeeds();
    let pids = running(&tools.path("gnupg"));
    gnupg("gpgconf", "--kill all").succeeds();
    assert!(shown.contains("Application type .: OpenPGP"), "{shown}");
    assert!(!pids.is_empty());
    assert!(wait_for(|| running(&tools.path("gnupg")).is_empty()));
    // It lets go of the card when it ends.
    assert!(wait_for(|| tools.yubico("-a status").said().0));
}

/// The processes that were told that this folder is GnuPG's home, without those that have ended. Their
/// environment can't be read: they are hardened.
fn running(home: &str) -> Vec<u32> {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    processes
        .filter(|process| {
            let words = fs::read(process.path().join("cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&words).contains(home)
        })
        .filter_map(|process| process.file_name().to_str()?.parse().ok())
        .collect()
}
