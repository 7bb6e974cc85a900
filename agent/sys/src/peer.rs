//! Who is at the other end of a Unix socket, as the kernel noted it at `connect` or `socketpair`.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd};

use crate::sockopt::{self, Answer};

/// `NGROUPS_MAX` groups of four bytes: the most that the kernel gives a process.
const MOST_GROUP_BYTES: usize = 65_536 * 4;
/// Longer than the labels of SELinux, AppArmor and Smack.
const MOST_LABEL_BYTES: usize = 16 * 1024;

/// The facts that the kernel vouches for.
#[derive(Debug)]
pub struct PeerCredentials {
    /// Effective user id at the time of the connection.
    pub uid: u32,
    /// Effective group id at the time of the connection.
    pub gid: u32,
    /// Process id; 0 if the peer lives in a PID namespace that cannot be seen from here.
    pub pid: u32,
    /// Supplementary groups, as numbers.
    pub groups: Vec<u32>,
    /// The process itself, which no recycled pid can imitate; `None` before Linux 6.5.
    pub pidfd: Option<OwnedFd>,
    /// The label that SELinux, AppArmor or Smack gives the peer.
    pub security_label: Option<String>,
}

/// Reads who is at the other end of a connected Unix socket.
///
/// # Errors
/// An error of the kernel; `ESRCH` if the peer has already gone.
pub fn of(socket: BorrowedFd<'_>) -> io::Result<PeerCredentials> {
    Ok(PeerCredentials {
        pidfd: pidfd(socket)?,
        ..of_without_pidfd(socket)?
    })
}

/// Like [`of`], as a kernel without `SO_PEERPIDFD` would answer.
///
/// # Errors
/// An error of the kernel.
pub fn of_without_pidfd(socket: BorrowedFd<'_>) -> io::Result<PeerCredentials> {
    let (pid, uid, gid) = ids(socket)?;
    Ok(PeerCredentials {
        uid,
        gid,
        pid,
        groups: groups(socket)?,
        pidfd: None,
        security_label: security_label(socket)?,
    })
}

/// Pid, uid and gid of `SO_PEERCRED`. (`rustix` takes the pid for non-zero, which a peer in a
/// foreign PID namespace breaks.)
fn ids(socket: BorrowedFd<'_>) -> io::Result<(u32, u32, u32)> {
    let mut buffer = [0; 12];
    match sockopt::get(socket, libc::SO_PEERCRED, &mut buffer)? {
        Answer::Filled(12) => {}
        Answer::Filled(_) | Answer::TooLong(_) => return Err(io::ErrorKind::InvalidData.into()),
    }
    let [p0, p1, p2, p3, u0, u1, u2, u3, g0, g1, g2, g3] = buffer;
    let uid = u32::from_ne_bytes([u0, u1, u2, u3]);
    if uid == u32::MAX {
        return Err(io::Error::new(
            io::ErrorKind::NotConnected,
            "the socket has no peer",
        ));
    }
    Ok((
        u32::from_ne_bytes([p0, p1, p2, p3]),
        uid,
        u32::from_ne_bytes([g0, g1, g2, g3]),
    ))
}

fn groups(socket: BorrowedFd<'_>) -> io::Result<Vec<u32>> {
    let bytes = sockopt::get_variable(socket, libc::SO_PEERGROUPS, MOST_GROUP_BYTES)?;
    Ok(bytes
        .unwrap_or_default()
        .as_chunks::<4>()
        .0
        .iter()
        .map(|group| u32::from_ne_bytes(*group))
        .collect())
}

fn security_label(socket: BorrowedFd<'_>) -> io::Result<Option<String>> {
    let bytes = sockopt::get_variable(socket, libc::SO_PEERSEC, MOST_LABEL_BYTES)?;
    Ok(bytes.and_then(|bytes| {
        let label = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
        let label = String::from_utf8_lossy(label).trim_end().to_owned();
        (!label.is_empty()).then_some(label)
    }))
}

fn pidfd(socket: BorrowedFd<'_>) -> io::Result<Option<OwnedFd>> {
    let mut buffer = [0; 4];
    match sockopt::get(socket, libc::SO_PEERPIDFD, &mut buffer) {
        Ok(Answer::Filled(4)) => {
            let fd = libc::c_int::from_ne_bytes(buffer);
            // SAFETY: the kernel has just made this descriptor for us (close-on-exec), and nobody
            // else knows its number.
            Ok(Some(unsafe { OwnedFd::from_raw_fd(fd) }))
        }
        Ok(Answer::Filled(_) | Answer::TooLong(_)) => Err(io::ErrorKind::InvalidData.into()),
        Err(error) if sockopt::is_absent(&error) => Ok(None),
        Err(error) => Err(error),
    }
}
