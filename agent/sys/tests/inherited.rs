//! Descriptors that a process is started with, and what it does to itself at start.
#![allow(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]

#[path = "support/cases.rs"]
mod cases;

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitCode, Stdio};

use keyward_sys::fd::{self, receive_blocking, seqpacket_pair, take_listen_fds};
use keyward_sys::process;

fn main() -> ExitCode {
    let children: &[cases::Case] = &[
        ("taken", taken),
        ("refused", refused),
        ("talks_over_stdin", talks_over_stdin),
        ("waits_for_ever", waits_for_ever),
        ("starts_a_child_and_ends", starts_a_child_and_ends),
    ];
    let cases: &[cases::Case] = &[
        ("a_passed_listener_is_taken_once_and_closed_on_exec", || {
            pass("taken", listener(), "1")
        }),
        ("without_variables_nothing_is_taken", nothing_is_taken),
        ("a_listener_for_another_pid_is_left_alone", another_pid),
        ("a_connected_socket_is_no_listener", || {
            pass("refused", stream(), "1")
        }),
        ("a_bound_datagram_socket_is_no_listener", || {
            pass("refused", datagram(), "1")
        }),
        ("a_file_is_no_listener", || {
            pass("refused", File::open("/dev/null").unwrap().into(), "1")
        }),
        ("a_descriptor_that_is_not_open_is_refused", || {
            pass("refused", listener(), "5")
        }),
        ("a_count_that_is_no_number_is_refused", || {
            pass("refused", listener(), "one")
        }),
        ("a_count_beyond_reason_is_refused", || {
            pass("refused", listener(), "2000000000")
        }),
        ("a_negative_count_is_refused", || {
            pass("refused", listener(), "-1")
        }),
        (
            "a_packet_socket_as_stdin_moves_away_and_stdin_is_null",
            stdin_socket,
        ),
        ("any_other_stdin_is_refused", other_stdin),
        (
            "a_hardened_process_leaves_no_core_and_gets_no_rights",
            hardened,
        ),
        ("a_child_dies_with_its_parent", dies_with_parent),
        ("a_parent_that_has_gone_is_noticed", wrong_parent),
        ("the_limit_of_open_files_is_raised", nofile),
        (
            "a_peer_with_many_groups_is_told_with_all_of_them",
            many_groups,
        ),
    ];
    cases::main(cases, children)
}

/// Puts the descriptor where systemd would and becomes the program that takes it.
fn pass(case: &str, fd: OwnedFd, count: &str) {
    // SAFETY: nothing in this program knows descriptor 3 by number.
    assert_eq!(unsafe { libc::dup2(fd.as_raw_fd(), 3) }, 3);
    if fd.as_raw_fd() == 3 {
        rustix::io::fcntl_setfd(&fd, rustix::io::FdFlags::empty()).unwrap();
    }
    let pid = std::process::id().to_string();
    cases::become_case(
        case,
        &[("LISTEN_FDS", count.to_owned()), ("LISTEN_PID", pid)],
    );
}

fn listener() -> OwnedFd {
    UnixListener::bind(cases::scratch().join("listener"))
        .unwrap()
        .into()
}

fn stream() -> OwnedFd {
    UnixStream::pair().unwrap().0.into()
}

fn datagram() -> OwnedFd {
    UnixDatagram::bind(cases::scratch().join("datagram"))
        .unwrap()
        .into()
}

fn taken() {
    let taken = take_listen_fds().unwrap();
    assert_eq!(taken.len(), 1);
    assert!(
        rustix::io::fcntl_getfd(&taken[0])
            .unwrap()
            .contains(rustix::io::FdFlags::CLOEXEC)
    );
    let listener = UnixListener::from(taken.into_iter().next().unwrap());
    let _client = UnixStream::connect(cases::scratch().join("listener")).unwrap();
    listener.accept().unwrap();
    assert!(
        take_listen_fds()
            .unwrap_err()
            .to_string()
            .contains("taken already")
    );
}

fn nothing_is_taken() {
    assert!(take_listen_fds().unwrap().is_empty());
}

fn another_pid() {
    if std::env::var_os("LISTEN_FDS").is_some() {
        return nothing_is_taken();
    }
    let variables = [
        ("LISTEN_FDS", "1".to_owned()),
        ("LISTEN_PID", "1".to_owned()),
    ];
    cases::become_case("a_listener_for_another_pid_is_left_alone", &variables);
}

