//! `keyward init` with a worker of the test's own: a script that says what modules would.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

use crate::KEYWARD;
use crate::terminal::Session;

const YUBIKEY: &str = r#"{"slot":0,"label":"YubiKey PIV #1","manufacturer":"Yubico (www.yubico.com)","model":"YubiKey YK5","serial":"1","initialised":true,"hardware":true,"login_required":true}"#;
const SECOND: &str = r#"{"slot":1,"label":"YubiKey PIV #2","manufacturer":"Yubico (www.yubico.com)","model":"YubiKey YK5","serial":"2","initialised":true,"hardware":true}"#;
const SOFT: &str = r#"{"slot":2,"label":"soft","manufacturer":"SoftHSM project","model":"SoftHSM v2","serial":"3","initialised":true,"hardware":false}"#;
const EMPTY: &str = r#"{"slot":3,"label":"","manufacturer":"Maker","model":"M","serial":"4","initialised":false,"hardware":true}"#;

/// A person's home, and a machine with one module.
pub(crate) struct Home {
    dir: TempDir,
}

impl Home {
    /// The module's tokens, as JSON.
    fn with(tokens: &[&str]) -> Self {
        let tokens = tokens.join(",");
        Self::with_worker(&format!(
            "case $1 in probe) echo '{{\"library\":{{}},\"tokens\":[{tokens}]}}';;
             *) cat >\"$0.pins\"; for o in \"$@\"; do case $o in --write=*) : >\"${{o#--write=}}/made\"; esac; done
                echo '{{\"token\":{{}}}}';; esac"
        ))
    }

    /// What the worker does.
    pub(crate) fn with_worker(script: &str) -> Self {
        let home = Self {
            dir: tempfile::tempdir().unwrap(),
        };
        let worker = home.path("worker");
        std::fs::write(
            &worker,
            format!("#!/bin/sh\nPATH=/usr/bin:/bin\n{script}\n"),
        )
        .unwrap();
        std::fs::set_permissions(&worker, PermissionsExt::from_mode(0o755)).unwrap();
        std::fs::write(home.path("module.so"), "").unwrap();
        home
    }

    pub(crate) fn path(&self, below: &str) -> PathBuf {
        self.dir.path().join(below)
    }

    fn set_up(&self, command: &mut Command) {
        command
            .env_clear()
            .env("PATH", std::env::var("PATH").unwrap())
            .env("HOME", self.path("home"))
            .env("XDG_RUNTIME_DIR", self.path("run"))
            // A file that is there stands for the socket of pcscd, which the worker alone would open.
            .env("PCSCLITE_CSOCK_NAME", self.path("worker"));
    }

    fn arguments(&self, arguments: &[&str]) -> Vec<String> {
        let mut all: Vec<String> = vec!["init".into()];
        if !arguments.contains(&"--undo") {
            all.extend(["--worker".into(), self.path("worker").display().to_string()]);
        }
        if !arguments
            .iter()
            .any(|a| ["--software", "--undo", "--tcti", "--serial"].contains(a))
        {
            all.extend([
                "--module".into(),
                self.path("module.so").display().to_string(),
            ]);
        }
        all.extend(arguments.iter().map(|a| (*a).to_owned()));
        all
    }

    /// Without a terminal.
    pub(crate) fn init(&self, arguments: &[&str]) -> (i32, String, String) {
        let mut command = Command::new("setsid");
        self.set_up(&mut command);
        let output: Output = command
            .args(["--wait", KEYWARD])
            .args(self.arguments(arguments))
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (
            output.status.code().unwrap(),
            text(output.stdout),
            text(output.stderr),
        )
    }

    pub(crate) fn on_terminal(&self, arguments: &[&str]) -> Session {
        let arguments = self.arguments(arguments);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        Session::start_with(&arguments, false, |command| self.set_up(command))
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.path("home/.config/keyward/keyward.toml")
    }

    /// Nothing was made, or all of it was taken back.
    #[track_caller]
    pub(crate) fn assert_untouched(&self) {
        assert!(
            !self.path("home").exists(),
            "{:?}",
            tree(&self.path("home"))
        );
    }
}

fn tree(path: &Path) -> Vec<PathBuf> {
    let output = Command::new("find").arg(path).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(PathBuf::from).collect()
}

