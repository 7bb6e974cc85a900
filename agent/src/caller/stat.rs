//! `/proc/PID/stat` (proc_pid_stat(5)).

use std::io;

use super::procfs;

/// What is read of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stat {
    /// The name that the process gave itself, without control characters.
    pub comm: String,
    /// Its parent; 0 if that lives in another PID namespace, or for the first process.
    pub parent: u32,
    /// When it started, in clock ticks since boot: a recycled pid has another.
    pub start_time: u64,
}

/// Reads the stat file of a process.
///
/// # Errors
/// `NotFound` if there is no such process, or none that may be seen; `InvalidData` if the file makes
/// no sense.
pub fn of(pid: u32) -> io::Result<Stat> {
    let bytes = procfs::read(pid, "stat")?;
    parse(&bytes).ok_or_else(|| {
        io::Error::new(
            io::ErrorKind::InvalidData,
            format!("/proc/{pid}/stat makes no sense"),
        )
    })
}

/// The file is `PID (COMM) STATE PPID …`, and COMM can hold anything, parentheses and line ends
/// included: it ends at the last parenthesis.
fn parse(bytes: &[u8]) -> Option<Stat> {
    let open = bytes.iter().position(|byte| *byte == b'(')?;
    let close = bytes.iter().rposition(|byte| *byte == b')')?;
    let comm = bytes.get(open.checked_add(1)?..close)?;
    let rest = std::str::from_utf8(bytes.get(close.checked_add(1)?..)?).ok()?;
    let mut fields = rest.split_ascii_whitespace();
    // Field 3 is the first after COMM: the parent is field 4, the start time field 22.
    let parent = fields.nth(1)?.parse().ok()?;
    let start_time = fields.nth(17)?.parse().ok()?;
    Some(Stat {
        comm: procfs::text(comm),
        parent,
        start_time,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const TAIL: &str = "S 41 42 42 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 987654 2703360 221";

    #[test]
    fn a_hostile_name_moves_no_field() {
        for comm in [
            "bash",
            ") S 1 1 (",
            ") (",
            "",
            "a b",
            "x\ny",
            "))))",
            "((",
            "(sd-pam)",
        ] {
            let stat = parse(format!("42 ({comm}) {TAIL}\n").as_bytes()).unwrap();
            assert_eq!((stat.parent, stat.start_time), (41, 987_654), "{comm:?}");
        }
    }

    #[test]
    fn a_name_comes_without_control_characters() {
        let stat = parse(format!("42 (a\x1b[2J\nb) {TAIL}").as_bytes()).unwrap();
        assert_eq!(stat.comm, "a\u{fffd}[2J\u{fffd}b");
        let mut bytes = b"42 (\xff) ".to_vec();
        bytes.extend_from_slice(TAIL.as_bytes());
        assert_eq!(parse(&bytes).unwrap().comm, "\u{fffd}");
    }

    #[test]
    fn broken_files_are_refused() {
        for text in [
            "",
            "42",
            "42 (",
            "42 )(",
            "42 (x)",
            "42 (x) S",
            "42 (x) S a b",
            "42 (x) S 1 2 3",
        ] {
            assert_eq!(parse(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn this_process_has_a_parent_and_a_start_time() {
        let stat = of(std::process::id()).unwrap();
        assert_eq!(stat.parent, std::os::unix::process::parent_id());
        assert!(stat.start_time > 0);
        assert_eq!(of(u32::MAX).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
