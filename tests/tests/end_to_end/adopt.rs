//! Keys that tpm2-tools have put into a TPM, used by keyward where they are.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;

use keyward_client::protocol::operation::{
    Adopt, Attest, Ecdh, Export, GetPublicKey, KeyDescription, LoginState, SignInput, Unwrap,
    Verify,
};
use keyward_client::protocol::{ErrorCode, Purpose};
use keyward_tests::{
    Daemon, PATIENCE, Setup, TokenSetup, openssl,
    request::{refused, sign},
    swtpm::{
        Act, tpm2,
        wire::{code, rc},
    },
    wait_for,
};
use rustix::process::Signal;

use super::backup::{backup, restore};

const AT: &str = "0x81000010";
/// What tpm2_create makes of a key unless told otherwise counts for the lockout.
const SIGNS: &str = "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|sign";
const DECRYPTS: &str = "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|decrypt";

fn start(setup: TokenSetup) -> Daemon {
    let daemon = Daemon::start(Setup::new().token(setup));
    daemon.wait_for_token("main", LoginState::Unlocked);
    daemon
}

#[track_caller]
fn tool(daemon: &Daemon, name: &str, arguments: &[&str]) {
    let done = tpm2(&daemon.tpm("main").proxy().tcti(), name, arguments);
    assert!(done.status.success(), "{name} {arguments:?}: {done:?}");
}

/// What keyward has loaded is put away: nobody manages the few slots here.
fn flush(daemon: &Daemon) {
    tool(daemon, "tpm2_flushcontext", &["-t"]);
}

fn path(daemon: &Daemon, name: &str) -> String {
    daemon.dir().join(name).to_str().unwrap().to_owned()
}

/// Makes a key of a name and puts it at a handle.
#[track_caller]
fn make(daemon: &Daemon, name: &str, at: &str, options: &[&str]) {
    flush(daemon);
    let (public, private) = (
        path(daemon, &format!("{name}.pub")),
        path(daemon, &format!("{name}.priv")),
    );
    let create = ["-C", "0x81000001", "-u", &public, "-r", &private];
    tool(
        daemon,
        "tpm2_create",
        &[create.as_slice(), options].concat(),
    );
    put(daemon, name, at);
}

/// Puts a key that was made at a handle.
#[track_caller]
fn put(daemon: &Daemon, name: &str, at: &str) {
    flush(daemon);
    let file = |end: &str| path(daemon, &format!("{name}.{end}"));
    let (public, private, context) = (file("pub"), file("priv"), file("ctx"));
    let load = [
        "-C",
        "0x81000001",
        "-u",
        &public,
        "-r",
        &private,
        "-c",
        &context,
    ];
    tool(daemon, "tpm2_load", &load);
    tool(
        daemon,
        "tpm2_evictcontrol",
        &["-C", "o", "-c", &context, at],
    );
    flush(daemon);
}

fn evict(daemon: &Daemon, at: &str) {
    tool(daemon, "tpm2_evictcontrol", &["-C", "o", "-c", at]);
}

fn adopt(alias: &str, place: &str, purpose: Purpose) -> Adopt {
    Adopt {
        purpose,
        place: place.into(),
        alias: Some(alias.into()),
        token: Some("main".into()),
        formats: None,
        tags: None,
        key_type: None,
    }
}

#[track_caller]
fn signs(daemon: &Daemon, key: &str) {
    let made = daemon.client().call(sign(key, b"message"));
    let made = made.unwrap_or_else(|error| panic!("{error:?}\n{}", daemon.stderr()));
    let verified = daemon.client().call(Verify {
        key: key.into(),
        algorithm: None,
        input: SignInput::Message(b"message".to_vec()),
        signature: made.signature,
        version: None,
    });
    assert!(verified.unwrap().valid);
}

/// How many wrong tries the TPM has counted.
fn counted(daemon: &Daemon) -> String {
    let tcti = daemon.tpm("main").proxy().tcti();
    let shown = tpm2(&tcti, "tpm2_getcap", &["properties-variable"]);
    let shown = String::from_utf8(shown.stdout).unwrap();
    let counter = "TPM2_PT_LOCKOUT_COUNTER: ";
    let mut lines = shown.lines();
    lines
        .find_map(|line| line.strip_prefix(counter))
        .unwrap()
        .to_owned()
}

