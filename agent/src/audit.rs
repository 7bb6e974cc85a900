//! The log: one JSON line per request, each a leaf of an RFC 6962 tree.
//!
//! Room for a record is [reserved](Audit::reserve) before work starts. Its
//! [append](Audit::append) gives a number, under which the reply is [sealed](Audit::seal); only the
//! watermark of a [flush](Audit::flush) opens it. So no reply leaves before its record is written.
//!
//! The folder holds segments named by their first record, `tree.json` (the tree up to some record),
//! `reserve` (room for emergencies on a full disk) and `lock`.

mod denials;
mod error;
mod folder;
mod history;
mod log;
mod record;
mod scan;
mod sealed;
mod space;
mod state;
mod tree;

use std::cell::RefCell;
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};

use folder::Folder;
use log::Log;
use state::State;

pub use denials::{Admission, Denials, Suppressed};
pub use error::AuditError;
pub use history::OpenIntent;
pub use record::{CallerFacts, CallerJson, Hex, Kind, MAX_RECORD, Outcome, Record, RegistryMark};
pub use sealed::{NotWritten, Sealed, Seq, Watermark};
pub use space::Reservation;
pub use tree::{Frontier, Hash, leaf_hash};

/// The sizes of the log.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// A segment that is at least this long, in bytes, is followed by a new one.
    pub segment: u64,
    /// A log of at most this many bytes is read as a whole at each start; a longer one from the
    /// last saved state on.
    pub read_whole: u64,
    /// After how many records a sync saves the state.
    pub save_every: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            segment: 64 << 20,
            read_whole: scan::READ_WHOLE,
            save_every: 4096,
        }
    }
}

/// What the log held when it was opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The registry as the last management record saw it.
    pub last_management: Option<RegistryMark>,
    /// Intents without outcome, oldest first.
    pub open_intents: Vec<OpenIntent>,
    /// How many records there are.
    pub records: u64,
    /// How many bytes of a torn last line were cut off.
    pub cut: u64,
}

/// The log, open for writing by this process alone.
#[derive(Debug)]
pub struct Audit(RefCell<Log>);

impl Audit {
    /// Opens the log in a folder, or begins it there.
    ///
    /// # Errors
    /// It is in use, it can be read or changed by others, or it is not as it was written.
    pub fn open(folder: &Path) -> Result<(Self, Found), AuditError> {
        Self::open_with(folder, Options::default())
    }

    /// The same with sizes of one's own.
    ///
    /// # Errors
    /// As [`Audit::open`].
    pub fn open_with(folder: &Path, options: Options) -> Result<(Self, Found), AuditError> {
        let held = Folder::hold(folder)?;
        let scan = scan::scan(folder, State::load(folder), options.read_whole)?;
        let cut = scan.torn;
        let log = Log::open(held, options, scan)?;
        let found = Found {
            last_management: log.written().history.mark,
            open_intents: log.written().history.intents.clone(),
            records: log.written().tree.size(),
            cut,
        };
        Ok((Self(RefCell::new(log)), found))
    }

    /// Makes sure of room for one record.
    ///
    /// # Errors
    /// [`AuditError::Full`], or the log can't be written.
    pub fn reserve(&self) -> Result<Reservation, AuditError> {
        self.0.borrow_mut().reserve()
    }

    /// The same for what must work on a full disk: lock and status. Room that is held back is
    /// given up for it, and a failed log is tried again.
    ///
    /// # Errors
    /// As [`Audit::reserve`], when there is nothing left.
    pub fn reserve_emergency(&self) -> Result<Reservation, AuditError> {
        self.0.borrow_mut().reserve_emergency()
    }

    /// Hands a record in. It is written by the next [`Audit::flush`].
    ///
    /// # Errors
    /// The log can't be written, or the record does not fit in a line.
    pub fn append(&self, reservation: Reservation, record: &Record<'_>) -> Result<Seq, AuditError> {
        self.0.borrow_mut().append(reservation, record)
    }

    /// Seals a value until a record is written.
    pub fn seal<T>(&self, seq: Seq, value: T) -> Sealed<T> {
        Sealed::new(seq, value)
    }

    /// Writes all that was handed in, with one `write(2)`.
    ///
    /// # Errors
    /// The log can't be written, and what was handed in is lost; see [`Audit::reopen`].
    pub fn flush(&self) -> Result<Watermark, AuditError> {
        self.0.borrow_mut().flush()
    }

    /// Writes all that was handed in, and waits for the disk without blocking the thread.
    ///
    /// # Errors
    /// The log can't be written.
    pub async fn sync(&self) -> Result<Watermark, AuditError> {
        let sync = self.0.borrow_mut().sync(false)?;
        let ran = tokio::task::spawn_blocking(move || (sync.run(), sync)).await;
        let (result, sync) = ran.map_err(|error| AuditError::Failed(error.to_string()))?;
        self.0.borrow_mut().synced(&sync, result)
    }

    /// Writes all that was handed in, waits for the disk, and saves the state: for start and
    /// shutdown.
    ///
    /// # Errors
    /// The log can't be written.
    pub fn sync_now(&self) -> Result<Watermark, AuditError> {
        let mut log = self.0.borrow_mut();
        let sync = log.sync(true)?;
        let result = sync.run();
        log.synced(&sync, result)
    }

    /// Since when there are records that are written but perhaps not on disk.
    pub fn dirty_since(&self) -> Option<Instant> {
        self.0.borrow().dirty()
    }

    /// Why the log can't be written, if it can't.
    pub fn failure(&self) -> Option<String> {
        self.0.borrow().failure().map(str::to_owned)
    }

    /// Tries to write again after a failure; done also if there was none.
    ///
    /// # Errors
    /// It still can't be written.
    pub fn reopen(&self) -> Result<(), AuditError> {
        self.0.borrow_mut().reopen()
    }

    /// Whether a record was handed in since the log last failed: else nothing can stand behind it.
    pub fn is_current(&self, seq: Seq) -> bool {
        self.0.borrow().epoch() == seq.epoch
    }

    /// How many records are written, and the root of their tree.
    pub fn root(&self) -> (u64, Hash) {
        let log = self.0.borrow();
        let tree = &log.written().tree;
        (tree.size(), tree.root())
    }
}

/// Brings what is written to the disk now and then, for ever.
pub async fn sync_periodically(audit: Rc<Audit>, every: Duration) {
    loop {
        tokio::time::sleep(every).await;
        if audit.failure().is_some() && audit.reopen().is_err() {
            continue;
        }
        if audit.dirty_since().is_some()
            && let Err(error) = audit.sync().await
        {
            tracing::error!(%error, "the log is not on disk");
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