#[test]
fn the_one_hardware_token_is_taken_and_undone_without_being_touched() {
    let home = Home::with(&[YUBIKEY, SOFT, EMPTY]);
    // With --module a token in software is a choice, too: the serial number says which.
    let uri = ["--token-uri", "pkcs11:serial=1"];
    let (code, stdout, stderr) = home.init(&[&["--yes"], &uri[..]].concat());
    assert_eq!(code, 0, "{stderr}");
    assert!(stdout.contains("nothing is written to it"), "{stdout}");
    assert!(stdout.contains("\n  keyward unlock main\n"), "{stdout}");
    let config = std::fs::read_to_string(home.config()).unwrap();
    assert!(
        config.contains("uri = \"pkcs11:serial=1\"\npin = \"ask\""),
        "{config}"
    );
    assert!(!home.path("worker.pins").exists());
    let (code, stdout, stderr) = home.init(&["--undo", "--yes"]);
    assert_eq!((code, &*stderr), (0, ""));
    assert!(
        stdout.contains("hardware token and its keys are not touched"),
        "{stdout}"
    );
    assert!(!home.path("home/.config").exists() && !home.path("home/.local").exists());
}

#[test]
fn several_tokens_are_asked_about_and_never_guessed() {
    let home = Home::with(&[YUBIKEY, SECOND, EMPTY]);
    let (code, _, stderr) = home.init(&["--yes"]);
    assert_eq!(code, 2);
    assert!(stderr.contains("there are several tokens"), "{stderr}");
    assert!(stderr.contains("token=YubiKey%20PIV%20%232;"), "{stderr}");
    assert!(stderr.contains("not initialised"), "{stderr}");
    home.assert_untouched();
    let mut session = home.on_terminal(&[]);
    session.until("Its number: ");
    session.type_in("2\n");
    session.until("Go on? [y/N] ");
    session.type_in("y\n");
    assert_eq!(session.end().0, 0);
    let config = std::fs::read_to_string(home.config()).unwrap();
    assert!(config.contains("serial=2\""), "{config}");
}

#[test]
fn whatever_is_no_yes_is_a_no() {
    for typed in ["\n", "n\n", "maybe\n", "\u{3}"] {
        let home = Home::with(&[YUBIKEY]);
        let mut session = home.on_terminal(&[]);
        session.until("Go on? [y/N] ");
        session.type_in(typed);
        let (code, _) = session.end();
        assert_eq!(code, if typed == "\u{3}" { 130 } else { 1 });
        home.assert_untouched();
    }
}

#[test]
fn a_token_in_software_needs_its_pin_twice_and_says_what_it_is() {
    let home = Home::with(&[]);
    let mut session = home.on_terminal(&["--software"]);
    session.until(
        "software, not hardware: whoever can read the folder and knows the PIN has the keys",
    );
    session.until("Go on? [y/N] ");
    session.type_in("y\n");
    let ask = "PIN for the new token main";
    for (first, second) in [
        ("12\n", None),
        ("1234\n", Some("1235\n")),
        ("1234\n", Some("1234\n")),
    ] {
        session.until(ask);
        session.shown.clear();
        session.type_in(first);
        if let Some(second) = second {
            session.until("again: ");
            session.type_in(second);
        }
    }
    session.until("Token main is set up (software, not hardware");
    let (code, stderr) = session.end();
    assert_eq!(code, 0, "{stderr}");
    assert!(
        stderr.contains("at least 4 bytes") && stderr.contains("not the same"),
        "{stderr}"
    );
    let pins = std::fs::read_to_string(home.path("worker.pins")).unwrap();
    assert!(pins.ends_with("\n1234\n") && pins.len() > 32, "{pins}");
}

#[test]
fn a_pin_prompt_that_is_interrupted_leaves_nothing() {
    let home = Home::with(&[]);
    let mut session = home.on_terminal(&["--software", "--yes"]);
    session.until("PIN for the new token");
    session.type_in("12\u{3}");
    assert_eq!(session.end().0, 130);
    home.assert_untouched();
}

#[test]
fn an_empty_pin_or_none_at_all_is_refused() {
    let home = Home::with(&[]);
    let empty = home.path("empty");
    std::fs::write(&empty, "\n1234\n").unwrap();
    let (code, _, stderr) =
        home.init(&["--software", "--yes", "--pin-file", empty.to_str().unwrap()]);
    assert_eq!(code, 2);
    assert!(stderr.contains("is empty"), "{stderr}");
    let (code, _, stderr) = home.init(&["--software", "--yes"]);
    assert_eq!(code, 2);
    assert!(stderr.contains("hint: --pin-file"), "{stderr}");
    home.assert_untouched();
}

#[test]
fn a_module_that_crashes_hangs_or_talks_nonsense_is_left_out() {
    for (script, why) in [
        ("kill -SEGV $$", "it crashed (signal 11)"),
        ("exec sleep 1000", "it did not answer within 5 s"),
        ("echo '{'", "it ended without an answer"),
        ("exec yes", "it crashed (signal 13)"),
        (
            "echo 'keyward-worker: error: no such reader' >&2; exit 1",
            "no such reader",
        ),
        (
            "echo 'keyward-worker: error: \u{1b}[2J' >&2; exit 1",
            "\\u{1b}[2J",
        ),
    ] {
        let home = Home::with_worker(script);
        let (code, _, stderr) = home.init(&["--yes"]);
        assert!(stderr.contains(why), "{script}: {stderr}");
        assert!(code == 6 && !stderr.contains('\u{1b}'), "{stderr}");
        home.assert_untouched();
    }
}

