//! The socket file: made where nobody else can have put something, and by one agent only.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, Mode, fchmod, flock};
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, listen, socket_with,
};

/// The longest path that fits into a `sockaddr_un` with its final zero (unix(7)).
const LONGEST: usize = 107;
/// How many connections wait until they are accepted; the kernel takes no more than net.core.somaxconn.
const BACKLOG: i32 = 4096;

/// Why the agent can't listen.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// The path does not fit into a socket's address.
    #[error(
        "the socket path {path} has {length} bytes, and {LONGEST} are the most; choose a shorter \
         one with `socket = \"…\"` in keyward.toml"
    )]
    TooLong {
        /// The path.
        path: PathBuf,
        /// Its length.
        length: usize,
    },
    /// Somebody else could replace the socket.
    #[error(
        "{path} belongs to uid {owner} with mode {mode:o}, so others could put their own socket \
         there; choose a folder that only you can write to"
    )]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Who owns it.
        owner: u32,
        /// Its mode.
        mode: u32,
    },
    /// Something else is there.
    #[error("{0} exists and is not a socket; move it away or choose another path")]
    NotASocket(PathBuf),
    /// Another agent serves it.
    #[error(
        "another keywardd (process {pid}) serves {path}; stop it first, or give this one another \
         socket in keyward.toml"
    )]
    Taken {
        /// The socket.
        path: PathBuf,
        /// The other's process id, as it wrote it down.
        pid: String,
    },
    /// The system refused.
    #[error("{path}: {error}")]
    Io {
        /// What was touched.
        path: PathBuf,
        /// What it said.
        error: io::Error,
    },
}

/// A listening socket, and what keeps it ours.
pub struct Listeners {
    listener: UnixListener,
    file: Option<SocketFile>,
}

/// The socket's file, if the agent made it; it goes when this is dropped. A socket that systemd
/// made stays.
pub struct SocketFile {
    path: PathBuf,
    _lock: File,
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

impl Listeners {
    /// Takes over a socket that systemd made.
    pub fn inherited(socket: OwnedFd) -> Self {
        Self {
            listener: UnixListener::from(socket),
            file: None,
        }
    }

    /// The socket to accept from, and what keeps its file.
    pub fn into_parts(self) -> (UnixListener, Option<SocketFile>) {
        (self.listener, self.file)
    }

    /// The folder that the socket's file is to be removed from.
    pub fn folder(&self) -> Option<&Path> {
        self.file.as_ref()?.path.parent()
    }

    /// Makes the socket.
    ///
    /// # Errors
    /// See [`SocketError`]; nothing of others was touched.
    pub fn bind(path: &Path, mode: u32) -> Result<Self, SocketError> {
        let length = path.as_os_str().len();
        if length > LONGEST {
            let path = path.to_owned();
            return Err(SocketError::TooLong { path, length });
        }
        let folder = path.parent().unwrap_or(Path::new("/"));
        prepare_folder(folder)?;
        let lock = lock(path)?;
        remove_stale(path)?;
        Ok(Self {
            listener: listen_at(path, mode).map_err(at(path))?,
            file: Some(SocketFile {
                path: path.to_owned(),
                _lock: lock,
            }),
        })
    }
}

/// Linux makes the file with the mode that the socket has before it is bound, less the umask (unix(7)).
fn listen_at(path: &Path, mode: u32) -> io::Result<UnixListener> {
    let socket = socket_with(
        AddressFamily::UNIX,
        SocketType::STREAM,
        SocketFlags::CLOEXEC,
        None,
    )?;
    fchmod(&socket, Mode::from_raw_mode(mode))?;
    bind(&socket, &SocketAddrUnix::new(path)?)?;
    // What the umask has taken.
    fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    listen(&socket, BACKLOG)?;
    Ok(UnixListener::from(socket))
}

/// Makes the folder if it is not there, and checks that nobody else can write to it.
fn prepare_folder(folder: &Path) -> Result<(), SocketError> {
    if !folder.exists() {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(folder)
            .map_err(at(folder))?;
    }
    let meta = fs::metadata(folder).map_err(at(folder))?;
    let own = rustix::process::geteuid().as_raw();
    let writable_by_others = meta.mode() & 0o022 != 0;
    if (meta.uid() != own && meta.uid() != 0) || writable_by_others {
        return Err(SocketError::Folder {
            path: folder.to_owned(),
            owner: meta.uid(),
            mode: meta.mode() & 0o7777,
        });
    }
    Ok(())
}

/// One agent for each socket: the lock ends with the process, however it ends.
fn lock(socket: &Path) -> Result<File, SocketError> {
    let mut path = socket.as_os_str().to_owned();
    path.push(".lock");
    let path = PathBuf::from(path);
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed())
        .open(&path)
        .map_err(at(&path))?;
    if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
        let mut pid = String::new();
        let _ = Read::by_ref(&mut file).take(32).read_to_string(&mut pid);
        return Err(SocketError::Taken {
            path: socket.to_owned(),
            pid: pid.trim().to_owned(),
        });
    }
    file.set_len(0)
        .and_then(|()| writeln!(file, "{}", std::process::id()))
        .map_err(at(&path))?;
    Ok(file)
}

/// Takes away a socket that nobody serves any more: whoever did would hold the lock.
fn remove_stale(path: &Path) -> Result<(), SocketError> {
    match fs::symlink_metadata(path) {
        Ok(meta) if meta.file_type().is_socket() => fs::remove_file(path).map_err(at(path)),
        Ok(_) => Err(SocketError::NotASocket(path.to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(at(path)(error)),
    }
}

fn at(path: &Path) -> impl Fn(io::Error) -> SocketError {
    move |error| SocketError::Io {
        path: path.to_owned(),
        error,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_socket_has_its_mode_from_the_first_moment_and_a_second_agent_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("agent.sock");
        let first = Listeners::bind(&path, 0o600).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        let Err(SocketError::Taken { pid, .. }) = Listeners::bind(&path, 0o600) else {
            panic!("a second agent on the same socket");
        };
        assert_eq!(pid, std::process::id().to_string());
        drop(first);
        assert!(!path.exists());
        Listeners::bind(&path, 0o660).unwrap();
    }

    #[test]
    fn a_stale_socket_is_replaced_and_anything_else_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("agent.sock");
        // What an agent that was killed leaves.
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        drop(Listeners::bind(&path, 0o600).unwrap());
        fs::write(&path, "mine").unwrap();
        assert!(matches!(
            Listeners::bind(&path, 0o600),
            Err(SocketError::NotASocket(_))
        ));
        assert_eq!(fs::read(&path).unwrap(), b"mine");
    }

    #[test]
    fn a_path_too_long_and_a_folder_that_others_write_to_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let long = folder.path().join("x".repeat(120));
        assert!(matches!(
            Listeners::bind(&long, 0o600),
            Err(SocketError::TooLong { .. })
        ));
        let open = folder.path().join("open");
        fs::create_dir(&open).unwrap();
        fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).unwrap();
        assert!(matches!(
            Listeners::bind(&open.join("s"), 0o600),
            Err(SocketError::Folder { .. })
        ));
    }
}