#[test]
fn keys_that_tpm2_tools_made_are_used_where_they_are() {
    for setup in [TokenSetup::tpm("main"), TokenSetup::tpm_without_pin("main")] {
        let mut daemon = start(setup);
        make(&daemon, "ec", AT, &["-G", "ecc", "-a", SIGNS]);
        make(&daemon, "rsa", "0x81000011", &["-G", "rsa", "-a", SIGNS]);
        make(
            &daemon,
            "agree",
            "0x81000012",
            &["-G", "ecc", "-a", DECRYPTS],
        );
        make(
            &daemon,
            "unwrap",
            "0x81000013",
            &["-G", "rsa", "-a", DECRYPTS],
        );
        let shown = daemon.cli(&["key", "adopt", "ec", "--at", AT, "--purpose", "sign"]);
        let shown = String::from_utf8(shown).unwrap();
        assert!(
            shown.contains(&format!("tpm:handle={AT};name=000b")),
            "{shown}"
        );
        let mut client = daemon.client();
        for (name, place, purpose) in [
            ("rsa", "0x81000011", Purpose::Sign),
            ("agree", "0x81000012", Purpose::Agree),
            ("unwrap", "0x81000013", Purpose::Unwrap),
        ] {
            client.call(adopt(name, place, purpose)).unwrap();
        }
        let serves = |daemon: &Daemon| {
            signs(daemon, "ec");
            signs(daemon, "rsa");
            let mut client = daemon.client();
            let own = client.call(GetPublicKey {
                key: "agree".into(),
                version: None,
            });
            client
                .call(Ecdh {
                    key: "agree".into(),
                    peer: own.unwrap().cose_key,
                    kdf: None,
                    version: None,
                })
                .unwrap();
            let public = daemon.public_file("unwrap");
            let ciphertext = openssl::encrypt_oaep_sha256(Path::new(&public), b"a key").unwrap();
            let opened = client.call(Unwrap {
                key: "unwrap".into(),
                algorithm: None,
                ciphertext: ciphertext.into(),
                label: None,
                version: None,
            });
            assert_eq!(opened.unwrap().plaintext.expose(), b"a key");
        };
        serves(&daemon);
        // Keys of keyward's own are used in between.
        daemon.create_on("main", "own");
        signs(&daemon, "own");
        serves(&daemon);
        assert!(!daemon.tpm("main").proxy().saw(b"a key"));
        // What follows counts by itself: the TPM can't know what was tried before it lost its power.
        assert_eq!(counted(&daemon), "0x0");
        daemon.tpm("main").reset();
        serves(&daemon);
        daemon.restart();
        daemon.wait_for_token("main", LoginState::Unlocked);
        serves(&daemon);
        // The TPM says of them what it knows, and no file can be given out.
        let attest = Attest {
            key: "ec".into(),
            nonce: vec![7; 32].into(),
            version: None,
        };
        daemon.client().call(attest).unwrap();
        let export = Export {
            key: "ec".into(),
            version: None,
            token: None,
        };
        let failure = refused(daemon.client().call(export));
        assert_eq!(failure.code, ErrorCode::MechanismInvalid, "{failure}");
        assert!(failure.message.contains("adopted"), "{failure}");
    }
}

#[test]
fn another_key_at_the_handle_is_not_used_and_nothing_is_removed() {
    let daemon = start(TokenSetup::tpm_without_pin("main"));
    make(&daemon, "one", AT, &["-G", "ecc", "-a", SIGNS]);
    daemon.client().call(adopt("k", AT, Purpose::Sign)).unwrap();
    signs(&daemon, "k");
    let files = daemon.tpm("main").key_files();
    evict(&daemon, AT);
    let failure = refused(daemon.client().call(sign("k", b"message")));
    assert_eq!(failure.code, ErrorCode::NotFound, "{failure}");
    make(&daemon, "two", AT, &["-G", "ecc", "-a", SIGNS]);
    let failure = refused(daemon.client().call(sign("k", b"message")));
    assert_eq!(failure.code, ErrorCode::NotFound, "{failure}");
    let words = format!("at {AT} is a key with the Name 000b");
    assert!(failure.message.contains(&words), "{failure}");
    assert_eq!(daemon.tpm("main").key_files(), files);
    // The new one is adopted under another name; the first comes back.
    daemon
        .client()
        .call(adopt("other", AT, Purpose::Sign))
        .unwrap();
    signs(&daemon, "other");
    evict(&daemon, AT);
    put(&daemon, "one", AT);
    signs(&daemon, "k");
    let failure = refused(daemon.client().call(sign("other", b"message")));
    assert_eq!(failure.code, ErrorCode::NotFound, "{failure}");
}

