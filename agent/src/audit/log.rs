//! The open log: what is buffered, what is written, what is on disk.

use std::fs::File;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use jiff::Timestamp;

use super::Options;
use super::error::AuditError;
use super::folder::{Folder, private};
use super::history::Change;
use super::record::{Kind, Record};
use super::scan::{Scan, segment_path};
use super::sealed::{Seq, Watermark};
use super::space::{Reservation, Space};
use super::state::State;
use super::tree::{Hash, leaf_hash};

/// How far a segment that can't be changed for a new one grows before the next try.
const ROTATE_AGAIN: u64 = 1 << 20;

#[derive(Debug)]
pub(super) struct Log {
    folder: Folder,
    options: Options,
    file: Arc<File>,
    /// What is written.
    written: State,
    buffer: Vec<u8>,
    pending: Vec<(Hash, Option<Change>)>,
    space: Space,
    rotate_at: u64,
    /// Counts the failures; a record of an older epoch is written or lost.
    epoch: u32,
    failure: Option<Failure>,
    dirty: Option<Instant>,
    /// How many records the saved state covers; held while one is being saved.
    saved: Arc<Mutex<u64>>,
}

#[derive(Debug)]
struct Failure {
    reason: String,
    /// Whether only a new start can tell what is on disk.
    lasting: bool,
}

/// What a sync has to do; it can run on another thread.
#[derive(Debug)]
pub(super) struct Sync {
    file: Arc<File>,
    state: Option<State>,
    saved: Arc<Mutex<u64>>,
    folder: PathBuf,
    began: Instant,
    watermark: Watermark,
}

impl Log {
    /// Opens the segment that the log ends in, and cuts off what was never finished.
    pub(super) fn open(folder: Folder, options: Options, scan: Scan) -> Result<Self, AuditError> {
        let path = segment_path(folder.path(), scan.end.segment);
        let file = private()
            .append(true)
            .create(true)
            .open(&path)
            .map_err(AuditError::open(&path))?;
        if scan.torn > 0 {
            file.set_len(scan.end.offset)
                .map_err(AuditError::open(&path))?;
        }
        folder.sync().map_err(AuditError::open(folder.path()))?;
        let space = Space::open(folder.path())?;
        let mut log = Self {
            folder,
            options,
            file: Arc::new(file),
            written: scan.end,
            buffer: Vec::with_capacity(16 << 10),
            pending: Vec::new(),
            space,
            rotate_at: options.segment,
            epoch: 0,
            failure: None,
            dirty: None,
            saved: Arc::default(),
        };
        if scan.torn > 0 {
            tracing::warn!(path = %path.display(), cut = scan.torn, "cut off a record that was never finished");
            let repaired = Record {
                cut: Some(scan.torn),
                ..Record::new(Kind::Agent, "log-repaired")
            };
            let reservation = log.reserve_emergency()?;
            log.append(reservation, &repaired)?;
        }
        log.flush()?;
        Ok(log)
    }

    pub(super) const fn written(&self) -> &State {
        &self.written
    }

    /// Since when there are records that are not on disk. What nobody waits for, as after a
    /// cancelled request, is only buffered until somebody flushes.
    pub(super) fn dirty(&self) -> Option<Instant> {
        self.dirty
            .or_else(|| (!self.buffer.is_empty()).then(Instant::now))
    }

    pub(super) const fn epoch(&self) -> u32 {
        self.epoch
    }

    pub(super) fn failure(&self) -> Option<&str> {
        self.failure.as_ref().map(|failure| failure.reason.as_str())
    }

    pub(super) fn reserve(&mut self) -> Result<Reservation, AuditError> {
        self.check()?;
        self.space.reserve(&self.file, self.end())
    }

    pub(super) fn reserve_emergency(&mut self) -> Result<Reservation, AuditError> {
        if self.failure.is_some() {
            self.space.spend();
            self.reopen()?;
        }
        self.space.reserve_emergency(&self.file, self.end())
    }

    pub(super) fn append(
        &mut self,
        reservation: Reservation,
        record: &Record<'_>,
    ) -> Result<Seq, AuditError> {
        self.check()?;
        let waiting = self.pending.len() as u64;
        let index = self.written.tree.size().saturating_add(waiting);
        let start = self.buffer.len();
        record
            .write(index, Timestamp::now(), &mut self.buffer)
            .inspect_err(|_| self.buffer.truncate(start))?;
        let leaf = leaf_hash(self.buffer.get(start..).unwrap_or_default());
        self.buffer.push(b'\n');
        self.pending.push((leaf, Change::of(index, record)));
        // Its room is now counted by the buffer.
        drop(reservation);
        Ok(Seq {
            index,
            epoch: self.epoch,
        })
    }

    pub(super) fn flush(&mut self) -> Result<Watermark, AuditError> {
        self.check()?;
        if !self.buffer.is_empty() {
            if let Err(error) = (&*self.file).write_all(&self.buffer) {
                return Err(self.fail(format!("writing failed ({error})"), false));
            }
            self.written.offset = self.end();
            self.buffer.clear();
            for (leaf, change) in self.pending.drain(..) {
                self.written.tree.push(leaf);
                if let Some(change) = change {
                    self.written.history.apply(change);
                }
            }
            self.dirty.get_or_insert_with(Instant::now);
            if self.written.offset >= self.rotate_at {
                self.rotate()?;
            }
        }
        Ok(self.watermark())
    }

