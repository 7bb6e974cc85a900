//! A key that several tokens have is destroyed on each of them, or says what is left.

use std::process::{Command, Stdio};

use keyward_backend::message::{Outcome, Work};
use keyward_client::protocol::{
    ErrorCode, KeyState, KeyType, Purpose, SecretBytes,
    operation::{
        AcceptToken, Describe, Destroy, Disable, Enable, Import, KeyDescription, KeyMaterial,
        LoginState, Mac, Rotate, VerifyMac,
    },
};
use keyward_tests::{
    Daemon, Fault, PATIENCE, Setup, TokenSetup, Worker,
    process::pid,
    request::{refused, sign},
    site::program,
    wait_for,
};
use rustix::process::{Resource, Rlimit, Signal, prlimit};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::backup::{backup, restore};

const CKR_ACTION_PROHIBITED: u64 = 0x1b;
const CKR_DEVICE_ERROR: u64 = 0x30;
const CKR_OBJECT_HANDLE_INVALID: u64 = 0x82;
const CKR_USER_NOT_LOGGED_IN: u64 = 0x101;

/// A daemon with two tokens behind fault modules, and a key `k` on both.
#[track_caller]
fn a_key_on_two_tokens() -> (Daemon, KeyDescription) {
    let [a, b] = ["a", "b"].map(|name| TokenSetup::new(name).fault());
    let daemon = Daemon::start(Setup::new().token(a).token(b));
    for token in ["a", "b"] {
        daemon.wait_for_token(token, LoginState::Unlocked);
    }
    let key = daemon.client().call(import(Some("k"), None, &["a", "b"]));
    let key = key.unwrap_or_else(|error| panic!("{error:?}\n{}", daemon.stderr()));
    (daemon, key)
}

fn import(alias: Option<&str>, existing: Option<&str>, tokens: &[&str]) -> Import {
    let secret = SecretBytes::copy_from(&[7; 32]);
    Import {
        purpose: Purpose::Mac,
        material: KeyMaterial::Secret(KeyType::HmacSha256, secret),
        alias: alias.map(str::to_owned),
        tokens: Some(tokens.iter().map(ToString::to_string).collect()),
        formats: None,
        tags: None,
        existing: existing.map(str::to_owned),
        bind: None,
        piv: None,
    }
}

fn mac(key: &str) -> Mac {
    Mac {
        key: key.into(),
        message: SecretBytes::copy_from(b"message"),
    }
}

fn destroy(key: &str) -> Destroy {
    Destroy {
        key: key.into(),
        now: true,
    }
}

#[track_caller]
fn described(daemon: &Daemon, key: &str) -> KeyDescription {
    let key = key.into();
    daemon
        .client()
        .call(Describe { key })
        .expect("a description")
}

fn tokens(key: &KeyDescription) -> Vec<&str> {
    let places = key.versions.iter().flat_map(|version| &version.placements);
    places.map(|place| place.token.as_str()).collect()
}

fn of<'r>(records: &'r [Value], kind: &str) -> Vec<&'r Value> {
    let fits = |r: &&Value| r["op"] == "destroy" && r["kind"] == kind;
    records.iter().filter(fits).collect()
}

/// The numbers of the intents of destructions that have no outcome.
fn open(daemon: &Daemon) -> Vec<u64> {
    let records = daemon.audit();
    let closed = of(&records, "manage-outcome");
    let closed: Vec<_> = closed.iter().map(|record| &record["intent"]).collect();
    let intents = of(&records, "manage-intent").into_iter();
    let open = intents.filter(|intent| !closed.contains(&&intent["seq"]));
    open.filter_map(|intent| intent["seq"].as_u64()).collect()
}

/// What each outcome that belongs to an intent says, oldest first: the token, `ok` or not, the words.
fn outcomes(daemon: &Daemon) -> Vec<[String; 3]> {
    let records = daemon.audit();
    let outcomes = of(&records, "manage-outcome").into_iter();
    let outcomes = outcomes.filter(|record| !record["intent"].is_null());
    outcomes
        .map(|r| {
            ["token", "outcome", "detail"].map(|f| r[f].as_str().unwrap_or_default().to_owned())
        })
        .collect()
}

#[track_caller]
fn wait_until_destroyed(daemon: &Daemon, id: &str) {
    let gone = || described(daemon, id).state == KeyState::Destroyed;
    assert!(wait_for(gone, PATIENCE), "{}", daemon.stderr());
    let closed = || open(daemon).is_empty();
    assert!(wait_for(closed, PATIENCE), "{:?}", daemon.audit());
}

