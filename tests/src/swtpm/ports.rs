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

/// Two neighbouring TCP ports of 127.0.0.1, taken until this is dropped.
///
/// They are bound here without `SO_REUSEADDR`, which fails if anybody has them, and made reusable
/// afterwards: now nobody can take them in this way, and swtpm, which sets the option first, can
/// listen on them as often as it is started. While nobody listens, connections are refused.
#[derive(Debug)]
pub(super) struct Ports {
    first: u16,
    held: [OwnedFd; 2],
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
            Some(Self { first, held })
        });
        let ports = found.expect("two free ports in a row");
        for held in &ports.held {
            set_socket_reuseaddr(held, true).expect("an option of a socket");
        }
        ports
    }

    /// The lower of the two.
    pub(super) fn first(&self) -> u16 {
        self.first
    }

    /// The higher of the two.
    pub(super) fn second(&self) -> u16 {
        self.first.saturating_add(1)
    }

    /// The sockets themselves, to listen on.
    pub(super) fn into_sockets(self) -> [OwnedFd; 2] {
        self.held
    }
}

fn hold(port: u16) -> Option<OwnedFd> {
    let flags = SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None).ok()?;
    bind(&socket, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, port)).ok()?;
    Some(socket)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::Ports;

    #[test]
    fn ports_are_given_once_and_refuse_until_somebody_listens() {
        let (one, other) = (Ports::take(), Ports::take());
        let numbers = [one.first(), one.second(), other.first(), other.second()];
        assert!(!numbers[2..].iter().any(|port| numbers[..2].contains(port)));
        for port in numbers {
            assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
            // With SO_REUSEADDR, which the standard library sets.
            let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
            TcpStream::connect(("127.0.0.1", port)).unwrap();
            drop(listener);
            assert!(super::hold(port).is_none(), "taken twice");
        }
    }
}
