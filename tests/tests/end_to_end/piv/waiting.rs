//! A caller that asks to wait does so for a card that is not there or is locked.

use std::process::{Child, Stdio};

use keyward_client::protocol::ErrorCode;
use keyward_tests::{piv::Share, process::pid, request::refused};
use rustix::process::{Signal, kill_process};

use super::*;

/// A daemon whose card, with a key, was taken away.
#[track_caller]
fn without_its_card(pin: Pin) -> Daemon {
    let daemon = match pin {
        Pin::Ask => typed(""),
        _ => one_card(TokenSetup::piv(CARD)),
    };
    daemon.create_signer("k");
    daemon.card(CARD).remove();
    daemon.wait_for_token(CARD, LoginState::Absent);
    daemon
}

/// `keyward --wait SECONDS sign k`
#[track_caller]
fn signing(daemon: &Daemon, seconds: &str) -> Child {
    let file = daemon.dir().join("message");
    std::fs::write(&file, b"message").expect("a file");
    let mut command = daemon.keyward();
    command.args(["--wait", seconds, "sign", "k"]).arg(file);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command.spawn().expect("keyward")
}

/// Waits until so many requests have been begun; one that waits for a token is in no queue.
#[track_caller]
fn wait_until_asked(daemon: &Daemon, child: &mut Child) {
    let connected = || {
        let descriptors = std::fs::read_dir(format!("/proc/{}/fd", child.id()));
        let links = descriptors.into_iter().flatten().flatten();
        links
            .filter_map(|link| std::fs::read_link(link.path()).ok())
            .any(|link| link.to_string_lossy().starts_with("socket:"))
    };
    assert!(wait_for(connected, PATIENCE));
    assert!(child.try_wait().expect("a child").is_none());
    // The daemon has read what was sent when it answers somebody who asked later.
    let _ = daemon.status();
}

#[test]
fn a_command_that_waits_goes_on_when_the_card_is_inserted() {
    let daemon = without_its_card(Pin::File);
    let mut child = signing(&daemon, "60");
    wait_until_asked(&daemon, &mut child);
    daemon.card(CARD).insert();
    let output = child.wait_with_output().expect("its output");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}\n{}", daemon.stderr());
    let public = daemon.public_file("k");
    openssl::verify_ecdsa(&public, "sha256", b"message", &output.stdout).expect("a signature");
    assert_sound(&daemon, CARD);
}

#[test]
fn a_request_that_waits_goes_on_when_the_card_is_inserted_and_unlocked() {
    let daemon = without_its_card(Pin::Ask);
    let mut waits = patient(&daemon, PATIENCE);
    let waiting = thread::spawn(move || waits.call(sign("k", b"message")));
    daemon.card(CARD).insert();
    daemon.wait_for_token(CARD, LoginState::Locked);
    assert!(!waiting.is_finished());
    // Who does not wait is told.
    let failure = refused(sign_once(&daemon, "k"));
    assert_eq!(failure.code, ErrorCode::TokenLocked, "{failure}");
    unlock(&daemon, PIV_PIN).expect("unlocked");
    waiting.join().expect("a thread").expect("a signature");
    assert_sound(&daemon, CARD);
}

#[test]
fn a_wait_ends_by_its_time_and_says_what_was_waited_for() {
    let daemon = without_its_card(Pin::File);
    let output = signing(&daemon, "1")
        .wait_with_output()
        .expect("its output");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && output.stdout.is_empty());
    let serial = daemon.card(CARD).card().serial().to_string();
    assert!(stderr.contains(&serial), "{stderr}");
    let asked = Instant::now();
    let limit = Duration::from_millis(300);
    let failure = refused(patient(&daemon, limit).call(sign("k", b"message")));
    assert!(asked.elapsed() >= limit);
    assert_eq!(failure.code, ErrorCode::TokenAbsent, "{failure}");
}

#[test]
fn a_wait_ends_by_an_interrupt() {
    let daemon = without_its_card(Pin::File);
    let uses = daemon.card(CARD).card().count(0x87);
    let mut child = signing(&daemon, "60");
    wait_until_asked(&daemon, &mut child);
    let asked = || {
        let status = std::fs::read_to_string(format!("/proc/{}/status", child.id()));
        // The bits of signals that it catches, or has blocked to read them: SIGINT is the second.
        let bits = |name: &str| {
            let status = status.as_deref().unwrap_or_default();
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok())
        };
        let held = bits("SigBlk:").unwrap_or(0) | bits("SigCgt:").unwrap_or(0);
        held & 0b10 != 0
    };
    assert!(wait_for(asked, PATIENCE), "it does not hold SIGINT");
    kill_process(pid(child.id()), Signal::INT).expect("it waits");
    let output = child.wait_with_output().expect("its output");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.stdout.is_empty(), "{stderr}");
    assert!(stderr.contains("cancelled: sign"), "{stderr}");
    let by = std::os::unix::process::ExitStatusExt::signal(&output.status);
    assert_eq!(by, Some(2), "{stderr}");
    daemon.card(CARD).insert();
    daemon.wait_for_token(CARD, LoginState::Unlocked);
    assert_eq!(
        daemon.card(CARD).card().count(0x87),
        uses,
        "nothing was signed"
    );
}

#[test]
fn a_command_that_waits_goes_on_when_another_program_lets_the_card_go() {
    let daemon = one_card(TokenSetup::piv(CARD));
    daemon.create_signer("k");
    let mut other = daemon.card(CARD).other_program();
    other.connect(Share::Exclusive).expect("the card is free");
    let failure = refused(sign_once(&daemon, "k"));
    assert_eq!(failure.code, ErrorCode::TokenAbsent, "{failure}");
    let mut child = signing(&daemon, "60");
    wait_until_asked(&daemon, &mut child);
    // Whoever does not wait is served behind it, and has given up: so has its first attempt.
    let failure = refused(sign_once(&daemon, "k"));
    assert_eq!(failure.code, ErrorCode::TokenAbsent, "{failure}");
    assert!(child.try_wait().expect("a child").is_none());
    other.disconnect().expect("it was connected");
    let output = child.wait_with_output().expect("its output");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}\n{}", daemon.stderr());
    assert_sound(&daemon, CARD);
}

#[test]
fn a_command_that_waits_at_the_start_of_the_agent_goes_on_when_the_card_comes() {
    let mut daemon = without_its_card(Pin::File);
    daemon.terminate();
    daemon.start_again();
    let mut child = signing(&daemon, "60");
    wait_until_asked(&daemon, &mut child);
    daemon.wait_for_token(CARD, LoginState::Absent);
    assert!(child.try_wait().expect("a child").is_none());
    daemon.card(CARD).insert();
    let output = child.wait_with_output().expect("its output");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}\n{}", daemon.stderr());
}