/// What a daemon would have written before it died.
#[track_caller]
fn intend(daemon: &Daemon, key: &KeyDescription, version: usize, token: &str) {
    let version = &key.versions[version].id;
    daemon.intend(&json!({ "op": "destroy", "key": key.id, "version": version, "token": token }));
}

#[test]
fn a_token_that_fails_leaves_a_key_that_says_so_and_that_nobody_uses() {
    let (daemon, key) = a_key_on_two_tokens();
    let mut client = daemon.client();
    let tag = client.call(mac("k")).expect("a code").tag;
    let fault = daemon.fault("b");
    fault.set("C_DestroyObject", &Fault::Error(CKR_DEVICE_ERROR));
    let failure = refused(client.call(destroy("k")));
    assert_eq!(failure.code, ErrorCode::TokenFailed);
    assert!(
        failure
            .message
            .contains("what a had of it is destroyed, what b has is not known to be"),
        "{failure}"
    );
    assert_eq!(
        failure.hint.as_deref(),
        Some("keyward key destroy k --now  # ends it")
    );

    let half = described(&daemon, "k");
    assert_eq!((half.state, tokens(&half)), (KeyState::Active, vec!["b"]));
    let waits = "it was begun and has not ended; it waits for b";
    assert_eq!(half.destruction.as_deref(), Some(waits));
    let verify = VerifyMac {
        key: "k".into(),
        message: SecretBytes::copy_from(b"message"),
        tag,
        version: None,
    };
    let name = || "k".to_owned();
    for refusal in [
        refused(client.call(mac("k"))),
        refused(client.call(verify)),
        refused(client.call(Enable { key: name() })),
        refused(client.call(Rotate { key: name() })),
        refused(client.call(import(None, Some("k"), &["a"]))),
    ] {
        assert_eq!(refusal.code, ErrorCode::WrongState, "{refusal}");
        assert!(refusal.message.contains(waits), "{refusal}");
    }
    let shown = daemon.cli(&["key", "show", "k"]);
    let shown = String::from_utf8(shown).unwrap();
    assert!(shown.contains(waits), "{shown}");

    fault.clear("C_DestroyObject");
    client.call(destroy("k")).expect("the rest is destroyed");
    let gone = described(&daemon, &key.id);
    assert_eq!((gone.state, gone.destruction), (KeyState::Destroyed, None));
    wait_until_destroyed(&daemon, &key.id);
    let outcomes = outcomes(&daemon);
    let words: Vec<[&str; 3]> = outcomes
        .iter()
        .map(|outcome| outcome.each_ref().map(String::as_str))
        .collect();
    assert_eq!(
        words,
        [
            ["a", "ok", "destroyed on [a], not known to be on [b]"],
            ["b", "ok", ""],
            ["b", "ok", "finished: the key is destroyed"],
        ]
    );
}

#[test]
fn what_was_begun_ends_by_itself_when_the_token_is_there_again() {
    let (daemon, key) = a_key_on_two_tokens();
    daemon.fault("b").set("C_DestroyObject", &Fault::Crash);
    let failure = refused(daemon.client().call(destroy("k")));
    assert_eq!(failure.code, ErrorCode::TokenFailed);
    wait_until_destroyed(&daemon, &key.id);
    let free = daemon.client().call(import(Some("k"), None, &["a", "b"]));
    free.expect("its name and the places are free");
}

#[test]
fn where_nothing_was_destroyed_nothing_ever_is() {
    for (code, failed) in [
        (CKR_ACTION_PROHIBITED, ErrorCode::TokenFailed),
        (CKR_USER_NOT_LOGGED_IN, ErrorCode::TokenLocked),
    ] {
        let (daemon, _) = a_key_on_two_tokens();
        let mut client = daemon.client();
        let before = client.call(mac("k")).expect("a code");
        let untouched = daemon.fault("b").calls("C_DestroyObject");
        daemon
            .fault("a")
            .set("C_DestroyObject", &Fault::ErrorOnce(code));
        let failure = refused(client.call(destroy("k")));
        assert_eq!(failure.code, failed, "{failure}");
        assert_eq!(daemon.fault("b").calls("C_DestroyObject"), untouched);
        assert_eq!(described(&daemon, "k").destruction, None);
        assert_eq!(client.call(mac("k")).expect("the same"), before);
        assert_eq!(open(&daemon), [0; 0]);
        let outcomes = outcomes(&daemon);
        let expected = ["a", "b"].map(|token| [token, failed.name()]);
        let mut told: Vec<_> = outcomes
            .iter()
            .map(|[token, outcome, _]| [token.as_str(), outcome.as_str()])
            .collect();
        told.sort_unstable();
        assert_eq!(told, expected);
        client.call(destroy("k")).expect("destroyed when it may be");
    }
}

