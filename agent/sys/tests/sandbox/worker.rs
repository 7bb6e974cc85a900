//! The sealed worker.

use std::ffi::CStr;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::Command;
use std::sync::mpsc;
use std::thread;

use keyward_sys::sandbox::{Requirement, Role, Sandbox, SandboxError, Sockets, seal};
use rustix::net::{AddressFamily, SocketType};

use super::{call, cases, denied, folders, sandbox, sealed, sealed_with};

pub(super) const CASES: &[cases::Case] = &[
    (
        "a_sealed_worker_uses_what_it_was_given",
        uses_what_it_was_given,
    ),
    ("a_sealed_worker_opens_nothing_else", opens_nothing_else),
    (
        "a_sealed_worker_writes_nothing_that_it_may_only_read",
        writes_nothing_read_only,
    ),
    (
        "a_sealed_worker_makes_no_devices_links_or_pipes",
        makes_nothing_special,
    ),
    ("a_sealed_worker_changes_no_modes_by_path", changes_no_modes),
    ("a_sealed_worker_cannot_exec_or_fork", cannot_exec),
    ("a_sealed_worker_loads_libraries", loads_libraries),
    (
        "a_sealed_worker_cannot_trace_or_signal_others",
        cannot_touch_processes,
    ),
    (
        "a_sealed_worker_has_no_other_way_into_the_kernel",
        no_other_way,
    ),
    ("a_sealed_worker_makes_no_socket", no_sockets),
    ("a_worker_with_unix_sockets_reaches_files_only", unix_only),
    ("a_worker_with_the_network_reaches_it", network),
    ("a_worker_given_one_device_has_that_one", one_device),
    ("threads_started_after_the_seal_are_sealed", threads),
    ("a_process_with_two_threads_is_not_sealed", two_threads),
    (
        "a_missing_path_to_write_is_an_error_that_names_it",
        missing_write,
    ),
    ("a_missing_path_to_read_is_left_out_and_told", missing_read),
];

fn uses_what_it_was_given() {
    let inherited = UnixStream::pair().unwrap();
    let folders = sealed(Role::Worker, Sockets::None);
    assert_eq!(
        fs::read_to_string(folders.read.join("file")).unwrap(),
        "read"
    );
    assert_eq!(fs::read_dir(&folders.read).unwrap().count(), 1);
    let (new, inner) = (folders.write.join("new"), folders.write.join("inner"));
    let mut file = File::create_new(&new).unwrap();
    file.write_all(b"object").unwrap();
    file.sync_all().unwrap();
    file.set_len(3).unwrap();
    rustix::fs::flock(&file, rustix::fs::FlockOperation::LockExclusive).unwrap();
    file.set_modified(std::time::SystemTime::UNIX_EPOCH)
        .unwrap();
    fs::create_dir(&inner).unwrap();
    fs::rename(&new, inner.join("new")).unwrap();
    assert_eq!(fs::read(inner.join("new")).unwrap(), b"obj");
    fs::write(folders.write.join("file"), "truncated and written").unwrap();
    fs::remove_file(inner.join("new")).unwrap();
    fs::remove_dir(&inner).unwrap();
    (&inherited.0).write_all(b"x").unwrap();
    (&inherited.1).read_exact(&mut [0]).unwrap();
    let mut random = [0; 16];
    rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty()).unwrap();
}

fn opens_nothing_else() {
    let given = folders();
    symlink(given.foreign.join("file"), given.read.join("out")).unwrap();
    sealed_with(&sandbox(Role::Worker, Sockets::None, &given));
    denied(File::open(given.foreign.join("file")));
    denied(File::open(given.read.join("out")));
    denied(fs::read_dir(&given.foreign));
    denied(File::create(given.foreign.join("new")));
    denied(fs::remove_file(given.foreign.join("file")));
    denied(fs::rename(
        given.foreign.join("file"),
        given.write.join("taken"),
    ));
    denied(fs::hard_link(
        given.foreign.join("file"),
        given.write.join("linked"),
    ));
    denied(File::open("/etc/passwd"));
    denied(File::open("/dev/null"));
    denied(fs::read_dir("/proc/self/fd"));
}

