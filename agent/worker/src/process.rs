//! A worker's life: harden, take the socket, hear from the monitor, seal, load, serve, leave.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use keyward_backend::BackendError;
use keyward_backend::message::MAX_PACKET;
use keyward_backend::start::{Hardware, SocketKinds, Start};
use keyward_backend::tcti::Tcti;
use keyward_backend::token::Protection;
use keyward_sys::fd::{receive_blocking, stdin_socket};
use keyward_sys::process::{die_with_parent, exit_immediately, harden};
use keyward_sys::sandbox::{self, Holds, Requirement, Role, Sandbox, Sockets};
use zeroize::Zeroizing;

use crate::credential::Credentials;
use crate::piv::Piv;
use crate::pkcs11::Token;
use crate::serve::{self, Settings};
use crate::tpm::{self, Tpm};

/// What a process needs to load a library and what that library itself commonly reads.
///
/// Nothing here holds secrets or can be written by the user.
pub(crate) const COMMON_READ: &[&str] = &[
    "/lib",
    "/lib64",
    "/usr/lib",
    "/usr/lib64",
    "/usr/local/lib",
    "/etc/ld.so.cache",
    "/etc/ssl/openssl.cnf",
    "/etc/localtime",
    "/dev/urandom",
    "/dev/null",
    "/proc/cpuinfo",
    "/proc/sys/crypto/fips_enabled",
    "/sys/devices/system/cpu",
];

/// Runs a worker to its end, and comes back only where it could not begin.
#[must_use]
pub fn run(name: &str) -> ExitCode {
    let (socket, start) = match begin(name) {
        Ok(begun) => begun,
        Err(error) => {
            eprintln!("keyward-worker {name}: error: {error}");
            eprintln!("hint: keywardd starts this program; see `keyward-worker --help`");
            return ExitCode::from(2);
        }
    };
    let settings = Settings::new(start.threads, start.spin_us);
    let prepared = prepare(&start);
    let ended = match prepared {
        Ok(loaded) => {
            let credentials = Credentials::new(start.pin_file, start.remembered_pin);
            loaded.serve(socket, credentials, settings)
        }
        Err(error) => {
            eprintln!("keyward-worker {name}: error: {error}");
            serve::refuse(socket, &error)
        }
    };
    // Without destructors and `atexit`: the module's and OpenSSL's crash there.
    match ended {
        Ok(_) => exit_immediately(0),
        Err(error) => {
            eprintln!("keyward-worker {name}: error: {error}");
            exit_immediately(1)
        }
    }
}

/// Hardens the process, takes the socket and hears from the monitor.
fn begin(name: &str) -> io::Result<(OwnedFd, Start)> {
    harden()?;
    die_with_parent(None)?;
    let socket = stdin_socket()?;
    let mut packet = Zeroizing::new(vec![0; MAX_PACKET]);
    let length = receive_blocking(socket.as_fd(), &mut packet)?;
    let bytes = packet.get(..length).unwrap_or_default();
    let start: Start = minicbor::decode(bytes)
        .map_err(|_| invalid("the first packet is not what the monitor sends"))?;
    if start.token != name {
        return Err(invalid("the first packet is for another token"));
    }
    Ok((socket, start))
}

