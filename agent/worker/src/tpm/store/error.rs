//! What could not be done with the folder, by what is done next.

use std::io;
use std::path::{Path, PathBuf};

use keyward_backend::{BackendError, VersionId};
use rustix::io::Errno;

use super::entry::EntryError;

/// Why the folder did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A key with the id is there.
    #[error("a key with the id {0} is there already")]
    Exists(VersionId),
    /// Make room.
    #[error("no room for {}: {error}", path.display())]
    Full {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// This key can't be in a file.
    #[error("the key can't be kept in a file: {0}")]
    Unfit(EntryError),
    /// Put back a copy of the file, or remove it.
    #[error(
        "{} can't be used: {why}; put back a copy of it from a backup, or move it away",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: EntryError,
    },
    /// It is removed, and whether for good is not known.
    #[error("{} is removed, and could not be brought to the disk: {error}", path.display())]
    Unknown {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// The system refused or failed.
    #[error("can't {what} {}: {error}", path.display())]
    Io {
        /// What was to be done.
        what: &'static str,
        /// To which file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
}

impl StoreError {
    pub(super) fn io(what: &'static str, path: &Path, error: io::Error) -> Self {
        let path = path.to_owned();
        match Errno::from_io_error(&error) {
            Some(Errno::NOSPC | Errno::DQUOT) => Self::Full { path, error },
            _ => Self::Io { what, path, error },
        }
    }
}

impl From<StoreError> for BackendError {
    fn from(error: StoreError) -> Self {
        let text = error.to_string();
        let errno = match &error {
            StoreError::Exists(id) => return Self::Exists(id.to_string()),
            StoreError::Full { .. } => return Self::TokenFull,
            StoreError::Unfit(_) => return Self::Invalid(text),
            StoreError::Damaged { .. } => return Self::Refused(text),
            StoreError::Unknown { .. } => return Self::DeviceFailed(text),
            StoreError::Io { error, .. } => Errno::from_io_error(error),
        };
        match errno {
            Some(Errno::MFILE | Errno::NFILE | Errno::NOMEM) => Self::Busy(text),
            // A new worker would be refused, too.
            Some(Errno::ACCESS | Errno::PERM) => {
                Self::Refused(format!("{text}; it must belong to keyward's user"))
            }
            Some(Errno::ROFS) => Self::Refused(text),
            _ => Self::DeviceFailed(text),
        }
    }
}
