//! A registry that was rolled back stays refused until a person accepts one or restores a backup.

use std::{
    fs,
    process::{Command, Stdio},
};

use keyward_client::protocol::{
    KeyState, Purpose,
    backup::Content,
    operation::{AcceptRegistry, Describe, LoginState},
};
use keyward_tests::{Daemon, Setup, Site, request, site::program};
use rustix::process::Signal;
use serde_json::json;

use crate::backup::{backup, restore};

/// A daemon whose registry is one key older than its log.
fn rolled_back() -> Daemon {
    let mut daemon = Daemon::start(Setup::new());
    daemon.create_signer("old");
    daemon.terminate();
    let registry = daemon.state().join("registry.db");
    let old = fs::read(&registry).unwrap();
    daemon.start_again();
    daemon.create_signer("new");
    daemon.terminate();
    let _ = fs::remove_file(daemon.state().join("registry.db-wal"));
    fs::write(&registry, old).unwrap();
    daemon.start_again();
    assert_refused(&daemon);
    daemon
}

#[track_caller]
fn assert_refused(daemon: &Daemon) {
    let why = daemon.status().management_refused;
    assert!(why.is_some_and(|why| why.contains("older registry")));
}

/// The command with files that can have so many blocks of 512 bytes at the most.
fn with_short_files(site: &Site, blocks: usize) -> Command {
    let mut command = Command::new("sh");
    let script = format!("ulimit -f {blocks} && exec \"$@\"");
    command.args(["-c", &script, "sh"]);
    command.arg(program("keywardd"));
    command.arg("--config").arg(site.config());
    command.stdin(Stdio::null()).stderr(Stdio::piped());
    command
}

#[test]
fn a_backup_does_not_make_it_the_right_one() {
    let mut daemon = rolled_back();
    let document = backup(&mut daemon.client());
    assert_eq!(Content::from_document(&document).unwrap().keys.len(), 1);
    assert_refused(&daemon);
    daemon.restart();
    assert_refused(&daemon);
    // Neither does a dry run.
    restore(&daemon, &document, true).unwrap();
    daemon.restart();
    assert_refused(&daemon);
    // A restoration does, and the log has what it ended.
    restore(&daemon, &document, false).unwrap();
    let records = daemon.audit();
    let whole = records.iter().filter(|r| r["op"] == "restore").rev();
    for record in whole.take(2) {
        let detail = record["detail"].as_str().unwrap();
        assert!(detail.contains("older registry was put"), "{detail}");
    }
    daemon.restart();
    assert_eq!(daemon.status().management_refused, None);
    daemon.wait_for_token("main", LoginState::Unlocked);
    daemon.client().call(request::sign("old", b"m")).unwrap();
    daemon.create(
        "third",
        Purpose::Sign,
        keyward_client::protocol::KeyType::P256,
    );
}

#[test]
fn a_key_whose_destruction_was_begun_comes_back_suspended() {
    for by_restoration in [false, true] {
        let mut daemon = rolled_back();
        let describe = || Describe { key: "old".into() };
        let key = daemon.client().call(describe()).expect("a key");
        let copy = backup(&mut daemon.client());
        daemon.terminate();
        let version = &key.versions[0].id;
        daemon.intend(&json!({
            "op": "destroy", "key": key.id, "version": version, "token": "main", "places": 1,
        }));
        daemon.start_again();
        assert_refused(&daemon);
        let op = if by_restoration {
            let restored = restore(&daemon, &copy, false).unwrap();
            assert!(restored.kept[0].starts_with(&key.id), "{:?}", restored.kept);
            "restore"
        } else {
            daemon.client().call(AcceptRegistry {}).unwrap();
            "accept-registry"
        };
        let key = daemon.client().call(describe()).expect("a key");
        assert_eq!((key.state, key.destruction), (KeyState::Suspended, None));
        let records = daemon.audit();
        let outcome = records.iter().rfind(|record| record["op"] == op).unwrap();
        let detail = outcome["detail"].as_str().unwrap();
        assert!(detail.contains(&key.id), "{detail}");
        daemon.restart();
        assert_eq!(daemon.status().management_refused, None);
    }
}

#[test]
fn a_restoration_that_fails_does_not_make_it_the_right_one() {
    let daemon = rolled_back();
    let document = backup(&mut daemon.client());
    let mut content = Content::from_document(&document).unwrap();
    let pattern = content.keys[0].clone();
    content.keys = (0..4000_u128)
        .map(|n| {
            let mut key = pattern.clone();
            key.id = (n * 2 + 2).to_be_bytes().into();
            key.versions[0].id = (n * 2 + 3).to_be_bytes().into();
            key.aliases.clear();
            key
        })
        .collect();
    let document = content.to_document().unwrap();
    let site = daemon.stop();
    let command = with_short_files(&site, 2048);
    let mut daemon = Daemon::start_with(site, command);
    assert_refused(&daemon);
    restore(&daemon, &document, false).expect_err("the write-ahead log can't be so long");
    let intents = |daemon: &Daemon| {
        let records = daemon.audit();
        let intent = |r: &&serde_json::Value| r["op"] == "restore" && r["kind"] == "manage-intent";
        records.iter().filter(intent).count()
    };
    if daemon.exit_status().is_none() {
        daemon.signal(Signal::KILL);
    }
    daemon.wait();
    assert_eq!(intents(&daemon), 1);
    daemon.start_again();
    assert_refused(&daemon);
    assert_eq!(daemon.status().keys, 1);
}
