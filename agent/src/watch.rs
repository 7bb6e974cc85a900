//! Watching a descriptor for what is needed only: tokio's own sockets are watched for room to send all
//! the time, so that whoever takes what was sent wakes the agent for nothing.

use std::io;
use std::os::fd::OwnedFd;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Watches a descriptor that does not block.
#[allow(
    deprecated,
    reason = "unsound only for types that can give another descriptor later; an OwnedFd does not"
)]
pub(crate) fn watch(fd: OwnedFd, interest: Interest) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(fd, interest)
}
