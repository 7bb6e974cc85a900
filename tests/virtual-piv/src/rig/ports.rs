//! Two ports in a row that nobody else gets.

use std::{
    net::{Ipv4Addr, SocketAddrV4},
    os::fd::OwnedFd,
    process,
    sync::atomic::{AtomicU16, Ordering},
};

use rustix::net::{
    AddressFamily, SocketFlags, SocketType, bind, socket_with, sockopt::set_socket_reuseaddr,
};

/// Below the range from which the kernel gives ports to who asks for any.
const FIRST: u16 = 12_000;
const PAIRS: u16 = 10_000;

static NEXT: AtomicU16 = AtomicU16::new(0);

/// Two neighbouring TCP ports, taken until this is dropped: vpcd listens on one for each of its two
/// slots.
///
/// They are bound here without `SO_REUSEADDR`, which fails if anybody has them, and made reusable
/// afterwards: now nobody can take them in this way, and vpcd, which sets the option first, can
/// listen on them as often as it is started. While nobody listens, connections are refused.
#[derive(Debug)]
pub(super) struct Ports {
    first: u16,
    _held: [OwnedFd; 2],
}

impl Ports {
    #[track_caller]
    pub(super) fn take() -> Self {
        // Where a process begins is its own, so that few are tried in vain.
        let start = process::id().to_le_bytes();
        let start = u16::from_le_bytes([start[0], start[1]]);
        let found = (0..PAIRS).find_map(|_| {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let pair = start.wrapping_mul(37).wrapping_add(number) % PAIRS;
            let first = FIRST.checked_add(pair.checked_mul(2)?)?;
            let held = [hold(first)?, hold(first.checked_add(1)?)?];
            Some((first, held))
        });
        let (first, held) = found.expect("two free ports in a row");
        for socket in &held {
            set_socket_reuseaddr(socket, true).expect("an option of a socket");
        }
        Self { first, _held: held }
    }

    /// The lower of the two.
    pub(super) fn first(&self) -> u16 {
        self.first
    }
}

/// vpcd listens on all addresses, so it is these that must be free.
fn hold(port: u16) -> Option<OwnedFd> {
    let flags = SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None).ok()?;
    bind(&socket, &SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port)).ok()?;
    Some(socket)
}
