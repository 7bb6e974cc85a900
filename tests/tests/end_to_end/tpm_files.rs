//! The files of a TPM's keys: lost ones come back from the registry, and from a backup.

use std::fs;
use std::path::Path;

use keyward_client::protocol::operation::{Enable, LoginState, Mac};
use keyward_client::protocol::{ErrorCode, KeyType, Purpose, SecretBytes};
use keyward_tests::{
    Daemon, PATIENCE, Setup, TokenSetup,
    request::{refused, sign},
    swtpm::wire::code,
    wait_for,
};

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

/// Whoever can write to the folder can put one key's file in the place of another's.
#[test]
fn files_that_were_exchanged_are_not_used_and_the_right_ones_come_back() {
    for has_pin in [true, false] {
        let mut daemon = start(has_pin);
        let pair = |one: &str, purpose, key_type| {
            let other = format!("{one}-other");
            let file = |name: &str| {
                let made = daemon.create(name, purpose, key_type);
                let id = &made.versions[0].id;
                daemon.tpm("main").keys().join(format!("{id}.tss2"))
            };
            (file(one), file(&other))
        };
        let signers = pair("ec", Purpose::Sign, KeyType::P256);
        let macs = pair("mac", Purpose::Mac, KeyType::HmacSha256);
        daemon.create_signer("as-before");
        daemon.terminate();
        let exchange = |one: &Path, other: &Path| {
            let between = one.with_extension("between");
            fs::rename(one, &between).unwrap();
            fs::rename(other, one).unwrap();
            fs::rename(&between, other).unwrap();
        };
        exchange(&signers.0, &signers.1);
        exchange(&macs.0, &macs.1);
        daemon.start_again();
        daemon.wait_for_token("main", LoginState::Unlocked);
        let mac = |key: &str| Mac {
            key: key.into(),
            message: SecretBytes::copy_from(b"message"),
        };
        let mut client = daemon.client();
        let refusals = [
            (&signers.0, refused(client.call(sign("ec", b"message")))),
            (
                &signers.1,
                refused(client.call(sign("ec-other", b"message"))),
            ),
            (&macs.0, refused(client.call(mac("mac")))),
            (&macs.1, refused(client.call(mac("mac-other")))),
        ];
        for (path, failure) in refusals {
            assert_eq!(failure.code, ErrorCode::NotFound, "{failure}");
            let words = format!("{} is the file of another key", path.display());
            assert!(failure.message.contains(&words), "{failure}");
        }
        client.call(sign("as-before", b"message")).unwrap();
        drop(client);
        let used = |command| daemon.tpm("main").proxy().count(command);
        assert_eq!((used(code::SIGN), used(code::HMAC)), (1, 0));
        // One is put right by hand, the other as the message says.
        exchange(&signers.0, &signers.1);
        daemon.client().call(sign("ec", b"message")).unwrap();
        daemon.terminate();
        fs::remove_file(&macs.0).unwrap();
        fs::remove_file(&macs.1).unwrap();
        daemon.start_again();
        let works = || daemon.client().call(mac("mac")).is_ok();
        assert!(wait_for(works, PATIENCE), "{}", daemon.stderr());
    }
}
