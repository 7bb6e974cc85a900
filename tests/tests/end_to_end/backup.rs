//! What a backup holds comes back, and nothing becomes less strict by it.

use std::fs;

use keyward_client::{
    Client, Error,
    protocol::{
        ErrorCode, KeyType, Purpose,
        backup::Content,
        operation::{
            Backup, Describe, Destroy, Enable, KeyDescription, List, LoginState, Restore, Restored,
        },
    },
};
use keyward_tests::{
    Daemon, Setup, openssl,
    request::{refused, sign},
};

pub(super) fn backup(client: &mut Client) -> Vec<u8> {
    let mut document = Vec::new();
    let mut offset = Some(0);
    while let Some(at) = offset {
        let part = client.call(Backup { offset: at }).unwrap();
        document.extend_from_slice(&part.bytes);
        offset = part.next;
        assert!(offset.is_some() || document.len() as u64 == part.total);
    }
    document
}

fn sha256(daemon: &Daemon, document: &[u8]) -> [u8; 32] {
    let file = daemon.dir().join("copy");
    fs::write(&file, document).unwrap();
    let mut command = openssl::command("dgst");
    let digest = openssl::run(command.args(["-sha256", "-binary"]).arg(&file)).unwrap();
    digest.try_into().unwrap()
}

pub(super) fn restore(daemon: &Daemon, document: &[u8], dry_run: bool) -> Result<Restored, Error> {
    let digest = sha256(daemon, document);
    let mut client = daemon.client();
    let mut last = None;
    for (nth, part) in document.chunks(48 * 1024).enumerate() {
        last = Some(client.call(Restore {
            offset: (nth * 48 * 1024) as u64,
            bytes: part.to_vec().into(),
            total: document.len() as u64,
            digest: digest.into(),
            dry_run,
        })?);
    }
    Ok(last.unwrap())
}

/// Ends the daemon, takes all that it kept away, and starts another.
fn lose_everything(daemon: &mut Daemon) {
    daemon.terminate();
    fs::remove_dir_all(daemon.state()).unwrap();
    daemon.start_again();
    daemon.wait_for_token("main", LoginState::Unlocked);
}

fn enable(daemon: &Daemon, key: &str) -> KeyDescription {
    daemon.client().call(Enable { key: key.into() }).unwrap()
}

fn count(daemon: &Daemon) -> usize {
    usize::try_from(daemon.status().keys).unwrap()
}

#[test]
fn keys_sign_again_after_the_state_was_lost() {
    let mut daemon = Daemon::start(Setup::new());
    let signer = daemon.create_signer("k");
    daemon.create("rsa", Purpose::Unwrap, KeyType::Rsa2048);
    let document = backup(&mut daemon.client());
    lose_everything(&mut daemon);
    assert_eq!(count(&daemon), 0);
    let planned = restore(&daemon, &document, true).unwrap();
    assert_eq!((planned.complete, planned.added), (true, 2));
    assert_eq!(count(&daemon), 0, "a dry run");
    let done = restore(&daemon, &document, false).unwrap();
    assert_eq!(done, planned);
    assert!(done.kept[0].starts_with("the state of 2 keys"), "{done:?}");
    // Nobody knows who wrote a copy: a person looks at each key.
    let failure = refused(daemon.client().call(sign("k", b"message")));
    assert_eq!(failure.code, ErrorCode::WrongState, "{failure}");
    let enabled = enable(&daemon, "k");
    assert_eq!(enabled, signer);
    daemon.client().call(sign("k", b"message")).unwrap();
    // A second time there is nothing to do.
    let again = restore(&daemon, &document, false).unwrap();
    assert_eq!((again.added, again.merged), (0, 0));
    daemon.restart();
    daemon.wait_for_token("main", LoginState::Unlocked);
    assert_eq!(daemon.status().management_refused, None);
    daemon.client().call(sign("k", b"message")).unwrap();
}

#[test]
fn a_lost_registry_is_mended_where_management_is_refused() {
    let mut daemon = Daemon::start(Setup::new());
    daemon.create_signer("k");
    let document = backup(&mut daemon.client());
    daemon.terminate();
    for name in ["registry.db", "registry.db-wal"] {
        let _ = fs::remove_file(daemon.state().join(name));
    }
    daemon.start_again();
    assert!(daemon.status().management_refused.is_some());
    restore(&daemon, &document, false).unwrap();
    assert_eq!(daemon.status().management_refused, None);
    daemon.wait_for_token("main", LoginState::Unlocked);
    enable(&daemon, "k");
    daemon.client().call(sign("k", b"message")).unwrap();
    daemon.restart();
    assert_eq!(daemon.status().management_refused, None);
    daemon.create_signer("another");
}

