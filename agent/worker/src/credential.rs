//! Where a PIN comes from.

use std::io;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use keyward_backend::message::{Credential, SourceIdentity};
use keyward_backend::{BackendError, Result};
use keyward_protocol::SecretBytes;
use rustix::fs::{FileType, Mode, OFlags, Stat};

/// The longest PIN that is taken from a file.
const MOST: usize = 1024;

/// The credentials that a worker was started with.
#[derive(Debug, Default)]
pub struct Credentials {
    pin_file: Option<String>,
    remembered: Mutex<Option<SecretBytes>>,
}

impl Credentials {
    /// Those of the monitor's first packet.
    #[must_use]
    pub fn new(pin_file: Option<String>, remembered: Option<SecretBytes>) -> Self {
        Self {
            pin_file,
            remembered: Mutex::new(remembered),
        }
    }

    /// The PIN that a login is to send.
    ///
    /// # Errors
    /// [`BackendError::PinSource`]; no try was spent.
    pub fn resolve(&self, credential: Credential) -> Result<SecretBytes> {
        let pin = match credential {
            Credential::Given(pin) => pin,
            Credential::Remembered => self
                .remembered
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .as_ref()
                .map(|pin| SecretBytes::copy_from(pin.expose()))
                .ok_or_else(|| source("none is remembered; type `keyward unlock`"))?,
            Credential::File(seen) => match &self.pin_file {
                Some(path) => read(Path::new(path), seen)?,
                None => return Err(source("this token has no `pin_file` in keyward.toml")),
            },
        };
        if pin.is_empty() {
            return Err(source("it is empty"));
        }
        Ok(pin)
    }

    /// Forgets what was remembered.
    pub fn forget(&self) {
        *self
            .remembered
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// Reads a PIN file that only its owner can read, and that still is in the state that was seen.
fn read(path: &Path, seen: SourceIdentity) -> Result<SecretBytes> {
    let about = |what: &str| source(&format!("{}: {what}", path.display()));
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file = rustix::fs::open(path, flags, Mode::empty()).map_err(|errno| {
        let error = io::Error::from(errno);
        match errno {
            rustix::io::Errno::LOOP => about("it is a symbolic link; name the file itself"),
            // The sandbox was opened to the file that was there when the worker started.
            rustix::io::Errno::ACCESS => about(&format!(
                "{error}; if it was replaced since the worker started, restart keywardd"
            )),
            _ => about(&error.to_string()),
        }
    })?;
    let stat = rustix::fs::fstat(&file).map_err(|error| about(&error.to_string()))?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(about("it is not a regular file"));
    }
    let own = rustix::process::geteuid().as_raw();
    if stat.st_uid != own && stat.st_uid != 0 {
        return Err(about("it belongs to another user"));
    }
    if stat.st_mode & 0o077 != 0 {
        return Err(about("others may read it; type `chmod 600` and its path"));
    }
    if identity(&stat) != seen {
        return Err(about("it changed just now; try again"));
    }
    let mut pin = SecretBytes::zeroed(MOST.saturating_add(1));
    let mut length = 0;
    while let Some(rest @ [_, ..]) = pin.expose_mut().get_mut(length..) {
        match rustix::io::read(&file, rest) {
            Ok(0) => break,
            Ok(more) => length = length.saturating_add(more),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(about(&error.to_string())),
        }
    }
    if length > MOST {
        return Err(about(&format!("it is longer than {MOST} bytes")));
    }
    pin.truncate(length);
    if pin.expose().last() == Some(&b'\n') {
        pin.truncate(length.saturating_sub(1));
    }
    if std::str::from_utf8(pin.expose()).is_err() {
        return Err(about("it is not UTF-8 text"));
    }
    if pin.is_empty() {
        return Err(about("it is empty"));
    }
    Ok(pin)
}

/// The state of a file, as the agent describes it too.
#[must_use]
pub fn identity(stat: &Stat) -> SourceIdentity {
    let nanoseconds = |seconds: i64, rest: u64| {
        let rest = i64::try_from(rest).unwrap_or(0);
        seconds.saturating_mul(1_000_000_000).saturating_add(rest)
    };
    SourceIdentity {
        device: stat.st_dev,
        inode: stat.st_ino,
        size: u64::try_from(stat.st_size).unwrap_or(0),
        modified: nanoseconds(stat.st_mtime, stat.st_mtime_nsec),
        changed: nanoseconds(stat.st_ctime, stat.st_ctime_nsec),
    }
}

fn source(what: &str) -> BackendError {
    BackendError::PinSource(what.to_owned())
}

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::path::PathBuf;

