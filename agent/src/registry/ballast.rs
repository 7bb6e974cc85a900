//! Room on the disk that is kept for changes that must not fail: a file beside the registry, cut when
//! the disk is full.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use rustix::fs::{FallocateFlags, fallocate, fstatvfs};
use rustix::io::Errno;

use super::error::RegistryError;

/// How much is kept: a change of a key's state writes a few pages of 4 KiB.
const SIZE: u64 = 64 << 10;

/// The file, and whether it has its size.
#[derive(Debug)]
pub(super) struct Ballast {
    file: File,
    filled: bool,
}

impl Ballast {
    /// Opens the file, and fills it if there is room.
    pub(super) fn open(registry: &Path) -> Result<Self, RegistryError> {
        let path = registry.with_extension("ballast");
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed())
            .open(&path)
            .map_err(|error| RegistryError::Open { path, error })?;
        let mut ballast = Self {
            file,
            filled: false,
        };
        ballast.fill();
        Ok(ballast)
    }

    /// Whether the room is kept; takes it again if it was given up and there is some.
    pub(super) fn fill(&mut self) -> bool {
        if self.filled {
            return true;
        }
        let taken =
            rustix::io::retry_on_intr(|| fallocate(&self.file, FallocateFlags::empty(), 0, SIZE));
        self.filled = match taken {
            Ok(()) => true,
            // Without fallocate, the free space is what is kept.
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => {
                fstatvfs(&self.file).is_ok_and(|fs| fs.f_bavail.saturating_mul(fs.f_frsize) >= SIZE)
            }
            Err(_) => false,
        };
        self.filled
    }

    /// Gives the room up; false if there is none to give.
    pub(super) fn spend(&mut self) -> bool {
        let spent = self.filled && self.file.set_len(0).is_ok();
        if spent {
            self.filled = false;
            tracing::warn!("the disk is full: the room that is kept for the registry is in use");
        }
        spent
    }
}
