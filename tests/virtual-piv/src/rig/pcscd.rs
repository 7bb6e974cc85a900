//! The process: a pcscd that nobody else knows.

use std::{
    fs::{self, File},
    os::{
        fd::OwnedFd,
        unix::{net::UnixListener, process::CommandExt as _},
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};

use super::{
    PATIENCE,
    host::Host,
    status::{Reader, Status},
    wait::wait_for_some,
};

/// A running pcscd, killed when this is dropped. It is killed too when the process of the test is.
#[derive(Debug)]
pub(super) struct Pcscd {
    child: Child,
    guard: Child,
    status: Status,
}

/// The files in its folder.
#[derive(Clone, Debug)]
pub(super) struct Files(PathBuf);

impl Files {
    pub(super) fn new(folder: &Path) -> Self {
        Self(folder.to_owned())
    }
    pub(super) fn folder(&self) -> &Path {
        &self.0
    }
    /// Where its clients find it.
    pub(super) fn socket(&self) -> PathBuf {
        self.0.join("pcscd")
    }
    /// The folder of its configuration.
    pub(super) fn configuration(&self) -> PathBuf {
        self.0.join("reader.conf.d")
    }
    pub(super) fn log(&self) -> PathBuf {
        self.0.join("pcscd.log")
    }
}

/// systemd's way to give a service its socket: descriptor 3, and two variables. pcscd knows no other
/// way to another socket than the system's.
const START: &str = r#"
exec 3<&0 0</dev/null
LISTEN_FDS=1 LISTEN_PID=$$ exec pcscd --foreground --info --config "$1/reader.conf.d""#;

/// Waits until its stdin ends, which it does when the process of the test does, however that goes.
const GUARD: &str = r#"read -r _; kill -KILL "$1"; rm -rf -- "$2""#;

impl Pcscd {
    /// Starts it, and waits until it serves. `Err` says what it wrote instead.
    pub(super) fn start(files: &Files) -> Result<Self, String> {
        let socket = files.socket();
        // Taken by another name first: clients find one that listens, or the old one that refuses.
        let new = socket.with_extension("new");
        let _ = fs::remove_file(&new);
        let listener = UnixListener::bind(&new).expect("a socket in an own folder");
        fs::rename(&new, &socket).expect("a name in an own folder");

        let log = File::create(files.log()).expect("a file in an own folder");
        let mut child = Host::get()
            .shell(START, files.folder())
            .stdin(OwnedFd::from(listener))
            .stdout(log.try_clone().expect("a descriptor"))
            .stderr(log)
            // A group of its own: an interrupt of the terminal is for the program alone.
            .process_group(0)
            .spawn()
            .expect("a shell runs");
        let mut guard = Command::new("sh")
            .args(["-c", GUARD, "sh", &child.id().to_string()])
            .arg(files.folder())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .expect("a shell runs");
        // Refused, or closed before it is answered, once pcscd has ended: it alone has the socket.
        match Status::connect(&socket) {
            Ok(status) => Ok(Self {
                child,
                guard,
                status,
            }),
            Err(error) => {
                // The guard first: the pid is nobody else's only until the child is waited for.
                end(&mut guard);
                end(&mut child);
                let said = fs::read_to_string(files.log()).unwrap_or_default();
                Err(format!("{error}; pcscd said:\n{said}"))
            }
        }
    }

    pub(super) fn readers(&mut self) -> Vec<Reader> {
        self.status.readers().unwrap_or_default()
    }

    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Makes it do nothing until [`cont`](Self::cont).
    #[track_caller]
    pub(super) fn stop(&self) {
        self.signal(Signal::STOP);
        let path = format!("/proc/{}/stat", self.id());
        let stopped = || {
            let stat = fs::read_to_string(&path).ok()?;
            let (_, fields) = stat.rsplit_once(')')?;
            fields.trim_start().starts_with('T').then_some(())
        };
        wait_for_some(stopped, PATIENCE).expect("it stops");
    }

    #[track_caller]
    pub(super) fn cont(&self) {
        self.signal(Signal::CONT);
    }

    #[track_caller]
    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.id()).ok().and_then(Pid::from_raw);
        kill_process(pid.expect("a process id"), signal).expect("it is our child");
    }
}

impl Drop for Pcscd {
    fn drop(&mut self) {
        // The guard first, as above.
        end(&mut self.guard);
        end(&mut self.child);
        Host::get().tidy(self.id());
    }
}

fn end(child: &mut Child) {
    // It may have ended by itself.
    let _ = child.kill();
    let _ = child.wait();
}
