//! What the kernel says about another process.

use std::{fs, thread, time::Duration};

use crate::process::status_field;

/// The processor time that all threads of a process have used, once they rest.
///
/// The kernel brings a thread's time up to date when it is switched off the processor, so what still runs would be
/// counted short.
pub(crate) fn settled_time(pid: u32) -> Duration {
    let mut before = time(pid);
    loop {
        thread::yield_now();
        let now = time(pid);
        if now == before {
            return now;
        }
        before = now;
    }
}

/// The resident memory in MiB.
pub(crate) fn resident(pid: u32) -> f64 {
    let field = status_field(pid, "VmRSS").expect("a process that runs");
    let kib: f64 = field
        .trim_end_matches(" kB")
        .parse()
        .expect("VmRSS is a number of kB");
    kib / 1024.0
}

/// Nanoseconds precise: the first field of schedstat of each thread.
fn time(pid: u32) -> Duration {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).expect("a process that runs");
    let nanos = threads.filter_map(|thread| {
        let text = fs::read_to_string(thread.ok()?.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(nanos.sum())
}
