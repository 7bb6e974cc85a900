//! Reads the log at start: recomputes the tree and finds what is missing.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use super::error::AuditError;
use super::history::Change;
use super::record::Stored;
use super::state::{self, State};
use super::tree::leaf_hash;

/// A log of at most this many bytes is read as a whole at each start: 8 ms.
pub(super) const READ_WHOLE: u64 = 1 << 20;

/// The file of the segment that begins with a record.
pub(super) fn segment_path(folder: &Path, first: u64) -> PathBuf {
    folder.join(format!("{first:020}.jsonl"))
}

/// What the log holds.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Scan {
    /// The end of the log.
    pub(super) end: State,
    /// The bytes behind it: a line that was never finished.
    pub(super) torn: u64,
}

/// Reads the log from its beginning, or from the saved state if it is longer than `read_whole`.
pub(super) fn scan(
    folder: &Path,
    saved: Option<State>,
    read_whole: u64,
) -> Result<Scan, AuditError> {
    let segments = segments(folder)?;
    let total = segments
        .iter()
        .fold(0_u64, |sum, (_, length)| sum.saturating_add(*length));
    let begin = saved
        .clone()
        .filter(|_| total > read_whole)
        .unwrap_or_else(State::empty);
    let mut reader = Reader {
        folder,
        saved,
        at: begin,
        line: 0,
    };
    let from = reader.at.segment;
    let mut torn = 0;
    let mut rest = segments
        .into_iter()
        .filter(|(first, _)| *first >= from)
        .peekable();
    if rest.peek().is_some_and(|(first, _)| *first != from) || (rest.peek().is_none() && from > 0) {
        return Err(reader.damaged("this segment is missing"));
    }
    while let Some((first, _)) = rest.next() {
        if first != from {
            reader.next_segment(first)?;
        }
        torn = reader.segment()?;
        if torn > 0 && rest.peek().is_some() {
            return Err(
                reader.damaged("the last line is not whole, and yet there is a later segment")
            );
        }
    }
    reader.end()?;
    Ok(Scan {
        end: reader.at,
        torn,
    })
}

/// The segments that are there: first record and length.
fn segments(folder: &Path) -> Result<Vec<(u64, u64)>, AuditError> {
    let mut segments = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(AuditError::open(folder))? {
        let entry = entry.map_err(AuditError::open(folder))?;
        let name = entry.file_name();
        let first = name
            .to_str()
            .and_then(|name| name.strip_suffix(".jsonl"))
            .filter(|digits| digits.len() == 20)
            .and_then(|digits| digits.parse().ok());
        if let Some(first) = first {
            let metadata = entry.metadata().map_err(AuditError::open(entry.path()))?;
            segments.push((first, metadata.len()));
        }
    }
    segments.sort_unstable();
    Ok(segments)
}

struct Reader<'a> {
    folder: &'a Path,
    saved: Option<State>,
    at: State,
    line: u64,
}

impl Reader<'_> {
    fn next_segment(&mut self, first: u64) -> Result<(), AuditError> {
        let size = self.at.tree.size();
        if first != size {
            self.at.segment = size;
            self.line = 0;
            return Err(self.damaged(&format!(
                "the log goes on with record {size}, but the next segment begins with {first}"
            )));
        }
        self.at.segment = first;
        self.at.offset = 0;
        self.line = 0;
        Ok(())
    }

    /// Reads the rest of the segment, and says how many bytes are behind its last whole line.
    fn segment(&mut self) -> Result<u64, AuditError> {
        let path = segment_path(self.folder, self.at.segment);
        let mut file = File::open(&path).map_err(AuditError::open(&path))?;
        self.seek(&mut file, &path)?;
        let mut file = BufReader::with_capacity(1 << 16, file);
        let mut bytes = Vec::new();
        loop {
            self.compare()?;
            bytes.clear();
            let length = file
                .read_until(b'\n', &mut bytes)
                .map_err(AuditError::open(&path))? as u64;
            let Some(leaf) = bytes.strip_suffix(b"\n") else {
                return Ok(length);
            };
            self.line = self.line.saturating_add(1);
            self.record(leaf)?;
            self.at.offset = self.at.offset.saturating_add(length);
        }
    }

    /// Goes to the offset, which must be behind a line.
    fn seek(&mut self, file: &mut File, path: &Path) -> Result<(), AuditError> {
        let Some(before) = self.at.offset.checked_sub(1) else {
            return Ok(());
        };
        self.line = self.at.tree.size().saturating_sub(self.at.segment);
        let mut byte = [0];
        let read = file
            .seek(SeekFrom::Start(before))
            .and_then(|_| file.read(&mut byte))
            .map_err(AuditError::open(path))?;
        if read == 0 || byte != *b"\n" {
            return Err(self.damaged("this line does not end where tree.json says that it does"));
        }
        Ok(())
    }

    fn record(&mut self, leaf: &[u8]) -> Result<(), AuditError> {
        let stored: Stored<'_> = serde_json::from_slice(leaf)
            .map_err(|error| self.damaged(&format!("this is no record ({error})")))?;
        let expected = self.at.tree.size();
        if stored.seq != expected {
            let problem = format!("record {} stands where {expected} belongs", stored.seq);
            return Err(self.damaged(&problem));
        }
        if let Some(change) = Change::of_stored(stored) {
            self.at.history.apply(change);
        }
        self.at.tree.push(leaf_hash(leaf));
        Ok(())
    }

    /// Where the saved state ends, the log must have the same tree.
    fn compare(&self) -> Result<(), AuditError> {
        match &self.saved {
            Some(saved) if saved.tree.size() == self.at.tree.size() && saved.tree != self.at.tree => {
                Err(self.damaged("some record before this line is not as it was written (tree.json has another hash)"))
            }
            _ => Ok(()),
        }
    }

    fn end(&self) -> Result<(), AuditError> {
        match &self.saved {
            Some(saved) if saved.tree.size() > self.at.tree.size() => Err(self.damaged(&format!(
                "the log ends here with {} records, but {} were written ({})",
                self.at.tree.size(),
                saved.tree.size(),
                state::path(self.folder).display(),
            ))),
            _ => Ok(()),
        }
    }

    fn damaged(&self, problem: &str) -> AuditError {
        AuditError::Damaged {
            path: segment_path(self.folder, self.at.segment),
            line: self.line,
            problem: problem.to_owned(),
        }
    }
}
