//! The program on a terminal: a pseudo-terminal whose other end the test holds.

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;

use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, tcgetattr};

use keyward_protocol::ErrorCode;
use keyward_protocol::message::ClientMessage;
use keyward_protocol::operation::{Done, Request};

use crate::fake::Fake;
use crate::{KEYWARD, agent};

/// The program with a controlling terminal.
pub(crate) struct Session {
    terminal: File,
    /// The program's end, whose modes are looked at.
    other: File,
    child: Child,
    pub(crate) shown: String,
}

impl Session {
    fn start(socket: &Path, arguments: &[&str]) -> Self {
        Self::start_with(arguments, false, |command| {
            command.env("KEYWARD_SOCK", socket);
        })
    }

    /// With the environment that the test gives it, and with stderr on the terminal too if that is
    /// wanted.
    pub(crate) fn start_with(
        arguments: &[&str],
        shown: bool,
        set_up: impl FnOnce(&mut Command),
    ) -> Self {
        // No program may have this end: the last one that closes it hangs up on all of them.
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let terminal = openpt(flags).unwrap();
        grantpt(&terminal).unwrap();
        unlockpt(&terminal).unwrap();
        let name = ptsname(&terminal, Vec::new()).unwrap();
        let other = File::options()
            .read(true)
            .write(true)
            .open(name.to_str().unwrap())
            .unwrap();
        // setsid makes the terminal that it is given on stdin the controlling one. The shell
        // outlives the program: with the last process of a session the terminal's modes are reset.
        let script = r#"trap : INT; "$0" "$@"; echo "ended $?#"; read line"#;
        let mut command = Command::new("env");
        set_up(&mut command);
        let child = command
            .args(crate::INTERRUPTIBLE)
            .args(["setsid", "--ctty", "sh", "-c", script, KEYWARD])
            .args(arguments)
            .stdin(other.try_clone().unwrap())
            .stdout(other.try_clone().unwrap())
            .stderr(if shown {
                other.try_clone().unwrap().into()
            } else {
                Stdio::piped()
            })
            .spawn()
            .unwrap();
        Self {
            terminal: terminal.into(),
            other,
            child,
            shown: String::new(),
        }
    }

    /// Reads what the terminal shows until it has `text`.
    pub(crate) fn until(&mut self, text: &str) {
        while !self.shown.contains(text) {
            let mut bytes = [0; 1024];
            let count = self.terminal.read(&mut bytes).unwrap();
            self.shown
                .push_str(std::str::from_utf8(&bytes[..count]).unwrap());
        }
    }

    pub(crate) fn type_in(&mut self, text: &str) {
        self.terminal.write_all(text.as_bytes()).unwrap();
    }

    fn echoes(&self) -> bool {
        let modes = tcgetattr(&self.other).unwrap().local_modes;
        modes.contains(LocalModes::ECHO | LocalModes::ICANON)
    }

    /// The exit code and stderr; the terminal must be as it was.
    pub(crate) fn end(mut self) -> (i32, String) {
        self.until("ended ");
        self.until("#\r\n");
        assert!(self.echoes());
        self.type_in("\n");
        let code = self.shown.rsplit("ended ").next().unwrap();
        let code = code.split('#').next().unwrap().parse().unwrap();
        let mut stderr = String::new();
        if let Some(mut pipe) = self.child.stderr.take() {
            pipe.read_to_string(&mut stderr).unwrap();
        }
        self.child.wait().unwrap();
        (code, stderr)
    }
}

impl Drop for Session {
    /// A test that failed leaves neither the shell nor the program behind. Where the test itself is
    /// killed, its terminal hangs up on them.
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            let _ = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
            let _ = self.child.wait();
        }
    }
}

#[test]
fn a_session_that_is_dropped_leaves_no_process_behind() {
    let (fake, asked) = slow();
    let session = Session::start(&fake.path(), &["random", "8", "-o", "-"]);
    asked.recv().unwrap();
    let group = Pid::from_child(&session.child);
    drop(session);
    // Nobody is in the group any more.
    let gone = || test_kill_process_group(group) == Err(Errno::SRCH);
    while !gone() {
        std::thread::yield_now();
    }
}

#[test]
fn a_pin_is_asked_for_without_echo() {
    let fake = agent::start();
    let mut session = Session::start(&fake.path(), &["unlock"]);
    session.until("PIN of token main (SoftHSM project, SoftHSM v2, 0123): ");
    assert!(!session.echoes());
    session.type_in("1234\n");
    session.until("\n");
    assert!(!session.shown.contains("1234"));
    assert_eq!(session.end(), (0, String::new()));
}

