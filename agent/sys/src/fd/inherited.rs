//! Descriptors that a process is started with: systemd's listening sockets, and a socket as stdin.
#![allow(unsafe_code)]

use std::env;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{Mode, OFlags};
use rustix::net::sockopt::{socket_acceptconn, socket_domain, socket_type};
use rustix::net::{AddressFamily, SocketType};

/// The first descriptor that systemd passes.
const FIRST: RawFd = 3;
/// More than any sensible `.socket` unit has.
const MOST: RawFd = 16;

/// Takes the listening sockets that systemd passed (`LISTEN_FDS`, `LISTEN_PID`), and makes them
/// close-on-exec. Without any, or if they are for another process, the answer is empty.
///
/// To be called once, before any thread is started and any file is opened: the descriptors belong
/// to whoever takes them first. The environment is left as it is; `LISTEN_PID` keeps children from
/// taking the sockets for theirs.
///
/// # Errors
/// `InvalidInput` if a variable makes no sense, if a descriptor is not open or no listening Unix
/// stream socket, or if this was called before.
pub fn take_listen_fds() -> io::Result<Vec<OwnedFd>> {
    static TAKEN: AtomicBool = AtomicBool::new(false);
    let (Some(count), Some(pid)) = (number("LISTEN_FDS")?, number("LISTEN_PID")?) else {
        return Ok(Vec::new());
    };
    if u32::try_from(pid).ok() != Some(std::process::id()) {
        return Ok(Vec::new());
    }
    if !(0..=MOST).contains(&count) {
        return Err(invalid(format!(
            "LISTEN_FDS is {count}; at most {MOST} sockets can be passed"
        )));
    }
    if TAKEN.swap(true, Ordering::SeqCst) {
        return Err(invalid(
            "the sockets of LISTEN_FDS have been taken already".to_owned(),
        ));
    }
    (FIRST..FIRST.saturating_add(count))
        .map(take_listener)
        .collect()
}

/// Takes descriptor 0 as the packet socket that the parent passed, and puts `/dev/null` in its
/// place, so that nothing that reads stdin gets at it.
///
/// # Errors
/// `InvalidInput` if descriptor 0 is no `SOCK_SEQPACKET` Unix socket; else an error of the kernel.
pub fn stdin_socket() -> io::Result<OwnedFd> {
    let stdin = io::stdin();
    let stdin = stdin.as_fd();
    if socket_domain(stdin).ok() != Some(AddressFamily::UNIX)
        || socket_type(stdin).ok() != Some(SocketType::SEQPACKET)
    {
        return Err(invalid(
            "stdin is not the packet socket that keywardd passes: this program is started by keywardd only".to_owned(),
        ));
    }
    let socket = rustix::io::fcntl_dupfd_cloexec(stdin, FIRST)?;
    let null = rustix::fs::open("/dev/null", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    // SAFETY: both numbers are open descriptors; whoever uses descriptor 0 as stdin finds it open
    // before and after.
    if unsafe { libc::dup2(std::os::fd::AsRawFd::as_raw_fd(&null), 0) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(socket)
}

fn take_listener(fd: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: F_SETFD takes any number and touches no memory; a number that is not open is an error.
    if unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) } < 0 {
        return Err(invalid(format!(
            "descriptor {fd} of LISTEN_FDS is not open"
        )));
    }
    // SAFETY: the descriptor is open, and nothing else owns it: systemd passed it to this process,
    // and it is taken once, as the function that calls this one makes sure.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    if !is_unix_listener(fd.as_fd()) {
        return Err(invalid(format!(
            "descriptor {} of LISTEN_FDS is not a listening Unix stream socket; \
             the .socket unit must have ListenStream= with a path",
            std::os::fd::AsRawFd::as_raw_fd(&fd)
        )));
    }
    Ok(fd)
}

fn is_unix_listener(fd: BorrowedFd<'_>) -> bool {
    socket_domain(fd).ok() == Some(AddressFamily::UNIX)
        && socket_type(fd).ok() == Some(SocketType::STREAM)
        && socket_acceptconn(fd).unwrap_or(false)
}

fn number(variable: &str) -> io::Result<Option<i32>> {
    let Some(value) = env::var_os(variable) else {
        return Ok(None);
    };
    value
        .to_str()
        .and_then(|value| value.parse().ok())
        .map(Some)
        .ok_or_else(|| invalid(format!("{variable} is {value:?}, not a number")))
}

fn invalid(message: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, message)
}
