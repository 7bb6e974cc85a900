//! A file that gets its name when all of it is there.
//!
//! Where the file system can, it has no name until then (`O_TMPFILE`), so that nothing is left
//! whatever ends the program. Elsewhere it has a name of its own beside the final one, which is
//! removed when the program fails or is ended by a signal.

use std::fs::File;
use std::io::{self, IoSlice, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;

use rustix::fs::{
    AtFlags, CWD, Mode, OFlags, RenameFlags, linkat, openat, renameat_with, unlinkat,
};
use rustix::io::Errno;

use crate::signals::{Held, Woken, end_by};

/// A file under way to its name.
pub(super) struct NewFile {
    file: File,
    path: PathBuf,
    /// Whether another file may be there.
    replace: bool,
    /// Its name until then, if it has one.
    provisional: Option<Provisional>,
}

impl NewFile {
    pub(super) fn create(path: PathBuf, replace: bool, secret: bool) -> io::Result<Self> {
        match Self::unnamed(&path, replace, secret) {
            // Old kernels take it for a folder to be written.
            Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL) => {
                Self::named(path, replace, secret)
            }
            made => Ok(made?),
        }
    }

    fn unnamed(path: &Path, replace: bool, secret: bool) -> Result<Self, Errno> {
        if !Path::new("/proc/self/fd").is_dir() {
            return Err(Errno::OPNOTSUPP);
        }
        let folder = path
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty());
        let flags = OFlags::WRONLY | OFlags::TMPFILE | OFlags::CLOEXEC;
        let file = openat(CWD, folder.unwrap_or(Path::new(".")), flags, mode(secret))?;
        Ok(Self {
            file: file.into(),
            path: path.to_owned(),
            replace,
            provisional: None,
        })
    }

    fn named(path: PathBuf, replace: bool, secret: bool) -> io::Result<Self> {
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let (provisional, file) =
            Provisional::new(&path, |name| openat(CWD, name, flags, mode(secret)))?;
        Ok(Self {
            file: file.into(),
            path,
            replace,
            provisional: Some(provisional),
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Brings it to the disk and gives it its name.
    pub(super) fn keep(mut self) -> io::Result<()> {
        self.file.sync_all()?;
        if let Some(provisional) = self.provisional.take() {
            return provisional.become_(&self.path, self.replace);
        }
        match self.link(&self.path) {
            Err(Errno::EXIST) if self.replace => {}
            linked => return Ok(linked?),
        }
        // A link replaces nothing, a new name does.
        let (provisional, ()) = Provisional::new(&self.path, |name| self.link(name))?;
        provisional.become_(&self.path, true)
    }

    fn link(&self, name: &Path) -> Result<(), Errno> {
        let file = format!("/proc/self/fd/{}", self.file.as_raw_fd());
        linkat(CWD, file, CWD, name, AtFlags::SYMLINK_FOLLOW)
    }
}

fn mode(secret: bool) -> Mode {
    // Of a secret only its owner may know.
    Mode::from_raw_mode(if secret { 0o600 } else { 0o666 })
}

impl Write for NewFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.file.write_vectored(slices)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A name beside the final one. It is removed when this is dropped, or when a signal ends the
/// program.
struct Provisional {
    name: PathBuf,
    /// Ends the thread that waits for signals when it is closed.
    stop: Option<UnixStream>,
    thread: Option<JoinHandle<()>>,
}

impl Provisional {
    /// Makes something under a name that nobody else uses at the time.
    fn new<T>(path: &Path, make: impl FnOnce(&Path) -> Result<T, Errno>) -> io::Result<(Self, T)> {
        let mut name = std::ffi::OsString::from(".");
        name.push(path.file_name().unwrap_or_default());
        name.push(format!(".{}.new", std::process::id()));
        let name = path.with_file_name(name);
        let held = Held::new()?;
        let (stop, stopped) = UnixStream::pair()?;
        let made = make(&name)?;
        let mut provisional = Self {
            name: name.clone(),
            stop: Some(stop),
            thread: None,
        };
        let wait = move || {
            if let Ok(Woken::Signal(signal)) = held.wait(&stopped, None) {
                let _ = unlinkat(CWD, &name, AtFlags::empty());
                end_by(signal);
            }
        };
        provisional.thread = Some(std::thread::Builder::new().spawn(wait)?);
        Ok((provisional, made))
    }

    /// Takes the final name.
    fn become_(self, path: &Path, replace: bool) -> io::Result<()> {
        let flags = if replace {
            RenameFlags::empty()
        } else {
            RenameFlags::NOREPLACE
        };
        match renameat_with(CWD, &self.name, CWD, path, flags) {
            // The file system can't do both in one step.
            Err(Errno::INVAL) if !replace && !path.exists() => {
                let flags = RenameFlags::empty();
                Ok(renameat_with(CWD, &self.name, CWD, path, flags)?)
            }
            Err(Errno::INVAL) if !replace => Err(io::ErrorKind::AlreadyExists.into()),
            renamed => Ok(renamed?),
        }
    }
}

impl Drop for Provisional {
    fn drop(&mut self) {
        // Under its final name it is out of reach.
        let _ = unlinkat(CWD, &self.name, AtFlags::empty());
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use std::os::unix::fs::PermissionsExt;

    type Create = fn(PathBuf, bool, bool) -> io::Result<NewFile>;
    const BOTH: [Create; 2] = [NewFile::create, NewFile::named];

    #[test]
    fn a_file_is_there_when_it_is_kept_and_not_before() {
        for create in BOTH {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("file");
            let mut file = create(path.clone(), false, true).unwrap();
            file.write_all(b"hello").unwrap();
            assert!(!path.exists());
            file.keep().unwrap();
            assert_eq!(std::fs::read(&path).unwrap(), b"hello");
            let mode = std::fs::metadata(&path).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
            assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        }
    }

    #[test]
    fn a_file_that_is_not_kept_leaves_nothing() {
        for create in BOTH {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("file");
            let mut file = create(path, false, true).unwrap();
            file.write_all(b"hello").unwrap();
            drop(file);
            assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        }
    }

    #[test]
    fn a_file_that_came_meanwhile_is_replaced_only_if_that_was_said() {
        for create in BOTH {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("file");
            for (replace, left) in [(false, "other"), (true, "ours")] {
                let mut file = create(path.clone(), replace, false).unwrap();
                file.write_all(b"ours").unwrap();
                std::fs::write(&path, "other").unwrap();
                let kept = file.keep();
                assert_eq!(kept.is_ok(), replace);
                if let Err(error) = kept {
                    assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
                }
                assert_eq!(std::fs::read_to_string(&path).unwrap(), left);
                assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
            }
        }
    }
}
