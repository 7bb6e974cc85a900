//! Keys of a TPM that are bound to PCRs, from the command line to the log.

use std::fs;

use keyward_client::protocol::{
    ErrorCode, Failure, KeyType, Purpose,
    operation::{
        BindPcrs, Create, Describe, Disable, Enable, KeyDescription, LoginState, Reseal, Rotate,
    },
};
use keyward_tests::{
    Daemon, PATIENCE, Setup, TokenSetup, openssl,
    request::{create, refused, sign},
    swtpm::tpm2,
    wait_for,
};

use super::backup::{backup, restore};

const EC: &[&str] = &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"];

/// A daemon with a TPM, and another token with a recovery key.
fn start() -> Daemon {
    let tpm = TokenSetup::tpm("main");
    let setup = Setup::new().token(tpm).token(TokenSetup::new("safe"));
    let daemon = Daemon::start(setup);
    for token in ["main", "safe"] {
        daemon.wait_for_token(token, LoginState::Unlocked);
    }
    make_recovery(&daemon, "rescue", KeyType::P256);
    daemon
}

#[track_caller]
fn make_recovery(daemon: &Daemon, name: &str, key_type: KeyType) -> KeyDescription {
    let made = daemon.client().call(Create {
        token: Some("safe".into()),
        ..create(name, Purpose::Sign, key_type)
    });
    made.expect("a recovery key")
}

fn bound(name: &str, recovery: Option<&str>) -> Create {
    Create {
        token: Some("main".into()),
        bind: Some(BindPcrs {
            pcrs: vec![7, 11],
            recovery_key: recovery.map(str::to_owned),
            no_recovery: recovery.is_none(),
        }),
        ..create(name, Purpose::Sign, KeyType::P256)
    }
}

fn extend(daemon: &Daemon, pcr: u8) {
    let what = format!("{pcr}:sha256={}", "5a".repeat(32));
    let tcti = daemon.tpm("main").proxy().tcti();
    let done = tpm2(&tcti, "tpm2_pcrextend", &[&what]);
    assert!(done.status.success(), "{done:?}");
}

#[track_caller]
fn signs(daemon: &Daemon, key: &str) {
    let made = daemon.client().call(sign(key, b"message"));
    made.unwrap_or_else(|error| panic!("{key}: {error:?}"));
}

#[track_caller]
fn does_not_sign(daemon: &Daemon, key: &str) -> Failure {
    refused(daemon.client().call(sign(key, b"message")))
}

#[test]
fn a_bound_key_is_refused_when_pcrs_change_and_used_again_once_a_person_has_resealed_it() {
    let mut daemon = start();
    let recovery = make_recovery(&daemon, "rsa", KeyType::Rsa2048);
    for name in ["rescue", "rsa"] {
        let key = format!("by-{name}");
        let arguments = ["--purpose", "sign", "--type", "P-256", "--token", "main"];
        let create = [
            "key",
            "create",
            &key,
            "--pcr",
            "11,7",
            "--recovery-key",
            name,
        ];
        let made = daemon.cli(&[create.as_slice(), &arguments].concat());
        let made = String::from_utf8(made).unwrap();
        assert!(made.contains("PCRs 7,11; recovery key"), "{made}");
        signs(&daemon, &key);
    }
    extend(&daemon, 11);
    let failure = does_not_sign(&daemon, "by-rsa");
    assert_eq!(failure.code, ErrorCode::PcrMismatch, "{failure}");
    let words = "the machine's PCR 11 is not what the key was bound to";
    assert!(failure.message.contains(words), "{failure}");
    assert!(failure.hint.unwrap().contains("keyward key reseal"));

    // A look changes nothing.
    let seen = look(&daemon, "by-rsa");
    assert!(!seen.done && !seen.places[0].approved);
    assert_eq!(seen.places[0].recovery_key, Some(recovery.id));
    let changed: Vec<_> = seen.places[0]
        .pcrs
        .iter()
        .map(|pcr| pcr.approved != pcr.current)
        .collect();
    assert_eq!(changed, [false, true]);
    does_not_sign(&daemon, "by-rsa");

    for key in ["by-rescue", "by-rsa"] {
        let said = daemon.cli(&["key", "reseal", key, "--yes"]);
        let said = String::from_utf8(said).unwrap();
        assert!(said.contains("PCR 11") && said.contains("now"), "{said}");
        signs(&daemon, key);
    }
    // The log has what was done, and the use of the recovery key.
    let log = daemon.audit();
    let of = |kind: &str, op: &str| {
        let found = log.iter().filter(|r| r["kind"] == kind && r["op"] == op);
        found.cloned().collect::<Vec<_>>()
    };
    assert_eq!(of("manage-intent", "reseal").len(), 2);
    let approvals = of("use", "sign");
    let approvals = approvals.iter().filter(|record| {
        record["detail"]
            .as_str()
            .is_some_and(|words| words.starts_with("approves PCRs 7, 11 for"))
    });
    assert_eq!(approvals.count(), 4, "two at creation, two since");

    // What was approved before stays, until it is dropped; and all of it outlives the daemon.
    daemon.restart();
    daemon.wait_for_token("main", LoginState::Unlocked);
    signs(&daemon, "by-rsa");
    assert_eq!(look(&daemon, "by-rsa").places[0].approvals, 2);
    daemon.cli(&["key", "reseal", "by-rsa", "--drop-old", "--yes"]);
    assert_eq!(look(&daemon, "by-rsa").places[0].approvals, 1);
    signs(&daemon, "by-rsa");
}

