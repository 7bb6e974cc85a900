use keyward_backend::VersionId;
use uuid::Uuid;

use super::*;

const FROM_SAVED: Options = Options {
    segment: 1000,
    read_whole: 0,
    save_every: 1,
};
const WHOLE: Options = Options {
    segment: 1000,
    read_whole: u64::MAX,
    save_every: u64::MAX,
};

fn mark(generation: u64) -> RegistryMark {
    RegistryMark {
        generation,
        digest: [7; 32],
    }
}

/// Writes two intents, the second without outcome.
fn manage(audit: &Audit) -> OpenIntent {
    let (key, version) = (Uuid::from_u128(1), VersionId::from(Uuid::from_u128(2)));
    let intent = Record {
        key: Some(key),
        version: Some(version),
        alias: Some("web"),
        token: Some("main"),
        fresh: true,
        places: None,
        device: None,
        registry: Some(mark(4)),
        ..Record::new(Kind::ManageIntent, "create")
    };
    let first = append(audit, &intent);
    let second = append(audit, &intent);
    let outcome = Record {
        intent: Some(first.index()),
        outcome: Some(Outcome::Ok),
        registry: Some(mark(5)),
        ..Record::new(Kind::ManageOutcome, "create")
    };
    append(audit, &outcome);
    OpenIntent {
        audit_id: second.index(),
        op: "create".into(),
        key: Some(key),
        version_id: Some(version.uuid()),
        alias: Some("web".into()),
        token: Some("main".into()),
        fresh: true,
        places: None,
        device: None,
        registry: Some(mark(4)),
    }
}

#[test]
fn an_intent_without_outcome_and_the_last_mark_are_found() {
    for (manage_at, options) in [
        (0, WHOLE),
        (0, FROM_SAVED),
        (20, FROM_SAVED),
        (40, FROM_SAVED),
    ] {
        let (_parent, folder) = folder();
        let (audit, found) = Audit::open_with(&folder, options).unwrap();
        assert_eq!((found.records, found.last_management), (0, None));
        let mut open = None;
        for n in 0..60 {
            if n == manage_at {
                open = Some(manage(&audit));
            }
            write(&audit, 1);
            if n == 30 {
                audit.sync_now().unwrap();
            }
        }
        drop(audit);
        let (audit, found) = Audit::open_with(&folder, options).unwrap();
        assert_eq!(found.open_intents, Vec::from_iter(open));
        assert_eq!(found.last_management, Some(mark(5)));
        assert_eq!((found.records, found.cut), (63, 0));
        assert_eq!(audit.root().0, 63);
    }
}

#[test]
fn a_start_from_the_saved_state_gives_what_a_whole_read_gives() {
    let (_parent, folder) = folder();
    for round in 0..5 {
        let (audit, found) = Audit::open_with(&folder, FROM_SAVED).unwrap();
        let root = audit.root();
        drop(audit);
        let whole = Audit::open_with(&folder, WHOLE).unwrap();
        assert_eq!((whole.0.root(), &whole.1), (root, &found));
        drop(whole);
        let (audit, _) = Audit::open_with(&folder, FROM_SAVED).unwrap();
        write(&audit, 17);
        if round != 2 {
            audit.sync_now().unwrap();
        }
        write(&audit, round);
    }
}

#[test]
fn a_torn_last_line_is_cut_off_wherever_it_tore() {
    let (_parent, folder) = folder();
    let (audit, _) = Audit::open(&folder).unwrap();
    write(&audit, 3);
    drop(audit);
    let path = segments(&folder).pop().unwrap();
    let whole = fs::read(&path).unwrap();
    let lines_before = lines(&folder);
    let last = whole.len() - lines_before[2].len() - 1;
    for length in last + 1..whole.len() {
        fs::write(&path, &whole[..length]).unwrap();
        let (audit, found) = Audit::open(&folder).unwrap();
        let cut = (length - last) as u64;
        assert_eq!((found.cut, found.records), (cut, 3));
        let now = lines(&folder);
        assert_eq!(now[..2], lines_before[..2]);
        let repaired: serde_json::Value = serde_json::from_str(&now[2]).unwrap();
        assert_eq!(repaired["op"], "log-repaired");
        assert_eq!(
            (&repaired["cut"], &repaired["seq"]),
            (&cut.into(), &2.into())
        );
        drop(audit);
        assert_eq!(Audit::open(&folder).unwrap().1.cut, 0);
    }
}

#[test]
fn a_saved_state_that_is_no_state_only_costs_a_whole_read() {
    let (_parent, folder) = folder();
    let (audit, _) = Audit::open_with(&folder, FROM_SAVED).unwrap();
    write(&audit, 20);
    audit.sync_now().unwrap();
    let root = audit.root();
    drop(audit);
    for nonsense in [
        "",
        "{}",
        "{\"size\":3,\"segment\":0,\"offset\":0,\"frontier\":[]}",
    ] {
        fs::write(state::path(&folder), nonsense).unwrap();
        assert_eq!(
            Audit::open_with(&folder, FROM_SAVED).unwrap().0.root(),
            root
        );
    }
}
