//! Enable, disable, mark compromised, aliases and tags.

use std::collections::BTreeMap;

use keyward_client::protocol::{
    ErrorCode, KeyState, Purpose,
    operation::{
        Alias, Destroy, Disable, Enable, GetPublicKey, KeyDescription, MarkCompromised, SignInput,
        Tag, Verify,
    },
};
use keyward_tests::{
    Daemon, Setup,
    request::{create, refused, sign},
};

fn disable(daemon: &Daemon, key: &str) -> KeyDescription {
    let key = key.to_owned();
    daemon.client().call(Disable { key }).expect("disable")
}

#[test]
fn a_disabled_key_is_not_used_until_it_is_enabled() {
    let mut daemon = Daemon::start(Setup::new());
    daemon.create_signer("k");
    let mut client = daemon.client();
    for _ in 0..2 {
        assert_eq!(disable(&daemon, "k").state, KeyState::Suspended);
    }
    let failure = refused(client.call(sign("k", b"message")));
    assert_eq!(failure.code, ErrorCode::WrongState, "{failure}");
    daemon.restart();
    let mut client = daemon.client();
    let failure = refused(client.call(sign("k", b"message")));
    assert_eq!(failure.code, ErrorCode::WrongState, "after a restart");
    for _ in 0..2 {
        let enabled = client.call(Enable { key: "k".into() }).unwrap();
        assert_eq!(enabled.state, KeyState::Active);
    }
    client.call(sign("k", b"message")).unwrap();
    let records = daemon.audit();
    let of = |kind: &str, op: &str| {
        let matching = records
            .iter()
            .filter(|r| r["kind"] == kind && r["op"] == op);
        matching.count()
    };
    // Who asked twice was answered twice, and the key was changed once.
    assert_eq!(
        (
            of("manage-intent", "disable"),
            of("manage-outcome", "disable")
        ),
        (1, 2)
    );
    assert_eq!(
        (
            of("manage-intent", "enable"),
            of("manage-outcome", "enable")
        ),
        (1, 2)
    );
}

#[test]
fn a_compromised_key_only_verifies_and_there_is_no_way_back() {
    let daemon = Daemon::start(Setup::new());
    daemon.create_signer("k");
    let mut client = daemon.client();
    let signature = client.call(sign("k", b"message")).unwrap().signature;
    for _ in 0..2 {
        let marked = client.call(MarkCompromised { key: "k".into() }).unwrap();
        assert_eq!(marked.state, KeyState::Compromised);
        assert_eq!(marked.versions[0].state, KeyState::Compromised);
    }
    let failure = refused(client.call(sign("k", b"message")));
    assert_eq!(failure.code, ErrorCode::WrongState, "{failure}");
    for back in [
        refused(client.call(Enable { key: "k".into() })),
        refused(client.call(Disable { key: "k".into() })),
    ] {
        assert_eq!(back.code, ErrorCode::WrongState, "{back}");
        assert!(back.message.contains("compromised"), "{back}");
    }
    let verified = client.call(Verify {
        key: "k".into(),
        algorithm: None,
        input: SignInput::Message(b"message".to_vec()),
        signature,
        version: None,
    });
    assert!(verified.unwrap().valid);
    client
        .call(Destroy {
            key: "k".into(),
            now: true,
        })
        .expect("a compromised key can be destroyed");
}

#[test]
fn the_version_of_a_destroyed_key_is_not_served() {
    let daemon = Daemon::start(Setup::new());
    let key = daemon.create_signer("k");
    let mut client = daemon.client();
    client
        .call(Destroy {
            key: "k".into(),
            now: true,
        })
        .unwrap();
    for version in [None, Some(1)] {
        let failure = refused(client.call(GetPublicKey {
            key: key.id.clone(),
            version,
        }));
        assert_eq!(failure.code, ErrorCode::WrongState, "{failure}");
    }
}

#[test]
fn names_go_from_key_to_key_all_or_none() {
    let mut daemon = Daemon::start(Setup::new());
    let first = daemon.create_signer("web");
    let second = daemon.create_signer("new");
    let mut client = daemon.client();
    let alias = |key: &str, add: &[&str], remove: &[&str]| Alias {
        key: key.into(),
        add: add.iter().map(|n| (*n).to_owned()).collect(),
        remove: remove.iter().map(|n| (*n).to_owned()).collect(),
    };
    let taken = refused(client.call(alias("new", &["ok", "web"], &[])));
    assert_eq!(taken.code, ErrorCode::Exists, "{taken}");
    let absent = refused(client.call(alias("new", &["ok"], &["web"])));
    assert_eq!(absent.code, ErrorCode::NotFound, "{absent}");
    let invalid = refused(client.call(alias("new", &["-n"], &[])));
    assert_eq!(invalid.code, ErrorCode::Invalid, "{invalid}");
    assert_eq!(
        refused(client.call(sign("ok", b""))).code,
        ErrorCode::NotFound
    );

    let old = client.call(alias("web", &["web-old"], &["web"])).unwrap();
    assert_eq!(
        (old.id, old.aliases),
        (first.id, vec!["web-old".to_owned()])
    );
    client.call(alias("new", &["web"], &[])).unwrap();
    daemon.restart();
    let signature = daemon.client().call(sign("web", b"message")).unwrap();
    assert_eq!(signature.key, second.id);
    let taken = refused(
        daemon
            .client()
            .call(create("web-old", Purpose::Sign, first.key_type)),
    );
    assert_eq!(taken.code, ErrorCode::Exists);
}

#[test]
fn tags_are_set_and_removed() {
    let mut daemon = Daemon::start(Setup::new());
    daemon.create_signer("k");
    let tag = |set: &[(&str, &str)], remove: &[&str]| Tag {
        key: "k".into(),
        set: set
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect(),
        remove: remove.iter().map(|n| (*n).to_owned()).collect(),
    };
    let mut client = daemon.client();
    client.call(tag(&[("a", "1"), ("b", "2")], &[])).unwrap();
    let absent = refused(client.call(tag(&[("a", "3")], &["c"])));
    assert_eq!(absent.code, ErrorCode::NotFound, "{absent}");
    let invalid = refused(client.call(tag(&[("a", "3")], &["a"])));
    assert_eq!(invalid.code, ErrorCode::Invalid, "{invalid}");
    let key = client.call(tag(&[("a", "4")], &["b"])).unwrap();
    let expected = BTreeMap::from([("a".to_owned(), "4".to_owned())]);
    assert_eq!(key.tags, expected);
    daemon.restart();
    let described = daemon
        .client()
        .call(keyward_client::protocol::operation::Describe { key: "k".into() });
    assert_eq!(described.unwrap().tags, expected);
}
