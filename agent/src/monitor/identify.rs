//! What a process runs, from `/proc`.

use std::fs::File;
use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;

use super::hash::Hashes;
use super::message::{FileId, MAX_PARENT_PATH, MAX_PARENTS, MAX_PATH, Outcome, Parent, Program};
use crate::caller::descent::{has_ended, is_or_descends_from};
use crate::caller::procfs;
use crate::caller::stat::{self, Stat};

/// Says what a process runs, if it is the same process before and after.
///
/// With a pidfd the process must still live afterwards, so that nobody else can have had its pid;
/// without, it must have started at the same time before and after.
pub(super) fn identify(pid: u32, pidfd: Option<BorrowedFd<'_>>, hashes: &mut Hashes) -> Outcome {
    match look(pid, pidfd, hashes) {
        Ok(Some(program)) => Outcome::Program { program },
        Ok(None) => Outcome::ProcessGone,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Outcome::ProcessGone,
        Err(error) => Outcome::failed(format_args!("process {pid} cannot be read: {error}")),
    }
}

fn look(
    pid: u32,
    pidfd: Option<BorrowedFd<'_>>,
    hashes: &mut Hashes,
) -> io::Result<Option<Program>> {
    let before = stat::of(pid)?;
    let exe = exe_of(pid, MAX_PATH);
    let (file, sha256) = file_of(pid, hashes);
    let program = Program {
        start_time: before.start_time,
        exe,
        file,
        sha256,
        parents: parents_of(&before),
        descends_from_monitor: is_or_descends_from(pid, std::process::id()),
    };
    let same = stat::of(pid)?.start_time == before.start_time;
    let lives = match pidfd {
        Some(pidfd) => !has_ended(pidfd)?,
        None => true,
    };
    // A program that was replaced by exec meanwhile: its path and its hash may not belong together.
    let settled = program.exe == exe_of(pid, MAX_PATH) && program.file == file_id_of(pid);
    if !settled && same && lives {
        return Err(io::Error::other("it changes its program just now"));
    }
    Ok((same && lives).then_some(program))
}

/// The path of the executable. Absent if it cannot be read, is not UTF-8, or too long.
fn exe_of(pid: u32, most: usize) -> Option<String> {
    let path = std::fs::read_link(format!("/proc/{pid}/exe")).ok()?;
    let path = std::str::from_utf8(path.as_os_str().as_bytes()).ok()?;
    (path.len() <= most && !path.chars().any(char::is_control)).then(|| path.to_owned())
}

/// The executable itself, whatever is at its path now.
fn file_of(pid: u32, hashes: &mut Hashes) -> (Option<FileId>, Option<[u8; 32]>) {
    let Some(id) = file_id_of(pid) else {
        return (None, None);
    };
    // A program that may be run and not read has no hash.
    let Ok(mut file) = File::open(format!("/proc/{pid}/exe")) else {
        return (Some(id), None);
    };
    let opened = file.metadata().ok().map(|metadata| FileId {
        device: metadata.dev(),
        inode: metadata.ino(),
    });
    let sha256 = (opened == Some(id))
        .then(|| hashes.of(&mut file).ok())
        .flatten();
    (Some(id), sha256.flatten())
}

fn file_id_of(pid: u32) -> Option<FileId> {
    let metadata = std::fs::metadata(format!("/proc/{pid}/exe")).ok()?;
    Some(FileId {
        device: metadata.dev(),
        inode: metadata.ino(),
    })
}

fn parents_of(of: &Stat) -> Vec<Parent> {
    let mut parents = Vec::new();
    let mut pid = of.parent;
    while pid != 0 && parents.len() < MAX_PARENTS {
        let Ok(stat) = stat::of(pid) else { break };
        parents.push(Parent {
            pid,
            comm: procfs::text(stat.comm.as_bytes()),
            exe: exe_of(pid, MAX_PARENT_PATH),
        });
        pid = stat.parent;
    }
    parents
}
