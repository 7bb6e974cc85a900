//! Small files below `/proc/PID`.

use std::fs::File;
use std::io::{self, Read};

/// Longer than any of the files that are read here.
const MOST_BYTES: u64 = 64 * 1024;

/// Reads a file of a process.
pub(crate) fn read(pid: u32, name: &str) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(format!("/proc/{pid}/{name}"))?
        .take(MOST_BYTES)
        .read_to_end(&mut bytes)
        .map_err(|error| match error.raw_os_error() {
            // A process that ends between open and read.
            Some(code) if code == rustix::io::Errno::SRCH.raw_os_error() => {
                io::ErrorKind::NotFound.into()
            }
            _ => error,
        })?;
    Ok(bytes)
}

/// Text that a stranger chose, safe to print.
pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes)
        .chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}
