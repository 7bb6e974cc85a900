//! The log's folder: who may look into it, and who holds it.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, OFlags};

use super::error::AuditError;

/// The folder, held against every other daemon as long as this lives.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    handle: File,
    lock: File,
}

impl Folder {
    /// Opens the folder, or makes it, and takes hold of it.
    pub(super) fn hold(path: &Path) -> Result<Self, AuditError> {
        match DirBuilder::new().mode(0o700).create(path) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                return Err(AuditError::open(path)(error));
            }
            _ => {}
        }
        let handle = OpenOptions::new()
            .read(true)
            .custom_flags(OFlags::DIRECTORY.bits().cast_signed())
            .open(path)
            .map_err(AuditError::open(path))?;
        let metadata = handle.metadata().map_err(AuditError::open(path))?;
        let uid = rustix::process::geteuid().as_raw();
        if metadata.mode() & 0o077 != 0 || metadata.uid() != uid {
            return Err(AuditError::Exposed {
                path: path.to_owned(),
                uid,
            });
        }
        let lock = Self::lock(path)?;
        Ok(Self {
            path: path.to_owned(),
            handle,
            lock,
        })
    }

    fn lock(folder: &Path) -> Result<File, AuditError> {
        let path = folder.join("lock");
        let mut lock = private()
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(AuditError::open(&path))?;
        match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let mut text = String::new();
                let read = (&mut lock).take(16).read_to_string(&mut text);
                return Err(AuditError::InUse {
                    path: folder.to_owned(),
                    pid: read.ok().and_then(|_| text.trim().parse().ok()),
                });
            }
            Err(error) => return Err(AuditError::open(&path)(error.into())),
        }
        // Only for the words of another daemon's error; on a full disk it stays empty.
        let _ = lock.set_len(0);
        let _ = writeln!(lock, "{}", std::process::id());
        Ok(lock)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Makes the names of new files last.
    pub(super) fn sync(&self) -> std::io::Result<()> {
        self.handle.sync_all()
    }
}

impl Drop for Folder {
    /// Lets go also of what a child process has inherited and not closed yet.
    fn drop(&mut self) {
        let _ = rustix::fs::flock(&self.lock, FlockOperation::Unlock);
    }
}

/// How each file of the log is opened: by its owner only, and never through a link.
pub(super) fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options
        .read(true)
        .write(true)
        .mode(0o600)
        .custom_flags(OFlags::NOFOLLOW.bits().cast_signed());
    options
}
