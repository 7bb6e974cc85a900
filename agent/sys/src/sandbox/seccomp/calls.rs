//! The system calls and arguments that a sealed process may use.

#[cfg(target_arch = "x86_64")]
use libc::{SYS_renameat as RENAMEAT, SYS_sync_file_range as SYNC_FILE_RANGE};
use libc::{c_int, c_long};

/// Answered as an old kernel would, so that callers fall back to what the filter can look into.
pub(super) const ABSENT: &[c_long] = &[libc::SYS_clone3];

/// `libc` lacks these two numbers of the table that newer architectures share.
#[cfg(not(target_arch = "x86_64"))]
const RENAMEAT: c_long = 38;
#[cfg(not(target_arch = "x86_64"))]
const SYNC_FILE_RANGE: c_long = 84;

/// For every sealed process.
#[rustfmt::skip]
pub(super) const COMMON: &[c_long] = &[
    // Files, on paths that Landlock covers
    libc::SYS_openat, libc::SYS_openat2, libc::SYS_faccessat, libc::SYS_faccessat2,
    libc::SYS_newfstatat, libc::SYS_statx, libc::SYS_statfs, libc::SYS_readlinkat,
    libc::SYS_mkdirat, libc::SYS_unlinkat, RENAMEAT, libc::SYS_renameat2,
    libc::SYS_linkat, libc::SYS_truncate, libc::SYS_getcwd, libc::SYS_chdir, libc::SYS_fchdir,
    libc::SYS_umask, libc::SYS_getxattr, libc::SYS_lgetxattr,
    // Open descriptors
    libc::SYS_read, libc::SYS_write, libc::SYS_readv, libc::SYS_writev, libc::SYS_pread64,
    libc::SYS_pwrite64, libc::SYS_preadv, libc::SYS_pwritev, libc::SYS_preadv2, libc::SYS_pwritev2,
    libc::SYS_close, libc::SYS_close_range, libc::SYS_dup, libc::SYS_dup3, libc::SYS_pipe2,
    libc::SYS_fstat, libc::SYS_fstatfs, libc::SYS_lseek, libc::SYS_getdents64, libc::SYS_ftruncate,
    libc::SYS_fallocate, libc::SYS_fsync, libc::SYS_fdatasync, SYNC_FILE_RANGE,
    libc::SYS_fadvise64, libc::SYS_copy_file_range, libc::SYS_sendfile, libc::SYS_flock,
    libc::SYS_fchmod, libc::SYS_fchown, libc::SYS_fgetxattr,
    // Waiting
    libc::SYS_ppoll, libc::SYS_pselect6, libc::SYS_epoll_create1, libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait, libc::SYS_epoll_pwait2, libc::SYS_eventfd2, libc::SYS_signalfd4,
    libc::SYS_timerfd_create, libc::SYS_timerfd_settime, libc::SYS_timerfd_gettime,
    // Sockets that are there
    libc::SYS_sendto, libc::SYS_recvfrom, libc::SYS_sendmsg, libc::SYS_recvmsg, libc::SYS_sendmmsg,
    libc::SYS_recvmmsg, libc::SYS_shutdown, libc::SYS_getsockopt, libc::SYS_setsockopt,
    libc::SYS_getsockname, libc::SYS_getpeername,
    // Memory
    libc::SYS_mmap, libc::SYS_munmap, libc::SYS_mprotect, libc::SYS_mremap, libc::SYS_madvise,
    libc::SYS_brk, libc::SYS_msync, libc::SYS_mincore, libc::SYS_mlock, libc::SYS_mlock2,
    libc::SYS_munlock, libc::SYS_mlockall, libc::SYS_munlockall, libc::SYS_membarrier,
    libc::SYS_memfd_create, libc::SYS_memfd_secret, libc::SYS_pkey_alloc, libc::SYS_pkey_free,
    libc::SYS_pkey_mprotect,
    // Threads and signals
    libc::SYS_futex, libc::SYS_futex_waitv, libc::SYS_set_robust_list, libc::SYS_set_tid_address,
    libc::SYS_rseq, libc::SYS_sched_yield, libc::SYS_sched_getaffinity, libc::SYS_sched_getparam,
    libc::SYS_sched_getscheduler, libc::SYS_sched_get_priority_max,
    libc::SYS_sched_get_priority_min, libc::SYS_getcpu, libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask, libc::SYS_rt_sigreturn, libc::SYS_rt_sigpending,
    libc::SYS_rt_sigtimedwait, libc::SYS_rt_sigsuspend, libc::SYS_sigaltstack,
    libc::SYS_restart_syscall, libc::SYS_exit, libc::SYS_exit_group,
    // Time
    libc::SYS_clock_gettime, libc::SYS_clock_getres, libc::SYS_clock_nanosleep,
    libc::SYS_nanosleep, libc::SYS_gettimeofday, libc::SYS_setitimer, libc::SYS_getitimer,
    libc::SYS_timer_create, libc::SYS_timer_settime, libc::SYS_timer_gettime,
    libc::SYS_timer_getoverrun, libc::SYS_timer_delete,
    // Facts about the process and the machine
    libc::SYS_getpid, libc::SYS_getppid, libc::SYS_gettid, libc::SYS_getpgid, libc::SYS_getsid,
    libc::SYS_getuid, libc::SYS_geteuid, libc::SYS_getgid, libc::SYS_getegid, libc::SYS_getresuid,
    libc::SYS_getresgid, libc::SYS_getgroups, libc::SYS_getpriority, libc::SYS_capget,
    libc::SYS_uname, libc::SYS_sysinfo, libc::SYS_times, libc::SYS_getrusage, libc::SYS_getrandom,
];

