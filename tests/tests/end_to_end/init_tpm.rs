//! `keyward init` with a TPM, what an agent makes of it, and a lockout as people see it.

use std::fs;

use keyward_tests::{PATIENCE, swtpm::Swtpm, wait_for};
use serde_json::Value;

use crate::init::{Home, modes};

const PIN: &[u8] = b"blue-73519\n";
const WRONG: &[u8] = b"blue-00000\n";

fn init<'a>(tcti: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["init", "--tcti", tcti, "--yes"], more].concat()
}

const CREATE: [&str; 7] = [
    "key",
    "create",
    "demo",
    "--purpose",
    "sign",
    "--type",
    "p256",
];

#[test]
fn from_an_empty_tpm_to_a_signature_and_back_but_for_its_storage_root_key() {
    let (home, swtpm) = (Home::new(), Swtpm::start());
    let tcti = swtpm.tcti();
    let said = home.keyward_with(&init(&tcti, &["--pin-file", "-"]), PIN);
    assert!(
        said.contains("MAKE   the TPM's storage root key at 0x81000001"),
        "{said}"
    );
    let mut found = Vec::new();
    modes(&home.path("home"), &mut found);
    assert!(found.iter().all(|(_, others)| *others == 0), "{found:?}");
    let pin = PIN.trim_ascii();
    for (path, _) in found.iter().filter(|(path, _)| path.is_file()) {
        let bytes = fs::read(path).unwrap();
        let written = bytes.windows(pin.len()).any(|part| part == pin);
        assert!(!written, "{path:?}");
    }
    {
        let _agent = home.start();
        let locked = || home.keyward(&["token", "list"]).contains("  locked  ");
        assert!(wait_for(locked, PATIENCE));
        home.keyward_with(&["unlock", "--pin-file", "-"], PIN);
        home.keyward(&CREATE);
        let signature = home.path("signature");
        let file = signature.to_str().unwrap();
        home.keyward_with(&["sign", "demo", "-o", file], b"message");
        home.keyward_with(&["verify", "demo", "--signature", file], b"message");
    }
    let said = home.keyward(&["init", "--undo", "--yes-destroy-keys"]);
    assert!(
        said.contains("storage root key at 0x81000001 stays"),
        "{said}"
    );
    assert!(!home.path("home/.config").exists());
    assert!(!home.path("home/.local/state/keyward/tpm").exists());
    // It is there for the next one.
    let said = home.keyward(&init(&tcti, &["--no-pin", "--dry-run"]));
    assert!(
        said.contains("use    the TPM's storage root key") && !said.contains("MAKE"),
        "{said}"
    );
}

#[test]
fn a_token_without_a_pin_serves_at_once() {
    let (home, swtpm) = (Home::new(), Swtpm::start());
    let said = home.keyward(&init(&swtpm.tcti(), &["--no-pin"]));
    assert!(
        said.contains("whoever has the agent's uid") && !said.contains("keyward unlock"),
        "{said}"
    );
    let _agent = home.start();
    let unlocked = || home.keyward(&["token", "list"]).contains("  unlocked  ");
    assert!(wait_for(unlocked, PATIENCE));
    home.keyward(&CREATE);
}

#[test]
fn a_tpm_that_is_not_there_leaves_nothing_behind() {
    let (home, swtpm) = (Home::new(), Swtpm::start());
    swtpm.kill();
    let output = home.output(&init(&swtpm.tcti(), &["--no-pin"]), b"");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(6), "{stderr}");
    assert!(stderr.contains("is swtpm running?"), "{stderr}");
    assert!(!home.path("home").exists());
}

#[test]
fn the_keys_of_a_token_that_was_there_before_are_left_alone() {
    let (home, swtpm) = (Home::new(), Swtpm::start());
    let keys = home.path("home/.local/state/keyward/tpm/main");
    fs::create_dir_all(&keys).unwrap();
    let output = home.output(&init(&swtpm.tcti(), &["--no-pin"]), b"");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert!(stderr.contains("to use the keys in it"), "{stderr}");
    assert!(keys.exists() && !home.path("home/.config").exists());
}

#[test]
fn a_lockout_shows_with_the_time_that_is_left() {
    let (home, swtpm) = (Home::new(), Swtpm::start());
    home.keyward_with(&init(&swtpm.tcti(), &["--pin-file", "-"]), PIN);
    let _agent = home.start();
    let list = |arguments: &[&str]| home.keyward(&[&["token", "list"], arguments].concat());
    assert!(wait_for(|| list(&[]).contains("  locked  "), PATIENCE));
    let lockout = || {
        let tokens: Value = serde_json::from_str(&list(&["--json"])).unwrap();
        tokens[0]["lockout_seconds"].as_u64()
    };
    assert_eq!(lockout(), None);
    let unlock = |pin| home.output(&["unlock", "--pin-file", "-", "--spend-last-try"], pin);
    // As many as an swtpm takes.
    for _ in 0..3 {
        assert_eq!(unlock(WRONG).status.code(), Some(6));
    }
    // Nobody tries again, and still it shows.
    let left = lockout().unwrap();
    assert!((1..=1000).contains(&left), "{left}");
    let text = home.keyward(&["status"]);
    assert!(text.contains("main: after too many wrong PINs"), "{text}");
    // The right one is not sent.
    let refused = unlock(PIN);
    let stderr = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(6));
    assert!(stderr.contains("tpm2_dictionarylockout -c"), "{stderr}");
}
