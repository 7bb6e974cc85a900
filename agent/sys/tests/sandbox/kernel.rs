//! What the kernel offers, and kernels that offer less.

use std::fs::File;
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixDatagram;
use std::process::Command;

use keyward_sys::sandbox::{Requirement, Role, SandboxError, Sockets, seal};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};

use super::{cases, denied, folders, sandbox};

pub(super) const CASES: &[cases::Case] = &[
    ("a_hardened_process_can_be_sealed", after_hardening),
    ("what_holds_is_what_the_kernel_has", what_holds),
    (
        "without_landlock_enforcing_is_refused_and_says_what_to_do",
        enforce_without_landlock,
    ),
    (
        "without_landlock_best_effort_says_what_is_missing",
        best_effort_without_landlock,
    ),
    (
        "with_landlock_switched_off_best_effort_says_so",
        best_effort_switched_off,
    ),
    (
        "without_seccomp_enforcing_is_refused",
        enforce_without_seccomp,
    ),
    (
        "without_seccomp_best_effort_says_what_is_missing",
        best_effort_without_seccomp,
    ),
];

fn after_hardening() {
    keyward_sys::process::harden().unwrap();
    let holds = seal(
        &sandbox(Role::Agent, Sockets::None, &folders()),
        Requirement::Enforce,
    );
    assert!(holds.unwrap().seccomp);
}

fn what_holds() {
    let holds = seal(
        &sandbox(Role::Worker, Sockets::None, &folders()),
        Requirement::Enforce,
    )
    .unwrap();
    let abi = holds.landlock_abi.unwrap();
    assert!(holds.filesystem && holds.seccomp);
    assert_eq!(holds.network, abi >= 4);
    assert_eq!(holds.scopes, abi >= 6);
    assert_eq!(holds.missing.is_empty(), abi >= 6, "{:?}", holds.missing);
    assert!(
        holds
            .to_string()
            .starts_with(&format!("landlock {abi}, files")),
        "{holds}"
    );
}

fn enforce_without_landlock() {
    without(libc::SYS_landlock_create_ruleset, libc::ENOSYS);
    let error = seal(
        &sandbox(Role::Worker, Sockets::None, &folders()),
        Requirement::Enforce,
    )
    .unwrap_err();
    assert!(matches!(error, SandboxError::Unavailable { .. }));
    let text = error.to_string();
    assert!(
        text.contains("no Landlock") && text.contains("sandbox = \"best-effort\""),
        "{text}"
    );
}

fn best_effort_without_landlock() {
    without(libc::SYS_landlock_create_ruleset, libc::ENOSYS);
    let folders = folders();
    let holds = seal(
        &sandbox(Role::Worker, Sockets::None, &folders),
        Requirement::BestEffort,
    )
    .unwrap();
    assert_eq!(
        (
            holds.landlock_abi,
            holds.filesystem,
            holds.network,
            holds.scopes
        ),
        (None, false, false, false)
    );
    assert!(holds.seccomp);
    assert!(
        holds.missing[0].contains("no Landlock"),
        "{:?}",
        holds.missing
    );
    assert_eq!(holds.to_string(), "no landlock, system calls");
    File::open(folders.foreign.join("file")).unwrap();
    // The filter holds alone.
    denied(UnixDatagram::unbound());
    denied(Command::new("/bin/true").status());
}

fn best_effort_switched_off() {
    without(libc::SYS_landlock_create_ruleset, libc::EOPNOTSUPP);
    let holds = seal(
        &sandbox(Role::Agent, Sockets::None, &folders()),
        Requirement::BestEffort,
    )
    .unwrap();
    assert!(
        holds.missing[0].contains("not switched on"),
        "{:?}",
        holds.missing
    );
}

fn enforce_without_seccomp() {
    without(libc::SYS_seccomp, libc::EINVAL);
    let error = seal(
        &sandbox(Role::Agent, Sockets::None, &folders()),
        Requirement::Enforce,
    )
    .unwrap_err();
    assert!(matches!(error, SandboxError::Unavailable { .. }), "{error}");
}

fn best_effort_without_seccomp() {
    without(libc::SYS_seccomp, libc::EINVAL);
    let folders = folders();
    let holds = seal(
        &sandbox(Role::Worker, Sockets::None, &folders),
        Requirement::BestEffort,
    )
    .unwrap();
    assert!(holds.filesystem && !holds.seccomp);
    assert!(
        holds.missing[0].contains("system call filter"),
        "{:?}",
        holds.missing
    );
    // Landlock holds alone.
    denied(File::open(folders.foreign.join("file")));
    denied(Command::new("/bin/true").status());
    let parent = rustix::process::getppid().unwrap();
    let signalled = rustix::process::test_kill_process(parent);
    if holds.network {
        denied(TcpStream::connect("127.0.0.1:1"));
        denied(TcpListener::bind("127.0.0.1:0"));
    }
    if holds.scopes {
        denied(signalled.map_err(std::io::Error::from));
    }
}

/// Makes the kernel look like one that lacks a system call.
fn without(number: libc::c_long, errno: libc::c_int) {
    let filter: BpfProgram = SeccompFilter::new(
        [(number, Vec::new())].into(),
        SeccompAction::Allow,
        SeccompAction::Errno(errno.unsigned_abs()),
        std::env::consts::ARCH.try_into().unwrap(),
    )
    .unwrap()
    .try_into()
    .unwrap();
    seccompiler::apply_filter(&filter).unwrap();
}