#[test]
fn a_machine_without_hardware_gets_no_software_token_unnoticed() {
    let home = Home::with(&[]);
    // All modules of this machine, by a worker that finds nothing in any.
    let worker = home.path("worker");
    let mut command = Command::new(KEYWARD);
    home.set_up(&mut command);
    let output = command
        .args(["init", "--yes", "--worker"])
        .arg(worker)
        .output()
        .unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(6), "{stderr}");
    assert!(
        stderr.contains("no hardware token was found\n  hint: plug it in"),
        "{stderr}"
    );
    home.assert_untouched();
}

#[test]
fn a_configuration_that_is_there_is_left_alone_or_added_to() {
    let home = Home::with(&[YUBIKEY]);
    assert_eq!(home.init(&["--yes"]).0, 0);
    let first = std::fs::read_to_string(home.config()).unwrap();
    let (code, _, stderr) = home.init(&["--yes"]);
    assert_eq!(code, 7);
    assert!(stderr.contains("is there already"), "{stderr}");
    let (code, _, stderr) = home.init(&["--yes", "--add"]);
    assert_eq!(code, 2);
    assert!(
        stderr.contains("has a token main already\n  hint: --name"),
        "{stderr}"
    );
    assert_eq!(home.init(&["--yes", "--add", "--name", "spare"]).0, 0);
    let both = std::fs::read_to_string(home.config()).unwrap();
    assert!(
        both.starts_with(&first) && both.contains("[token.spare]"),
        "{both}"
    );
    assert_eq!(home.init(&["--undo", "--yes"]).0, 0);
    assert_eq!(std::fs::read_to_string(home.config()).unwrap(), first);
    assert_eq!(home.init(&["--undo", "--yes"]).0, 0);
    let (code, _, stderr) = home.init(&["--undo", "--yes"]);
    assert_eq!(code, 5);
    assert!(stderr.contains("nothing to take back"), "{stderr}");
}

#[test]
fn what_a_person_has_changed_since_is_not_undone() {
    let home = Home::with(&[]);
    assert_eq!(
        home.init(&["--software", "--yes", "--remember-pin-in-file"])
            .0,
        0
    );
    let config = std::fs::read_to_string(home.config()).unwrap();
    std::fs::write(home.config(), format!("{config}# mine\n")).unwrap();
    let before = tree(&home.path("home"));
    let (code, _, stderr) = home.init(&["--undo", "--yes-destroy-keys"]);
    assert_eq!(code, 7);
    assert!(stderr.contains("was changed since"), "{stderr}");
    assert_eq!(tree(&home.path("home")), before);
    std::fs::write(home.config(), config).unwrap();
    let mut session = home.on_terminal(&["--undo"]);
    session.until("to destroy its keys: ");
    session.type_in("yes\n");
    assert_eq!(session.end().0, 1);
    assert_eq!(tree(&home.path("home")), before);
    let mut session = home.on_terminal(&["--undo"]);
    session.until("to destroy its keys: ");
    session.type_in("main\n");
    assert_eq!(session.end().0, 0);
    home.assert_untouched();
}

#[test]
fn a_failure_in_the_middle_takes_back_what_was_made() {
    let home = Home::with_worker("echo 'keyward-worker: error: no room' >&2; exit 1");
    let (code, _, stderr) = home.init(&["--software", "--yes", "--remember-pin-in-file"]);
    assert_eq!(code, 9);
    assert!(
        stderr.contains("SoftHSM made no token\n  caused by: no room"),
        "{stderr}"
    );
    assert_eq!(tree(&home.path("home")), Vec::<PathBuf>::new());
    // Where nothing can be made.
    let home = Home::with(&[YUBIKEY]);
    std::fs::write(home.path("home"), "").unwrap();
    let (code, _, stderr) = home.init(&["--yes"]);
    assert_eq!(code, 2, "{stderr}");
    assert!(stderr.contains("can't "), "{stderr}");
}

#[test]
fn a_dry_run_shows_the_section_and_makes_nothing() {
    let home = Home::with(&[YUBIKEY]);
    let (code, stdout, _) = home.init(&["--dry-run"]);
    assert_eq!(code, 0);
    assert!(
        stdout.contains("\n[token.main]\nkind = \"pkcs11\"\n"),
        "{stdout}"
    );
    assert!(
        stdout.contains("User mode: the agent runs as you."),
        "{stdout}"
    );
    home.assert_untouched();
}

