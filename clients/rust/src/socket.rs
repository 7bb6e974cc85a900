//! Where the agent's socket is, and whether who serves it may be trusted.

use std::ffi::OsStr;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use rustix::io::retry_on_intr;
use rustix::net::sockopt::{self, Timeout};
use rustix::net::{self, AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use crate::error::{Error, Unreachable};

/// The socket of the system's agent.
pub const SYSTEM_SOCKET: &str = "/run/keyward/agent.sock";
/// The environment variable that names another socket.
pub const SOCKET_VARIABLE: &str = "KEYWARD_SOCK";
/// The environment variable that names the user who runs the agent, as a number.
pub const SERVER_UID_VARIABLE: &str = "KEYWARD_SERVER_UID";

/// How long the agent may take to accept a connection, and to say hello.
pub(crate) const HELLO_TIMEOUT: Duration = Duration::from_secs(10);
/// The most bytes of a path in `sockaddr_un`, which ends with a zero.
const LONGEST_PATH: usize = 107;

/// A socket, and the users who may serve it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    path: PathBuf,
    trusted: Vec<u32>,
}

impl Endpoint {
    /// The socket that `KEYWARD_SOCK` names; else the user's, if it is there; else the system's,
    /// if it is there; else the user's.
    ///
    /// # Errors
    /// `KEYWARD_SERVER_UID` is not a number.
    pub fn from_environment() -> Result<Self, Error> {
        Self::from_variables(std::env::var_os)
    }

    /// A socket at a path.
    ///
    /// It may be served by the caller's own user or root; the system's socket also by the owner
    /// of its folder, which only root can have made.
    #[must_use]
    pub fn at(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        let mut trusted = vec![rustix::process::geteuid().as_raw(), 0];
        if path == Path::new(SYSTEM_SOCKET) {
            trusted.extend(system_owner());
        }
        Self { path, trusted }
    }

    /// The same, served by `uid` as well.
    #[must_use]
    pub fn trust(mut self, uid: u32) -> Self {
        self.trusted.push(uid);
        self
    }

    /// Where the socket is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The users who may serve it.
    #[must_use]
    pub fn trusted(&self) -> &[u32] {
        &self.trusted
    }

    /// Connects and checks who serves the socket; nothing is sent.
    pub(crate) fn connect(&self) -> Result<UnixStream, Error> {
        let length = self.path.as_os_str().len();
        if length > LONGEST_PATH {
            return Err(self.unreachable(Unreachable::PathTooLong { length }));
        }
        let stream = self.stream().map_err(|e| self.refused(e.into()))?;
        self.check_server(&stream)?;
        Ok(stream)
    }

    /// Connects; the kernel waits for room in the listener's queue as long as for sending.
    fn stream(&self) -> rustix::io::Result<UnixStream> {
        let socket = net::socket_with(
            AddressFamily::UNIX,
            SocketType::STREAM,
            SocketFlags::CLOEXEC,
            None,
        )?;
        sockopt::set_socket_timeout(&socket, Timeout::Send, Some(HELLO_TIMEOUT))?;
        retry_on_intr(|| net::connect(&socket, &SocketAddrUnix::new(&self.path)?))?;
        sockopt::set_socket_timeout(&socket, Timeout::Send, None)?;
        Ok(socket.into())
    }

    fn check_server(&self, stream: impl AsFd) -> Result<(), Error> {
        let uid = getsockopt(&stream, PeerCredentials)
            .map_err(|e| self.unreachable(Unreachable::Io(e.into())))?
            .uid();
        if self.trusted.contains(&uid) {
            return Ok(());
        }
        let mut trusted = self.trusted.clone();
        trusted.sort_unstable();
        trusted.dedup();
        Err(Error::Untrusted {
            path: self.path.clone(),
            uid,
            trusted,
        })
    }

    /// Why `connect` failed: the error alone does not tell a stale socket from another file.
    fn refused(&self, error: io::Error) -> Error {
        let reason = match error.kind() {
            io::ErrorKind::NotFound => Unreachable::Missing,
            io::ErrorKind::PermissionDenied => Unreachable::Denied,
            io::ErrorKind::ConnectionRefused => match std::fs::metadata(&self.path) {
                Ok(there) if !there.file_type().is_socket() => Unreachable::NotASocket,
                _ => Unreachable::Stale,
            },
            io::ErrorKind::NotADirectory => Unreachable::Missing,
            io::ErrorKind::WouldBlock => Unreachable::Silent {
                seconds: HELLO_TIMEOUT.as_secs(),
            },
            _ => Unreachable::Io(error),
        };
        self.unreachable(reason)
    }

    pub(crate) fn unreachable(&self, reason: Unreachable) -> Error {
        Error::Unreachable {
            path: self.path.clone(),
            reason,
        }
    }

