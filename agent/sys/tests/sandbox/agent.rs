//! The sealed agent.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::thread;

use keyward_sys::process::{self, Signal};
use keyward_sys::sandbox::{Role, Sockets};
use keyward_sys::{fd, peer};
use rustix::fs::{FallocateFlags, FlockOperation};
use rustix::mm::{MapFlags, ProtFlags};

use super::{call, cases, denied, folders, sandbox, sealed, sealed_with};

pub(super) const CASES: &[cases::Case] = &[
    ("a_sealed_agent_keeps_its_state", keeps_its_state),
    (
        "a_sealed_agent_serves_clients_and_tells_systemd",
        serves_clients,
    ),
    ("a_sealed_agent_kills_a_worker_by_pidfd", kills_a_worker),
    (
        "a_sealed_agent_takes_a_new_worker_from_the_monitor",
        takes_a_worker,
    ),
    ("a_sealed_agent_cannot_exec", cannot_exec),
    (
        "a_sealed_agent_opens_no_device_and_no_network",
        no_device_no_network,
    ),
    ("a_sealed_agent_cannot_trace_others", cannot_trace),
];

/// What SQLite with a write-ahead log and an append-only file do.
fn keeps_its_state() {
    let folders = sealed(Role::Agent, Sockets::None);
    let path = folders.write.join("registry.db");
    let file = File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .open(&path)
        .unwrap();
    rustix::fs::fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive).unwrap();
    rustix::fs::fallocate(&file, FallocateFlags::KEEP_SIZE, 0, 65_536).unwrap();
    file.set_len(32_768).unwrap();
    // SAFETY: a new mapping at an address that the kernel chooses, unmapped below.
    let memory = unsafe {
        rustix::mm::mmap(
            std::ptr::null_mut(),
            32_768,
            ProtFlags::READ | ProtFlags::WRITE,
            MapFlags::SHARED,
            &file,
            0,
        )
    }
    .unwrap();
    // SAFETY: the mapping above, which nothing uses any more.
    unsafe { rustix::mm::munmap(memory, 32_768) }.unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, b"page", 4096).unwrap();
    file.sync_data().unwrap();
    file.sync_all().unwrap();
    let (new, old) = (folders.write.join("new"), folders.write.join("old"));
    fs::write(&new, "checkpoint").unwrap();
    fs::rename(&new, &old).unwrap();
    File::open(&folders.write).unwrap().sync_all().unwrap();
    fs::remove_file(&old).unwrap();
    denied(File::open(folders.foreign.join("file")));
    denied(File::create(folders.read.join("new")));
}

fn serves_clients() {
    let given = folders();
    let path = given.write.join("agent.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let notify = given.foreign.join("notify");
    let systemd = UnixDatagram::bind(&notify).unwrap();
    let notifier = UnixDatagram::unbound().unwrap();
    notifier.connect(&notify).unwrap();
    let client = UnixStream::connect(&path).unwrap();
    sealed_with(&sandbox(Role::Agent, Sockets::None, &given));
    notifier.send(b"READY=1").unwrap();
    assert_eq!(systemd.recv(&mut [0; 16]).unwrap(), 7);
    // Another service of the same user could start programs for it.
    denied(UnixStream::connect(&path));
    denied(UnixDatagram::unbound());
    let (mut server, _) = listener.accept().unwrap();
    server.set_nonblocking(true).unwrap();
    assert_eq!(
        server.read(&mut [0]).unwrap_err().kind(),
        io::ErrorKind::WouldBlock
    );
    let peer = peer::of(server.as_fd()).unwrap();
    assert_eq!(peer.pid, std::process::id());
    thread::spawn(move || (&client).write_all(b"hello").unwrap())
        .join()
        .unwrap();
    server.read_exact(&mut [0; 5]).unwrap();
    fs::remove_file(&path).unwrap();
    denied(UnixListener::bind(&path));
}

fn kills_a_worker() {
    let mut worker = Command::new("cat")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let pidfd = process::pidfd_open(worker.id()).unwrap();
    sealed(Role::Agent, Sockets::None);
    process::kill(pidfd.as_fd(), Signal::KILL).unwrap();
    assert_eq!(worker.wait().unwrap().signal(), Some(libc::SIGKILL));
}

/// The monitor starts it, and the pidfd and the socket come over a packet socket.
fn takes_a_worker() {
    let (ours, theirs) = fd::seqpacket_pair().unwrap();
    let mut monitor = Command::new("cat")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let pidfd = process::pidfd_open(monitor.id()).unwrap();
    let (socket, _worker) = fd::seqpacket_pair().unwrap();
    fd::send_packet(theirs.as_fd(), b"started", &[pidfd.as_fd(), socket.as_fd()]).unwrap();
    drop(pidfd);
    sealed(Role::Agent, Sockets::None);
    let (_, mut fds) = fd::receive_packet(ours.as_fd(), &mut [0; 16]).unwrap();
    fd::try_send(fds.pop().unwrap().as_fd(), b"sign").unwrap();
    process::kill(fds.pop().unwrap().as_fd(), Signal::KILL).unwrap();
    assert_eq!(monitor.wait().unwrap().signal(), Some(libc::SIGKILL));
}

fn cannot_exec() {
    sealed(Role::Agent, Sockets::None);
    denied(Command::new("/bin/true").status());
    denied(call(libc::SYS_execve, 0));
    denied(call(libc::SYS_execveat, 0));
    denied(call(libc::SYS_clone, libc::SIGCHLD.into()));
}

/// Whatever the list says: the agent has no use for the network.
fn no_device_no_network() {
    sealed(Role::Agent, Sockets::None);
    for device in ["/dev/null", "/dev/zero", "/dev/tty", "/dev/urandom"] {
        denied(File::options().read(true).open(device));
    }
    denied(TcpStream::connect("127.0.0.1:1"));
    denied(UdpSocket::bind("127.0.0.1:0"));
    denied(call(libc::SYS_socket, libc::AF_NETLINK.into()));
}

fn cannot_trace() {
    let parent = libc::c_long::from(rustix::process::getppid().unwrap().as_raw_nonzero().get());
    sealed(Role::Agent, Sockets::None);
    for number in [
        libc::SYS_ptrace,
        libc::SYS_process_vm_readv,
        libc::SYS_pidfd_getfd,
        libc::SYS_kill,
    ] {
        denied(call(number, parent));
    }
    denied(fs::read_link("/proc/1/exe"));
}
