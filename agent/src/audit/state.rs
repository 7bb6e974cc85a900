//! `tree.json`: the tree up to some record, so that a start need not read the whole log.
//!
//! It is written after the records that it covers are on disk, so a log that ends before it, or
//! that has another tree there, was changed.

use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::folder::private;
use super::history::History;
use super::record::Hex;
use super::tree::Frontier;

/// A place in the log and what is known there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct State {
    /// The first record of the segment.
    pub(super) segment: u64,
    /// Where the next record begins in the segment, in bytes.
    pub(super) offset: u64,
    pub(super) tree: Frontier,
    pub(super) history: History,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    size: u64,
    segment: u64,
    offset: u64,
    frontier: Vec<Hex>,
    history: History,
}

pub(super) fn path(folder: &Path) -> PathBuf {
    folder.join("tree.json")
}

impl State {
    /// The beginning of every log.
    pub(super) fn empty() -> Self {
        Self {
            segment: 0,
            offset: 0,
            tree: Frontier::default(),
            history: History::default(),
        }
    }

    /// The saved state. One that is not there or can't be read only makes the start slower.
    pub(super) fn load(folder: &Path) -> Option<Self> {
        let path = path(folder);
        let bytes = std::fs::read(&path)
            .inspect_err(|error| {
                if error.kind() != ErrorKind::NotFound {
                    tracing::warn!(path = %path.display(), %error, "can't be read: reading the whole log");
                }
            })
            .ok()?;
        let state = serde_json::from_slice::<Stored>(&bytes)
            .ok()
            .and_then(|stored| {
                let roots = stored.frontier.iter().map(|root| root.0).collect();
                Some(Self {
                    segment: stored.segment,
                    offset: stored.offset,
                    tree: Frontier::from_parts(stored.size, roots)?,
                    history: stored.history,
                })
            });
        if state.is_none() {
            tracing::warn!(path = %path.display(), "is no saved tree: reading the whole log");
        }
        state
    }

    /// Replaces the saved state. The records that it covers must be on disk.
    pub(super) fn save(&self, folder: &Path) -> std::io::Result<()> {
        let stored = Stored {
            size: self.tree.size(),
            segment: self.segment,
            offset: self.offset,
            frontier: self.tree.roots().iter().copied().map(Hex).collect(),
            history: self.history.clone(),
        };
        let new = folder.join("tree.json.new");
        let mut file = private().create(true).truncate(true).open(&new)?;
        file.write_all(&serde_json::to_vec(&stored)?)?;
        file.sync_all()?;
        std::fs::rename(new, path(folder))
    }
}