#[test]
fn a_destruction_that_was_interrupted_and_that_the_token_refuses_is_given_up() {
    let (mut daemon, key) = a_key_on_two_tokens();
    daemon.terminate();
    for token in ["a", "b"] {
        let version = &key.versions[0].id;
        daemon.intend(&json!({
            "op": "destroy", "key": key.id, "version": version, "token": token, "places": 2,
        }));
        daemon
            .fault(token)
            .set("C_DestroyObject", &Fault::Error(CKR_ACTION_PROHIBITED));
    }
    daemon.start_again();
    for token in ["a", "b"] {
        daemon.wait_for_token(token, LoginState::Unlocked);
    }
    // The first may have been asked before the other was there.
    let closed = || {
        daemon.kill_worker("a");
        daemon.wait_for_token("a", LoginState::Unlocked);
        open(&daemon).is_empty()
    };
    assert!(wait_for(closed, PATIENCE), "{}", daemon.stderr());
    let words = "undone: a token refuses it, and nothing of the key was destroyed";
    for [token, outcome, detail] in outcomes(&daemon) {
        let failed = ErrorCode::TokenFailed.name();
        assert_eq!(
            (outcome.as_str(), detail.as_str()),
            (failed, words),
            "{token}"
        );
    }
    daemon.client().call(mac("k")).expect("it is in use again");
}

#[test]
fn a_token_that_refuses_what_another_has_destroyed_is_waited_for() {
    let (daemon, key) = a_key_on_two_tokens();
    let fault = daemon.fault("b");
    fault.set("C_DestroyObject", &Fault::Error(CKR_ACTION_PROHIBITED));
    refused(daemon.client().call(destroy("k")));
    let asked = fault.calls("C_DestroyObject");
    daemon.kill_worker("b");
    let again = || fault.calls("C_DestroyObject") > asked;
    assert!(wait_for(again, PATIENCE), "{}", daemon.stderr());
    let refusal = refused(daemon.client().call(mac("k")));
    assert_eq!(refusal.code, ErrorCode::WrongState, "{refusal}");
    fault.clear("C_DestroyObject");
    daemon.kill_worker("b");
    wait_until_destroyed(&daemon, &key.id);
}

#[test]
fn a_key_that_has_lost_one_of_its_objects_is_out_of_use_until_the_other_is_gone() {
    let daemon = Daemon::start(Setup::new().token(TokenSetup::new("main").fault()));
    daemon.wait_for_token("main", LoginState::Unlocked);
    let key = daemon.create_signer("k");
    let fault = daemon.fault("main");
    fault.set(
        "C_DestroyObject",
        &Fault::ErrorSecond(CKR_USER_NOT_LOGGED_IN),
    );
    let failure = refused(daemon.client().call(destroy("k")));
    assert_eq!(failure.code, ErrorCode::TokenFailed, "{failure}");
    assert!(failure.message.contains("in part"), "{failure}");
    wait_until_destroyed(&daemon, &key.id);

    daemon.create_signer("k");
    fault.set(
        "C_DestroyObject",
        &Fault::ErrorSecond(CKR_OBJECT_HANDLE_INVALID),
    );
    let before = fault.calls("C_DestroyObject");
    let done = daemon.client().call(destroy("k"));
    done.expect("what the token calls by another handle is found again");
    assert_eq!(fault.calls("C_DestroyObject"), before + 3);
}

