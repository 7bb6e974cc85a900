use std::os::unix::fs::MetadataExt as _;

use super::*;

/// Writes records until there is no room for another.
fn write_until_full(audit: &Audit) {
    loop {
        match audit.reserve() {
            Ok(reservation) => {
                audit
                    .append(reservation, &Record::new(Kind::Use, "sign"))
                    .unwrap();
                audit.flush().unwrap();
            }
            Err(AuditError::Full(_)) => return,
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn on_a_full_disk_only_emergencies_are_recorded() {
    const NAME: &str = "audit::tests::full_disk::on_a_full_disk_only_emergencies_are_recorded";
    let Some(disk) = tmpfs::mounted(NAME, "512k") else {
        return;
    };
    let folder = disk.join("audit");
    let (audit, _) = Audit::open(&folder).unwrap();
    let ballast = tmpfs::fill(&disk);
    write_until_full(&audit);

    for _ in 0..10 {
        let reservation = audit.reserve_emergency().unwrap();
        let status = Record::new(Kind::Read, "status");
        let seq = audit.append(reservation, &status).unwrap();
        let sealed = audit.seal(seq, ());
        sealed.open(&audit.flush().unwrap()).unwrap();
    }
    // What emergencies have freed is theirs.
    assert!(matches!(audit.reserve(), Err(AuditError::Full(_))));
    let records = audit.root().0;
    drop(audit);

    // A start on the full disk, and emergencies until the reserve is used up.
    let (audit, found) = Audit::open(&folder).unwrap();
    assert_eq!(found.records, records);
    assert!(matches!(audit.reserve(), Err(AuditError::Full(_))));
    let held: Vec<_> = std::iter::from_fn(|| audit.reserve_emergency().ok()).collect();
    assert!(!held.is_empty() && held.len() < 100, "{}", held.len());
    drop(held);

    fs::remove_file(ballast).unwrap();
    write(&audit, 1);
    let reserve = fs::metadata(folder.join("reserve")).unwrap();
    assert!(reserve.blocks() >= 128, "the reserve is there again");
}

#[test]
fn what_was_reserved_can_be_written_when_the_disk_is_full() {
    const NAME: &str =
        "audit::tests::full_disk::what_was_reserved_can_be_written_when_the_disk_is_full";
    let Some(disk) = tmpfs::mounted(NAME, "512k") else {
        return;
    };
    let options = Options {
        segment: 20_000,
        ..Options::default()
    };
    let folder = disk.join("audit");
    let (audit, _) = Audit::open_with(&folder, options).unwrap();
    let reservations: Vec<_> = (0..40).map(|_| audit.reserve().unwrap()).collect();
    tmpfs::fill(&disk);
    let detail = "d".repeat(MAX_RECORD);
    for reservation in reservations {
        let record = Record {
            detail: Some(&detail),
            ..Record::new(Kind::Use, "sign")
        };
        audit.append(reservation, &record).unwrap();
        audit.flush().unwrap();
    }
    let root = audit.root();
    assert_eq!(root.0, 40);
    drop(audit);
    assert_eq!(Audit::open(&folder).unwrap().0.root(), root);
}

#[test]
fn after_a_failed_write_nothing_is_answered_until_the_log_is_opened_again() {
    const NAME: &str = "audit::tests::full_disk::after_a_failed_write_nothing_is_answered_until_the_log_is_opened_again";
    let Some(disk) = tmpfs::mounted(NAME, "512k") else {
        return;
    };
    let folder = disk.join("audit");
    let (audit, _) = Audit::open(&folder).unwrap();
    write(&audit, 5);
    let root = audit.root();
    // Somebody takes the room away that was reserved.
    let reservations: Vec<_> = (0..20).map(|_| audit.reserve().unwrap()).collect();
    let segment = fs::OpenOptions::new()
        .write(true)
        .open(segments(&folder).pop().unwrap())
        .unwrap();
    segment.set_len(segment.metadata().unwrap().len()).unwrap();
    let ballast = tmpfs::fill(&disk);
    let detail = "d".repeat(3000);
    let mut sealed = Vec::new();
    for reservation in reservations {
        let record = Record {
            detail: Some(&detail),
            ..Record::new(Kind::Use, "sign")
        };
        let seq = audit.append(reservation, &record).unwrap();
        sealed.push(audit.seal(seq, "reply"));
    }
    assert!(matches!(audit.flush(), Err(AuditError::Failed(_))));
    assert!(matches!(audit.flush(), Err(AuditError::Failed(_))));
    assert!(matches!(audit.reserve(), Err(AuditError::Failed(_))));
    assert!(
        audit
            .failure()
            .is_some_and(|reason| reason.contains("No space left"))
    );
    assert_eq!((audit.root(), lines(&folder).len()), (root, 5));

    // Lock and status are recorded even now.
    let reservation = audit.reserve_emergency().unwrap();
    assert_eq!(audit.failure(), None);
    let lock = Record::new(Kind::ManageOutcome, "lock");
    audit.append(reservation, &lock).unwrap();
    audit.flush().unwrap();

    fs::remove_file(ballast).unwrap();
    audit.reopen().unwrap();
    write(&audit, 50);
    let watermark = audit.flush().unwrap();
    for sealed in sealed {
        sealed.open(&watermark).expect_err("its record was lost");
    }
    assert!(lines(&folder)[5].contains("log-recovered"));
    let root = audit.root();
    drop(audit);
    assert_eq!(Audit::open(&folder).unwrap().0.root(), root);
}