    fn from_variables(
        variable: impl Fn(&'static str) -> Option<std::ffi::OsString>,
    ) -> Result<Self, Error> {
        let endpoint = Self::at(
            match variable(SOCKET_VARIABLE).filter(|path| !path.is_empty()) {
                Some(path) => path.into(),
                None => standard(variable("XDG_RUNTIME_DIR").as_deref()),
            },
        );
        match variable(SERVER_UID_VARIABLE) {
            None => Ok(endpoint),
            Some(uid) => match std::str::from_utf8(uid.as_bytes())
                .ok()
                .and_then(|uid| uid.parse().ok())
            {
                Some(uid) => Ok(endpoint.trust(uid)),
                None => Err(Error::Environment {
                    variable: SERVER_UID_VARIABLE,
                    problem: "it is not a user's number; `id -u NAME` prints it".into(),
                }),
            },
        }
    }
}

/// The user's socket, unless only the system's is there.
fn standard(runtime: Option<&OsStr>) -> PathBuf {
    let system = PathBuf::from(SYSTEM_SOCKET);
    // The specification of XDG_RUNTIME_DIR wants a relative path to be ignored.
    match runtime.map(Path::new).filter(|path| path.is_absolute()) {
        Some(runtime) => {
            let own = runtime.join("keyward/agent.sock");
            if !own.exists() && system.exists() {
                system
            } else {
                own
            }
        }
        None => system,
    }
}

/// Who owns the folder of the system's socket: `/run` is root's, so root said who it is.
fn system_owner() -> Option<u32> {
    let folder = Path::new(SYSTEM_SOCKET).parent()?;
    let run = std::fs::symlink_metadata(folder.parent()?).ok()?;
    let there = std::fs::symlink_metadata(folder).ok()?;
    let run_is_roots = run.uid() == 0 && run.mode() & 0o022 == 0;
    (run_is_roots && there.is_dir()).then(|| there.uid())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    fn endpoint(variables: &[(&str, &str)]) -> Result<Endpoint, Error> {
        Endpoint::from_variables(|name| {
            let found = variables.iter().find(|(n, _)| *n == name);
            found.map(|(_, value)| value.into())
        })
    }

    fn reason(path: &Path) -> Unreachable {
        match Endpoint::at(path).connect() {
            Err(Error::Unreachable { reason, .. }) => reason,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_variable_comes_first_then_the_users_socket_then_the_systems() {
        let named = endpoint(&[("KEYWARD_SOCK", "/a/b"), ("XDG_RUNTIME_DIR", "/c")]).unwrap();
        assert_eq!(named.path(), Path::new("/a/b"));
        let folder = tempfile::tempdir().unwrap();
        let runtime = folder.path().to_str().unwrap();
        std::fs::create_dir(folder.path().join("keyward")).unwrap();
        std::fs::write(folder.path().join("keyward/agent.sock"), b"").unwrap();
        let own = endpoint(&[("XDG_RUNTIME_DIR", runtime)]).unwrap();
        assert_eq!(own.path(), folder.path().join("keyward/agent.sock"));
        assert_eq!(endpoint(&[]).unwrap().path(), Path::new(SYSTEM_SOCKET));
        let empty = endpoint(&[("KEYWARD_SOCK", "")]).unwrap();
        assert_eq!(empty.path(), Path::new(SYSTEM_SOCKET));
        let relative = endpoint(&[("XDG_RUNTIME_DIR", "run")]).unwrap();
        assert_eq!(relative.path(), Path::new(SYSTEM_SOCKET));
    }

    #[test]
    fn a_variable_that_makes_no_sense_is_an_error() {
        assert!(matches!(
            endpoint(&[("KEYWARD_SERVER_UID", "root")]),
            Err(Error::Environment { .. })
        ));
        let trusting = endpoint(&[("KEYWARD_SERVER_UID", "4711")]).unwrap();
        assert!(trusting.trusted().contains(&4711));
    }

    #[test]
    fn each_thing_that_can_be_wrong_with_a_socket_has_its_own_reason() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        assert!(matches!(reason(&at("none")), Unreachable::Missing));
        std::fs::write(at("file"), b"").unwrap();
        assert!(matches!(reason(&at("file")), Unreachable::NotASocket));
        assert!(matches!(reason(&at("file/x")), Unreachable::Missing));
        drop(UnixListener::bind(at("stale")).unwrap());
        assert!(matches!(reason(&at("stale")), Unreachable::Stale));
        assert!(matches!(
            reason(&at(&"x".repeat(108))),
            Unreachable::PathTooLong { length: 109.. }
        ));
    }

    #[test]
    fn a_server_of_another_user_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        let _listener = UnixListener::bind(&path).unwrap();
        let own = rustix::process::geteuid().as_raw();
        let strict = Endpoint {
            path: path.clone(),
            trusted: vec![own.wrapping_add(1)],
        };
        assert!(matches!(
            strict.connect(),
            Err(Error::Untrusted { uid, .. }) if uid == own
        ));
        assert!(Endpoint::at(&path).connect().is_ok());
    }
}