#[test]
fn where_another_token_was_accepted_nobody_knows_what_is_left_on_the_one_before() {
    let mut daemon = Daemon::start(Setup::new().token(TokenSetup::new("main").fault()));
    daemon.wait_for_token("main", LoginState::Unlocked);
    let key = daemon.create_signer("k");
    let device = daemon.token("main").identity.expect("it is pinned");
    let fault = daemon.fault("main");
    fault.set("C_DestroyObject", &Fault::Error(CKR_DEVICE_ERROR));
    refused(daemon.client().call(destroy("k")));
    daemon.terminate();
    let fault = daemon.fault("main");
    fault.clear("C_DestroyObject");
    fault.set("C_GetTokenInfo", &Fault::Serial("0123456789"));
    let destroyed = fault.calls("C_DestroyObject");
    daemon.start_again();
    daemon.wait_for_token("main", LoginState::Changed);
    let accept = AcceptToken {
        token: "main".into(),
    };
    daemon.client().call(accept).expect("accepted");
    daemon.wait_for_token("main", LoginState::Unlocked);
    let closed = || open(&daemon).is_empty();
    assert!(wait_for(closed, PATIENCE), "{:?}", daemon.audit());
    let outcomes = outcomes(&daemon);
    let [_, outcome, detail] = outcomes.last().expect("an outcome");
    assert_eq!(outcome, ErrorCode::TokenChanged.name());
    let words = format!("not known to be destroyed on {device}, ");
    assert!(detail.starts_with(&words), "{detail}");
    assert_eq!(daemon.fault("main").calls("C_DestroyObject"), destroyed);
    assert_eq!(described(&daemon, &key.id).state, KeyState::Destroyed);
}

#[test]
fn what_was_not_there_is_not_called_destroyed() {
    let mut daemon = Daemon::start(Setup::new());
    let key = daemon.create_signer("k");
    daemon.terminate();
    intend(&daemon, &key, 0, "main");
    let id = keyward_backend::VersionId::from(Uuid::parse_str(&key.versions[0].id).unwrap());
    let gone = Worker::ready(daemon.hsm("main"), None).call(Work::Destroy(id));
    assert_eq!(gone, Outcome::Done);
    daemon.start_again();
    wait_until_destroyed(&daemon, &key.id);
    let words = "finished: the key is destroyed, and nothing of it was there any more";
    assert_eq!(
        outcomes(&daemon),
        [["main", "ok", words].map(str::to_owned)]
    );
}

#[test]
fn a_restoration_gives_nothing_to_a_key_that_is_being_destroyed() {
    let (daemon, key) = a_key_on_two_tokens();
    let disable = Disable { key: "k".into() };
    daemon.client().call(disable).expect("suspended");
    let copy = backup(&mut daemon.client());
    let fault = daemon.fault("b");
    let before = fault.calls("C_DestroyObject");
    fault.set("C_DestroyObject", &Fault::Hang);
    let mut client = daemon.client();
    let ticket = client.submit(destroy("k")).unwrap();
    client.flush().unwrap();
    let begun = || fault.calls("C_DestroyObject") > before;
    assert!(wait_for(begun, PATIENCE), "{}", daemon.stderr());
    let restored = restore(&daemon, &copy, false).expect("restored");
    assert_eq!(restored.merged, 0);
    let words = format!("{}: it is just being changed", key.id);
    let kept = restored.kept.iter().any(|kept| kept.starts_with(&words));
    assert!(kept, "{:?}", restored.kept);
    fault.clear("C_DestroyObject");
    client.wait(ticket).expect("destroyed");
    assert_eq!(described(&daemon, &key.id).state, KeyState::Destroyed);
}

#[test]
fn what_the_log_does_not_have_the_end_of_is_ended_later_and_the_caller_is_told() {
    let site = Setup::new().token(TokenSetup::new("main").fault()).build();
    let mut command = Command::new("sh");
    // A file that is too long is an error then, and not the end.
    command.args(["-c", "trap '' XFSZ; exec \"$@\"", "sh"]);
    command.arg(program("keywardd"));
    command.arg("--config").arg(site.config());
    command.stdin(Stdio::null()).stderr(Stdio::piped());
    let daemon = Daemon::start_with(site, command);
    daemon.wait_for_token("main", LoginState::Unlocked);
    let key = daemon.create_signer("k");
    let fault = daemon.fault("main");
    fault.set("C_DestroyObject", &Fault::Error(CKR_ACTION_PROHIBITED));
    fault.set("C_FindObjectsInit", &Fault::Hang);
    let before = fault.calls("C_FindObjectsInit");
    let mut client = daemon.client();
    let ticket = client.submit(destroy("k")).unwrap();
    client.flush().unwrap();
    let begun = || fault.calls("C_FindObjectsInit") > before;
    assert!(wait_for(begun, PATIENCE), "{}", daemon.stderr());
    let limit = |current| {
        let (pid, maximum) = (pid(daemon.pid()), None);
        prlimit(Some(pid), Resource::Fsize, Rlimit { current, maximum }).expect("a limit");
    };
    limit(Some(0));
    fault.clear("C_FindObjectsInit");
    let failure = refused(client.wait(ticket));
    assert_eq!(failure.code, ErrorCode::AuditUnavailable, "{failure}");
    assert!(
        failure.message.contains("may be finished later"),
        "{failure}"
    );
    limit(None);
    let waits = described(&daemon, "k").destruction.expect("it is open");
    assert!(waits.contains("waits for main"), "{waits}");
    fault.clear("C_DestroyObject");
    daemon.kill_worker("main");
    wait_until_destroyed(&daemon, &key.id);
}

