//! A private TPM: swtpm with a state folder and ports of its own.
//!
//! It serves one connection after the other; tpm2-tss opens one for each command. A [`Proxy`] in
//! front of it takes turns, and lets a test see and change what passes.

mod ports;
mod proxy;
mod token;
mod tools;
pub mod wire;

use std::{
    fs,
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Mutex, MutexGuard},
    time::Duration,
};

use rustix::process::{Signal, kill_process};
use tempfile::TempDir;

use crate::{
    process::{pid, status_field},
    wait_for,
};

pub use proxy::{Act, Exchange, Proxy};
pub use token::{TPM_PIN, TpmToken};
pub use tools::tpm2;

use ports::Ports;

/// How long an swtpm may take for what takes it no time.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running swtpm, killed when this is dropped.
#[derive(Debug)]
pub struct Swtpm {
    dir: TempDir,
    ports: Ports,
    running: Mutex<Option<Child>>,
    /// Whether each TPM that is put here has a storage root key.
    has_root: bool,
    /// Whether each has endorsement keys with certificates.
    has_certificates: bool,
}

impl Swtpm {
    /// Makes a TPM that nobody has used, and starts it.
    ///
    /// # Panics
    /// If swtpm is not installed or does not start.
    #[must_use]
    #[track_caller]
    pub fn start() -> Self {
        Self::start_with(false, false)
    }

    /// Makes a TPM that has a storage root key at its usual handle, and starts it.
    ///
    /// # Panics
    /// If swtpm or tpm2-tools are not installed.
    #[must_use]
    #[track_caller]
    pub fn with_root() -> Self {
        Self::start_with(true, false)
    }

    /// Makes a TPM as a manufacturer does: with endorsement keys and their certificates in it, under
    /// [`issuer`](Self::issuer); and with a storage root key. Starts it.
    ///
    /// # Panics
    /// If swtpm, swtpm-tools or tpm2-tools are not installed.
    #[must_use]
    #[track_caller]
    pub fn manufactured() -> Self {
        Self::start_with(true, true)
    }

    /// The certificate that the manufacturer's are under, PEM.
    #[must_use]
    pub fn issuer(&self) -> PathBuf {
        tools::issuer(self.dir.path())
    }

    #[track_caller]
    fn start_with(has_root: bool, has_certificates: bool) -> Self {
        let dir = tempfile::Builder::new()
            .prefix("keyward-swtpm-")
            .tempdir()
            .expect("a temporary folder");
        let swtpm = Self {
            dir,
            ports: Ports::take(),
            running: Mutex::new(None),
            has_root,
            has_certificates,
        };
        swtpm.spawn(OWN);
        swtpm
    }

    /// What `tcti =` says for it.
    #[must_use]
    pub fn tcti(&self) -> String {
        tcti(&self.ports)
    }

    /// The port of commands; the control channel is at the next one.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.ports.first()
    }

    /// Its process.
    ///
    /// # Panics
    /// If it was killed.
    #[must_use]
    #[track_caller]
    pub fn pid(&self) -> u32 {
        self.running().as_ref().expect("it runs").id()
    }

    /// Kills it, as when a machine loses its power. Its ports stay taken, and refuse connections.
    pub fn kill(&self) {
        if let Some(mut child) = self.running().take() {
            // It may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Kills it and starts it again, at the same ports, with what it had stored.
    #[track_caller]
    pub fn restart(&self) {
        self.kill();
        self.spawn(OWN);
    }

    /// Puts another TPM in its place, at the same ports: the same one each time.
    #[track_caller]
    pub fn replace(&self) {
        self.kill();
        self.spawn("another");
    }

    /// Makes it answer nothing until [`cont`](Self::cont).
    ///
    /// # Panics
    /// If it can't be stopped.
    #[track_caller]
    pub fn stop(&self) {
        let number = self.pid();
        kill_process(pid(number), Signal::STOP).expect("it can be stopped");
        let stopped = || status_field(number, "State").is_some_and(|state| state.starts_with('T'));
        assert!(wait_for(stopped, PATIENCE), "it goes on");
    }

    /// Ends a [`stop`](Self::stop).
    ///
    /// # Panics
    /// If it can't go on.
    #[track_caller]
    pub fn cont(&self) {
        kill_process(pid(self.pid()), Signal::CONT).expect("it can go on");
    }

    /// A reset without the start-up that the firmware does: commands get `TPM_RC_INITIALIZE`.
    ///
    /// # Panics
    /// If it can't be had.
    #[track_caller]
    pub fn init(&self) {
        let control = format!("127.0.0.1:{}", self.ports.second());
        let output = Command::new("swtpm_ioctl")
            .args(["--tcp", &control, "-i"])
            .stdin(Stdio::null())
            .output()
            .expect("swtpm_ioctl runs; type `make test`, which installs swtpm-tools");
        assert!(
            output.status.success(),
            "swtpm_ioctl: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }

    #[track_caller]
    fn spawn(&self, name: &str) {
        let state = self.dir.path().join(name);
        if !state.exists() {
            fs::create_dir(&state).expect("a folder for the TPM's state");
            if self.has_certificates {
                tools::manufacture(&state, self.dir.path());
            }
            if self.has_root {
                // At ports that nobody else knows: who waits for this TPM would be served first.
                let ports = Ports::take();
                let mut child = launch(&ports, &state);
                tools::make_root(&tcti(&ports), self.dir.path());
                let _ = child.kill();
                let _ = child.wait();
            }
        }
        *self.running() = Some(launch(&self.ports, &state));
    }

    #[track_caller]
    fn running(&self) -> MutexGuard<'_, Option<Child>> {
        self.running.lock().expect("no panic")
    }
}

/// The folder of the TPM's own state.
const OWN: &str = "own";

fn tcti(ports: &Ports) -> String {
    format!("swtpm:host=127.0.0.1,port={}", ports.first())
}

/// Starts an swtpm, and waits until it listens.
#[track_caller]
fn launch(ports: &Ports, state: &Path) -> Child {
    let at = |port: u16| format!("type=tcp,port={port},bindaddr=127.0.0.1");
    let log = state.with_extension("log");
    let mut child = Command::new("swtpm")
        .args(["socket", "--tpm2"])
        .arg("--tpmstate")
        .arg(format!("dir={}", state.display()))
        .args(["--server", &at(ports.first())])
        .args(["--ctrl", &at(ports.second())])
        .args(["--flags", "not-need-init,startup-clear"])
        .arg("--log")
        .arg(format!("file={},truncate", log.display()))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("swtpm runs; type `make test`, which installs swtpm");
    let mut ended = false;
    let listens = |port: u16| TcpStream::connect(("127.0.0.1", port)).is_ok();
    let up = || {
        ended = child.try_wait().expect("a child").is_some();
        ended || listens(ports.first()) && listens(ports.second())
    };
    let up = wait_for(up, PATIENCE);
    let said = || fs::read_to_string(&log).unwrap_or_default();
    assert!(up && !ended, "swtpm does not start: {}", said());
    child
}

impl Drop for Swtpm {
    fn drop(&mut self) {
        self.kill();
    }
}
