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
