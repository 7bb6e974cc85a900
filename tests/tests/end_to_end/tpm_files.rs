//! The files of a TPM's keys: lost ones come back from the registry, and from a backup.

use std::fs;

use keyward_client::protocol::operation::{Enable, LoginState};
use keyward_client::protocol::{KeyType, Purpose};
use keyward_tests::{Daemon, PATIENCE, Setup, TokenSetup, request::sign, wait_for};

use super::backup::{backup, restore};

fn start(has_pin: bool) -> Daemon {
    let token = match has_pin {
        true => TokenSetup::tpm("main"),
        false => TokenSetup::tpm_without_pin("main"),
    };
    let daemon = Daemon::start(Setup::new().token(token));
    daemon.wait_for_token("main", LoginState::Unlocked);
    daemon
}

#[track_caller]
fn wait_until_it_signs(daemon: &Daemon, key: &str) {
    let signs = || daemon.client().call(sign(key, b"message")).is_ok();
    assert!(wait_for(signs, PATIENCE), "{}", daemon.stderr());
}

/// What `status` says of the token, as soon as that is about lost keys.
#[track_caller]
fn told(daemon: &Daemon) -> String {
    let told = || daemon.token("main").problem.unwrap_or_default();
    let of_keys = || told().contains("of its keys");
    assert!(wait_for(of_keys, PATIENCE), "{}", told());
    told()
}

fn placed(daemon: &Daemon, outcome: &str) -> usize {
    let is = |record: &&serde_json::Value| {
        record["op"] == "place-key" && record["outcome"].as_str() == Some(outcome)
    };
    daemon.audit().iter().filter(is).count()
}

#[test]
fn a_file_that_was_lost_is_put_back_and_its_key_signs() {
    for has_pin in [true, false] {
        let mut daemon = start(has_pin);
        daemon.create_signer("k");
        daemon.create_signer("other");
        daemon.create("mac", Purpose::Mac, KeyType::HmacSha256);
        let files = daemon.tpm("main").key_files();
        let text = |name: &String| fs::read(daemon.tpm("main").keys().join(name)).unwrap();
        let before: Vec<_> = files.iter().map(text).collect();
        daemon.terminate();
        for name in &files[..2] {
            fs::remove_file(daemon.tpm("main").keys().join(name)).unwrap();
        }
        daemon.start_again();
        wait_until_it_signs(&daemon, "k");
        wait_until_it_signs(&daemon, "other");
        assert!(wait_for(|| placed(&daemon, "ok") == 2, PATIENCE));
        assert_eq!(daemon.tpm("main").key_files(), files);
        let text = |name: &String| fs::read(daemon.tpm("main").keys().join(name)).unwrap();
        assert_eq!(files.iter().map(text).collect::<Vec<_>>(), before);
        assert_eq!(daemon.token("main").problem, None);
    }
}

#[test]
fn a_backup_brings_the_keys_back_on_the_same_tpm_with_the_pin_that_they_had() {
    for has_pin in [true, false] {
        let mut daemon = start(has_pin);
        daemon.create_signer("k");
        let document = backup(&mut daemon.client());
        daemon.terminate();
        fs::remove_dir_all(daemon.state()).unwrap();
        daemon.start_again();
        daemon.wait_for_token("main", LoginState::Unlocked);
        restore(&daemon, &document, false).unwrap();
        let key = || Enable { key: "k".into() };
        let enabled = || daemon.client().call(key()).is_ok();
        assert!(wait_for(enabled, PATIENCE), "{}", daemon.stderr());
        wait_until_it_signs(&daemon, "k");
        let sealed = daemon
            .tpm("main")
            .keys()
            .join("00000000-0000-0000-0000-000000000000.tss2");
        assert_eq!(sealed.exists(), has_pin);
    }
}

#[test]
fn another_tpm_does_not_get_the_files_that_it_can_not_load() {
    let mut daemon = start(false);
    daemon.create_signer("k");
    let document = backup(&mut daemon.client());
    daemon.terminate();
    for name in daemon.tpm("main").key_files() {
        fs::remove_file(daemon.tpm("main").keys().join(name)).unwrap();
    }
    daemon.tpm("main").replace();
    daemon.start_again();
    daemon.wait_for_token("main", LoginState::Changed);
    daemon.cli(&["token", "accept", "main"]);
    let told = told(&daemon);
    assert!(told.contains("1 of its keys is not there"), "{told}");
    assert!(told.contains("this TPM does not load"), "{told}");
    assert_eq!(daemon.tpm("main").key_files(), [""; 0]);
    assert_eq!(placed(&daemon, "token-failed"), 1);
    // A backup of the token of before is not of this one.
    daemon.terminate();
    fs::remove_dir_all(daemon.state()).unwrap();
    daemon.start_again();
    daemon.wait_for_token("main", LoginState::Unlocked);
    let restored = restore(&daemon, &document, false).unwrap();
    let kept = restored.kept.join("\n");
    assert!(kept.contains("stays pinned to"), "{kept}");
    assert!(kept.contains("1 key files"), "{kept}");
}
