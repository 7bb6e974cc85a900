#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]

#[path = "../../../../src/audit/tests/tmpfs.rs"]
mod tmpfs;

use std::fs::Permissions;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};

use keyward_backend::BackendError;
use keyward_protocol::Purpose;
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;

#[test]
fn a_key_that_was_put_is_there_until_it_is_removed() {
    let (folder, store) = store();
    let id = VersionId::random();
    assert!(store.get(id).unwrap().is_none());
    store.put(id, &entry()).unwrap();
    assert_eq!(store.get(id).unwrap(), Some(entry()));
    let file = folder.path().join("tpm").join(format!("{id}.tss2"));
    assert_eq!(store.path(id), file);
    assert_eq!(file.metadata().unwrap().mode() & 0o777, 0o600);
    assert_eq!(file.metadata().unwrap().nlink(), 1);
    assert_eq!(names(&store), [format!("{id}.tss2")]);
    store.remove(id).unwrap();
    store.remove(id).unwrap();
    assert!(store.get(id).unwrap().is_none());
    assert!(names(&store).is_empty());
}

#[test]
fn the_file_is_what_its_documentation_says() {
    let mut entry = entry();
    entry.label = "a \"b\"\nkeyward: 2\u{7}".into();
    let pem = entry.key.file().unwrap().to_pem().unwrap();
    let head = "keyward: 1\nlabel: \"a \\\"b\\\"\\nkeyward: 2\\u0007\"\nmade: imported\n";
    let text = entry.to_text().unwrap();
    assert_eq!(text, format!("{head}purpose: sign\n\n{pem}"));
    entry.bound = Some(bound(1));
    let text = entry.to_text().unwrap();
    let approval = format!("pcr-approval: 7={} signed=01", "aa".repeat(32));
    let lines = format!("pcr-authority: 0023\n{approval}\n");
    assert_eq!(text, format!("{head}purpose: sign\n{lines}\n{pem}"));
    assert_eq!(Entry::from_text(text.as_bytes()), Ok(entry.clone()));
    let file = KeyFile::from_pem(text.as_bytes()).unwrap();
    assert_eq!(Some(&file), entry.key.file());
}

#[test]
fn a_key_in_the_tpm_has_a_file_that_says_where() {
    let (_folder, store) = store();
    let name = format!("000b{}", "07".repeat(32));
    let text = adopted().to_text().unwrap();
    let head = "keyward: 1\nlabel: \"keyward:1\"\nmade: adopted\npurpose: sign\n";
    assert_eq!(
        text,
        format!("{head}handle: 0x81000010\nname: {name}\npublic: 0023\n")
    );
    assert_eq!(Entry::from_text(text.as_bytes()), Ok(adopted()));
    let id = VersionId::random();
    store.put(id, &adopted()).unwrap();
    assert_eq!(store.get(id).unwrap(), Some(adopted()));
    let pem = entry().key.file().unwrap().to_pem().unwrap();
    for wrong in [
        format!("{text}\n"),
        format!("{text}\n{pem}"),
        text.replace("adopted", "imported"),
        text.replace("0x8", "0x4"),
        text.replace("handle", "hand"),
        format!("{head}\n{pem}"),
    ] {
        assert!(Entry::from_text(wrong.as_bytes()).is_err(), "{wrong}");
    }
}

#[test]
fn a_key_is_never_put_over_another() {
    let (_folder, store) = store();
    let id = VersionId::random();
    store.put(id, &entry()).unwrap();
    let other = labelled("other");
    let refused = store.put(id, &other).unwrap_err();
    assert!(matches!(&refused, StoreError::Exists(there) if *there == id));
    assert_eq!(
        BackendError::from(refused),
        BackendError::Exists(id.to_string())
    );
    assert_eq!(store.get(id).unwrap(), Some(entry()));
    store.replace(id, &other).unwrap();
    assert_eq!(store.get(id).unwrap(), Some(other));
    assert_eq!(names(&store).len(), 1);
}

#[test]
fn one_of_many_writers_wins_and_nothing_is_left_of_the_others() {
    let (_folder, store) = store();
    let id = VersionId::random();
    let won: usize = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..16)
            .map(|n| {
                let store = &store;
                scope.spawn(move || match store.put(id, &labelled(&n.to_string())) {
                    Ok(()) => 1,
                    Err(StoreError::Exists(_)) => 0,
                    Err(error) => panic!("{error}"),
                })
            })
            .collect();
        writers
            .into_iter()
            .map(|writer| writer.join().unwrap())
            .sum()
    });
    assert_eq!(won, 1);
    assert_eq!(names(&store).len(), 1);
    assert!(store.get(id).unwrap().is_some());
}

#[test]
fn what_a_killed_writer_left_goes_and_what_is_under_way_stays() {
    let (folder, store) = store();
    let id = VersionId::random();
    let left = folder.path().join("tpm").join(format!(".{id}.x.new"));
    std::fs::write(&left, "keyward: 1\nla").unwrap();
    let under_way = store.provisional(id, &entry()).unwrap();
    assert!(store.page(None, 9).unwrap().entries.is_empty());
    let store = Store::open(&folder.path().join("tpm")).unwrap();
    assert!(!left.exists());
    assert_eq!(names(&store), std::slice::from_ref(&under_way.name));
    drop(under_way);
    assert!(names(&store).is_empty());
}

