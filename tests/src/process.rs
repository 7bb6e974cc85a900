//! Processes as tests see them: through `/proc`, and by what they print.

use std::{
    fs,
    io::Write as _,
    process::{Command, Output, Stdio},
    thread,
};

use rustix::process::Pid;

/// A process and all that descend from it.
///
/// # Panics
/// If there is no `/proc`.
#[must_use]
pub fn family(first: u32) -> Vec<u32> {
    let processes = fs::read_dir("/proc").expect("/proc");
    let parents: Vec<(u32, u32)> = processes
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter_map(|pid| Some((pid, parent_of(pid)?)))
        .collect();
    let mut family = Vec::new();
    let mut generation = vec![first];
    while !generation.is_empty() {
        let is_next = |of: &u32| generation.contains(of);
        let next = parents
            .iter()
            .filter(|(_, of)| is_next(of))
            .map(|(pid, _)| *pid)
            .collect();
        family.extend(std::mem::replace(&mut generation, next));
    }
    family
}

/// A process id as the system calls want it.
///
/// # Panics
/// If it is 0 or too large.
#[must_use]
#[track_caller]
pub fn pid(number: u32) -> Pid {
    let pid = i32::try_from(number).ok().and_then(Pid::from_raw);
    pid.expect("a process id")
}

/// The parent of a process.
#[must_use]
pub fn parent_of(pid: u32) -> Option<u32> {
    status_field(pid, "PPid")?.parse().ok()
}

/// A field of `/proc/PID/status`.
#[must_use]
pub fn status_field(pid: u32, name: &str) -> Option<String> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    Some(line?.strip_prefix(':')?.trim().to_owned())
}

/// Runs a command to its end with something to read on stdin.
///
/// # Panics
/// If it can't be run.
#[track_caller]
pub fn run_with(command: &mut Command, stdin: &[u8]) -> Output {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program can be started");
    let mut pipe = child.stdin.take().expect("its stdin is a pipe");
    let stdin = stdin.to_vec();
    // On a thread of its own, so that it can't wait for a program that waits for us. It need not read everything.
    let writer = thread::spawn(move || drop(pipe.write_all(&stdin)));
    let output = child.wait_with_output().expect("its output");
    writer.join().expect("a writer does not panic");
    output
}
