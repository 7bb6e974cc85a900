//! Where pcscd has its files on this machine, and how it is kept away from real hardware.
//!
//! A pcscd takes every USB reader that it may open; a test that resets "the" card must never see
//! one. And it wants its folder below `/run`, which only root can make. Both are settled by a mount
//! namespace of its own, in which the folder is empty and there are no USB drivers. Root has one
//! for the asking, others with a user namespace around it, which some systems refuse. Then it runs
//! in the open, and only on a machine that has no smart card reader.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::OnceLock,
};

/// What the pcscd of this machine was built for.
#[derive(Debug)]
pub(super) struct Host {
    /// Where USB drivers are.
    drivers: PathBuf,
    /// Where the system's pcscd has its socket and its pid.
    folder: PathBuf,
    namespace: Namespace,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Namespace {
    Mount,
    UserAndMount,
    None,
}

impl Host {
    /// This machine; looked at once.
    ///
    /// # Panics
    /// If there is no pcscd, or it would take hardware.
    #[track_caller]
    pub(super) fn get() -> &'static Self {
        static HOST: OnceLock<Host> = OnceLock::new();
        HOST.get_or_init(Self::look)
    }

    fn look() -> Self {
        let version = run(Command::new("pcscd").arg("--version"));
        let version = version
            .expect("pcscd runs; type `make test`, which installs it")
            .stdout;
        let version = String::from_utf8_lossy(&version);
        let feature = |name: &str, usual: &str| {
            let mut words = version.split_whitespace();
            let value = words.find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
            PathBuf::from(value.unwrap_or(usual))
        };
        let mut host = Self {
            drivers: feature("usbdropdir", "/usr/lib/pcsc/drivers"),
            folder: feature("ipcdir", "/run/pcscd"),
            namespace: Namespace::None,
        };
        let may = |namespace: &Namespace| {
            host.command("true", Path::new("/"), *namespace)
                .output()
                .is_ok_and(|output| output.status.success())
        };
        let found = [Namespace::Mount, Namespace::UserAndMount]
            .into_iter()
            .find(may);
        host.namespace = found.unwrap_or(Namespace::None);
        assert!(
            host.namespace != Namespace::None || !has_reader(),
            "this machine has a smart card reader, and no namespace can be made to hide it from \
             the tests' own pcscd; unplug it, or run the tests as root"
        );
        host
    }

    /// The driver that takes cards over TCP.
    pub(super) fn vpcd(&self) -> PathBuf {
        self.drivers.join("serial/libifdvpcd.so")
    }

    /// A shell that does this with pcscd's world around it; `$1` is `argument`.
    pub(super) fn shell(&self, script: &str, argument: &Path) -> Command {
        self.command(script, argument, self.namespace)
    }

    /// Removes what a pcscd that ran in the open may have left.
    pub(super) fn tidy(&self, pid: u32) {
        let file = self.folder.join("pcscd.pid");
        let is_its = |text: String| text.trim_end_matches(['\0', '\n']) == pid.to_string();
        if self.namespace == Namespace::None && fs::read_to_string(&file).is_ok_and(is_its) {
            let _ = fs::remove_file(file);
        }
    }

    fn command(&self, script: &str, argument: &Path, namespace: Namespace) -> Command {
        let program: &[&str] = match namespace {
            Namespace::None => &["sh"],
            Namespace::Mount => &["unshare", "--mount", "sh"],
            Namespace::UserAndMount => &["unshare", "--user", "--map-root-user", "--mount", "sh"],
        };
        let mut command = Command::new(program.first().unwrap_or(&"sh"));
        command.args(program.iter().skip(1));
        let script = match namespace {
            Namespace::None => script.to_owned(),
            _ => format!("{HIDE}\n{script}"),
        };
        command.args(["-euc", &script, "sh"]).arg(argument);
        command.arg(&self.folder).arg(&self.drivers);
        command
    }
}

/// `$2` is pcscd's folder, `$3` the one of USB drivers.
const HIDE: &str = r#"
# Where it isn't yet, the folder above it is replaced too, for whoever may not write there.
[ -d "$2" ] || { mount -t tmpfs tmpfs "${2%/*}" && mkdir "$2"; }
mount -t tmpfs tmpfs "$2"
mount -t tmpfs tmpfs "$3""#;

/// Whether an interface of a USB device is a smart card reader: class 0b.
fn has_reader() -> bool {
    let Ok(devices) = fs::read_dir("/sys/bus/usb/devices") else {
        return false;
    };
    devices.flatten().any(|device| {
        fs::read_to_string(device.path().join("bInterfaceClass"))
            .is_ok_and(|class| class.trim().eq_ignore_ascii_case("0b"))
    })
}

fn run(command: &mut Command) -> Option<Output> {
    command.stdin(Stdio::null()).output().ok()
}