fn writes_nothing_read_only() {
    let folders = sealed(Role::Worker, Sockets::None);
    denied(File::options().write(true).open(folders.read.join("file")));
    denied(File::create(folders.read.join("new")));
    denied(fs::remove_file(folders.read.join("file")));
    denied(fs::rename(
        folders.read.join("file"),
        folders.write.join("taken"),
    ));
}

fn makes_nothing_special() {
    let folders = sealed(Role::Worker, Sockets::None);
    denied(symlink("/etc/passwd", folders.write.join("link")));
    let pipe = folders.write.join("pipe");
    let mode = rustix::fs::Mode::RUSR;
    for kind in [
        rustix::fs::FileType::Fifo,
        rustix::fs::FileType::CharacterDevice,
    ] {
        denied(
            rustix::fs::mknodat(rustix::fs::CWD, &pipe, kind, mode, 259).map_err(io::Error::from),
        );
    }
}

fn changes_no_modes() {
    let folders = sealed(Role::Worker, Sockets::None);
    for folder in [&folders.foreign, &folders.write] {
        denied(fs::set_permissions(
            folder.join("file"),
            fs::Permissions::from_mode(0o777),
        ));
        denied(std::os::unix::fs::chown(folder.join("file"), None, None));
    }
    let file = File::options()
        .write(true)
        .open(folders.write.join("file"))
        .unwrap();
    file.set_permissions(fs::Permissions::from_mode(0o600))
        .unwrap();
}

fn cannot_exec() {
    sealed(Role::Worker, Sockets::None);
    denied(Command::new("/bin/true").status());
    denied(exec(c"/bin/true"));
    denied(call(libc::SYS_execveat, -1));
    denied(call(libc::SYS_clone, libc::SIGCHLD.into()));
    denied(call(
        libc::SYS_clone,
        (libc::CLONE_NEWUSER | libc::SIGCHLD).into(),
    ));
    assert_eq!(
        call(libc::SYS_clone3, 0).unwrap_err().raw_os_error(),
        Some(libc::ENOSYS)
    );
    #[cfg(target_arch = "x86_64")]
    for number in [libc::SYS_fork, libc::SYS_vfork] {
        denied(call(number, 0));
    }
}

fn exec(program: &CStr) -> io::Result<()> {
    let arguments = [program.as_ptr(), std::ptr::null()];
    // SAFETY: the arguments are a null-terminated array of C strings, and live.
    unsafe { libc::execv(program.as_ptr(), arguments.as_ptr()) };
    Err(io::Error::last_os_error())
}

fn loads_libraries() {
    let mut given = sandbox(Role::Worker, Sockets::None, &folders());
    given
        .read
        .extend(["/lib", "/lib64", "/usr/lib", "/etc/ld.so.cache"].map(PathBuf::from));
    sealed_with(&given);
    // SAFETY: a library of libc's own that has no constructors of note.
    let library = unsafe { libc::dlopen(c"libresolv.so.2".as_ptr(), libc::RTLD_NOW) };
    assert!(!library.is_null(), "a library loads");
    // SAFETY: the handle is of a loaded library.
    let symbol = unsafe { libc::dlsym(library, c"ns_get16".as_ptr()) };
    assert!(!symbol.is_null());
    denied(exec(c"/usr/lib/../bin/true"));
}

