#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]
use serde_json::{Value, json};

use super::*;

fn line(record: &Record<'_>) -> Vec<u8> {
    let time = "2026-01-02T03:04:05.678912Z".parse().unwrap();
    let mut line = Vec::new();
    record.write(7, time, &mut line).unwrap();
    line
}

#[test]
fn a_record_is_one_line_with_what_is_known_and_nothing_else() {
    let caller = CallerJson::new(&CallerFacts {
        uid: 1000,
        gid: 100,
        pid: Some(42),
        unit: Some("web.service"),
        exe_sha256: Some(&[0xab; 32]),
        front: "native",
        ..CallerFacts::default()
    })
    .unwrap();
    let id = Uuid::from_u128(1);
    let record = Record {
        outcome: Some(Outcome::Failed(ErrorCode::NotFound)),
        caller: Some(&caller),
        key: Some(id),
        version: Some(VersionId::from(id)),
        alg: Some(Algorithm::Esp256),
        digest: Some(&[0x0f; 32]),
        registry: Some(RegistryMark {
            generation: 3,
            digest: [1; 32],
        }),
        detail: Some("a \"quoted\"\nword"),
        ..Record::new(Kind::Use, "sign")
    };
    let written = line(&record);
    assert!(!written.contains(&b'\n'));
    assert!(
        written.starts_with(b"{\"seq\":7,\"time\":\"2026-01-02T03:04:05.678Z\",\"kind\":\"use\",")
    );
    let value: Value = serde_json::from_slice(&written).unwrap();
    assert_eq!(
        value,
        json!({
            "seq": 7, "time": "2026-01-02T03:04:05.678Z", "kind": "use", "op": "sign",
            "outcome": "not-found",
            "caller": {"uid": 1000, "gid": 100, "pid": 42, "unit": "web.service",
                       "exe_sha256": "ab".repeat(32), "front": "native"},
            "key": id.to_string(), "version": id.to_string(), "alg": "ESP256",
            "digest": "0f".repeat(32),
            "registry": {"generation": 3, "digest": "01".repeat(32)},
            "detail": "a \"quoted\"\nword",
        })
    );
}

#[test]
fn a_record_that_is_too_long_loses_detail_and_stays_json() {
    for character in ["x", "\u{1}", "\"", "é"] {
        let text = character.repeat(10_000);
        let record = Record {
            detail: Some(&text),
            ..Record::new(Kind::Agent, "note")
        };
        let written = line(&record);
        assert!(written.len() < MAX_RECORD);
        let value: Value = serde_json::from_slice(&written).unwrap();
        assert!(value["detail"].is_null() || value["detail"].as_str().unwrap().ends_with('…'));
    }
}

#[test]
fn the_longest_fields_of_all_still_fit() {
    let (path, unit) = ("\u{7f}\u{1}".repeat(2000), "\\".repeat(300));
    let caller = CallerJson::new(&CallerFacts {
        exe: Some(&path),
        unit: Some(&unit),
        exe_sha256: Some(&[0; 32]),
        front: "native",
        ..CallerFacts::default()
    })
    .unwrap();
    let name = "\"".repeat(1000);
    let record = Record {
        caller: Some(&caller),
        alias: Some(&name),
        token: Some(&name),
        detail: Some(&name),
        digest: Some(&[1; 64]),
        ..Record::new(Kind::ManageIntent, "create")
    };
    assert!(line(&record).len() < MAX_RECORD);
}
