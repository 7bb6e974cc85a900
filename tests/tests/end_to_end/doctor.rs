//! `keyward doctor`, with an agent and without one.

use std::fs;

use keyward_tests::{PATIENCE, swtpm::Swtpm, wait_for};
use serde_json::Value;

use crate::init::Home;

/// What the doctor says of something, as state and words.
pub(crate) fn of(home: &Home, about: &str) -> Vec<(String, String, String)> {
    let output = home.output(&["doctor", "--json"], b"");
    let findings: Value = serde_json::from_slice(&output.stdout).unwrap();
    let findings = findings.as_array().unwrap().clone();
    let problems = findings.iter().any(|found| found["state"] == "problem");
    assert_eq!(output.status.code(), Some(i32::from(problems)));
    let word = |found: &Value, name: &str| found[name].as_str().unwrap_or_default().to_owned();
    findings
        .iter()
        .filter(|found| found["about"] == about)
        .map(|found| {
            (
                word(found, "state"),
                word(found, "what"),
                word(found, "next"),
            )
        })
        .collect()
}

/// The one thing that it says.
#[track_caller]
fn only(home: &Home, about: &str) -> (String, String, String) {
    let mut all = of(home, about);
    assert_eq!(all.len(), 1, "{about}: {all:?}");
    all.remove(0)
}

pub(crate) const CONFIG: &str = "home/.config/keyward/keyward.toml";

#[test]
fn on_a_machine_on_which_nothing_is_set_up_it_says_how_to_begin() {
    let home = Home::new();
    let (state, what, next) = only(&home, "configuration");
    assert_eq!((&*state, &*next), ("problem", "keyward init"), "{what}");
    assert_eq!(only(&home, "agent").0, "problem");
    assert_eq!(only(&home, "sandbox").0, "ok");
    for program in ["keywardd", "keyward-worker"] {
        assert_eq!(only(&home, program).0, "ok");
    }
}

#[test]
fn a_token_in_software_is_found_with_the_agent_and_without() {
    let home = Home::new();
    home.keyward(&["init", "--software", "--remember-pin-in-file", "--yes"]);
    let (state, what, _) = only(&home, "token main");
    assert_eq!(state, "ok", "{what}");
    {
        let _agent = home.start();
        let used = || only(&home, "token main").1 == "it can be used";
        assert!(wait_for(used, PATIENCE));
        let output = home.output(&["doctor"], b"");
        let stdout = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{stdout}");
        assert!(!stdout.contains("PROBLEM"), "{stdout}");
    }
    let config = home.path(CONFIG);
    let good = fs::read_to_string(&config).unwrap();
    // Each mistake with a part of what is said.
    for (wrong, words) in [
        (
            good.replace("token=main", "token=mian"),
            "shows no token that",
        ),
        (
            good.replace("write = ", "# write = "),
            "can't be initialised",
        ),
    ] {
        assert_ne!(wrong, good);
        fs::write(&config, wrong).unwrap();
        let (state, what, next) = only(&home, "token main");
        assert_eq!(state, "problem");
        assert!(what.contains(words) && !next.is_empty(), "{what}");
    }
    fs::write(&config, good.replace("kind", "knid")).unwrap();
    let (state, what, next) = only(&home, "configuration");
    assert!(state == "problem" && what.contains("knid"), "{what}");
    assert!(next.contains("keywardd --check"), "{next}");
    assert_eq!(only(&home, "tokens").0, "skipped");
    assert!(of(&home, "token main").is_empty());
}

#[test]
fn a_tpm_that_went_or_was_replaced_is_told_apart() {
    let (home, swtpm) = (Home::new(), Swtpm::start());
    home.keyward(&["init", "--tcti", &swtpm.tcti(), "--no-pin", "--yes"]);
    assert_eq!(only(&home, "token main").0, "ok");
    {
        let _agent = home.start();
        let used = || only(&home, "token main").1 == "it can be used";
        assert!(wait_for(used, PATIENCE));
        swtpm.kill();
        // The agent learns it with the next use; its word and the cause are one problem.
        home.output(&["random", "8"], b"");
        let gone = || only(&home, "token main").1.contains("no swtpm");
        assert!(wait_for(gone, PATIENCE));
        assert!(only(&home, "token main").2.contains("swtpm socket --tpm2"));
    }
    swtpm.replace();
    let (state, what, next) = only(&home, "token main");
    assert_eq!(state, "problem");
    assert!(what.contains("no storage root key"), "{what}");
    assert!(next.contains("keyward init --add"), "{next}");
    // With a key it was another TPM's.
    let keys = home.path("home/.local/state/keyward/tpm/main");
    fs::write(keys.join("key"), "").unwrap();
    let (_, what, _) = only(&home, "token main");
    assert!(what.contains("was cleared or is another one"), "{what}");
}

#[test]
fn a_device_that_is_not_there_is_named_with_what_hinders() {
    let home = Home::new();
    fs::create_dir_all(home.path("home/.config/keyward")).unwrap();
    let section = "[token.main]\nkind = \"tpm\"\ntcti = \"device:/dev/tpmrm77\"\n";
    fs::write(home.path(CONFIG), section).unwrap();
    let (state, what, next) = only(&home, "token main");
    assert_eq!(state, "problem");
    assert!(what.starts_with("/dev/tpmrm77 is not there"), "{what}");
    assert!(!next.is_empty());
}