fn cannot_touch_processes() {
    let parent = rustix::process::getppid().unwrap();
    sealed(Role::Worker, Sockets::None);
    let pid = libc::c_long::from(parent.as_raw_nonzero().get());
    denied(rustix::process::test_kill_process(parent).map_err(io::Error::from));
    for (number, first) in [
        (libc::SYS_kill, -1),
        (libc::SYS_tkill, pid),
        (libc::SYS_tgkill, pid),
        (libc::SYS_rt_sigqueueinfo, pid),
        (libc::SYS_ptrace, libc::c_long::from(libc::PTRACE_TRACEME)),
        (libc::SYS_process_vm_readv, pid),
        (libc::SYS_process_vm_writev, pid),
        (libc::SYS_process_madvise, 0),
        (libc::SYS_pidfd_open, pid),
        (libc::SYS_pidfd_getfd, 0),
        (libc::SYS_pidfd_send_signal, 0),
        (libc::SYS_prlimit64, pid),
        (libc::SYS_sched_setaffinity, pid),
        (libc::SYS_setpriority, 0),
        (libc::SYS_kcmp, pid),
    ] {
        denied(call(number, first));
    }
    // SAFETY: a number as the third argument; nobody gets signals if it is refused.
    let owner = unsafe { libc::fcntl(1, libc::F_SETOWN, libc::c_int::try_from(pid).unwrap()) };
    denied(if owner < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    });
    // Its own limits and signals are its own affair.
    rustix::process::getrlimit(rustix::process::Resource::Nofile);
    rustix::process::test_kill_process(rustix::process::getpid()).unwrap();
}

fn no_other_way() {
    sealed(Role::Worker, Sockets::None);
    for number in [
        libc::SYS_bpf,
        libc::SYS_keyctl,
        libc::SYS_add_key,
        libc::SYS_request_key,
        libc::SYS_mount,
        libc::SYS_umount2,
        libc::SYS_fsopen,
        libc::SYS_open_tree,
        libc::SYS_move_mount,
        libc::SYS_pivot_root,
        libc::SYS_chroot,
        libc::SYS_io_uring_setup,
        libc::SYS_userfaultfd,
        libc::SYS_perf_event_open,
        libc::SYS_open_by_handle_at,
        libc::SYS_name_to_handle_at,
        libc::SYS_unshare,
        libc::SYS_setns,
        libc::SYS_init_module,
        libc::SYS_finit_module,
        libc::SYS_kexec_load,
        libc::SYS_reboot,
        libc::SYS_setuid,
        libc::SYS_setgroups,
        libc::SYS_capset,
        libc::SYS_personality,
        libc::SYS_shmget,
        libc::SYS_mq_open,
        libc::SYS_seccomp,
        libc::SYS_fanotify_init,
        libc::SYS_inotify_init1,
        libc::SYS_syslog,
        libc::SYS_acct,
        libc::SYS_quotactl,
        libc::SYS_swapon,
        libc::SYS_sethostname,
        libc::SYS_settimeofday,
    ] {
        let error = call(number, 0).unwrap_err();
        assert_eq!(
            error.raw_os_error(),
            Some(libc::EPERM),
            "system call {number}"
        );
    }
    denied(call(libc::SYS_prctl, libc::PR_SET_DUMPABLE.into()));
    // SAFETY: TIOCSTI reads one byte; it is refused before.
    let typed = unsafe { libc::ioctl(0, libc::TIOCSTI, c"x".as_ptr()) };
    denied(if typed < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    });
}

fn no_sockets() {
    let given = folders();
    let path = given.write.join("socket");
    let receiver = UnixDatagram::bind(&path).unwrap();
    sealed_with(&sandbox(Role::Worker, Sockets::None, &given));
    denied(TcpStream::connect("127.0.0.1:1"));
    denied(UdpSocket::bind("127.0.0.1:0"));
    denied(UnixStream::connect(&path));
    denied(UnixDatagram::unbound());
    denied(UnixDatagram::pair());
    denied(receiver.connect(&path));
    denied(UnixListener::bind(given.write.join("listener")));
    for family in [
        AddressFamily::NETLINK,
        AddressFamily::VSOCK,
        AddressFamily::from_raw(38), // AF_ALG
        AddressFamily::PACKET,
    ] {
        denied(rustix::net::socket(family, SocketType::DGRAM, None).map_err(io::Error::from));
    }
    UnixStream::pair().unwrap();
    let (left, right) = keyward_sys::fd::seqpacket_pair().unwrap();
    use std::os::fd::AsFd;
    keyward_sys::fd::try_send(left.as_fd(), b"x").unwrap();
    keyward_sys::fd::try_receive(right.as_fd(), &mut [0; 4]).unwrap();
}

