//! What the numbers were measured on.

use std::{fs, thread};

use jiff::Timestamp;

/// Date, processor, kernel and load, in a line.
pub(crate) fn describe() -> String {
    let cpuinfo = read("/proc/cpuinfo");
    let model = cpuinfo
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map_or("unknown processor", |(_, model)| model);
    let cores = thread::available_parallelism().map_or(0, usize::from);
    format!(
        "{}, {model}, {cores} cores, Linux {}, load {}",
        Timestamp::now().strftime("%Y-%m-%d %H:%M UTC"),
        read("/proc/sys/kernel/osrelease").trim(),
        read("/proc/loadavg").split(' ').next().unwrap_or_default(),
    )
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}