fn refused() {
    let error = take_listen_fds().unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
    assert!(error.to_string().contains("LISTEN_FDS"), "{error}");
}

fn stdin_socket() {
    let (ours, theirs) = seqpacket_pair().unwrap();
    let mut child = cases::command("talks_over_stdin")
        .stdin(Stdio::from(theirs))
        .spawn()
        .unwrap();
    let mut buffer = [0; 8];
    assert_eq!(receive_blocking(ours.as_fd(), &mut buffer).unwrap(), 5);
    assert_eq!(&buffer[..5], b"hello");
    assert!(child.wait().unwrap().success());
}

fn talks_over_stdin() {
    let socket = fd::stdin_socket().unwrap();
    assert!(
        rustix::io::fcntl_getfd(&socket)
            .unwrap()
            .contains(rustix::io::FdFlags::CLOEXEC)
    );
    assert_eq!(std::io::stdin().read(&mut [0; 8]).unwrap(), 0);
    fd::send_blocking(socket.as_fd(), b"hello").unwrap();
    // A second time there is no socket.
    fd::stdin_socket().unwrap_err();
}

fn other_stdin() {
    assert!(
        fd::stdin_socket()
            .unwrap_err()
            .to_string()
            .contains("started by keywardd")
    );
}

fn hardened() {
    process::harden().unwrap();
    let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
    assert!(status.contains("NoNewPrivs:\t1"), "{status}");
    let core = rustix::process::getrlimit(rustix::process::Resource::Core);
    assert_eq!((core.current, core.maximum), (Some(0), Some(0)));
    let dumpable = rustix::process::dumpable_behavior().unwrap();
    assert_eq!(dumpable, rustix::process::DumpableBehavior::NotDumpable);
}

/// The child's only copy of the socket closes when it dies.
fn dies_with_parent() {
    let (ours, theirs) = seqpacket_pair().unwrap();
    let status = cases::command("starts_a_child_and_ends")
        .stdin(Stdio::from(theirs))
        .status()
        .unwrap();
    assert_eq!(status.code(), Some(7));
    let mut buffer = [0; 8];
    assert_eq!(receive_blocking(ours.as_fd(), &mut buffer).unwrap(), 5);
    assert_eq!(receive_blocking(ours.as_fd(), &mut buffer).unwrap(), 0);
}

fn starts_a_child_and_ends() {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let child = cases::command("waits_for_ever")
        .env("PARENT", std::process::id().to_string())
        .stdout(Stdio::from(OwnedFd::from(theirs)))
        .spawn()
        .unwrap();
    // The child says when it is bound to this process.
    (&ours).read_exact(&mut [0]).unwrap();
    drop(child);
    process::exit_immediately(7);
}

fn waits_for_ever() {
    let Some(parent) = std::env::var("PARENT")
        .ok()
        .and_then(|parent| parent.parse().ok())
    else {
        return;
    };
    process::die_with_parent(Some(parent)).unwrap();
    let socket = fd::stdin_socket().unwrap();
    fd::send_blocking(socket.as_fd(), b"alive").unwrap();
    println!();
    loop {
        std::thread::park();
    }
}

fn wrong_parent() {
    let error = process::die_with_parent(Some(u32::MAX)).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::NotFound);
    process::die_with_parent(None).unwrap();
    let status = cases::command("without_variables_nothing_is_taken")
        .status()
        .unwrap();
    assert_eq!(status.signal(), None);
}

fn nofile() {
    let before = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let raised = process::raise_nofile_limit().unwrap();
    let after = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    assert_eq!(after.current, before.maximum);
    assert_eq!(raised, before.maximum.unwrap_or(u64::MAX));
}

/// Only root can take groups on; any other user shows the few that it has.
fn many_groups() {
    let mut expected: Vec<u32> = if rustix::process::geteuid().is_root() {
        let groups: Vec<u32> = (1000..1900).collect();
        // SAFETY: the pointer is to as many group ids as the length says.
        let status = unsafe { libc::setgroups(groups.len(), groups.as_ptr()) };
        assert_eq!(status, 0);
        groups
    } else {
        rustix::process::getgroups()
            .unwrap()
            .iter()
            .map(|group| group.as_raw())
            .collect()
    };
    let (left, _right) = seqpacket_pair().unwrap();
    let mut groups = keyward_sys::peer::of(left.as_fd()).unwrap().groups;
    groups.sort_unstable();
    expected.sort_unstable();
    assert_eq!(groups, expected);
}