fn unix_only() {
    let given = folders();
    let path = given.foreign.join("pcscd");
    let _listener = UnixListener::bind(&path).unwrap();
    let name = format!("keyward-sys-{}", std::process::id());
    let abstract_name = SocketAddr::from_abstract_name(name).unwrap();
    let _abstract_listener = UnixListener::bind_addr(&abstract_name).unwrap();
    let holds = sealed_with(&sandbox(Role::Worker, Sockets::Unix, &given));
    UnixStream::connect(&path).unwrap();
    if holds.scopes {
        denied(UnixStream::connect_addr(&abstract_name));
    }
    denied(UnixListener::bind(given.write.join("listener")));
    denied(TcpStream::connect("127.0.0.1:1"));
    denied(TcpStream::connect("[::1]:1"));
    denied(UdpSocket::bind("127.0.0.1:0"));
}

fn network() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let given = folders();
    let holds = sealed_with(&sandbox(Role::Worker, Sockets::UnixAndInet, &given));
    assert!(!holds.network);
    TcpStream::connect(address).unwrap();
    UdpSocket::bind("127.0.0.1:0").unwrap();
    denied(TcpListener::bind("127.0.0.1:0"));
    denied(
        rustix::net::socket(AddressFamily::INET, SocketType::RAW, None).map_err(io::Error::from),
    );
    denied(
        rustix::net::socket(AddressFamily::NETLINK, SocketType::RAW, None).map_err(io::Error::from),
    );
    denied(File::open(given.foreign.join("file")));
}

fn one_device() {
    let mut given = sandbox(Role::Worker, Sockets::None, &folders());
    given.write.push("/dev/null".into());
    sealed_with(&given);
    File::options()
        .read(true)
        .write(true)
        .open("/dev/null")
        .unwrap()
        .write_all(b"x")
        .unwrap();
    denied(File::open("/dev/zero"));
    denied(fs::remove_file("/dev/null"));
}

fn threads() {
    let folders = sealed(Role::Worker, Sockets::None);
    let (sender, receiver) = mpsc::channel();
    let workers: Vec<_> = (0..4)
        .map(|_| {
            let (sender, foreign) = (sender.clone(), folders.foreign.join("file"));
            thread::spawn(move || {
                denied(File::open(foreign));
                denied(UnixDatagram::unbound());
                denied(Command::new("/bin/true").status());
                sender.send(()).unwrap();
            })
        })
        .collect();
    workers
        .into_iter()
        .for_each(|worker| worker.join().unwrap());
    assert_eq!(receiver.try_iter().count(), 4);
}

fn two_threads() {
    let (stop, stopped) = mpsc::channel::<()>();
    let other = thread::spawn(move || stopped.recv());
    let error = seal(
        &sandbox(Role::Worker, Sockets::None, &folders()),
        Requirement::BestEffort,
    )
    .unwrap_err();
    assert!(
        matches!(error, SandboxError::Threads { threads: 2 }),
        "{error}"
    );
    drop(stop);
    other.join().unwrap().unwrap_err();
}

fn missing_write() {
    let mut given = sandbox(Role::Worker, Sockets::None, &folders());
    given.write.push(cases::scratch().join("no-such-folder"));
    let error = seal(&given, Requirement::BestEffort).unwrap_err();
    assert!(error.to_string().contains("no-such-folder"), "{error}");
    assert!(matches!(error, SandboxError::Path { .. }));
}

fn missing_read() {
    let missing = cases::scratch().join("no-such-folder");
    let folders = folders();
    let given = Sandbox {
        read: vec![missing.clone(), folders.read.clone()],
        ..sandbox(Role::Worker, Sockets::None, &folders)
    };
    let holds = sealed_with(&given);
    assert_eq!(holds.skipped, [missing]);
    fs::read(folders.read.join("file")).unwrap();
}