#[track_caller]
fn look(daemon: &Daemon, key: &str) -> keyward_client::protocol::operation::Resealed {
    let seen = daemon.client().call(Reseal {
        key: key.into(),
        state: None,
        drop_old: false,
    });
    seen.expect("a look")
}

#[test]
fn what_a_person_did_not_see_is_not_approved() {
    let daemon = start();
    let mut client = daemon.client();
    client.call(bound("k", Some("rescue"))).unwrap();
    extend(&daemon, 11);
    let seen = look(&daemon, "k").state;
    extend(&daemon, 11);
    let agree = |state| Reseal {
        key: "k".into(),
        state: Some(state),
        drop_old: false,
    };
    let failure = refused(client.call(agree(seen)));
    assert_eq!(failure.code, ErrorCode::Invalid, "{failure}");
    does_not_sign(&daemon, "k");
    let seen = look(&daemon, "k").state;
    // Nor with a recovery key that may not be used.
    let disable = Disable {
        key: "rescue".into(),
    };
    client.call(disable).unwrap();
    let failure = refused(client.call(agree(seen)));
    assert_eq!(failure.code, ErrorCode::WrongState, "{failure}");
    does_not_sign(&daemon, "k");
}

#[test]
fn a_bound_key_has_a_recovery_key_or_a_person_does_without() {
    let daemon = start();
    let mut client = daemon.client();
    let binding = |pcrs: &[u8], recovery: Option<&str>, no_recovery| Create {
        bind: Some(BindPcrs {
            pcrs: pcrs.to_vec(),
            recovery_key: recovery.map(str::to_owned),
            no_recovery,
        }),
        ..bound("k", None)
    };
    client.call(bound("itself", Some("rescue"))).unwrap();
    for (wrong, code) in [
        (binding(&[7], None, false), ErrorCode::Invalid),
        (binding(&[7], Some("rescue"), true), ErrorCode::Invalid),
        (binding(&[], Some("rescue"), false), ErrorCode::Invalid),
        (binding(&[24], None, true), ErrorCode::Invalid),
        (binding(&[11, 7], None, true), ErrorCode::Invalid),
        (binding(&[7], Some("nobody"), false), ErrorCode::NotFound),
        (binding(&[7], Some("itself"), false), ErrorCode::Invalid),
        (
            Create {
                token: Some("safe".into()),
                ..binding(&[7], None, true)
            },
            ErrorCode::MechanismInvalid,
        ),
    ] {
        let words = format!("{wrong:?}");
        let failure = refused(client.call(wrong));
        assert_eq!(failure.code, code, "{words}: {failure}");
    }
    client.call(bound("alone", None)).unwrap();
    signs(&daemon, "alone");
    extend(&daemon, 7);
    let failure = does_not_sign(&daemon, "alone");
    assert_eq!(failure.code, ErrorCode::PcrMismatch);
    let refused = daemon.cli_fails(&["key", "reseal", "alone", "--yes"], b"");
    assert!(refused.contains("without a recovery key"), "{refused}");
    let refused = daemon.cli_fails(&["key", "reseal", "rescue", "--yes"], b"");
    assert!(refused.contains("not bound to PCRs"), "{refused}");
}

#[test]
fn a_new_version_is_bound_as_the_old_one_and_both_are_resealed() {
    let daemon = start();
    let mut client = daemon.client();
    client.call(bound("k", Some("rescue"))).unwrap();
    // What was approved by an older version of the recovery key can be approved anew.
    let rotate = |key: &str| Rotate { key: key.into() };
    client.call(rotate("rescue")).unwrap();
    let rotated = client.call(rotate("k")).unwrap();
    assert_eq!(rotated.versions.len(), 2);
    let [old, new] = rotated.versions.as_slice() else {
        panic!("{rotated:?}");
    };
    assert_eq!(old.placements[0].bound, new.placements[0].bound);
    signs(&daemon, "k");
    extend(&daemon, 7);
    assert_eq!(does_not_sign(&daemon, "k").code, ErrorCode::PcrMismatch);
    daemon.cli(&["key", "reseal", "k", "--yes"]);
    signs(&daemon, "k");
    let seen = look(&daemon, "k");
    assert_eq!(seen.places.len(), 2);
    assert!(seen.places.iter().all(|place| place.approved));
    let key = Describe { key: "k".into() };
    let described = client.call(key).unwrap();
    assert!(
        described
            .versions
            .iter()
            .all(|version| version.placements[0].bound.is_some())
    );
}

