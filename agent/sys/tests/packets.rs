//! Packets between processes, and who sent them.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::{UnixListener, UnixStream};

use keyward_sys::fd::{
    MOST_FDS, receive_blocking, receive_packet, send_blocking, send_packet, seqpacket_pair,
    try_receive, try_send,
};
use keyward_sys::{peer, process};

#[test]
fn a_packet_arrives_whole_and_alone() {
    let (left, right) = seqpacket_pair().unwrap();
    try_send(left.as_fd(), b"one").unwrap();
    send_blocking(left.as_fd(), b"two").unwrap();
    send_packet(left.as_fd(), b"three", &[]).unwrap();
    let mut buffer = [0; 64];
    assert_eq!(try_receive(right.as_fd(), &mut buffer).unwrap(), 3);
    assert_eq!(&buffer[..3], b"one");
    assert_eq!(receive_blocking(right.as_fd(), &mut buffer).unwrap(), 3);
    assert_eq!(&buffer[..3], b"two");
    let (length, fds) = receive_packet(right.as_fd(), &mut buffer).unwrap();
    assert_eq!((&buffer[..length], fds.len()), (&b"three"[..], 0));
}

#[test]
fn a_packet_that_fills_the_buffer_is_no_error() {
    let (left, right) = seqpacket_pair().unwrap();
    let mut buffer = [0; 3];
    try_send(left.as_fd(), b"one").unwrap();
    assert_eq!(try_receive(right.as_fd(), &mut buffer).unwrap(), 3);
    try_send(left.as_fd(), b"one").unwrap();
    assert_eq!(receive_packet(right.as_fd(), &mut buffer).unwrap().0, 3);
}

#[test]
fn a_packet_longer_than_the_buffer_is_an_error_and_the_next_one_is_not() {
    let (left, right) = seqpacket_pair().unwrap();
    let mut buffer = [0; 4];
    for _ in 0..3 {
        send_blocking(left.as_fd(), b"too long").unwrap();
    }
    send_blocking(left.as_fd(), b"fits").unwrap();
    let kind = |result: Result<usize, std::io::Error>| result.unwrap_err().kind();
    assert_eq!(
        kind(try_receive(right.as_fd(), &mut buffer)),
        ErrorKind::InvalidData
    );
    assert_eq!(
        kind(receive_blocking(right.as_fd(), &mut buffer)),
        ErrorKind::InvalidData
    );
    let received = receive_packet(right.as_fd(), &mut buffer).map(|(length, _)| length);
    assert_eq!(kind(received), ErrorKind::InvalidData);
    assert_eq!(try_receive(right.as_fd(), &mut buffer).unwrap(), 4);
}

#[test]
fn nothing_to_receive_and_no_room_to_send_would_block() {
    let (left, right) = seqpacket_pair().unwrap();
    assert_eq!(
        try_receive(right.as_fd(), &mut [0; 8]).unwrap_err().kind(),
        ErrorKind::WouldBlock
    );
    let full = (0..10_000)
        .find_map(|_| try_send(left.as_fd(), &[7; 4096]).err())
        .unwrap();
    assert_eq!(full.kind(), ErrorKind::WouldBlock);
}

#[test]
fn the_end_of_the_connection_is_zero_bytes_and_sending_is_a_broken_pipe() {
    let (left, right) = seqpacket_pair().unwrap();
    drop(left);
    let mut buffer = [0; 8];
    assert_eq!(try_receive(right.as_fd(), &mut buffer).unwrap(), 0);
    assert_eq!(receive_blocking(right.as_fd(), &mut buffer).unwrap(), 0);
    let (length, fds) = receive_packet(right.as_fd(), &mut buffer).unwrap();
    assert_eq!((length, fds.len()), (0, 0));
    assert_eq!(
        try_send(right.as_fd(), b"x").unwrap_err().kind(),
        ErrorKind::BrokenPipe
    );
}

#[test]
fn an_empty_packet_is_refused_and_so_is_one_too_long_for_the_socket() {
    let (left, _right) = seqpacket_pair().unwrap();
    assert_eq!(
        try_send(left.as_fd(), b"").unwrap_err().kind(),
        ErrorKind::InvalidInput
    );
    assert_eq!(
        send_blocking(left.as_fd(), b"").unwrap_err().kind(),
        ErrorKind::InvalidInput
    );
    assert_eq!(
        send_packet(left.as_fd(), b"", &[]).unwrap_err().kind(),
        ErrorKind::InvalidInput
    );
    let error = try_send(left.as_fd(), &vec![0; 16 << 20]).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::EMSGSIZE));
}

#[test]
fn descriptors_travel_and_are_closed_on_exec() {
    let (left, right) = seqpacket_pair().unwrap();
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(b"hello").unwrap();
    send_packet(left.as_fd(), b"file", &[file.as_fd(); MOST_FDS]).unwrap();
    let (_, fds) = receive_packet(right.as_fd(), &mut [0; 8]).unwrap();
    assert_eq!(fds.len(), MOST_FDS);
    for fd in &fds {
        let flags = rustix::io::fcntl_getfd(fd).unwrap();
        assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
    }
    let mut copy = File::from(fds.into_iter().next().unwrap());
    std::io::Seek::rewind(&mut copy).unwrap();
    let mut text = String::new();
    copy.read_to_string(&mut text).unwrap();
    assert_eq!(text, "hello");
}