#[test]
fn what_was_destroyed_since_stays_destroyed_and_a_name_stays_with_who_has_it() {
    let daemon = Daemon::start(Setup::new());
    let old = daemon.create_signer("k");
    let document = backup(&mut daemon.client());
    let destroy = Destroy {
        key: "k".into(),
        now: true,
    };
    daemon.client().call(destroy).unwrap();
    let new = daemon.create_signer("k");
    let done = restore(&daemon, &document, false).unwrap();
    assert_eq!((done.added, done.merged), (0, 0));
    assert!(done.kept[0].contains("destroyed"), "{:?}", done.kept);
    let found = daemon.client().call(Describe { key: "k".into() }).unwrap();
    assert_eq!((found.id, count(&daemon)), (new.id, 1));
    let gone = daemon.client().call(sign(&old.id, b"message"));
    assert_eq!(refused(gone).code, ErrorCode::WrongState);
}

#[test]
fn what_is_no_backup_changes_nothing() {
    let daemon = Daemon::start(Setup::new());
    daemon.create_signer("k");
    let document = backup(&mut daemon.client());
    let mut changed = document.clone();
    let middle = changed.len() / 2;
    changed[middle] ^= 1;
    let mut invented = Content::from_document(&document).unwrap();
    invented.keys[0].aliases = vec!["\u{1b}[2J".into()];
    let foreign = [
        changed,
        document[..middle].to_vec(),
        b"[token.main]\n".to_vec(),
        invented.to_document().unwrap(),
    ];
    let mark = daemon.status().keys;
    for document in &foreign {
        let failure = refused(restore(&daemon, document, false));
        assert_eq!(failure.code, ErrorCode::Invalid, "{failure}");
    }
    // A digest that is not the document's, and parts in the wrong place.
    let mut client = daemon.client();
    let part = |offset, total: usize| Restore {
        offset,
        bytes: document.clone().into(),
        total: total as u64,
        digest: [0; 32].into(),
        dry_run: false,
    };
    for wrong in [
        part(0, document.len()),
        part(1, document.len() + 1),
        part(0, 1),
    ] {
        assert_eq!(refused(client.call(wrong)).code, ErrorCode::Invalid);
    }
    for total in [0, (64 << 20) + 1] {
        let failure = refused(client.call(part(0, total)));
        assert_eq!(failure.code, ErrorCode::TooLarge, "{failure}");
    }
    assert_eq!(
        refused(client.call(Backup { offset: 7 })).code,
        ErrorCode::Invalid
    );
    assert_eq!(daemon.status().keys, mark);
}

#[test]
fn a_backup_has_configuration_and_no_secret_and_one_record() {
    let daemon = Daemon::start(Setup::new());
    daemon.create_signer("k");
    let mut client = daemon.client();
    let document = backup(&mut client);
    let content = Content::from_document(&document).unwrap();
    let config = fs::read_to_string(daemon.config()).unwrap();
    assert_eq!(content.files[0].text, config);
    assert_eq!((content.keys.len(), content.tokens.len()), (1, 1));
    let pin = daemon.hsm("main").pin().as_bytes();
    assert!(!document.windows(pin.len()).any(|window| window == pin));
    let records = daemon.audit();
    let record = records.iter().find(|r| r["op"] == "backup").unwrap();
    assert_eq!(record["length"], document.len());
    let digest: String = sha256(&daemon, &document)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    assert_eq!(record["digest"], digest);
}

#[test]
fn a_thousand_keys_come_back() {
    let mut daemon = Daemon::start(Setup::new());
    daemon.create_signer("k");
    let document = backup(&mut daemon.client());
    let mut content = Content::from_document(&document).unwrap();
    let pattern = content.keys[0].clone();
    content.keys = (0..1000_u128)
        .map(|n| {
            let mut key = pattern.clone();
            key.id = (n * 2 + 2).to_be_bytes().into();
            key.versions[0].id = (n * 2 + 3).to_be_bytes().into();
            key.aliases = vec![format!("key {n:04}")];
            key
        })
        .collect();
    let document = content.to_document().unwrap();
    assert!(document.len() > 3 * 48 * 1024, "several parts");
    let done = restore(&daemon, &document, false).unwrap();
    assert_eq!((done.added, count(&daemon)), (1000, 1001));
    let records = daemon.audit();
    let restored = records.iter().filter(|r| r["op"] == "restore");
    assert_eq!(
        restored.count(),
        3,
        "the first part, the intent, the outcome"
    );
    daemon.restart();
    assert_eq!(count(&daemon), 1001);
    let mut client = daemon.client();
    assert!(client.call(List { after: None }).unwrap().next.is_some());
    // And out again, in several parts.
    let copy = Content::from_document(&backup(&mut client)).unwrap();
    assert_eq!(copy.keys.len(), 1001);
    let records = daemon.audit();
    let backups = records.iter().filter(|r| r["op"] == "backup");
    assert_eq!(backups.count(), 2);
}
