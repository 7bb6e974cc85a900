//! Real SoftHSM tokens in a folder of their own.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use tempfile::TempDir;

/// Where Debian and others put the module.
const MODULES: [&str; 6] = [
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib64/softhsm/libsofthsm2.so",
    "/usr/lib64/pkcs11/libsofthsm2.so",
    "/usr/local/lib/softhsm/libsofthsm2.so",
];

/// A folder with a SoftHSM configuration and one token, removed when this is dropped.
#[derive(Debug)]
pub struct SoftHsm {
    dir: TempDir,
    module: PathBuf,
}

impl SoftHsm {
    const LABEL: &str = "keyward-test";
    const PIN: &str = "87654321";
    const SO_PIN: &str = "12345678";

    /// Makes the folder and the token.
    ///
    /// # Panics
    /// If SoftHSM is not installed or refuses.
    #[must_use]
    #[track_caller]
    pub fn new() -> Self {
        let module = MODULES.iter().map(PathBuf::from).find(|path| path.exists());
        let module = module.expect(
            "libsofthsm2.so is in none of its places; type `make test`, which installs softhsm2",
        );
        let dir = tempfile::Builder::new()
            .prefix("keyward-softhsm-")
            .tempdir()
            .expect("a temporary folder");
        let hsm = Self { dir, module };
        fs::create_dir(hsm.token_dir()).expect("a token folder");
        let conf = format!(
            "directories.tokendir = {}\nobjectstore.backend = file\nlog.level = ERROR\nslots.removable = false\n",
            hsm.token_dir().display()
        );
        fs::write(hsm.conf(), conf).expect("softhsm2.conf");
        hsm.add_token(Self::LABEL, Self::PIN);
        hsm
    }

    /// Makes another token in the same folder.
    ///
    /// # Panics
    /// If SoftHSM refuses.
    #[track_caller]
    pub fn add_token(&self, label: &str, pin: &str) {
        let output = Command::new("softhsm2-util")
            .args([
                "--init-token",
                "--free",
                "--label",
                label,
                "--pin",
                pin,
                "--so-pin",
                Self::SO_PIN,
            ])
            .envs(self.environment())
            .stdin(Stdio::null())
            .output()
            .expect("softhsm2-util runs; type `make test`, which installs softhsm2");
        assert!(
            output.status.success(),
            "softhsm2-util: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }

    /// What a process that loads the module needs in its environment.
    #[must_use]
    pub fn environment(&self) -> [(&'static str, PathBuf); 1] {
        [("SOFTHSM2_CONF", self.conf())]
    }

    /// The folder of everything, which a test may use for files of its own.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The path of softhsm2.conf.
    #[must_use]
    pub fn conf(&self) -> PathBuf {
        self.dir().join("softhsm2.conf")
    }

    /// The folder that the module reads and writes.
    #[must_use]
    pub fn token_dir(&self) -> PathBuf {
        self.dir().join("tokens")
    }

    /// The label of the first token.
    #[must_use]
    pub fn label(&self) -> &'static str {
        Self::LABEL
    }

    /// The user PIN of the first token.
    #[must_use]
    pub fn pin(&self) -> &'static str {
        Self::PIN
    }

    /// The path of libsofthsm2.so.
    #[must_use]
    pub fn module(&self) -> &Path {
        &self.module
    }

    /// The RFC 7512 URI of the first token.
    #[must_use]
    pub fn uri(&self) -> String {
        format!("pkcs11:token={}", Self::LABEL)
    }
}

impl Default for SoftHsm {
    fn default() -> Self {
        Self::new()
    }
}