    /// What is to be done so that all that was handed in is on disk. The state is saved with it
    /// if it is asked for or enough came since the last time.
    pub(super) fn sync(&mut self, save: bool) -> Result<Sync, AuditError> {
        let watermark = self.flush()?;
        // While a sync saves, others need not.
        let saved = self.saved.try_lock().map_or(u64::MAX, |saved| *saved);
        let new = self.written.tree.size().saturating_sub(saved);
        let save = new >= if save { 1 } else { self.options.save_every };
        Ok(Sync {
            file: Arc::clone(&self.file),
            state: save.then(|| self.written.clone()),
            saved: Arc::clone(&self.saved),
            folder: self.folder.path().to_owned(),
            began: Instant::now(),
            watermark,
        })
    }

    /// Takes note of a sync's end.
    pub(super) fn synced(
        &mut self,
        sync: &Sync,
        result: std::io::Result<()>,
    ) -> Result<Watermark, AuditError> {
        if let Err(error) = result {
            // After a failed fsync the kernel calls pages clean that never reached the disk.
            return Err(self.fail(format!("fsync failed ({error}); restart keywardd"), true));
        }
        let all = sync.watermark.epoch == self.epoch
            && sync.watermark.written == self.written.tree.size();
        self.dirty = self.dirty.filter(|_| !all).map(|_| sync.began);
        Ok(sync.watermark)
    }

    /// Tries to go on after a failed write.
    pub(super) fn reopen(&mut self) -> Result<(), AuditError> {
        let Some(failure) = self.failure.take() else {
            return Ok(());
        };
        let whole = || {
            // What was taken ahead goes with it.
            self.file.set_len(self.written.offset)?;
            Ok::<_, std::io::Error>(self.file.metadata()?.len() == self.written.offset)
        };
        if failure.lasting || !matches!(whole(), Ok(true)) {
            let reason = failure.reason.clone();
            self.failure = Some(failure);
            return Err(AuditError::Failed(reason));
        }
        self.space.forget();
        let recovered = Record {
            detail: Some(&failure.reason),
            ..Record::new(Kind::Agent, "log-recovered")
        };
        let result = self
            .space
            .reserve_emergency(&self.file, self.end())
            .and_then(|reservation| self.append(reservation, &recovered))
            .and_then(|_| self.flush());
        if result.is_err() && self.failure.is_none() {
            self.failure = Some(failure);
        }
        result.map(|_| ())
    }

    fn check(&self) -> Result<(), AuditError> {
        match &self.failure {
            Some(failure) => Err(AuditError::Failed(failure.reason.clone())),
            None => Ok(()),
        }
    }

    /// Forgets what is not written, and cuts off what is written of it.
    fn fail(&mut self, reason: String, lasting: bool) -> AuditError {
        tracing::error!(folder = %self.folder.path().display(), reason, "the log can't be written");
        if let Err(error) = self.file.set_len(self.written.offset) {
            tracing::error!(%error, "and what was written of its last records can't be cut off");
        }
        self.space.forget();
        self.buffer.clear();
        self.pending.clear();
        self.epoch = self.epoch.saturating_add(1);
        self.failure = Some(Failure {
            reason: reason.clone(),
            lasting,
        });
        AuditError::Failed(reason)
    }

    fn end(&self) -> u64 {
        self.written.offset.saturating_add(self.buffer.len() as u64)
    }

    const fn watermark(&self) -> Watermark {
        Watermark {
            written: self.written.tree.size(),
            epoch: self.epoch,
        }
    }

    /// Begins a new segment, once the old one is on disk: a later record never lasts longer than an
    /// earlier one. Where there is no room for a new segment the old one goes on.
    fn rotate(&mut self) -> Result<(), AuditError> {
        if let Err(error) = self.file.sync_data() {
            return Err(self.fail(format!("fsync failed ({error}); restart keywardd"), true));
        }
        let first = self.written.tree.size();
        let path = segment_path(self.folder.path(), first);
        let new = private().append(true).create_new(true).open(&path);
        let new = new.map_err(AuditError::open(&path)).and_then(|file| {
            self.space.change_segment(&file)?;
            self.folder.sync().map_err(AuditError::open(&path))?;
            Ok(file)
        });
        match new {
            Ok(file) => {
                // Gives back the room that was taken ahead.
                let _ = self.file.set_len(self.written.offset);
                self.file = Arc::new(file);
                self.written.segment = first;
                self.written.offset = 0;
                self.rotate_at = self.options.segment;
                self.dirty = None;
            }
            Err(error) => {
                tracing::warn!(%error, "no new segment of the log can be made: the old one goes on");
                let _ = std::fs::remove_file(&path);
                self.rotate_at = self.written.offset.saturating_add(ROTATE_AGAIN);
            }
        }
        Ok(())
    }
}

impl Sync {
    /// Waits for the disk. A state that can't be saved only makes the next start slower.
    pub(super) fn run(&self) -> std::io::Result<()> {
        self.file.sync_data()?;
        if let Some(state) = &self.state {
            let mut saved = self.saved.lock().unwrap_or_else(PoisonError::into_inner);
            if *saved < state.tree.size() {
                match state.save(&self.folder) {
                    Ok(()) => *saved = state.tree.size(),
                    Err(error) => {
                        tracing::warn!(folder = %self.folder.display(), %error, "the log's tree can't be saved");
                    }
                }
            }
        }
        Ok(())
    }
}
