//! What a crash left open is ended at the next start, and nobody is told more than is known.

use keyward_backend::VersionId;
use keyward_backend::message::{Generate, Outcome, Work};
use keyward_client::protocol::{
    ErrorCode, KeyType, Purpose, SecretBytes,
    operation::{Alias, Destroy, Disable, Import, KeyMaterial, LoginState, MarkCompromised},
};
use keyward_tests::{
    Daemon, Fault, PATIENCE, Setup, TokenSetup, Worker, request::refused, wait_for,
};
use serde_json::{Value, json};
use uuid::Uuid;

/// What the outcomes of the intents that have no caller say, oldest first: the operation, `ok` or
/// not, and the words.
fn ended(daemon: &Daemon) -> Vec<[String; 3]> {
    let records = daemon.audit();
    let ended = |record: &&Value| {
        record["kind"] == "manage-outcome"
            && !record["intent"].is_null()
            && record["caller"].is_null()
            && record["op"] != "pin-token"
    };
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let outcomes = records.iter().filter(ended);
    outcomes
        .map(|record| ["op", "outcome", "detail"].map(|field| text(&record[field])))
        .collect()
}

/// Has a daemon start over an intent of each of those, and gives what it makes of them.
#[track_caller]
fn restarted_over(daemon: &mut Daemon, intents: &[Value]) -> Vec<[String; 3]> {
    daemon.terminate();
    for intent in intents {
        daemon.intend(intent);
    }
    daemon.start_again();
    assert_eq!(daemon.status().management_refused, None);
    let all = || ended(daemon).len() == intents.len();
    assert!(wait_for(all, PATIENCE), "{:?}", daemon.audit());
    ended(daemon)
}

const UNKNOWN: &str = "whether it was done is not known";

#[test]
fn a_change_of_the_registry_alone_is_told_by_what_the_registry_shows() {
    let mut daemon = Daemon::start(Setup::new());
    let key = |name: &str| daemon.create_signer(name).id;
    let [a, b] = ["a", "b"].map(key);
    let mut client = daemon.client();
    client.call(Disable { key: "a".into() }).expect("disabled");
    let records = daemon.audit();
    let disable = |record: &&Value| record["op"] == "disable" && record["kind"] == "manage-intent";
    let old = records.iter().find(disable).expect("its intent")["registry"].clone();
    let marked = client.call(MarkCompromised { key: "b".into() });
    marked.expect("marked");
    drop(client);
    let intent = |op: &str, key: &str| json!({ "op": op, "key": key });
    let earlier = |op: &str, key: &str| json!({ "op": op, "key": key, "registry": old });
    let ended = restarted_over(
        &mut daemon,
        &[
            // Nothing was changed behind it.
            intent("enable", &a),
            // Something was: just this, something else, something that can't be told.
            earlier("mark-compromised", &b),
            earlier("enable", &b),
            earlier("disable", &a),
            earlier("alias", &a),
            earlier("tag", &a),
            earlier("restore", &a),
        ],
    );
    let (undone, shown) = (
        "undone: the registry was not changed",
        "finished: the registry shows it",
    );
    let expected = [
        ["enable", "internal", undone],
        ["mark-compromised", "ok", shown],
        ["enable", "internal", UNKNOWN],
        ["disable", "ok", shown],
        ["alias", "internal", UNKNOWN],
        ["tag", "internal", UNKNOWN],
        ["restore", "internal", UNKNOWN],
    ];
    assert_eq!(ended, expected.map(|outcome| outcome.map(str::to_owned)));
    let alias = daemon.client().call(Alias {
        key: b,
        add: vec!["c".into()],
        remove: Vec::new(),
    });
    alias.expect("management goes on");
}

