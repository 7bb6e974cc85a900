//! Where the configuration is, whose it is, and the folders that depend on the user.

use std::ffi::OsString;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::{ConfigError, Mode};

/// More than anybody writes by hand.
const MOST_BYTES: u64 = 1024 * 1024;

/// What is taken from environment variables. By the XDG specification a relative folder counts as
/// not set.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    /// `XDG_RUNTIME_DIR`
    pub runtime_dir: Option<PathBuf>,
    /// `XDG_STATE_HOME`, or `~/.local/state`.
    pub state_home: Option<PathBuf>,
    /// `XDG_CONFIG_HOME`, or `~/.config`.
    pub config_home: Option<PathBuf>,
    /// `CREDENTIALS_DIRECTORY`, which systemd sets.
    pub credentials: Option<PathBuf>,
    /// How many processors this process may use.
    pub processors: usize,
}

impl Environment {
    /// The variables of this process.
    #[must_use]
    pub fn of_process() -> Self {
        let home = folder(std::env::var_os("HOME"));
        let below_home = |below: &str| home.as_ref().map(|home| home.join(below));
        Self {
            runtime_dir: folder(std::env::var_os("XDG_RUNTIME_DIR")),
            state_home: folder(std::env::var_os("XDG_STATE_HOME"))
                .or_else(|| below_home(".local/state")),
            config_home: folder(std::env::var_os("XDG_CONFIG_HOME"))
                .or_else(|| below_home(".config")),
            credentials: folder(std::env::var_os("CREDENTIALS_DIRECTORY")),
            processors: std::thread::available_parallelism().map_or(1, usize::from),
        }
    }

    /// The user's file if it exists, else the system's.
    #[must_use]
    pub fn config_path(&self) -> PathBuf {
        self.config_home
            .as_ref()
            .map(|home| home.join("keyward/keyward.toml"))
            .filter(|path| path.exists())
            .unwrap_or_else(|| PathBuf::from("/etc/keyward/keyward.toml"))
    }
}

fn folder(value: Option<OsString>) -> Option<PathBuf> {
    value.map(PathBuf::from).filter(|path| path.is_absolute())
}

/// Whose the file is that was read.
#[derive(Debug)]
pub(super) struct Origin {
    owner: u32,
    permissions: u32,
}

/// Reads the file, and whose it is from the same open file.
pub(super) fn read(path: &Path) -> Result<(String, Origin), ConfigError> {
    let unreadable = |source: io::Error| {
        let hint = match source.kind() {
            io::ErrorKind::NotFound => {
                format!("keywardd --config PATH, or write {}", path.display())
            }
            _ => format!("ls -l {}", path.display()),
        };
        ConfigError::Unreadable {
            path: path.to_owned(),
            source,
            hint,
        }
    };
    let file = std::fs::File::open(path).map_err(unreadable)?;
    let metadata = file.metadata().map_err(unreadable)?;
    if !metadata.is_file() || metadata.len() > MOST_BYTES {
        let message = "it is no file of at most 1 MiB";
        return Err(unreadable(io::Error::new(
            io::ErrorKind::InvalidData,
            message,
        )));
    }
    let mut text = String::new();
    file.take(MOST_BYTES)
        .read_to_string(&mut text)
        .map_err(unreadable)?;
    let origin = Origin {
        owner: metadata.uid(),
        permissions: metadata.mode() & 0o7777,
    };
    Ok((text, origin))
}

impl Origin {
    /// Refuses a file that somebody else can change.
    pub(super) fn refuse_foreign(&self, path: &Path, mode: Mode) -> Result<(), ConfigError> {
        let own = rustix::process::geteuid().as_raw();
        let insecure = |what: String, hint: String| {
            Err(ConfigError::Insecure {
                path: path.to_owned(),
                what,
                hint,
            })
        };
        let shown = path.display();
        if self.owner != 0 && self.owner != own {
            let what = format!("it belongs to uid {}, not to root or uid {own}", self.owner);
            return insecure(what, format!("sudo chown root {shown}"));
        }
        // A user's own group is usual for a user's own files.
        let (mask, who) = match mode {
            Mode::System => (0o022, "its group or everybody"),
            Mode::User => (0o002, "everybody"),
        };
        if self.permissions & mask != 0 {
            let what = format!("{who} can write to it (mode {:04o})", self.permissions);
            return insecure(what, format!("chmod go-w {shown}"));
        }
        Ok(())
    }
}
