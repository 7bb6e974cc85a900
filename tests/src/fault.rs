//! The fault module from the outside: sets its control files and reads its counters.
//!
//! What each fault does stands in the documentation of the crate `keyward_fault_module`.

use std::{
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
};

use tempfile::TempDir;

use crate::SoftHsm;

const LIBRARY: &str = "libkeyward_fault_module.so";

/// What a call shall do wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Block until [`FaultModule::clear`].
    Hang,
    /// Abort the process, once.
    Crash,
    /// Abort the process each time.
    CrashAlways,
    /// Return this `CK_RV`.
    Error(u64),
    /// Return this `CK_RV`, once.
    ErrorOnce(u64),
    /// Return this `CK_RV` once, from the second call on.
    ErrorSecond(u64),
    /// Flip a bit of the output.
    Garble,
    /// `C_Sign`, `C_Encrypt`, `C_Decrypt`: an output without its last byte.
    Short,
    /// `C_EncryptInit`: an IV of the token's own for AES-GCM.
    Iv([u8; 12]),
    /// `C_WrapKey`: whole blocks get a block of padding more.
    Pkcs7,
    /// `C_OpenSession`: no more than so many sessions.
    Limit(usize),
    /// `C_GetTokenInfo`: another serial number.
    Serial(&'static str),
    /// `C_GetTokenInfo`: flags besides those of the token.
    Flags(u64),
    /// `C_GetMechanismList`, `C_GetAttributeValue`: mechanisms or attributes that are not there.
    Hide(Vec<u64>),
    /// `C_GetAttributeValue`: attributes with another value of the same length.
    Replace(Vec<(u64, Vec<u8>)>),
    /// Try to open these paths, to make sockets and to exec, once: [`FaultModule::probed`] has the results.
    Probe(Vec<PathBuf>),
}

/// A folder of control files, and the module that reads it.
#[derive(Debug)]
pub struct FaultModule {
    dir: TempDir,
    library: PathBuf,
    real: PathBuf,
}

impl FaultModule {
    /// A fault module in front of that SoftHSM, with no fault set.
    ///
    /// # Panics
    /// If the module was not built.
    #[must_use]
    #[track_caller]
    pub fn new(hsm: &SoftHsm) -> Self {
        let dir = tempfile::Builder::new()
            .prefix("keyward-fault-")
            .tempdir()
            .expect("a temporary folder");
        Self {
            dir,
            library: library(),
            real: hsm.module().to_owned(),
        }
    }

