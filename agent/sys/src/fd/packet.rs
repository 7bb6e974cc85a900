//! Packets on a `SOCK_SEQPACKET` pair: a message is sent whole, received whole, or an error.
//!
//! An empty packet cannot be told from the end of the connection, so none is ever sent.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::io::{Errno, retry_on_intr};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags,
    SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
};

/// The most descriptors that travel with one packet.
pub const MOST_FDS: usize = 8;

/// Makes two connected sockets, both close-on-exec and blocking.
///
/// # Errors
/// An error of the kernel, such as too many open files.
pub fn seqpacket_pair() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(rustix::net::socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )?)
}

/// Sends a packet and copies of descriptors with it, and waits until there is room.
///
/// # Errors
/// `InvalidInput` if the packet is empty or has more than [`MOST_FDS`] descriptors; `BrokenPipe` if
/// the peer has gone; `EMSGSIZE` if the packet does not fit into the socket's buffer.
pub fn send_packet(
    socket: BorrowedFd<'_>,
    packet: &[u8],
    fds: &[BorrowedFd<'_>],
) -> io::Result<()> {
    refuse_empty(packet)?;
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_FDS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if fds.len() > MOST_FDS
        || (!fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)))
    {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!(
                "{} descriptors in a packet, at most {MOST_FDS} can be sent",
                fds.len()
            ),
        ));
    }
    let sent = retry_on_intr(|| {
        rustix::net::sendmsg(
            socket,
            &[IoSlice::new(packet)],
            &mut control,
            SendFlags::NOSIGNAL,
        )
    })?;
    sent_whole(sent, packet)
}

/// Waits for a packet and the descriptors with it, which are close-on-exec. The end of the
/// connection is `(0, [])`.
///
/// # Errors
/// `InvalidData` if the packet is longer than the buffer or brought more than [`MOST_FDS`]
/// descriptors; it is lost then, and its descriptors are closed.
pub fn receive_packet(
    socket: BorrowedFd<'_>,
    buffer: &mut [u8],
) -> io::Result<(usize, Vec<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_FDS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = retry_on_intr(|| {
        rustix::net::recvmsg(
            socket,
            &mut [IoSliceMut::new(buffer)],
            &mut control,
            RecvFlags::CMSG_CLOEXEC,
        )
    })?;
    // Taken before anything is refused, so that they are closed then.
    let fds: Vec<OwnedFd> = control
        .drain()
        .filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(fds) => Some(fds),
            _ => None,
        })
        .flatten()
        .collect();
    if received.flags.contains(ReturnFlags::TRUNC) {
        return Err(too_long(buffer.len()));
    }
    // The kernel rounds the space for descriptors up, so one more than asked for can fit.
    if received.flags.contains(ReturnFlags::CTRUNC) || fds.len() > MOST_FDS {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("a packet brought more than {MOST_FDS} descriptors"),
        ));
    }
    Ok((received.bytes, fds))
}

/// Sends a packet if there is room for it at once.
///
/// # Errors
/// `WouldBlock` if there is no room; else those of [`send_packet`].
pub fn try_send(socket: BorrowedFd<'_>, packet: &[u8]) -> io::Result<()> {
    refuse_empty(packet)?;
    let sent = rustix::net::send(socket, packet, SendFlags::DONTWAIT | SendFlags::NOSIGNAL)?;
    sent_whole(sent, packet)
}

/// Sends a packet and waits until there is room.
///
/// # Errors
/// Those of [`send_packet`].
pub fn send_blocking(socket: BorrowedFd<'_>, packet: &[u8]) -> io::Result<()> {
    refuse_empty(packet)?;
    let sent = retry_on_intr(|| rustix::net::send(socket, packet, SendFlags::NOSIGNAL))?;
    sent_whole(sent, packet)
}

/// Receives the packet that is there, if one is. The end of the connection is 0. Descriptors that
/// come with the packet are closed by the kernel.
///
/// # Errors
/// `WouldBlock` if there is none; `InvalidData` if it is longer than the buffer, and it is lost then.
pub fn try_receive(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
    receive(socket, buffer, RecvFlags::DONTWAIT)
}

/// Waits for a packet. The end of the connection is 0. Descriptors that come with the packet are
/// closed by the kernel.
///
/// # Errors
/// `InvalidData` if it is longer than the buffer, and it is lost then.
pub fn receive_blocking(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
    receive(socket, buffer, RecvFlags::empty())
}

fn receive(socket: BorrowedFd<'_>, buffer: &mut [u8], flags: RecvFlags) -> io::Result<usize> {
    // With TRUNC the kernel tells the packet's whole length.
    let (_, length) =
        retry_on_intr(|| rustix::net::recv(socket, &mut *buffer, flags | RecvFlags::TRUNC))?;
    if length > buffer.len() {
        return Err(too_long(buffer.len()));
    }
    Ok(length)
}

fn refuse_empty(packet: &[u8]) -> io::Result<()> {
    if packet.is_empty() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "a packet cannot be empty",
        ));
    }
    Ok(())
}

fn sent_whole(sent: usize, packet: &[u8]) -> io::Result<()> {
    if sent != packet.len() {
        return Err(Errno::MSGSIZE.into());
    }
    Ok(())
}

fn too_long(room: usize) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("a packet was longer than the {room} bytes that there is room for"),
    )
}