#[test]
fn a_name_that_is_no_tokens_is_refused() {
    let home = Home::with(&[YUBIKEY]);
    for name in ["../x", "Main", "", "a b", "-x"] {
        let name = format!("--name={name}");
        assert_eq!(home.init(&["--yes", &name]).0, 2, "{name}");
    }
    home.assert_untouched();
}

const TPM: [&str; 2] = ["--tcti", "swtpm:host=127.0.0.1,port=2321"];

/// A machine with a TPM that has no storage root key.
fn with_tpm() -> Home {
    Home::with_worker(
        "case $1 in probe) echo '{\"tpm\":{\"identity\":null,\"lockout\":false}}';;
         *) test \"$TSS2_LOG\" = all+NONE || exit 1; cat >\"$0.pins\"; : >\"$4/made\"
            echo '{\"tpm\":{}}';; esac",
    )
}

#[test]
fn what_is_made_in_a_tpm_is_said_first_and_its_pin_asked_twice() {
    let home = with_tpm();
    let mut session = home.on_terminal(&TPM);
    session.until("storage root key at 0x81000001, a persistent object: it stays in the TPM");
    session.until("Wrong PINs count at the TPM's dictionary attack lockout");
    session.until("Go on? [y/N] ");
    session.type_in("y\n");
    for (first, second) in [("4711\n", "4712\n"), ("4711\n", "4711\n")] {
        session.until("PIN for the new token main");
        session.shown.clear();
        session.type_in(first);
        session.until("again: ");
        session.type_in(second);
    }
    session.until("Token main is set up");
    assert_eq!(session.end().0, 0);
    let pins = std::fs::read_to_string(home.path("worker.pins")).unwrap();
    assert_eq!(pins, "4711\n");
    let mut session = home.on_terminal(&["--undo"]);
    session.until("storage root key at 0x81000001 stays");
    session.until("to destroy its keys: ");
    session.type_in("main\n");
    assert_eq!(session.end().0, 0);
    home.assert_untouched();
}

#[test]
fn ctrl_c_at_the_pin_of_a_tpm_leaves_nothing() {
    let home = with_tpm();
    let mut session = home.on_terminal(&[&TPM[..], &["--yes"]].concat());
    session.until("PIN for the new token");
    session.type_in("47\u{3}");
    assert_eq!(session.end().0, 130);
    assert!(!home.path("worker.pins").exists());
    home.assert_untouched();
}

#[test]
fn a_tpms_token_can_have_no_pin_and_others_can_not() {
    let home = with_tpm();
    let arguments = [&TPM[..], &["--yes", "--no-pin"]].concat();
    let (code, stdout, stderr) = home.init(&arguments);
    assert_eq!(code, 0, "{stderr}");
    assert!(stdout.contains("whoever has the agent's uid"), "{stdout}");
    assert_eq!(
        std::fs::read_to_string(home.path("worker.pins")).unwrap(),
        "\n"
    );
    let config = std::fs::read_to_string(home.config()).unwrap();
    assert!(
        config.contains(
            "kind = \"tpm\"\ntcti = \"swtpm:host=127.0.0.1,port=2321\"\n# It has no PIN."
        ),
        "{config}"
    );
    let home = Home::with(&[]);
    let (code, _, stderr) = home.init(&["--software", "--yes", "--no-pin"]);
    assert_eq!(code, 2, "{stderr}");
    home.assert_untouched();
}

#[test]
fn a_tpm_that_refuses_leaves_nothing_and_its_words_are_told() {
    let home =
        Home::with_worker("echo 'keyward-worker: error: `hots` is not known here' >&2; exit 1");
    let (code, _, stderr) = home.init(&[&TPM[..], &["--yes", "--no-pin"]].concat());
    assert_eq!(code, 6);
    assert!(
        stderr.contains("caused by: `hots` is not known here"),
        "{stderr}"
    );
    assert!(stderr.contains("hint: such as --tcti device:"), "{stderr}");
    home.assert_untouched();
    let home = Home::with_worker(
        "case $1 in probe) echo '{\"tpm\":{\"identity\":null,\"lockout\":true}}';;
         *) echo 'keyward-worker: error: the owner hierarchy has a password' >&2; exit 1;; esac",
    );
    let (code, stdout, stderr) = home.init(&[&TPM[..], &["--yes", "--no-pin"]].concat());
    assert_eq!(code, 6, "{stderr}");
    assert!(stdout.contains("lockout is in force"), "{stdout}");
    assert!(
        stderr.contains("caused by: the owner hierarchy"),
        "{stderr}"
    );
    assert_eq!(tree(&home.path("home")), Vec::<PathBuf>::new());
}