#[test]
fn destroying_an_adopted_key_leaves_it_in_the_tpm_and_says_so() {
    let daemon = start(TokenSetup::tpm_without_pin("main"));
    make(&daemon, "one", AT, &["-G", "ecc", "-a", SIGNS]);
    daemon.client().call(adopt("k", AT, Purpose::Sign)).unwrap();
    let failure = refused(daemon.client().call(adopt("again", AT, Purpose::Sign)));
    assert_eq!(failure.code, ErrorCode::Exists, "{failure}");
    signs(&daemon, "k");
    let said = daemon.cli(&["key", "destroy", "k", "--now", "--yes"]);
    let said = String::from_utf8(said).unwrap();
    assert!(said.contains(&format!("stays in main at {AT}")), "{said}");
    assert!(daemon.tpm("main").key_files().is_empty());
    tool(&daemon, "tpm2_readpublic", &["-c", AT]);
    let log = daemon.audit();
    let outcome = |r: &&serde_json::Value| r["kind"] == "manage-outcome" && r["op"] == "destroy";
    let record = log.iter().find(outcome).unwrap();
    let detail = record["detail"].as_str().unwrap();
    assert_eq!(detail, format!("left as it is: the key at {AT} of main"));
    // It can be adopted again, and forgotten also when it is gone.
    daemon.client().call(adopt("k", AT, Purpose::Sign)).unwrap();
    evict(&daemon, AT);
    daemon.cli(&["key", "destroy", "k", "--now", "--yes"]);
    assert!(daemon.tpm("main").key_files().is_empty());
}

#[test]
fn what_can_not_be_adopted_is_refused_and_nothing_is_kept() {
    let daemon = start(TokenSetup::tpm_without_pin("main"));
    make(&daemon, "signs", AT, &["-G", "ecc", "-a", SIGNS]);
    make(
        &daemon,
        "auth",
        "0x81000011",
        &["-G", "ecc", "-a", SIGNS, "-p", "abc"],
    );
    let free = format!("{SIGNS}|noda");
    make(
        &daemon,
        "free",
        "0x81000012",
        &["-G", "ecc", "-a", &free, "-p", "abc"],
    );
    let restricted = format!("{SIGNS}|restricted");
    make(
        &daemon,
        "attests",
        "0x81000013",
        &["-G", "ecc:ecdsa-sha256:null", "-a", &restricted],
    );
    make(&daemon, "hmac", "0x81000014", &["-G", "hmac", "-a", SIGNS]);
    let mut client = daemon.client();
    for (place, purpose, words) in [
        (
            "0x81000010",
            Purpose::Agree,
            "do not let it be used for agree",
        ),
        ("0x81000010", Purpose::Unwrap, "can't unwrap"),
        ("0x81000010", Purpose::Mac, "only key pairs"),
        ("0x81000012", Purpose::Sign, "tpm2_changeauth"),
        ("0x81000013", Purpose::Sign, "attributes"),
        ("0x81000014", Purpose::Sign, "can't be adopted"),
        ("0x81000001", Purpose::Sign, "attributes"),
        ("0x81000001", Purpose::Agree, "attributes"),
        ("0x81000099", Purpose::Sign, "has nothing at 0x81000099"),
        ("0x80000000", Purpose::Sign, "no persistent handle"),
        ("9a", Purpose::Sign, "no persistent handle"),
        ("", Purpose::Sign, "no place"),
        ("0x81000010\n", Purpose::Sign, "no place"),
    ] {
        let failure = refused(client.call(adopt("k", place, purpose)));
        assert_eq!(failure.code, ErrorCode::Invalid, "{place}: {failure}");
        assert!(failure.message.contains(words), "{place}: {failure}");
    }
    assert_eq!(counted(&daemon), "0x0", "nothing of this counts");
    // A wrong try of one that counts is made once, and not where it would be the last.
    let wrong = || {
        refused(
            daemon
                .client()
                .call(adopt("k", "0x81000011", Purpose::Sign)),
        )
    };
    for tries in ["0x1", "0x2", "0x2"] {
        let failure = wrong();
        let expected = if failure.code == ErrorCode::Invalid {
            "tpm2_changeauth"
        } else {
            "dictionarylockout"
        };
        assert!(failure.message.contains(expected), "{failure}");
        assert_eq!(counted(&daemon), tries);
    }
    assert!(daemon.tpm("main").key_files().is_empty());
    let failed = |r: &&serde_json::Value| r["kind"] == "manage-outcome" && r["op"] == "adopt";
    assert!(
        daemon
            .audit()
            .iter()
            .filter(failed)
            .all(|r| r["outcome"] != "ok")
    );

    // What the message says takes the value away.
    tool(&daemon, "tpm2_dictionarylockout", &["-c"]);
    flush(&daemon);
    let (private, public) = (path(&daemon, "auth.priv"), path(&daemon, "auth.pub"));
    let change = [
        "-C",
        "0x81000001",
        "-c",
        "0x81000011",
        "-p",
        "abc",
        "-r",
        &private,
    ];
    tool(&daemon, "tpm2_changeauth", &change);
    tool(
        &daemon,
        "tpm2_readpublic",
        &["-c", "0x81000011", "-o", &public],
    );
    evict(&daemon, "0x81000011");
    put(&daemon, "auth", "0x81000011");
    daemon
        .client()
        .call(adopt("auth", "0x81000011", Purpose::Sign))
        .unwrap();
    signs(&daemon, "auth");

    let hsm = Daemon::start(Setup::new());
    let failure = refused(hsm.client().call(adopt("k", AT, Purpose::Sign)));
    assert_eq!(failure.code, ErrorCode::MechanismInvalid, "{failure}");
}

