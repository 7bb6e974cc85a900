use std::os::unix::fs::PermissionsExt as _;

use super::*;

#[test]
fn a_reply_comes_out_only_after_its_record_is_written() {
    let (_parent, folder) = folder();
    let (audit, _) = Audit::open(&folder).unwrap();
    let before = audit.flush().unwrap();
    let seq = append(&audit, &Record::new(Kind::Use, "sign"));
    let sealed = audit.seal(seq, "signature");
    let NotWritten(sealed) = sealed.open(&before).unwrap_err();
    assert_eq!(lines(&folder).len(), 0);

    let next = append(&audit, &Record::new(Kind::Use, "unwrap"));
    let next = audit.seal(next, "plaintext").map(str::len);
    let after = audit.flush().unwrap();
    assert_eq!(sealed.open(&after).unwrap(), "signature");
    assert_eq!(next.open(&after).unwrap(), 9);
    assert_eq!(lines(&folder).len(), 2);
}

#[test]
fn the_root_is_that_of_the_lines_that_are_written() {
    let (_parent, folder) = folder();
    let (audit, _) = Audit::open(&folder).unwrap();
    write(&audit, 37);
    append(&audit, &Record::new(Kind::Use, "not-written-yet"));
    let mut tree = Frontier::default();
    for (n, line) in lines(&folder).iter().enumerate() {
        tree.push(leaf_hash(line.as_bytes()));
        let value: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(value["seq"], n);
    }
    assert_eq!(audit.root(), (37, tree.root()));
}

#[test]
fn segments_are_named_by_their_first_record() {
    let (_parent, folder) = folder();
    let options = Options {
        segment: 1000,
        ..Options::default()
    };
    let (audit, _) = Audit::open_with(&folder, options).unwrap();
    write(&audit, 100);
    let mut first = 0;
    let all = segments(&folder);
    assert!(all.len() > 5);
    for segment in all {
        assert_eq!(
            segment.file_name().unwrap().to_str().unwrap(),
            format!("{first:020}.jsonl")
        );
        let text = fs::read_to_string(&segment).unwrap();
        assert!(text.len() < 1300, "{}", text.len());
        first += text.lines().count();
    }
    assert_eq!(first, 100);
    let (size, root) = audit.root();
    drop(audit);
    let (audit, found) = Audit::open_with(&folder, options).unwrap();
    assert_eq!((found.records, audit.root()), (size, (size, root)));
}

#[test]
fn the_log_is_its_owners_alone() {
    let (_parent, folder) = folder();
    let (audit, _) = Audit::open(&folder).unwrap();
    write(&audit, 1);
    audit.sync_now().unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&folder), 0o700);
    let mut names = Vec::new();
    for entry in fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
        names.push(path.file_name().unwrap().to_str().unwrap().to_owned());
    }
    names.sort();
    assert_eq!(
        names,
        ["00000000000000000000.jsonl", "lock", "reserve", "tree.json"]
    );

    drop(audit);
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o750)).unwrap();
    let error = Audit::open(&folder).unwrap_err();
    assert!(matches!(error, AuditError::Exposed { .. }), "{error}");
    assert!(error.to_string().contains("chmod go= "), "{error}");
}

#[test]
fn a_second_daemon_is_told_who_holds_the_log() {
    let (_parent, folder) = folder();
    let first = Audit::open(&folder).unwrap();
    let error = Audit::open(&folder).unwrap_err();
    let pid = std::process::id();
    assert!(
        matches!(&error, AuditError::InUse { pid: Some(holder), .. } if *holder == pid),
        "{error}"
    );
    assert!(error.to_string().contains(&pid.to_string()));
    drop(first);
    Audit::open(&folder).unwrap();
}

#[tokio::test]
async fn a_sync_brings_everything_to_the_disk() {
    let (_parent, folder) = folder();
    let (audit, _) = Audit::open(&folder).unwrap();
    assert_eq!(audit.dirty_since(), None);
    let seq = append(&audit, &Record::new(Kind::ManageIntent, "create"));
    let sealed = audit.seal(seq, ());
    let watermark = audit.sync().await.unwrap();
    sealed.open(&watermark).unwrap();
    assert_eq!(audit.dirty_since(), None);
    write(&audit, 1);
    assert!(audit.dirty_since().is_some());
    audit.sync_now().unwrap();
    assert_eq!(audit.dirty_since(), None);
}

#[tokio::test]
async fn what_is_written_reaches_the_disk_by_itself() {
    let (_parent, folder) = folder();
    let options = Options {
        save_every: 3,
        ..Options::default()
    };
    let (audit, _) = Audit::open_with(&folder, options).unwrap();
    let audit = Rc::new(audit);
    write(&audit, 3);
    let synced = async {
        while audit.dirty_since().is_some() {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        () = sync_periodically(Rc::clone(&audit), Duration::from_millis(1)) => {}
        () = synced => {}
    }
    assert_eq!(State::load(&folder).unwrap().tree.size(), 3);
}
