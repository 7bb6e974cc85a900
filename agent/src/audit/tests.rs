#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]
mod damage;
mod full_disk;
mod reopening;
pub(crate) mod tmpfs;
mod writing;

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::*;

/// A folder for a log, in one that goes away.
fn folder() -> (TempDir, PathBuf) {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("audit");
    (parent, folder)
}

fn append(audit: &Audit, record: &Record<'_>) -> Seq {
    audit.append(audit.reserve().unwrap(), record).unwrap()
}

/// Hands in and writes some records of different lengths.
fn write(audit: &Audit, records: usize) {
    for n in 0..records {
        let detail = "d".repeat(n % 50);
        let record = Record {
            detail: Some(&detail),
            ..Record::new(Kind::Use, "sign")
        };
        append(audit, &record);
        audit.flush().unwrap();
    }
}

/// The segments in their order.
fn segments(folder: &Path) -> Vec<PathBuf> {
    let mut segments: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "jsonl"))
        .collect();
    segments.sort();
    segments
}

fn lines(folder: &Path) -> Vec<String> {
    let text: String = segments(folder)
        .iter()
        .map(|path| fs::read_to_string(path).unwrap())
        .collect();
    assert!(text.is_empty() || text.ends_with('\n'));
    text.lines().map(str::to_owned).collect()
}

/// The damage that is found when the log is opened.
fn damage(folder: &Path, options: Options) -> (PathBuf, u64, String) {
    match Audit::open_with(folder, options) {
        Err(AuditError::Damaged {
            path,
            line,
            problem,
        }) => (path, line, problem),
        other => panic!("no damage found: {other:?}"),
    }
}