#[test]
fn an_interrupted_prompt_leaves_a_terminal_that_echoes() {
    let fake = agent::start();
    let mut session = Session::start(&fake.path(), &["unlock", "main"]);
    session.until("PIN of token main");
    session.type_in("12\u{3}");
    // As a shell tells an end by SIGINT.
    assert_eq!(session.end().0, 130);
}

#[test]
fn a_key_is_destroyed_only_when_its_name_is_typed() {
    let fake = agent::start();
    for (typed, code) in [("relaese\n", 1), ("release\n", 0)] {
        let mut session = Session::start(&fake.path(), &["key", "destroy", "release", "--now"]);
        session.until("Type its name to go on: ");
        session.type_in(typed);
        let (ended, stderr) = session.end();
        assert_eq!(ended, code, "{stderr}");
    }
}

#[test]
fn bytes_are_not_written_to_a_terminal() {
    let fake = agent::start();
    let session = Session::start(&fake.path(), &["random", "8"]);
    let (code, stderr) = session.end();
    assert_eq!(code, 2);
    assert!(
        stderr.contains("stdout is a terminal\n  hint: -o FILE"),
        "{stderr}"
    );
}

#[test]
fn a_key_is_not_typed_in() {
    let fake = agent::start();
    let arguments = ["key", "import", "deploy", "--purpose", "sign"];
    let (code, stderr) = Session::start(&fake.path(), &arguments).end();
    assert_eq!(code, 2);
    assert!(stderr.contains("stdin is a terminal"), "{stderr}");
}

#[test]
fn a_new_pin_is_typed_twice() {
    let fake = agent::start();
    for (again, code) in [("5678\n", 0), ("5679\n", 2)] {
        let mut session = Session::start(&fake.path(), &["token", "change-pin"]);
        session.until("as it is: ");
        session.type_in("1234\n");
        session.until("New PIN: ");
        session.type_in("5678\n");
        session.until("once more: ");
        assert!(!session.echoes());
        session.type_in(again);
        let (ended, stderr) = session.end();
        assert_eq!(ended, code, "{stderr}");
    }
}

#[test]
fn what_cannot_be_undone_is_asked_for_and_no_is_the_default() {
    let fake = agent::start();
    for (typed, code) in [("\n", 1), ("n\n", 1), ("y\n", 0)] {
        let mut session = Session::start(&fake.path(), &["key", "compromised", "release"]);
        session.until("[y/N] ");
        session.type_in(typed);
        let (ended, stderr) = session.end();
        assert_eq!(ended, code, "{stderr}");
    }
}

#[test]
fn a_registry_is_accepted_by_a_yes_to_what_is_wrong_with_it() {
    for (typed, code) in [("\n", 1), ("y\n", 0)] {
        let fake = Fake::start(|_, mut peer| {
            peer.greet();
            let Some(call) = peer.call() else { return };
            assert!(matches!(call.request, Request::Status(_)));
            let mut status = agent::status();
            status.management_refused = Some("the registry is older than the log".into());
            peer.reply(call.id, &status);
            if let Some(call) = peer.call() {
                assert!(matches!(call.request, Request::AcceptRegistry(_)));
                peer.reply(call.id, &Done {});
            }
        });
        let mut session = Session::start(&fake.path(), &["accept-registry"]);
        session.until("the registry is older than the log\r\n");
        session.until("[y/N] ");
        session.type_in(typed);
        let (ended, stderr) = session.end();
        assert_eq!(ended, code, "{stderr}");
    }
}

#[test]
fn a_registry_that_fits_needs_no_word() {
    let fake = agent::start();
    let (code, stderr) = Session::start(&fake.path(), &["accept-registry"]).end();
    assert_eq!(code, 7);
    assert!(stderr.contains("there is nothing to accept"), "{stderr}");
}

/// An agent that answers nothing until it is told that nobody waits any more, and tells when it was
/// asked.
fn slow() -> (Fake, mpsc::Receiver<()>) {
    let (asked, receiver) = mpsc::channel();
    let fake = Fake::start(move |_, mut peer| {
        peer.greet();
        let Some(call) = peer.call() else { return };
        asked.send(()).unwrap();
        if let Some(ClientMessage::Cancel { id }) = peer.message() {
            assert_eq!(id, call.id);
            peer.fail(Some(id), ErrorCode::Cancelled, "it was cancelled");
        }
    });
    (fake, receiver)
}

