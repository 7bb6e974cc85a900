//! The part that seccomp plays: a list of the system calls that are left; any other is `EPERM`.
//!
//! Where a call is fine for some arguments only, the filter looks at those that are numbers. It
//! cannot look at what pointers lead to, so:
//! - `clone3` answers `ENOSYS`, and the C library falls back to `clone`, whose flags can be seen;
//! - paths are Landlock's affair, and calls on paths that Landlock does not cover (`chmod`, `chown`,
//!   `setxattr`, `utimes`) are refused, their variants on open descriptors allowed;
//! - a process without sockets has stream and packet pairs only: a datagram socket sends to any path.
//!
//! The kernel answers unconditional calls from a bitmap, so sending and receiving costs nothing more.

mod calls;

use std::collections::BTreeMap;
use std::env::consts::ARCH;

use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition,
    SeccompFilter, SeccompRule, TargetArch,
};

use super::{Role, Sandbox, Sockets};

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// Filters the system calls of this thread and of those that it starts.
///
/// # Errors
/// A sentence that says what is missing.
pub(super) fn restrict(sandbox: &Sandbox) -> Result<(), String> {
    let arch = TargetArch::try_from(ARCH)
        .map_err(|_| format!("keyward has no system call filter for {ARCH}"))?;
    let programs = programs(sandbox, arch)
        .map_err(|error| format!("the system call filter is wrong: {error}"))?;
    for program in &programs {
        seccompiler::apply_filter(program)
            .map_err(|error| format!("no system call filter: {error}"))?;
    }
    Ok(())
}

/// A program has one action on a match, hence two programs; the strictest answer counts.
fn programs(sandbox: &Sandbox, arch: TargetArch) -> Result<[BpfProgram; 2], BackendError> {
    let absent = calls::ABSENT
        .iter()
        .map(|call| (*call, Vec::new()))
        .collect();
    let absent = SeccompFilter::new(absent, SeccompAction::Allow, errno(libc::ENOSYS), arch)?;
    let listed = SeccompFilter::new(
        rules(sandbox)?,
        errno(libc::EPERM),
        SeccompAction::Allow,
        arch,
    )?;
    Ok([absent.try_into()?, listed.try_into()?])
}

fn errno(number: libc::c_int) -> SeccompAction {
    SeccompAction::Errno(number.unsigned_abs())
}

fn rules(sandbox: &Sandbox) -> Result<Rules, BackendError> {
    let mut rules = Rules::new();
    let mut lists = vec![calls::COMMON, calls::LEGACY, calls::ABSENT];
    if sandbox.role == Role::Agent {
        lists.push(calls::AGENT);
    }
    if may_connect(sandbox) {
        lists.push(&[libc::SYS_connect]);
    }
    if sandbox.sockets == Sockets::UnixAndInet {
        lists.push(&[libc::SYS_bind]);
    }
    rules.extend(lists.into_iter().flatten().map(|call| (*call, Vec::new())));
    processes(&mut rules)?;
    descriptors(&mut rules)?;
    sockets(sandbox, &mut rules)?;
    Ok(rules)
}

fn may_connect(sandbox: &Sandbox) -> bool {
    sandbox.sockets != Sockets::None
}

/// Threads but no processes; signals, limits and scheduling of this process only.
fn processes(rules: &mut Rules) -> Result<(), BackendError> {
    let thread = libc::CLONE_VM | libc::CLONE_SIGHAND | libc::CLONE_THREAD;
    rules.insert(
        libc::SYS_clone,
        vec![masked(0, thread | calls::NEW_NAMESPACES, thread)?],
    );
    let own = u64::from(std::process::id());
    for call in [
        libc::SYS_kill,
        libc::SYS_tgkill,
        libc::SYS_rt_tgsigqueueinfo,
    ] {
        rules.insert(call, vec![equal(0, own)?]);
    }
    for call in [
        libc::SYS_prlimit64,
        libc::SYS_sched_setaffinity,
        libc::SYS_sched_setscheduler,
    ] {
        rules.insert(call, vec![equal(0, 0)?, equal(0, own)?]);
    }
    rules.insert(libc::SYS_prctl, any_of(0, calls::PRCTL)?);
    Ok(())
}

fn descriptors(rules: &mut Rules) -> Result<(), BackendError> {
    rules.insert(libc::SYS_fcntl, any_of(1, calls::FCNTL)?);
    let mut requests = Vec::new();
    for request in calls::IOCTL {
        requests.push(equal(1, *request & 0xffff_ffff)?);
    }
    rules.insert(libc::SYS_ioctl, requests);
    // Times of an open file: the path is NULL.
    let no_path = SeccompCondition::new(1, SeccompCmpArgLen::Qword, SeccompCmpOp::Eq, 0)?;
    rules.insert(libc::SYS_utimensat, vec![SeccompRule::new(vec![no_path])?]);
    Ok(())
}

fn sockets(sandbox: &Sandbox, rules: &mut Rules) -> Result<(), BackendError> {
    let pairs = if may_connect(sandbox) {
        vec![equal(0, number(libc::AF_UNIX))?]
    } else {
        let kinds = [libc::SOCK_STREAM, libc::SOCK_SEQPACKET];
        kinds
            .iter()
            .map(|kind| of_kind(libc::AF_UNIX, *kind))
            .collect::<Result<_, _>>()?
    };
    rules.insert(libc::SYS_socketpair, pairs);
    let mut families = Vec::new();
    if may_connect(sandbox) {
        families.push(equal(0, number(libc::AF_UNIX))?);
    }
    if sandbox.sockets == Sockets::UnixAndInet {
        for family in [libc::AF_INET, libc::AF_INET6] {
            families.push(of_kind(family, libc::SOCK_STREAM)?);
            families.push(of_kind(family, libc::SOCK_DGRAM)?);
        }
    }
    if !families.is_empty() {
        rules.insert(libc::SYS_socket, families);
    }
    Ok(())
}

/// A socket family and, without its flags, a type.
fn of_kind(family: libc::c_int, kind: libc::c_int) -> Result<SeccompRule, BackendError> {
    let without_flags = SeccompCmpOp::MaskedEq(0xf);
    SeccompRule::new(vec![
        SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, number(family))?,
        SeccompCondition::new(1, SeccompCmpArgLen::Dword, without_flags, number(kind))?,
    ])
}

fn any_of(argument: u8, values: &[libc::c_int]) -> Result<Vec<SeccompRule>, BackendError> {
    values
        .iter()
        .map(|value| equal(argument, number(*value)))
        .collect()
}

fn equal(argument: u8, value: u64) -> Result<SeccompRule, BackendError> {
    SeccompRule::new(vec![SeccompCondition::new(
        argument,
        SeccompCmpArgLen::Dword,
        SeccompCmpOp::Eq,
        value,
    )?])
}

fn masked(
    argument: u8,
    mask: libc::c_int,
    value: libc::c_int,
) -> Result<SeccompRule, BackendError> {
    let operator = SeccompCmpOp::MaskedEq(number(mask));
    SeccompRule::new(vec![SeccompCondition::new(
        argument,
        SeccompCmpArgLen::Dword,
        operator,
        number(value),
    )?])
}

/// A C int as the kernel sees it in a 32-bit argument.
fn number(value: libc::c_int) -> u64 {
    u64::from(value.cast_unsigned())
}
