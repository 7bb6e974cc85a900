//! What a sealed process can and cannot do. Each case seals a process of its own.
#![allow(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]

#[path = "sandbox/agent.rs"]
mod agent;
#[path = "support/cases.rs"]
#[allow(dead_code)] // The other test program uses the rest.
mod cases;
#[path = "sandbox/kernel.rs"]
mod kernel;
#[path = "sandbox/worker.rs"]
mod worker;

use std::fs;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use keyward_sys::sandbox::{Holds, Requirement, Role, Sandbox, Sockets, seal};

fn main() -> ExitCode {
    let all: Vec<cases::Case> = [worker::CASES, agent::CASES, kernel::CASES].concat();
    cases::main(&all, &[])
}

/// Folders of a case: one to read, one to write, one that the sandbox does not have.
struct Folders {
    read: PathBuf,
    write: PathBuf,
    foreign: PathBuf,
}

fn folders() -> Folders {
    let folder = |name: &str| {
        let path = cases::scratch().join(name);
        fs::create_dir(&path).unwrap();
        fs::write(path.join("file"), name).unwrap();
        path
    };
    Folders {
        read: folder("read"),
        write: folder("write"),
        foreign: folder("foreign"),
    }
}

fn sandbox(role: Role, sockets: Sockets, folders: &Folders) -> Sandbox {
    Sandbox {
        read: vec![folders.read.clone()],
        write: vec![folders.write.clone()],
        remove: Vec::new(),
        sockets,
        role,
    }
}

fn sealed(role: Role, sockets: Sockets) -> Folders {
    let folders = folders();
    sealed_with(&sandbox(role, sockets, &folders));
    folders
}

fn sealed_with(sandbox: &Sandbox) -> Holds {
    let holds = seal(sandbox, Requirement::Enforce).unwrap();
    assert!(holds.filesystem && holds.seccomp, "{holds}");
    holds
}

#[track_caller]
fn denied<T>(result: io::Result<T>) {
    let error = result.err().expect("the sandbox refuses it");
    assert!(
        matches!(
            error.raw_os_error(),
            Some(libc::EACCES | libc::EPERM | libc::EXDEV)
        ),
        "refused for another reason: {error}"
    );
}

/// The answer of a system call to arguments that are zero but for the first.
fn call(number: libc::c_long, first: libc::c_long) -> io::Result<libc::c_long> {
    // SAFETY: the calls of these tests take null for each pointer, and fail on it where they are
    // not refused before.
    let answer = unsafe { libc::syscall(number, first, 0, 0, 0, 0, 0) };
    if answer < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(answer)
    }
}