#[test]
fn an_adoption_that_is_interrupted_is_undone_and_the_key_stays_where_it_is() {
    let mut daemon = start(TokenSetup::tpm_without_pin("main"));
    make(&daemon, "one", AT, &["-G", "ecc", "-a", SIGNS]);
    // The proof that keyward asks for fails, when the key is noted already.
    let proxy = daemon.tpm("main").proxy();
    proxy.once(code::SIGN, 1, Act::Answer(rc::FAILURE));
    refused(daemon.client().call(adopt("k", AT, Purpose::Sign)));
    assert!(daemon.tpm("main").key_files().is_empty());
    // The daemon dies in the middle.
    proxy.stall(&[code::SIGN]);
    thread::scope(|scope| {
        let asked = scope.spawn(|| daemon.client().call(adopt("k", AT, Purpose::Sign)));
        proxy.wait_until_stalled();
        daemon.signal(Signal::KILL);
        assert!(asked.join().unwrap().is_err());
    });
    daemon.wait();
    daemon.tpm("main").proxy().resume();
    daemon.start_again();
    let undone = |record: &serde_json::Value| {
        let ended = record["kind"] == "manage-outcome" && record["op"] == "adopt";
        ended && record["detail"] == "undone: the orphan is destroyed"
    };
    let is_undone = || daemon.audit().iter().any(undone);
    assert!(wait_for(is_undone, PATIENCE), "{}", daemon.stderr());
    assert!(daemon.tpm("main").key_files().is_empty());
    daemon.client().call(adopt("k", AT, Purpose::Sign)).unwrap();
    signs(&daemon, "k");
}

#[test]
fn what_is_known_of_an_adopted_key_comes_back() {
    let mut daemon = start(TokenSetup::tpm("main"));
    make(&daemon, "one", AT, &["-G", "ecc", "-a", SIGNS]);
    let adopted = daemon.client().call(adopt("k", AT, Purpose::Sign)).unwrap();
    let document = backup(&mut daemon.client());
    // Its file is lost.
    daemon.terminate();
    for file in files(&daemon) {
        fs::remove_file(file).unwrap();
    }
    daemon.start_again();
    let works = |daemon: &Daemon, key: &str| daemon.client().call(sign(key, b"message")).is_ok();
    assert!(
        wait_for(|| works(&daemon, "k"), PATIENCE),
        "{}",
        daemon.stderr()
    );
    // The registry is.
    daemon.terminate();
    for file in ["registry.db", "registry.db-wal"] {
        let _ = fs::remove_file(daemon.state().join(file));
    }
    daemon.start_again();
    daemon.cli(&["accept-registry", "--yes"]);
    daemon.wait_for_token("main", LoginState::Unlocked);
    daemon.cli(&["token", "rescan", "main"]);
    daemon.cli(&["key", "enable", &adopted.id]);
    assert!(works(&daemon, &adopted.id));
    let again = describe(&daemon, &adopted);
    assert_eq!(again.versions[0].placements, adopted.versions[0].placements);
    // And both.
    daemon.terminate();
    fs::remove_dir_all(daemon.state()).unwrap();
    daemon.start_again();
    daemon.wait_for_token("main", LoginState::Unlocked);
    restore(&daemon, &document, false).unwrap();
    daemon.cli(&["key", "enable", "k"]);
    assert!(
        wait_for(|| works(&daemon, "k"), PATIENCE),
        "{}",
        daemon.stderr()
    );
}

fn describe(daemon: &Daemon, key: &KeyDescription) -> KeyDescription {
    let key = keyward_client::protocol::operation::Describe {
        key: key.id.clone(),
    };
    daemon.client().call(key).unwrap()
}

fn files(daemon: &Daemon) -> Vec<PathBuf> {
    let tpm = daemon.tpm("main");
    let names = tpm.key_files().into_iter();
    names.map(|name| tpm.keys().join(name)).collect()
}
