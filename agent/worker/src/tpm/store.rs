//! The folder with the keys of a TPM, a file for each key version.
//!
//! A TPM keeps no keys: what it gives out is encrypted by it, and is lost if this folder is. Each
//! file is on the disk before it has its name, and its name before anybody is told.

mod bound;
mod entry;
mod error;
mod handle;
#[cfg(test)]
mod tests;

use std::fs::{DirBuilder, File};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use keyward_backend::VersionId;
use rustix::fs::{AtFlags, Dir, FileType, FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use uuid::Uuid;

use super::key_file::KeyFile;
pub use bound::{Approved, Bound};
pub use entry::{Entry, EntryError, Held, Made};
pub use error::StoreError;
pub use handle::Handle;

/// The open folder. Several threads, and the last worker of a token beside the next one, can use it.
#[derive(Debug)]
pub struct Store {
    path: PathBuf,
    folder: OwnedFd,
}

/// Some of the keys, in the order of their ids.
#[derive(Debug)]
pub struct Page {
    /// The keys, and those whose file can't be used.
    pub entries: Vec<(VersionId, Result<Entry, StoreError>)>,
    /// Whether there are more behind the last one.
    pub more: bool,
    /// How many key files of the whole folder are not named by an id: they are not keyward's.
    pub foreign: u32,
}

impl Store {
    /// Opens the folder, or makes it, and removes what a writer that was killed has left.
    ///
    /// # Errors
    /// It can't be made or opened, or others may write to it.
    pub fn open(path: &Path) -> io::Result<Self> {
        make_folder(path)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = rustix::fs::open(path, flags, Mode::empty())?;
        let stat = rustix::fs::fstat(&folder)?;
        let uid = rustix::process::geteuid().as_raw();
        if stat.st_uid != uid || stat.st_mode & 0o022 != 0 {
            let path = path.display();
            return Err(io::Error::new(
                ErrorKind::PermissionDenied,
                format!(
                    "{path} must belong to uid {uid}, and nobody else may write to it: \
                     chown {uid} {path} && chmod 700 {path}"
                ),
            ));
        }
        let store = Self {
            path: path.to_owned(),
            folder,
        };
        for name in store.names()?.provisional {
            store.remove_if_stale(&name);
        }
        Ok(store)
    }

    /// Where the key of an id is.
    #[must_use]
    pub fn path(&self, id: VersionId) -> PathBuf {
        self.path.join(file_name(id))
    }

    /// Writes a key that is not there yet. On success it is there after a power failure, too.
    ///
    /// # Errors
    /// [`StoreError::Exists`]: nothing was changed. With others the key may be there or not.
    pub fn put(&self, id: VersionId, entry: &Entry) -> Result<(), StoreError> {
        let new = self.provisional(id, entry)?;
        let linked = rustix::fs::linkat(
            &self.folder,
            &new.name,
            &self.folder,
            file_name(id),
            AtFlags::empty(),
        );
        match linked {
            Err(Errno::EXIST) => return Err(StoreError::Exists(id)),
            linked => linked.map_err(|e| self.failed("make", id, e))?,
        }
        drop(new);
        self.sync(id)
    }

    /// Writes a key in the place of one that may be there: all of the old one or all of the new one
    /// is there at any time.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn replace(&self, id: VersionId, entry: &Entry) -> Result<(), StoreError> {
        let new = self.provisional(id, entry)?;
        rustix::fs::renameat(&self.folder, &new.name, &self.folder, file_name(id))
            .map_err(|e| self.failed("replace", id, e))?;
        self.sync(id)
    }

    /// Reads a key; `None` if there is none.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn get(&self, id: VersionId) -> Result<Option<Entry>, StoreError> {
        let Some(text) = self.text(id)? else {
            return Ok(None);
        };
        let damaged = |why| StoreError::Damaged {
            path: self.path(id),
            why,
        };
        Entry::from_text(&text).map(Some).map_err(damaged)
    }

    /// The file of a key as it stands; `None` if there is none.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn text(&self, id: VersionId) -> Result<Option<Vec<u8>>, StoreError> {
        let damaged = |why| StoreError::Damaged {
            path: self.path(id),
            why,
        };
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let file = match rustix::fs::openat(&self.folder, file_name(id), flags, Mode::empty()) {
            Ok(file) => file,
            Err(Errno::NOENT) => return Ok(None),
            Err(Errno::LOOP) => return Err(damaged(EntryError::NotFile)),
            Err(error) => return Err(self.failed("open", id, error)),
        };
        let stat = rustix::fs::fstat(&file).map_err(|e| self.failed("look at", id, e))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(damaged(EntryError::NotFile));
        }
        let mut text = Vec::new();
        // One byte more than is allowed shows that it is too long.
        let most = u64::try_from(KeyFile::MAX_LENGTH).unwrap_or(u64::MAX);
        File::from(file)
            .take(most.saturating_add(1))
            .read_to_end(&mut text)
            .map_err(|e| self.failed("read", id, e))?;
        Ok(Some(text))
    }

    /// Removes a key. That there is none is success, too.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn remove(&self, id: VersionId) -> Result<(), StoreError> {
        match rustix::fs::unlinkat(&self.folder, file_name(id), AtFlags::empty()) {
            // It is gone, and may come back after a power failure.
            Ok(()) => rustix::fs::fsync(&self.folder).map_err(|error| StoreError::Unknown {
                path: self.path(id),
                error: error.into(),
            }),
            Err(Errno::NOENT) => self.sync(id),
            Err(error) => Err(self.failed("remove", id, error)),
        }
    }

    /// At most so many keys behind an id.
    ///
    /// # Errors
    /// The folder can't be read. A file that can't be used is in the page.
    pub fn page(&self, after: Option<VersionId>, most: usize) -> Result<Page, StoreError> {
        let names = self
            .names()
            .map_err(|e| StoreError::io("read", &self.path, e))?;
        let behind = |id: &VersionId| after.is_none_or(|after| *id > after);
        let mut ids = names.ids.into_iter().filter(behind);
        let mut entries = Vec::new();
        while entries.len() < most {
            let Some(id) = ids.next() else { break };
            match self.get(id) {
                // It was removed meanwhile.
                Ok(None) => {}
                Ok(Some(entry)) => entries.push((id, Ok(entry))),
                Err(error) => entries.push((id, Err(error))),
            }
        }
        Ok(Page {
            entries,
            more: ids.next().is_some(),
            foreign: names.foreign,
        })
    }

    /// A file under a name of its own, on the disk.
    fn provisional(&self, id: VersionId, entry: &Entry) -> Result<Provisional<'_>, StoreError> {
        let text = entry.to_text().map_err(StoreError::Unfit)?;
        let name = format!(".{id}.{}{PROVISIONAL}", Uuid::new_v4());
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::RUSR | Mode::WUSR;
        let file = rustix::fs::openat(&self.folder, &name, flags, mode)
            .map_err(|e| self.failed("make", id, e))?;
        let mut new = Provisional {
            folder: &self.folder,
            name,
            file: File::from(file),
        };
        // Shows others that somebody is at work on it.
        rustix::fs::flock(&new.file, FlockOperation::NonBlockingLockExclusive)
            .map_err(|e| self.failed("lock", id, e))?;
        let written = new.file.write_all(text.as_bytes());
        written
            .and_then(|()| new.file.sync_all())
            .map_err(|e| self.failed("write", id, e))?;
        Ok(new)
    }

    /// Makes the names of files last.
    fn sync(&self, id: VersionId) -> Result<(), StoreError> {
        rustix::fs::fsync(&self.folder).map_err(|e| self.failed("bring to the disk", id, e))
    }

    fn failed(&self, what: &'static str, id: VersionId, error: impl Into<io::Error>) -> StoreError {
        StoreError::io(what, &self.path(id), error.into())
    }

    fn names(&self) -> io::Result<Names> {
        let mut names = Names::default();
        for entry in Dir::read_from(&self.folder)? {
            names.add(entry?.file_name().to_bytes());
        }
        names.ids.sort_unstable();
        Ok(names)
    }

    /// Removes a file that nobody is at work on. What can't be removed is in nobody's way.
    fn remove_if_stale(&self, name: &str) {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let Ok(file) = rustix::fs::openat(&self.folder, name, flags, Mode::empty()) else {
            return;
        };
        if rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok() {
            let _ = rustix::fs::unlinkat(&self.folder, name, AtFlags::empty());
        }
    }
}