    /// What a process that loads the module needs in its environment, besides [`SoftHsm::environment`].
    #[must_use]
    pub fn environment(&self) -> [(&'static str, PathBuf); 2] {
        [
            ("KEYWARD_FAULT_MODULE", self.real.clone()),
            ("KEYWARD_FAULT_DIR", self.dir().to_owned()),
        ]
    }

    /// The path of the module.
    #[must_use]
    pub fn library(&self) -> &Path {
        &self.library
    }

    /// The folder of control files: the module reads, writes, creates and deletes there.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Gives a fault to a call, from its next entry on.
    ///
    /// # Panics
    /// If the module has no such call, or that call no such fault.
    #[track_caller]
    pub fn set(&self, call: &str, fault: &Fault) {
        let only_for: &[&str] = match fault {
            Fault::Short => &["C_Sign", "C_Encrypt", "C_Decrypt"],
            Fault::Iv(_) => &["C_EncryptInit"],
            Fault::Pkcs7 => &["C_WrapKey"],
            Fault::Limit(_) => &["C_OpenSession"],
            Fault::Serial(_) | Fault::Flags(_) => &["C_GetTokenInfo"],
            Fault::Hide(_) => &["C_GetMechanismList", "C_GetAttributeValue"],
            Fault::Replace(_) => &["C_GetAttributeValue"],
            Fault::Garble => &[
                "C_GetTokenInfo",
                "C_GetMechanismList",
                "C_GetMechanismInfo",
                "C_OpenSession",
                "C_GetAttributeValue",
                "C_Sign",
                "C_Encrypt",
                "C_Decrypt",
                "C_DeriveKey",
                "C_GenerateKeyPair",
            ],
            _ => keyward_fault_module::CALLS,
        };
        assert!(
            only_for.contains(&call),
            "{call} can't have {fault:?}; only {only_for:?}"
        );
        let (name, text) = control(fault);
        if matches!(fault, Fault::Probe(_)) {
            self.remove(call, "probe.txt");
        }
        // Renamed into place, so that the module never reads half of it.
        let part = self.path(call, "part");
        fs::write(&part, text).expect("a control file");
        fs::rename(&part, self.path(call, name)).expect("a control file");
    }

    /// Takes every fault from a call; what hangs in it goes on.
    pub fn clear(&self, call: &str) {
        let names = "hang crash crash.always error error.once error.second garble short iv pkcs7 limit serial flags hide replace probe";
        for name in names.split(' ') {
            self.remove(call, name);
        }
    }

    /// How often a call was entered so far, by all processes.
    #[must_use]
    pub fn calls(&self, call: &str) -> usize {
        assert!(
            keyward_fault_module::CALLS.contains(&call),
            "the fault module does not count {call}"
        );
        fs::read(self.path(call, "calls")).map_or(0, |bytes| bytes.len())
    }

    /// What a [`Fault::Probe`] found, once it is complete: `open PATH`, `write PATH`, `socket inet`, `socket unix`, `execve`,
    /// each with `ok` or the name of an errno.
    #[must_use]
    pub fn probed(&self, call: &str) -> Option<BTreeMap<String, String>> {
        let text = fs::read_to_string(self.path(call, "probe.txt")).ok()?;
        let lines = text.lines().filter_map(|line| line.rsplit_once('='));
        let results: BTreeMap<_, _> = lines
            .map(|(what, result)| (what.to_owned(), result.to_owned()))
            .collect();
        (text.ends_with('\n') && results.contains_key("execve")).then_some(results)
    }

    fn remove(&self, call: &str, name: &str) {
        // Most of them are not there, and the module deletes some itself.
        let _ = fs::remove_file(self.path(call, name));
    }

    fn path(&self, call: &str, name: &str) -> PathBuf {
        self.dir().join(format!("{call}.{name}"))
    }
}

/// The name and the text of a fault's control file.
fn control(fault: &Fault) -> (&'static str, String) {
    match fault {
        Fault::Hang => ("hang", String::new()),
        Fault::Crash => ("crash", String::new()),
        Fault::CrashAlways => ("crash.always", String::new()),
        Fault::Error(rv) => ("error", rv.to_string()),
        Fault::ErrorOnce(rv) => ("error.once", rv.to_string()),
        Fault::ErrorSecond(rv) => ("error.second", rv.to_string()),
        Fault::Garble => ("garble", String::new()),
        Fault::Short => ("short", String::new()),
        Fault::Iv(iv) => ("iv", hex(iv)),
        Fault::Pkcs7 => ("pkcs7", String::new()),
        Fault::Limit(sessions) => ("limit", sessions.to_string()),
        Fault::Serial(serial) => ("serial", (*serial).to_owned()),
        Fault::Flags(flags) => ("flags", flags.to_string()),
        Fault::Hide(numbers) => ("hide", lines(numbers.iter().map(u64::to_string))),
        Fault::Replace(values) => (
            "replace",
            lines(
                values
                    .iter()
                    .map(|(number, value)| format!("{number}={}", hex(value))),
            ),
        ),
        Fault::Probe(paths) => (
            "probe",
            lines(paths.iter().map(|path| path.display().to_string())),
        ),
    }
}

fn lines(lines: impl Iterator<Item = String>) -> String {
    lines.collect::<Vec<_>>().join("\n")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The module that cargo built beside this executable.
#[track_caller]
fn library() -> PathBuf {
    let executable = env::current_exe().expect("the path of this executable");
    let folder = executable.parent().expect("an executable is in a folder");
    // A test is in deps itself; a program of this crate is above it.
    let places = [
        folder.join(LIBRARY),
        folder.join("deps").join(LIBRARY),
        folder.join("..").join(LIBRARY),
    ];
    places
        .into_iter()
        .find(|path| path.exists())
        .unwrap_or_else(|| {
            panic!(
                "{LIBRARY} is not beside {}; type: cargo build -p keyward-fault-module",
                executable.display()
            )
        })
}