#[test]
fn an_agent_that_dies_between_two_tokens_ends_it_at_its_next_start() {
    let (mut daemon, key) = a_key_on_two_tokens();
    daemon.fault("b").set("C_DestroyObject", &Fault::Hang);
    let before = daemon.fault("b").calls("C_DestroyObject");
    let mut client = daemon.client();
    let _ticket = client.submit(destroy("k")).unwrap();
    client.flush().unwrap();
    let begun = || daemon.fault("b").calls("C_DestroyObject") > before;
    assert!(wait_for(begun, PATIENCE), "{}", daemon.stderr());
    let under_way = described(&daemon, "k").destruction;
    assert_eq!(under_way.as_deref(), Some("it is being destroyed"));
    let refusal = refused(daemon.client().call(mac("k")));
    assert_eq!(refusal.code, ErrorCode::WrongState, "{refusal}");
    daemon.signal(Signal::KILL);
    daemon.wait();
    daemon.fault("b").clear("C_DestroyObject");
    daemon.start_again();
    assert_eq!(daemon.status().management_refused, None);
    wait_until_destroyed(&daemon, &key.id);
    let outcomes = outcomes(&daemon);
    let last = outcomes
        .iter()
        .filter(|o| o[2].ends_with("the key is destroyed"));
    assert!(last.count() >= 1, "{outcomes:?}");
}

#[test]
fn the_intent_of_one_token_alone_destroys_the_key_on_the_other_too() {
    let (mut daemon, key) = a_key_on_two_tokens();
    daemon.terminate();
    intend(&daemon, &key, 0, "a");
    daemon
        .fault("b")
        .set("C_DestroyObject", &Fault::Error(CKR_DEVICE_ERROR));
    daemon.start_again();
    for token in ["a", "b"] {
        daemon.wait_for_token(token, LoginState::Unlocked);
    }
    let waits = described(&daemon, "k").destruction;
    assert!(waits.is_some(), "it is out of use from the start");
    let refusal = refused(daemon.client().call(mac("k")));
    assert_eq!(refusal.code, ErrorCode::WrongState, "{refusal}");
    daemon.fault("b").clear("C_DestroyObject");
    daemon.kill_worker("a");
    wait_until_destroyed(&daemon, &key.id);
    let expected = ["a", "ok", "finished: the key is destroyed"].map(str::to_owned);
    assert_eq!(outcomes(&daemon), [expected]);
}

#[test]
fn a_version_that_was_made_since_outlives_an_old_intent() {
    let mut daemon = Daemon::start(Setup::new());
    daemon.create_signer("k");
    let rotated = daemon.client().call(Rotate { key: "k".into() });
    let rotated = rotated.expect("a second version");
    daemon.terminate();
    intend(&daemon, &rotated, 0, "main");
    daemon.start_again();
    let closed = || open(&daemon).is_empty();
    assert!(wait_for(closed, PATIENCE), "{}", daemon.stderr());
    let words = "finished: these versions are destroyed, newer ones are there";
    let expected = ["main", "ok", words].map(str::to_owned);
    assert_eq!(outcomes(&daemon), [expected]);
    let key = described(&daemon, "k");
    let states: Vec<_> = key.versions.iter().map(|version| version.state).collect();
    assert_eq!(states, [KeyState::Destroyed, KeyState::Active]);
    assert_eq!((key.state, key.destruction), (KeyState::Active, None));
    let signature = daemon.client().call(sign("k", b"message"));
    assert_eq!(signature.expect("by the second version").version, 2);
}