    use tempfile::TempDir;

    use super::*;

    struct Rig {
        dir: TempDir,
    }

    impl Rig {
        fn new(content: &[u8]) -> Self {
            let rig = Self {
                dir: tempfile::tempdir().unwrap(),
            };
            fs::write(rig.path(), content).unwrap();
            rig.mode(0o600);
            rig
        }

        fn path(&self) -> PathBuf {
            self.dir.path().join("pin")
        }

        fn mode(&self, mode: u32) {
            fs::set_permissions(self.path(), fs::Permissions::from_mode(mode)).unwrap();
        }

        fn seen(&self) -> SourceIdentity {
            identity(&rustix::fs::stat(self.path()).unwrap())
        }

        fn read(&self) -> Result<SecretBytes> {
            read(&self.path(), self.seen())
        }

        fn refusal(&self) -> String {
            match self.read() {
                Err(BackendError::PinSource(why)) => why,
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn a_pin_is_read_without_its_line_end() {
        for (content, pin) in [
            ("1234", "1234"),
            ("1234\n", "1234"),
            ("1 \n\n", "1 \n"),
            ("é", "é"),
        ] {
            let read = Rig::new(content.as_bytes()).read();
            assert_eq!(read, Ok(SecretBytes::copy_from(pin.as_bytes())));
        }
        let longest = vec![b'1'; MOST];
        assert_eq!(
            Rig::new(&longest).read(),
            Ok(SecretBytes::copy_from(&longest))
        );
        let rig = Rig::new(b"1234");
        rig.mode(0o400);
        assert!(rig.read().is_ok());
    }

    #[test]
    fn a_file_that_holds_no_pin_is_refused() {
        for content in [b"".as_slice(), b"\n", b"\xff", &[b'1'; MOST + 1]] {
            assert!(matches!(
                Rig::new(content).read(),
                Err(BackendError::PinSource(_))
            ));
        }
    }

    #[test]
    fn a_file_that_others_may_read_is_refused() {
        let rig = Rig::new(b"1234");
        for mode in [0o640, 0o604, 0o610, 0o602, 0o777] {
            rig.mode(mode);
            assert!(rig.refusal().contains("chmod 600"));
        }
    }

    #[test]
    fn what_is_no_regular_file_is_refused() {
        let rig = Rig::new(b"1234");
        let link = rig.dir.path().join("link");
        symlink(rig.path(), &link).unwrap();
        assert!(
            matches!(read(&link, rig.seen()), Err(BackendError::PinSource(why)) if why.contains("symbolic"))
        );
        let refused = read(rig.dir.path(), rig.seen());
        assert!(matches!(refused, Err(BackendError::PinSource(why)) if why.contains("regular")));
        fs::remove_file(rig.path()).unwrap();
        let missing = read(&rig.path(), Rig::new(b"1").seen());
        assert!(matches!(missing, Err(BackendError::PinSource(_))));
    }

    #[test]
    fn a_file_in_another_state_than_was_seen_is_refused() {
        let rig = Rig::new(b"1234");
        let seen = rig.seen();
        fs::write(rig.path(), b"12345").unwrap();
        let refused = read(&rig.path(), seen);
        assert!(matches!(&refused, Err(BackendError::PinSource(why)) if why.contains("changed")));
        assert!(!format!("{refused:?}").contains("1234"));
        assert!(rig.read().is_ok());
    }

    #[test]
    fn what_is_not_there_is_an_error_about_the_source() {
        let none = Credentials::default();
        let seen = Rig::new(b"1").seen();
        for credential in [
            Credential::Remembered,
            Credential::File(seen),
            Credential::Given(SecretBytes::zeroed(0)),
        ] {
            let refused = none.resolve(credential);
            assert!(matches!(refused, Err(BackendError::PinSource(_))));
        }
    }

    #[test]
    fn a_remembered_pin_is_there_until_it_is_forgotten() {
        let pin = SecretBytes::copy_from(b"1234");
        let credentials = Credentials::new(None, Some(pin));
        for _ in 0..2 {
            assert!(credentials.resolve(Credential::Remembered).is_ok());
        }
        credentials.forget();
        assert!(credentials.resolve(Credential::Remembered).is_err());
    }
}