/// Killed between the two names that a new file has.
#[test]
fn a_key_stays_when_its_provisional_name_goes() {
    let (folder, store) = store();
    let id = VersionId::random();
    store.put(id, &entry()).unwrap();
    std::fs::hard_link(store.path(id), folder.path().join("tpm/.x.new")).unwrap();
    let store = Store::open(&folder.path().join("tpm")).unwrap();
    assert_eq!(names(&store).len(), 1);
    assert_eq!(store.get(id).unwrap(), Some(entry()));
}

#[test]
fn pages_come_in_the_order_of_ids() {
    let (_folder, store) = store();
    let ids = [1, 2, 3, 0x80 << 120, u128::MAX].map(|n| VersionId::from(Uuid::from_u128(n)));
    for id in ids.iter().rev() {
        store.put(*id, &labelled(&id.to_string())).unwrap();
    }
    let mut seen = Vec::new();
    loop {
        let page = store.page(seen.last().copied(), 2).unwrap();
        assert_eq!(
            (page.entries.len(), page.more),
            if seen.len() < 4 {
                (2, seen.len() < 3)
            } else {
                (1, false)
            }
        );
        for (id, entry) in page.entries {
            assert_eq!(entry.unwrap().label, id.to_string());
            seen.push(id);
        }
        if !page.more {
            break;
        }
    }
    assert_eq!(seen, ids);
    assert!(store.page(None, 0).unwrap().more);
    assert!(!store.page(Some(ids[4]), 2).unwrap().more);
}

#[test]
fn files_that_are_no_keys_fail_alone() {
    let (folder, store) = store();
    let folder = folder.path().join("tpm");
    let good = VersionId::random();
    store.put(good, &entry()).unwrap();
    let text = std::fs::read_to_string(store.path(good)).unwrap();
    let bad = [
        (String::new(), "does not begin"),
        (text.replace("keyward: 1", "keyward: 2"), "later keyward"),
        (text.replace("keyward: 1", "keyward: one"), "does not begin"),
        (text.replace("label: ", "label:"), "`label`"),
        (text.replace("label: \"", "label: "), "`label`"),
        (text.replace("imported", "found"), "`made`"),
        (text.replace("purpose: sign", "purpose: all"), "`purpose`"),
        (
            text.replace("purpose: sign\n", "purpose: sign\npcr-authority: x\n"),
            "`pcr-approval`",
        ),
        (
            text.replace("purpose: sign\n", "purpose: sign\nmore: 1\n"),
            "`-----BEGIN`",
        ),
        (text.replace("\n\n", "\n"), "`-----BEGIN`"),
        (text.replace("TSS2 PRIVATE", "PRIVATE"), "no TSS2"),
        (text[..text.len() - 40].to_owned(), "damaged"),
        (format!("{text}{text}"), "damaged"),
        (
            format!("{text}{}", "\n".repeat(KeyFile::MAX_LENGTH)),
            "16 KiB",
        ),
    ];
    let mut expected = Vec::new();
    for (text, why) in bad {
        let id = VersionId::random();
        std::fs::write(store.path(id), text).unwrap();
        expected.push((id, why));
    }
    let link = VersionId::random();
    symlink(store.path(good), store.path(link)).unwrap();
    let directory = VersionId::random();
    std::fs::create_dir(store.path(directory)).unwrap();
    expected.extend([(link, "not a file"), (directory, "not a file")]);
    let upper = good.to_string().to_uppercase();
    for name in [
        "x.tss2",
        ".tss2",
        &format!("{upper}.tss2"),
        "README",
        ".hidden",
    ] {
        std::fs::write(folder.join(name), "x").unwrap();
    }
    let page = store.page(None, 100).unwrap();
    assert_eq!((page.more, page.foreign), (false, 3));
    assert_eq!(page.entries.len(), expected.len() + 1);
    for (id, entry) in page.entries {
        if id == good {
            assert_eq!(entry.unwrap(), super::tests::entry());
            continue;
        }
        let why = expected.iter().find(|(bad, _)| *bad == id).unwrap().1;
        let error = entry.unwrap_err();
        assert!(error.to_string().contains(why), "{why}: {error}");
        assert!(matches!(store.get(id), Err(StoreError::Damaged { .. })));
        assert!(matches!(
            BackendError::from(error),
            BackendError::Refused(_)
        ));
    }
}

#[test]
fn a_folder_that_others_write_to_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    for mode in [0o720, 0o702, 0o777] {
        std::fs::set_permissions(folder.path(), Permissions::from_mode(mode)).unwrap();
        let refused = Store::open(folder.path()).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::PermissionDenied);
        assert!(refused.to_string().contains("chmod 700"), "{refused}");
    }
    std::fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
    Store::open(folder.path()).unwrap();
    std::fs::write(folder.path().join("file"), "").unwrap();
    assert!(Store::open(&folder.path().join("file")).is_err());
}

