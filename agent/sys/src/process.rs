//! What a process does to itself at start, and to other processes.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::process::{DumpableBehavior, Pid, PidfdFlags, Resource, Rlimit};

pub use rustix::process::Signal;

/// Keeps secrets out of core dumps, other processes of the same user from attaching, and set-uid
/// programs from being started with more rights.
///
/// # Errors
/// An error of the kernel.
pub fn harden() -> io::Result<()> {
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    rustix::process::setrlimit(
        Resource::Core,
        Rlimit {
            current: Some(0),
            maximum: Some(0),
        },
    )?;
    rustix::thread::set_no_new_privs(true)?;
    Ok(())
}

/// Has the kernel kill this process when the thread that started it ends.
///
/// With `expected_parent`, the pid of the process that started this one, a parent that ended before
/// the call is noticed too.
///
/// # Errors
/// `NotFound` if the parent has already gone; else an error of the kernel.
pub fn die_with_parent(expected_parent: Option<u32>) -> io::Result<()> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    let parent = rustix::process::getppid().map(|pid| pid.as_raw_nonzero().get().cast_unsigned());
    if expected_parent.is_some() && parent != expected_parent {
        return Err(io::Error::new(
            io::ErrorKind::NotFound,
            "the process that started this one has already ended",
        ));
    }
    Ok(())
}

/// Raises the limit of open files as far as the system allows and returns it.
///
/// # Errors
/// An error of the kernel.
pub fn raise_nofile_limit() -> io::Result<u64> {
    let maximum = rustix::process::getrlimit(Resource::Nofile).maximum;
    rustix::process::setrlimit(
        Resource::Nofile,
        Rlimit {
            current: maximum,
            maximum,
        },
    )?;
    Ok(maximum.unwrap_or(u64::MAX))
}

/// Sends a signal to exactly the process that the pidfd stands for.
///
/// # Errors
/// `ESRCH` if it has ended; `EPERM` if this process may not.
pub fn kill(pidfd: BorrowedFd<'_>, signal: Signal) -> io::Result<()> {
    Ok(rustix::process::pidfd_send_signal(pidfd, signal)?)
}

/// Opens a pidfd of a process. The caller must know that the pid has not been recycled, as a parent
/// does of a child that it has not waited for.
///
/// # Errors
/// `InvalidInput` if the number is no pid; `ESRCH` if there is no such process.
pub fn pidfd_open(pid: u32) -> io::Result<OwnedFd> {
    let pid = i32::try_from(pid)
        .ok()
        .and_then(Pid::from_raw)
        .ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("{pid} is no process id"),
            )
        })?;
    Ok(rustix::process::pidfd_open(pid, PidfdFlags::empty())?)
}

/// Ends the process without running destructors or the `atexit` handlers of loaded libraries, some
/// of which crash.
pub fn exit_immediately(code: i32) -> ! {
    // SAFETY: `_exit` takes any number, touches no memory and does not return.
    unsafe { libc::_exit(code) }
}