#[test]
fn whoever_waits_is_told_so_and_can_take_the_request_back() {
    let (fake, _asked) = slow();
    let create = ["key", "create", "big", "--purpose=sign", "--type=rsa4096"];
    let mut session = Session::start_with(&create, true, |command| {
        command.env("KEYWARD_SOCK", fake.path());
    });
    session.until("keyward: create, 1 s (Ctrl-C cancels)");
    session.type_in("\u{3}");
    session.until("keyward: error: cancelled: create");
    session.until("hint: keyward key list");
    assert_eq!(session.end().0, 130);
}

#[test]
fn whoever_encrypts_a_file_can_take_that_back_too() {
    let (fake, _asked) = slow();
    let encrypt = ["encrypt", "--to=data", "/dev/null", "-o", "-"];
    let mut session = Session::start_with(&encrypt, true, |command| {
        command.env("KEYWARD_SOCK", fake.path());
    });
    session.until("keyward: generate-data-key, 1 s (Ctrl-C cancels)");
    session.type_in("\u{3}");
    session.until("keyward: error: cancelled: generate-data-key");
    assert_eq!(session.end().0, 130);
}

#[test]
fn what_is_read_from_a_terminal_is_asked_for_and_is_not_nothing() {
    let fake = agent::start();
    for (typed, code, end) in [
        ("hello\n\u{4}", 0, "6d6d"),
        (
            "\u{4}",
            2,
            "hint: a FILE, or /dev/null if it is to be empty",
        ),
    ] {
        let mac = ["mac", "hmac", "--hex"];
        let mut session = Session::start_with(&mac, true, |command| {
            command.env("KEYWARD_SOCK", fake.path());
        });
        session.until("what is typed here is read, until Ctrl-D");
        session.type_in(typed);
        session.until(end);
        assert_eq!(session.end().0, code);
    }
}

#[test]
fn a_token_is_named_as_the_command_wants_it() {
    let fake = Fake::start(|_, mut peer| {
        peer.greet();
        while let Some(call) = peer.call() {
            if matches!(call.request, Request::Status(_)) {
                let mut status = agent::status();
                let mut spare = status.tokens[0].clone();
                spare.name = "spare".into();
                status.tokens.push(spare);
                peer.reply(call.id, &status);
            } else {
                peer.fail(Some(call.id), ErrorCode::Invalid, "there are several");
            }
        }
    });
    for (command, hint) in [
        (
            vec!["unlock"],
            "keyward unlock main  or  keyward unlock spare",
        ),
        (vec!["unlock", "--from-source"], "keyward unlock main"),
        (vec!["token", "rescan"], "keyward token rescan main"),
        (vec!["token", "change-pin"], "keyward token change-pin main"),
    ] {
        let (code, stderr) = Session::start(&fake.path(), &command).end();
        assert_eq!(code, 2);
        assert!(stderr.contains(&format!("hint: {hint}")), "{stderr}");
    }
}

#[test]
fn no_line_moves_where_stderr_is_no_terminal() {
    let (fake, asked) = slow();
    let mut session = Session::start(&fake.path(), &["random", "8", "-o", "-"]);
    asked.recv().unwrap();
    session.type_in("\u{3}");
    let told = "keyward: error: cancelled: random\n".to_owned();
    assert_eq!(session.end(), (130, told));
}

#[test]
fn a_terminal_shows_text_that_was_decrypted_and_nothing_else() {
    let fake = agent::start();
    let folder = tempfile::tempdir().unwrap();
    for (content, code) in [("a line\n", 0), ("\u{1b}[2J\n", 2)] {
        let plain = folder.path().join("plain");
        std::fs::write(&plain, content).unwrap();
        let sealed = folder.path().join("sealed").to_str().unwrap().to_owned();
        let status = Command::new(KEYWARD)
            .args(["encrypt", "--to", "data", "--force", "-o", &sealed])
            .arg(&plain)
            .env("KEYWARD_SOCK", fake.path())
            .status();
        assert!(status.unwrap().success());
        let mut session = Session::start(&fake.path(), &["decrypt", &sealed]);
        session.until("ended ");
        assert_eq!(session.shown.starts_with("a line\r\n"), code == 0);
        assert!(!session.shown.contains('\u{1b}'));
        assert_eq!(session.end().0, code);
    }
    let session = Session::start(&fake.path(), &["encrypt", "--to", "data"]);
    assert_eq!(session.end().0, 2);
}
