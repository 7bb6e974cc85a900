//! How keywardd comes and goes.

use std::{fs, os::unix::fs::MetadataExt, os::unix::process::ExitStatusExt, path::Path};

use keyward_client::protocol::{
    Algorithm, ErrorCode, KeyType, Purpose,
    operation::{Describe, GetPublicKey, KeyDescription, List, Sign},
};
use keyward_tests::{
    Daemon, Fault, PATIENCE, Raw, Setup, TokenSetup,
    process::pid,
    raw::Answer,
    request::{refused, sign},
    wait_for,
};
use rustix::process::{Signal, kill_process, test_kill_process};

fn runs(process: u32) -> bool {
    test_kill_process(pid(process)).is_ok()
        && !keyward_tests::process::status_field(process, "State")
            .is_none_or(|s| s.starts_with('Z'))
}

/// Nobody waits for the processes of a daemon that was killed: they end on their own.
fn all_end(processes: &[u32]) -> bool {
    wait_for(|| !processes.iter().copied().any(runs), PATIENCE)
}

#[test]
fn sigterm_finishes_what_is_under_way_and_takes_nothing_new() {
    let mut daemon = Daemon::start(Setup::new().token(TokenSetup::new("main").fault()));
    daemon.create_signer("k");
    let fault = daemon.fault("main");
    fault.set("C_Sign", &Fault::Hang);
    let mut raw = Raw::welcomed(&daemon.socket());
    let mut idle = Raw::welcomed(&daemon.socket());
    raw.call(1, sign("k", b"message"));
    assert!(wait_for(|| fault.calls("C_Sign") == 1, PATIENCE));
    daemon.signal(Signal::TERM);
    assert_eq!(
        idle.answer(),
        Answer::End,
        "who waits for nothing is let go"
    );
    let closed = || keyward_client::Client::connect_to(daemon.endpoint()).is_err();
    assert!(wait_for(closed, PATIENCE), "nobody new is let in");
    fault.clear("C_Sign");
    let signature = raw.reply::<Sign>(1);
    assert_eq!(signature.algorithm, Algorithm::Esp256);
    assert_eq!(raw.answer(), Answer::End);
    let status = daemon.wait();
    assert!(status.success(), "{status}\n{}", daemon.stderr());
    assert!(!daemon.socket().exists());
    let records = daemon.audit();
    let last = records
        .iter()
        .rfind(|record| record["op"] == "sign")
        .unwrap();
    assert_eq!(last["outcome"], "ok");
}

#[test]
fn sigterm_and_sigint_leave_no_process_and_no_socket() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut daemon = Daemon::start(Setup::new());
        daemon.create_signer("k");
        let processes = daemon.processes();
        assert_eq!(processes.len(), 3, "agent, monitor, worker");
        daemon.signal(signal);
        let status = daemon.wait();
        assert!(
            status.success(),
            "{signal:?}: {status}\n{}",
            daemon.stderr()
        );
        assert!(!daemon.socket().exists());
        assert!(all_end(&processes));
    }
}

#[test]
fn when_the_monitor_dies_keywardd_ends_and_so_do_its_workers() {
    let mut daemon = Daemon::start(Setup::new());
    daemon.create_signer("k");
    let processes = daemon.processes();
    kill_process(pid(daemon.monitor_pid()), Signal::KILL).unwrap();
    let status = daemon.wait();
    assert_eq!(status.code(), Some(1), "{status}");
    assert!(daemon.stderr().contains("monitor"), "{}", daemon.stderr());
    assert!(all_end(&processes));
    daemon.start_again();
    daemon
        .client()
        .call(sign("k", b"message"))
        .expect("a signature");
}

#[test]
fn when_keywardd_is_killed_its_monitor_and_workers_are_gone_too() {
    let mut daemon = Daemon::start(Setup::new());
    daemon.create_signer("k");
    let processes = daemon.processes();
    daemon.signal(Signal::KILL);
    let status = daemon.wait();
    assert_eq!(status.signal(), Some(9));
    assert!(all_end(&processes));
    // The socket is still there, and stale: the next one replaces it.
    assert!(daemon.socket().exists());
    daemon.start_again();
    daemon
        .client()
        .call(sign("k", b"message"))
        .expect("a signature");
}

#[test]
fn a_restart_keeps_the_keys_with_all_that_is_known_about_them() {
    let mut daemon = Daemon::start(Setup::new());
    daemon.create("a", Purpose::Sign, KeyType::P256);
    daemon.create("b", Purpose::Agree, KeyType::P384);
    daemon.create("c", Purpose::Unwrap, KeyType::Rsa2048);
    let known = |daemon: &Daemon| {
        let mut client = daemon.client();
        let list = client.call(List { after: None }).unwrap();
        let keys: Vec<KeyDescription> = ["a", "b", "c"]
            .map(|key| client.call(Describe { key: key.into() }).unwrap())
            .into();
        let public = client.call(GetPublicKey {
            key: "a".into(),
            version: None,
        });
        (list, keys, public.unwrap())
    };
    let before = known(&daemon);
    daemon.restart();
    assert_eq!(known(&daemon), before);
    daemon
        .client()
        .call(sign("a", b"message"))
        .expect("a signature");
}

#[test]
fn a_registry_that_was_rolled_back_refuses_management_and_says_so() {
    let mut daemon = Daemon::start(Setup::new());
    daemon.create_signer("old");
    daemon.terminate();
    let state = daemon.state();
    let copy = daemon.dir().join("copy");
    let files = ["registry.db", "registry.db-wal", "registry.db-shm"];
    fs::create_dir(&copy).unwrap();
    let each = |from: &Path, to: &Path| {
        for file in files {
            if from.join(file).exists() {
                fs::copy(from.join(file), to.join(file)).unwrap();
            } else {
                let _ = fs::remove_file(to.join(file));
            }
        }
    };
    each(&state, &copy);
    daemon.start_again();
    daemon.create_signer("new");
    daemon.terminate();
    each(&copy, &state);
    daemon.start_again();
    assert!(daemon.status().management_refused.is_some());
    let request = keyward_tests::request::create("third", Purpose::Sign, KeyType::P256);
    let failure = refused(daemon.client().call(request));
    assert_eq!(failure.code, ErrorCode::RegistryMismatch, "{failure}");
    daemon
        .client()
        .call(sign("old", b"message"))
        .expect("uses go on");
}

#[test]
fn everything_that_is_kept_is_its_owners_alone() {
    let daemon = Daemon::start(Setup::new());
    daemon.create_signer("k");
    let mut folders = vec![daemon.state()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let meta = fs::symlink_metadata(&path).unwrap();
            assert_eq!(
                meta.mode() & 0o077,
                0,
                "{}: {:o}",
                path.display(),
                meta.mode()
            );
            if meta.is_dir() {
                folders.push(path);
            }
        }
    }
    let socket = fs::metadata(daemon.socket()).unwrap();
    assert_eq!(socket.mode() & 0o777, 0o600);
}