/// The code that drives the token. The threads that serve live as long as the process.
enum Loaded {
    Pkcs11(&'static Token),
    Tpm(&'static Tpm),
    Piv(&'static Piv),
}

impl Loaded {
    /// Serves to the end.
    fn serve(
        self,
        socket: OwnedFd,
        credentials: Credentials,
        settings: Settings,
    ) -> Result<serve::End, serve::ServeError> {
        match self {
            Self::Pkcs11(token) => {
                let ended = serve::serve(socket, token, credentials, settings);
                if matches!(ended, Ok(serve::End::Idle)) {
                    token.finalize();
                }
                ended
            }
            Self::Tpm(token) => {
                let ended = serve::serve(socket, token, credentials, settings);
                if matches!(ended, Ok(serve::End::Idle)) {
                    token.close();
                }
                ended
            }
            // There is nothing to close: no handle to the card is kept.
            Self::Piv(token) => serve::serve(socket, token, credentials, settings),
        }
    }
}

/// Seals the process, then loads what drives the token.
fn prepare(start: &Start) -> Result<Loaded, BackendError> {
    let module = match &start.hardware {
        Hardware::Pkcs11 { module, .. } => Some(Path::new(module)),
        _ => None,
    };
    if let Hardware::Tpm { tcti, .. } = &start.hardware {
        // What is not there can't be opened to the sandbox.
        tpm::reach::is_there(&parsed(tcti)?)?;
    }
    let requirement = match start.sandbox.enforce {
        true => Requirement::Enforce,
        false => Requirement::BestEffort,
    };
    let holds = sandbox::seal(&sandbox_of(start, module), requirement)
        .map_err(|error| BackendError::DeviceFailed(error.to_string()))?;
    let protections = protections(&holds, start.sandbox.sockets);
    match &start.hardware {
        Hardware::Pkcs11 { module, uri } => {
            let token = Token::load(Path::new(module), uri, protections)?;
            Ok(Loaded::Pkcs11(Box::leak(Box::new(token))))
        }
        Hardware::Tpm { tcti, keys } => {
            let token = Tpm::new(parsed(tcti)?, Path::new(keys), protections)?;
            Ok(Loaded::Tpm(Box::leak(Box::new(token))))
        }
        Hardware::Piv {
            serial,
            pin_seconds,
        } => {
            let token = Piv::new(*serial, *pin_seconds, protections);
            Ok(Loaded::Piv(Box::leak(Box::new(token))))
        }
        _ => Err(BackendError::DeviceFailed(
            "this keyward-worker does not drive such tokens; install the one of this keywardd"
                .to_owned(),
        )),
    }
}

fn parsed(tcti: &str) -> Result<Tcti, BackendError> {
    Tcti::parse(tcti).map_err(|error| BackendError::DeviceFailed(error.to_string()))
}

fn sandbox_of(start: &Start, module: Option<&Path>) -> Sandbox {
    let mut read: Vec<PathBuf> = COMMON_READ.iter().map(PathBuf::from).collect();
    read.extend(start.sandbox.read.iter().map(PathBuf::from));
    read.extend(module.into_iter().flat_map(module_folder));
    read.extend(start.pin_file.iter().map(PathBuf::from));
    Sandbox {
        read,
        write: start.sandbox.write.iter().map(PathBuf::from).collect(),
        remove: Vec::new(),
        sockets: match start.sandbox.sockets {
            SocketKinds::None => Sockets::None,
            SocketKinds::Unix => Sockets::Unix,
            SocketKinds::Inet => Sockets::UnixAndInet,
        },
        role: Role::Worker,
    }
}

/// The module's own folder, also behind symbolic links: vendors keep what it loads beside it. Only
/// the file itself where the folder is one that anything may be in.
pub(crate) fn module_folder(module: &Path) -> impl Iterator<Item = PathBuf> {
    let real = module.canonicalize().ok();
    let folder = |path: &Path| -> Option<PathBuf> {
        let folder = path.parent()?;
        let wide = [
            "/", "/tmp", "/var/tmp", "/home", "/root", "/run", "/var", "/etc", "",
        ]
        .iter()
        .any(|wide| folder == Path::new(wide));
        Some(if wide { path } else { folder }.to_owned())
    };
    [folder(module), real.as_deref().and_then(folder)]
        .into_iter()
        .flatten()
}

fn protections(holds: &Holds, sockets: SocketKinds) -> Vec<Protection> {
    let missing = || Some(holds.missing.join("; ")).filter(|text| !text.is_empty());
    let network = match sockets {
        SocketKinds::Inet => Some("the configuration gives this token the network".to_owned()),
        SocketKinds::None | SocketKinds::Unix => missing(),
    };
    [
        ("files", holds.filesystem, missing()),
        ("network", holds.network, network),
        ("scopes", holds.scopes, missing()),
        ("system calls", holds.seccomp, missing()),
    ]
    .into_iter()
    .map(|(name, holds, detail)| Protection {
        name: name.to_owned(),
        holds,
        detail: detail.filter(|_| !holds),
    })
    .collect()
}

fn invalid(message: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message)
}
