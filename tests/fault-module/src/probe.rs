//! Tries, from inside a module, what a sealed process must not be able to do.
//!
//! One line a try, in this order: `open PATH=…` for each path, `write PATH=…` (opened for writing, nothing written),
//! `socket inet=…`, `socket unix=…`, `execve=…`, with `ok` or the name of the errno. An `execve` that is not refused
//! replaces the process by `/bin/true`, so that the last line is missing: whoever waits for it notices.

use std::{
    fs::{File, OpenOptions},
    io::{Error, Write},
    path::Path,
};

/// Makes the tries and writes the results to `report`.
pub(crate) fn run<'a>(paths: impl Iterator<Item = &'a str>, report: &Path) {
    let mut file = match File::create(report) {
        Ok(file) => file,
        Err(error) => panic!(
            "keyward-fault-module: {} can't be written: {error}",
            report.display()
        ),
    };
    let mut line = |what: &str, result: Result<(), Error>| {
        if let Err(error) = file.write_all(format!("{what}={}\n", name(result)).as_bytes()) {
            panic!(
                "keyward-fault-module: {} can't be written: {error}",
                report.display()
            );
        }
    };
    for path in paths {
        line(&format!("open {path}"), File::open(path).map(drop));
        line(
            &format!("write {path}"),
            OpenOptions::new().write(true).open(path).map(drop),
        );
    }
    line("socket inet", socket(libc::AF_INET));
    line("socket unix", socket(libc::AF_UNIX));
    line("execve", execve());
}

fn socket(family: libc::c_int) -> Result<(), Error> {
    // SAFETY: no pointers.
    let fd = unsafe { libc::socket(family, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0) };
    if fd < 0 {
        return Err(Error::last_os_error());
    }
    // SAFETY: the descriptor is open and nobody else's.
    unsafe { libc::close(fd) };
    Ok(())
}

/// Comes back only if it was refused.
fn execve() -> Result<(), Error> {
    let path = c"/bin/true";
    let arguments = [path.as_ptr(), std::ptr::null()];
    let environment = [std::ptr::null()];
    // SAFETY: a string that ends in NUL and two arrays that end in null.
    unsafe { libc::execve(path.as_ptr(), arguments.as_ptr(), environment.as_ptr()) };
    Err(Error::last_os_error())
}

fn name(result: Result<(), Error>) -> String {
    let Err(error) = result else {
        return "ok".to_owned();
    };
    match error.raw_os_error() {
        Some(libc::EACCES) => "EACCES".to_owned(),
        Some(libc::EPERM) => "EPERM".to_owned(),
        Some(libc::ENOENT) => "ENOENT".to_owned(),
        Some(libc::ENOSYS) => "ENOSYS".to_owned(),
        Some(libc::EAFNOSUPPORT) => "EAFNOSUPPORT".to_owned(),
        Some(libc::EINVAL) => "EINVAL".to_owned(),
        Some(libc::EISDIR) => "EISDIR".to_owned(),
        other => format!("errno {}", other.unwrap_or_default()),
    }
}