#[test]
fn a_folder_is_made_with_those_above_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a/b");
    Store::open(&path).unwrap();
    for path in [path.parent().unwrap(), &path] {
        assert_eq!(path.metadata().unwrap().mode() & 0o777, 0o700);
    }
    Store::open(&path).unwrap();
}

#[test]
fn a_full_disk_leaves_nothing_and_takes_nothing() {
    const NAME: &str = "tpm::store::tests::a_full_disk_leaves_nothing_and_takes_nothing";
    let Some(disk) = tmpfs::mounted(NAME, "64k") else {
        return;
    };
    let store = Store::open(&disk.join("tpm")).unwrap();
    let old = VersionId::random();
    store.put(old, &entry()).unwrap();
    let ballast = tmpfs::fill(&disk);
    let new = VersionId::random();
    for written in [
        store.put(new, &entry()),
        store.replace(old, &labelled("new")),
    ] {
        let error = written.unwrap_err();
        assert!(matches!(error, StoreError::Full { .. }), "{error}");
        assert_eq!(BackendError::from(error), BackendError::TokenFull);
    }
    assert_eq!(names(&store).len(), 1);
    assert_eq!(store.get(old).unwrap(), Some(entry()));
    std::fs::remove_file(ballast).unwrap();
    store.put(new, &entry()).unwrap();
}

#[test]
fn what_the_system_says_becomes_what_the_agent_does_next() {
    let became = |errno: Errno| {
        let error = StoreError::io("read", Path::new("/f"), errno.into());
        BackendError::from(error)
    };
    assert_eq!(became(Errno::DQUOT), BackendError::TokenFull);
    assert!(matches!(became(Errno::MFILE), BackendError::Busy(_)));
    assert!(matches!(became(Errno::ACCESS), BackendError::Refused(_)));
    assert!(matches!(became(Errno::ROFS), BackendError::Refused(_)));
    assert!(matches!(became(Errno::IO), BackendError::DeviceFailed(text) if text.contains("/f")));
}

#[test]
fn what_could_not_be_read_again_is_not_written() {
    let (_folder, store) = store();
    let mut file = entry().key.file().unwrap().clone();
    file.private.clear();
    let unfit = Entry {
        key: Held::File(file),
        ..entry()
    };
    let handle = adopted();
    let other = Entry {
        made: Made::Generated,
        ..handle.clone()
    };
    let bound_one = Entry {
        bound: Some(bound(1)),
        ..handle
    };
    for entry in [labelled(&"x".repeat(257)), unfit, other, bound_one] {
        let error = store.put(VersionId::random(), &entry).unwrap_err();
        assert!(matches!(error, StoreError::Unfit(_)));
        assert!(matches!(
            BackendError::from(error),
            BackendError::Invalid(_)
        ));
    }
    let mut long = entry();
    long.bound = Some(bound(KeyFile::MAX_LENGTH / 2));
    assert!(long.to_text().is_err());
    assert!(names(&store).is_empty());
}

proptest! {
    #[test]
    fn what_is_written_is_read_again(label in ".{0,60}", signature in 0..80usize, purpose in 0..Purpose::ALL.len()) {
        let purpose = Purpose::ALL[purpose];
        let entry = Entry { label, bound: (signature > 0).then(|| bound(signature)), purpose, made: Made::Generated, ..entry() };
        let text = entry.to_text().unwrap();
        prop_assert!(text.lines().skip(1).all(|line| !line.starts_with("keyward")));
        prop_assert_eq!(Entry::from_text(text.as_bytes()), Ok(entry));
    }
}

fn store() -> (TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("tpm")).unwrap();
    (folder, store)
}

fn entry() -> Entry {
    labelled("keyward:1")
}

fn labelled(label: &str) -> Entry {
    let pem = include_bytes!("../../../../backend/tests/vectors/tss2/openssl-ec.pem");
    Entry {
        label: label.into(),
        made: Made::Imported,
        purpose: Purpose::Sign,
        bound: None,
        key: Held::File(KeyFile::from_pem(pem).unwrap()),
    }
}

fn adopted() -> Entry {
    Entry {
        made: Made::Adopted,
        key: Held::Handle(Handle {
            handle: 0x8100_0010,
            name: [&[0, 0x0b][..], &[7; 32]].concat(),
            public: vec![0, 0x23],
        }),
        ..entry()
    }
}

fn bound(signature: usize) -> Bound {
    let value = keyward_backend::pcr::PcrValue {
        pcr: 7,
        value: [0xaa; 32].into(),
    };
    Bound {
        authority: Some(vec![0x00, 0x23]),
        approvals: vec![Approved {
            values: vec![value],
            signature: vec![1; signature],
        }],
    }
}

fn names(store: &Store) -> Vec<String> {
    let files = std::fs::read_dir(&store.path).unwrap();
    files
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .collect()
}
