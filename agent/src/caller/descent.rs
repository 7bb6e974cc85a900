//! Whether a process lives, and whose child it is.

use std::io;
use std::os::fd::BorrowedFd;

use rustix::event::{PollFd, PollFlags, Timespec};

use super::stat;

/// Deeper trees are not followed.
const MOST_LEVELS: usize = 64;

/// Whether a process is `ancestor` or was started by it, at however many removes.
///
/// The chain ends at a process that cannot be seen. Every level can end while it is walked; a
/// worker's own chain can't, since the monitor outlives its workers.
#[must_use]
pub fn is_or_descends_from(pid: u32, ancestor: u32) -> bool {
    let mut pid = pid;
    for _ in 0..MOST_LEVELS {
        if pid == ancestor {
            return pid != 0;
        }
        match stat::of(pid) {
            Ok(stat) if stat.parent != 0 => pid = stat.parent,
            _ => return false,
        }
    }
    false
}

/// Whether the process of a pidfd has ended, all its threads included.
///
/// # Errors
/// An error of the kernel.
pub fn has_ended(pidfd: BorrowedFd<'_>) -> io::Result<bool> {
    let mut polled = [PollFd::from_borrowed_fd(pidfd, PollFlags::IN)];
    let now = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    rustix::io::retry_on_intr(|| rustix::event::poll(&mut polled, Some(&now)))?;
    Ok(polled.iter().any(|fd| !fd.revents().is_empty()))
}