#[test]
fn too_many_descriptors_are_refused_on_both_sides_and_closed() {
    let (left, right) = seqpacket_pair().unwrap();
    let (ours, theirs) = UnixStream::pair().unwrap();
    let many = vec![theirs.as_fd(); MOST_FDS + 2];
    assert_eq!(
        send_packet(left.as_fd(), b"x", &many).unwrap_err().kind(),
        ErrorKind::InvalidInput
    );
    send_any(left.as_fd(), b"x", &many);
    let error = receive_packet(right.as_fd(), &mut [0; 8]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidData);
    // If a copy were still open this would wait for ever.
    drop((theirs, left, right));
    assert_eq!((&ours).read(&mut [0; 8]).unwrap(), 0);
}

#[test]
fn the_peer_of_a_pair_is_this_process() {
    let (left, _right) = seqpacket_pair().unwrap();
    check_is_this_process(&peer::of(left.as_fd()).unwrap());
}

#[test]
fn the_peer_of_a_client_is_told_at_accept_and_its_pidfd_is_the_process() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let listener = UnixListener::bind(&path).unwrap();
    let _client = UnixStream::connect(&path).unwrap();
    let (server, _) = listener.accept().unwrap();
    let peer = peer::of(server.as_fd()).unwrap();
    check_is_this_process(&peer);
    let fallback = peer::of_without_pidfd(server.as_fd()).unwrap();
    check_is_this_process(&fallback);
    assert!(fallback.pidfd.is_none());
    if let Some(pidfd) = &peer.pidfd {
        let number = std::os::fd::AsRawFd::as_raw_fd(pidfd);
        let facts = std::fs::read_to_string(format!("/proc/self/fdinfo/{number}")).unwrap();
        assert!(
            facts.contains(&format!("Pid:\t{}\n", std::process::id())),
            "{facts}"
        );
    }
}

#[test]
fn a_kernel_with_peer_pidfds_gives_one() {
    let (left, _right) = UnixStream::pair().unwrap();
    let peer = peer::of(left.as_fd()).unwrap();
    assert_eq!(peer.pidfd.is_some(), kernel() >= (6, 5));
}

#[test]
fn a_socket_without_peer_and_a_file_have_no_credentials() {
    let folder = tempfile::tempdir().unwrap();
    let listener = std::os::unix::net::UnixDatagram::bind(folder.path().join("s")).unwrap();
    assert_eq!(
        peer::of(listener.as_fd()).unwrap_err().kind(),
        ErrorKind::NotConnected
    );
    let file = tempfile::tempfile().unwrap();
    assert_eq!(
        peer::of(file.as_fd()).unwrap_err().raw_os_error(),
        Some(libc::ENOTSOCK)
    );
}

#[test]
fn a_child_is_killed_by_its_pidfd_and_then_gone() {
    let mut child = std::process::Command::new("cat")
        .stdin(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let pidfd = process::pidfd_open(child.id()).unwrap();
    process::kill(pidfd.as_fd(), process::Signal::KILL).unwrap();
    let status = child.wait().unwrap();
    assert_eq!(
        std::os::unix::process::ExitStatusExt::signal(&status),
        Some(libc::SIGKILL)
    );
    let error = process::kill(pidfd.as_fd(), process::Signal::KILL).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::ESRCH));
    assert_eq!(
        process::pidfd_open(0).unwrap_err().kind(),
        ErrorKind::InvalidInput
    );
    assert_eq!(
        process::pidfd_open(u32::MAX).unwrap_err().kind(),
        ErrorKind::InvalidInput
    );
}

fn check_is_this_process(peer: &peer::PeerCredentials) {
    assert_eq!(peer.pid, std::process::id());
    assert_eq!(peer.uid, rustix::process::geteuid().as_raw());
    assert_eq!(peer.gid, rustix::process::getegid().as_raw());
    let mut own: Vec<u32> = rustix::process::getgroups()
        .unwrap()
        .iter()
        .map(|group| group.as_raw())
        .collect();
    let mut groups = peer.groups.clone();
    own.sort_unstable();
    groups.sort_unstable();
    assert_eq!(groups, own);
}

/// Sends more descriptors than this crate does.
fn send_any(socket: BorrowedFd<'_>, packet: &[u8], fds: &[BorrowedFd<'_>]) {
    use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags};
    let mut space = [std::mem::MaybeUninit::uninit(); 256];
    let mut control = SendAncillaryBuffer::new(&mut space);
    assert!(control.push(SendAncillaryMessage::ScmRights(fds)));
    rustix::net::sendmsg(
        socket,
        &[std::io::IoSlice::new(packet)],
        &mut control,
        SendFlags::empty(),
    )
    .unwrap();
}

fn kernel() -> (u32, u32) {
    let release = rustix::system::uname()
        .release()
        .to_str()
        .unwrap()
        .to_owned();
    let mut parts = release
        .split(['.', '-'])
        .map(|part| part.parse().unwrap_or(0));
    (parts.next().unwrap(), parts.next().unwrap())
}