#[test]
fn a_key_in_two_places_is_bound_in_one_and_the_other_serves_when_pcrs_change() {
    let daemon = start();
    let pem = openssl::generate_pkcs8(EC);
    let import = ["key", "import", "k", "--purpose", "sign", "--pcr", "7"];
    // A TPM alone is not enough, and what else there is is said.
    let said = daemon.cli_fails(&[import.as_slice(), &["--token", "main"]].concat(), &pem);
    for way in [
        "--recovery-key",
        "--no-recovery",
        "--token TPM --token OTHER",
    ] {
        assert!(said.contains(way), "{said}");
    }
    let said = daemon.cli_fails(&[import.as_slice(), &["--token", "safe"]].concat(), &pem);
    assert!(said.contains("none of the tokens is a TPM"), "{said}");
    let both = ["--token", "main", "--token", "safe"];
    let made = daemon.cli_with(&[import.as_slice(), &both].concat(), &pem);
    let made = String::from_utf8(made).unwrap();
    assert_eq!(made.matches("bound to").count(), 1, "{made}");
    signs(&daemon, "k");
    extend(&daemon, 7);
    signs(&daemon, "k");
    let log = daemon.audit();
    let used = |r: &&serde_json::Value| r["kind"] == "use" && r["op"] == "sign";
    let last = log.iter().rfind(used).unwrap();
    assert_eq!(last["token"], "safe");
    let detail = last["detail"].as_str().unwrap();
    assert!(detail.contains("pcr-mismatch on main"), "{detail}");
    let refused = daemon.cli_fails(&["key", "reseal", "k", "--yes"], b"");
    assert!(refused.contains("without a recovery key"), "{refused}");

    // A place that is bound beside one that is there already; and one that a key can approve values for.
    let other = openssl::generate_pkcs8(EC);
    let there = [
        "key",
        "import",
        "there",
        "--purpose",
        "sign",
        "--token",
        "safe",
    ];
    daemon.cli_with(&there, &other);
    let into = [
        "key", "import", "--into", "there", "--token", "main", "--pcr", "11",
    ];
    let with = ["--recovery-key", "rescue"];
    daemon.cli_with(&[into.as_slice(), &with].concat(), &other);
    extend(&daemon, 11);
    daemon.cli(&["key", "reseal", "there", "--yes"]);
    signs(&daemon, "there");
    let log = daemon.audit();
    let used = |r: &&serde_json::Value| r["op"] == "sign" && r["token"] == "main";
    assert!(log.iter().rfind(used).unwrap()["detail"].is_null());
}

/// What it says, and what the files say.
#[test]
fn a_new_version_is_bound_also_where_the_registry_was_restored() {
    let mut daemon = start();
    let mut client = daemon.client();
    client.call(bound("k", Some("rescue"))).unwrap();
    let document = backup(&mut client);
    drop(client);
    daemon.terminate();
    let keys = daemon.tpm("main").keys().to_owned();
    let state = daemon.state();
    for entry in fs::read_dir(&state).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            // The folder of the keys stays.
            true if keys.starts_with(&path) => {}
            true => fs::remove_dir_all(path).unwrap(),
            false => fs::remove_file(path).unwrap(),
        }
    }
    daemon.start_again();
    for token in ["main", "safe"] {
        daemon.wait_for_token(token, LoginState::Unlocked);
    }
    let would = restore(&daemon, &document, true).unwrap();
    let bound = would.bound.unwrap().join("\n");
    assert!(
        bound.contains("on the token main: PCRs 7, 11; the key with"),
        "{bound}"
    );
    restore(&daemon, &document, false).unwrap();
    let shown = daemon.cli(&["key", "show", "k"]);
    let shown = String::from_utf8(shown).unwrap();
    assert!(shown.contains("PCRs 7,11; recovery key"), "{shown}");
    for key in ["rescue", "k"] {
        let enabled = || daemon.client().call(Enable { key: key.into() }).is_ok();
        assert!(wait_for(enabled, PATIENCE), "{}", daemon.stderr());
    }
    let rotated = daemon.client().call(Rotate { key: "k".into() }).unwrap();
    let new = rotated
        .versions
        .iter()
        .max_by_key(|version| version.version);
    assert!(new.unwrap().placements[0].bound.is_some(), "{rotated:?}");
    signs(&daemon, "k");
    extend(&daemon, 7);
    assert_eq!(does_not_sign(&daemon, "k").code, ErrorCode::PcrMismatch);
}