#[test]
fn an_object_is_destroyed_only_if_it_is_known_not_to_have_been_there_before() {
    let mut daemon = Daemon::start(Setup::new());
    let key = daemon.create_signer("k");
    let mut worker = Worker::ready(daemon.hsm("main"), None);
    let mut made = || {
        let id = VersionId::random();
        let outcome = worker.call(Work::Generate(Generate {
            id,
            label: "theirs".to_owned(),
            key_type: KeyType::P256,
            purpose: Purpose::Sign,
            piv: None,
        }));
        assert!(matches!(outcome, Outcome::Key(Some(_))), "{outcome:?}");
        id
    };
    let [there, orphan] = [made(), made()];
    let import = |id: VersionId, fresh: bool| json!({ "op": "import", "key": key.id, "version": id.to_string(), "token": "main", "fresh": fresh });
    let ended = restarted_over(&mut daemon, &[import(there, false), import(orphan, true)]);
    let expected = [
        ["import", "internal", UNKNOWN],
        ["import", "token-failed", "undone: the orphan is destroyed"],
    ];
    assert_eq!(ended, expected.map(|outcome| outcome.map(str::to_owned)));
    let there = worker.call(Work::Inspect(there));
    assert!(matches!(there, Outcome::Key(Some(_))), "{there:?}");
    assert_eq!(worker.call(Work::Inspect(orphan)), Outcome::Key(None));
}

#[test]
fn what_an_import_has_left_is_undone_before_the_next_import_of_it() {
    let [a, b] = ["a", "b"].map(|name| TokenSetup::new(name).fault());
    let mut daemon = Daemon::start(Setup::new().token(a).token(b));
    for token in ["a", "b"] {
        daemon.wait_for_token(token, LoginState::Unlocked);
    }
    let import = |existing: Option<&str>, token: &str| Import {
        purpose: Purpose::Mac,
        material: KeyMaterial::Secret(KeyType::HmacSha256, SecretBytes::copy_from(&[7; 32])),
        alias: existing.is_none().then(|| "k".to_owned()),
        tokens: Some(vec![token.to_owned()]),
        formats: None,
        tags: None,
        existing: existing.map(str::to_owned),
        bind: None,
        piv: None,
    };
    let key = daemon.client().call(import(None, "a")).expect("a key");
    let version = &key.versions[0].id;
    daemon.terminate();
    daemon.intend(
        &json!({ "op": "import", "key": key.id, "version": version, "token": "b", "fresh": true }),
    );
    let fault = daemon.fault("b");
    let asked = fault.calls("C_DestroyObject");
    fault.set("C_DestroyObject", &Fault::Hang);
    let orphan = Worker::ready(daemon.hsm("b"), None).call(Work::Generate(Generate {
        id: VersionId::from(Uuid::parse_str(version).unwrap()),
        label: "left".to_owned(),
        key_type: KeyType::P256,
        purpose: Purpose::Sign,
        piv: None,
    }));
    assert!(matches!(orphan, Outcome::Key(Some(_))), "{orphan:?}");
    daemon.start_again();
    let begun = || daemon.fault("b").calls("C_DestroyObject") > asked;
    assert!(wait_for(begun, PATIENCE), "{}", daemon.stderr());
    let failure = refused(daemon.client().call(import(Some("k"), "b")));
    assert_eq!(failure.code, ErrorCode::Busy, "{failure}");
    daemon.fault("b").clear("C_DestroyObject");
    // The record is there a moment before the agent knows the change as ended.
    let mut both = None;
    let imported = || {
        let done = daemon.client().call(import(Some("k"), "b"));
        let busy = matches!(&done, Err(keyward_client::Error::Refused(failure)) if failure.code == ErrorCode::Busy);
        both = Some(done);
        !busy
    };
    assert!(wait_for(imported, PATIENCE), "{:?}", daemon.audit());
    assert_eq!(ended(&daemon).len(), 1);
    let both = both.expect("an answer").expect("imported");
    assert_eq!(both.versions[0].placements.len(), 2);
}

#[test]
fn a_destruction_says_what_was_not_there() {
    let daemon = Daemon::start(Setup::new());
    let key = daemon.create_signer("k");
    let id = VersionId::from(Uuid::parse_str(&key.versions[0].id).unwrap());
    let gone = Worker::ready(daemon.hsm("main"), None).call(Work::Destroy(id));
    assert_eq!(gone, Outcome::Done);
    daemon.kill_worker("main");
    daemon.wait_for_token("main", LoginState::Unlocked);
    let destroy = Destroy {
        key: "k".into(),
        now: true,
    };
    daemon
        .client()
        .call(destroy)
        .expect("nothing is left of it");
    let records = daemon.audit();
    let outcome = |r: &&Value| r["op"] == "destroy" && r["kind"] == "manage-outcome";
    let outcome = records.iter().rfind(outcome).expect("an outcome");
    assert_eq!(outcome["detail"], "was not there: version 1 on main");
}
