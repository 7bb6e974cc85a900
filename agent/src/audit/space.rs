//! Room on the disk, made sure of before work starts.

use std::cell::Cell;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use rustix::fs::{FallocateFlags, fallocate, fstatvfs};
use rustix::io::Errno;

use super::error::AuditError;
use super::folder::private;
use super::record::MAX_RECORD;

/// How far ahead room is taken; on a small disk the steps get smaller.
const STEPS: [u64; 4] = [1 << 20, 256 << 10, 64 << 10, 16 << 10];
/// How much the reserve file holds back.
const RESERVE: u64 = 64 << 10;
/// What must stay free where room can't be taken ahead.
const MARGIN: u64 = 64 << 10;

/// Room for one record. It is given back when it is dropped or used.
#[derive(Debug)]
pub struct Reservation {
    outstanding: Rc<Cell<u64>>,
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.outstanding
            .set(self.outstanding.get().saturating_sub(1));
    }
}

/// The room of the current segment, and the reserve.
#[derive(Debug)]
pub(super) struct Space {
    outstanding: Rc<Cell<u64>>,
    /// The segment has room up to here.
    allocated: u64,
    /// Whether the file system can take room ahead.
    ahead: bool,
    reserve: File,
    filled: bool,
    folder: PathBuf,
}

impl Space {
    /// Opens the reserve and fills it if there is room.
    pub(super) fn open(folder: &Path) -> Result<Self, AuditError> {
        let path = folder.join("reserve");
        let reserve = private()
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(AuditError::open(&path))?;
        let mut space = Self {
            outstanding: Rc::default(),
            allocated: 0,
            ahead: true,
            reserve,
            filled: false,
            folder: folder.to_owned(),
        };
        space.fill();
        Ok(space)
    }

    /// Reserves room for one more record behind `end`, which includes what is buffered.
    pub(super) fn reserve(&mut self, file: &File, end: u64) -> Result<Reservation, AuditError> {
        // What the reserve gave up belongs to emergencies until it is there again.
        if !self.filled && !self.fill() {
            return Err(AuditError::Full(self.folder.clone()));
        }
        self.take(file, end)
    }

    /// The same in an emergency: the reserve is given up for it.
    pub(super) fn reserve_emergency(
        &mut self,
        file: &File,
        end: u64,
    ) -> Result<Reservation, AuditError> {
        match self.take(file, end) {
            Err(AuditError::Full(_)) if self.spend() => self.take(file, end),
            result => result,
        }
    }

    /// Moves to a new, empty segment if it has room for all that is reserved.
    pub(super) fn change_segment(&mut self, file: &File) -> Result<(), AuditError> {
        let before = std::mem::take(&mut self.allocated);
        let needed = room(self.outstanding.get());
        self.grow(file, 0, needed)
            .inspect_err(|_| self.allocated = before)
    }

    /// Gives the reserve's room to whoever needs it.
    pub(super) fn spend(&mut self) -> bool {
        let spent = self.filled && self.reserve.set_len(0).is_ok();
        if spent {
            self.filled = false;
            tracing::warn!(folder = %self.folder.display(), "the disk is full: the log's reserve is in use");
        }
        spent
    }

    /// Says that the segment was cut, and with it the room behind its end.
    pub(super) fn forget(&mut self) {
        self.allocated = 0;
    }

    fn take(&mut self, file: &File, end: u64) -> Result<Reservation, AuditError> {
        let records = self.outstanding.get().saturating_add(1);
        let needed = end.saturating_add(room(records));
        if needed > self.allocated {
            self.grow(file, end, needed)?;
        }
        self.outstanding.set(records);
        Ok(Reservation {
            outstanding: Rc::clone(&self.outstanding),
        })
    }

    fn grow(&mut self, file: &File, end: u64, needed: u64) -> Result<(), AuditError> {
        let from = self.allocated.max(end);
        for step in STEPS {
            if !self.ahead {
                break;
            }
            let to = needed.max(from.saturating_add(step));
            match allocate(file, FallocateFlags::KEEP_SIZE, from, to) {
                Ok(()) => {
                    self.allocated = to;
                    return Ok(());
                }
                Err(Errno::OPNOTSUPP | Errno::NOSYS) => self.ahead = false,
                Err(Errno::NOSPC | Errno::DQUOT | Errno::FBIG) => {}
                Err(error) => return Err(AuditError::open(&self.folder)(error.into())),
            }
        }
        let margin = if self.filled { MARGIN } else { 0 };
        let needed = needed.saturating_sub(end).saturating_add(margin);
        if self.ahead || !has_free(file, needed) {
            return Err(AuditError::Full(self.folder.clone()));
        }
        Ok(())
    }

    fn fill(&mut self) -> bool {
        self.filled = match allocate(&self.reserve, FallocateFlags::empty(), 0, RESERVE) {
            Ok(()) => true,
            // Without fallocate, the margin of free space is the reserve.
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => has_free(&self.reserve, MARGIN),
            Err(_) => false,
        };
        self.filled
    }
}

/// How much room a number of records can need.
fn room(records: u64) -> u64 {
    records.saturating_mul(MAX_RECORD as u64)
}

fn allocate(file: &File, mode: FallocateFlags, from: u64, to: u64) -> Result<(), Errno> {
    rustix::io::retry_on_intr(|| fallocate(file, mode, from, to.saturating_sub(from)))
}

fn has_free(file: &File, needed: u64) -> bool {
    fstatvfs(file).is_ok_and(|fs| fs.f_bavail.saturating_mul(fs.f_frsize) >= needed)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::audit::tests::tmpfs;

    #[test]
    fn without_fallocate_the_free_space_counts() {
        const NAME: &str = "audit::space::tests::without_fallocate_the_free_space_counts";
        let Some(disk) = tmpfs::mounted(NAME, "512k") else {
            return;
        };
        let file = File::create(disk.join("segment")).unwrap();
        let mut space = Space::open(&disk).unwrap();
        space.reserve.set_len(0).unwrap();
        space.ahead = false;
        drop(space.reserve(&file, 0).unwrap());
        let held: Vec<_> = std::iter::from_fn(|| space.reserve(&file, 0).ok()).collect();
        // 64 of the 512 KiB stay free.
        assert!((100..=112).contains(&held.len()), "{}", held.len());
        assert!(matches!(space.reserve(&file, 0), Err(AuditError::Full(_))));
        drop(space.reserve_emergency(&file, 0).unwrap());
        drop(held);
        drop(space.reserve(&file, 0).unwrap());
    }
}