/// Calls that only old architectures have, for programs that still use them.
#[cfg(target_arch = "x86_64")]
#[rustfmt::skip]
pub(super) const LEGACY: &[c_long] = &[
    libc::SYS_open, libc::SYS_creat, libc::SYS_access, libc::SYS_stat, libc::SYS_lstat,
    libc::SYS_readlink, libc::SYS_mkdir, libc::SYS_rmdir, libc::SYS_unlink, libc::SYS_rename,
    libc::SYS_link, libc::SYS_getdents, libc::SYS_dup2, libc::SYS_pipe, libc::SYS_poll,
    libc::SYS_select, libc::SYS_epoll_create, libc::SYS_epoll_wait, libc::SYS_eventfd,
    libc::SYS_getrlimit, libc::SYS_getpgrp, libc::SYS_time, libc::SYS_alarm, libc::SYS_pause,
    libc::SYS_arch_prctl,
];
/// Calls that only old architectures have: this one is new.
#[cfg(not(target_arch = "x86_64"))]
pub(super) const LEGACY: &[c_long] = &[];

/// Clients that connect, workers that must be killed.
#[rustfmt::skip]
pub(super) const AGENT: &[c_long] = &[
    libc::SYS_accept, libc::SYS_accept4, libc::SYS_pidfd_open, libc::SYS_pidfd_send_signal,
    libc::SYS_waitid, libc::SYS_wait4,
];

/// No owner of a descriptor (it would get signals) and no leases.
#[rustfmt::skip]
pub(super) const FCNTL: &[c_int] = &[
    libc::F_DUPFD, libc::F_DUPFD_CLOEXEC, libc::F_GETFD, libc::F_SETFD, libc::F_GETFL,
    libc::F_SETFL, libc::F_GETLK, libc::F_SETLK, libc::F_SETLKW, libc::F_OFD_GETLK,
    libc::F_OFD_SETLK, libc::F_OFD_SETLKW, libc::F_GETPIPE_SZ, libc::F_SETPIPE_SZ,
    libc::F_ADD_SEALS, libc::F_GET_SEALS,
];

/// Nothing that types into a terminal (`TIOCSTI`) or drives a device.
#[rustfmt::skip]
pub(super) const IOCTL: &[u64] = &[
    libc::FIONREAD, libc::FIONBIO, libc::FIOCLEX, libc::FIONCLEX, libc::TIOCOUTQ, libc::TCGETS,
    libc::TCGETS2, libc::TIOCGWINSZ,
];

/// Names of threads and of memory; nothing that opens the process to others.
#[rustfmt::skip]
pub(super) const PRCTL: &[c_int] = &[
    libc::PR_SET_NAME, libc::PR_GET_NAME, libc::PR_SET_VMA, libc::PR_GET_DUMPABLE,
    libc::PR_SET_NO_NEW_PRIVS, libc::PR_GET_NO_NEW_PRIVS, libc::PR_CAPBSET_READ,
];

/// Flags of `clone` that make namespaces.
pub(super) const NEW_NAMESPACES: c_int = libc::CLONE_NEWNS
    | libc::CLONE_NEWCGROUP
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET;