const SUFFIX: &str = ".tss2";
const PROVISIONAL: &str = ".new";

fn file_name(id: VersionId) -> String {
    format!("{id}{SUFFIX}")
}

/// What is in the folder.
#[derive(Default)]
struct Names {
    ids: Vec<VersionId>,
    provisional: Vec<String>,
    foreign: u32,
}

impl Names {
    fn add(&mut self, name: &[u8]) {
        let Ok(name) = std::str::from_utf8(name) else {
            return;
        };
        if name.starts_with('.') && name.ends_with(PROVISIONAL) {
            self.provisional.push(name.to_owned());
        } else if let Some(stem) = name.strip_suffix(SUFFIX) {
            match Uuid::try_parse(stem).map(VersionId::from) {
                Ok(id) if file_name(id) == name => self.ids.push(id),
                _ => self.foreign = self.foreign.saturating_add(1),
            }
        }
    }
}

/// A file that is removed unless it gets its final name.
struct Provisional<'a> {
    folder: &'a OwnedFd,
    name: String,
    file: File,
}

impl Drop for Provisional<'_> {
    fn drop(&mut self) {
        let _ = rustix::fs::unlinkat(self.folder, &self.name, AtFlags::empty());
    }
}

/// Makes a folder and those above it that are missing, and makes their names last.
fn make_folder(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    make_folder(parent)?;
    match DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => File::open(parent)?.sync_all(),
        // Somebody else made it meanwhile.
        Err(error) if error.kind() == ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        Err(error) => Err(error),
    }
}
