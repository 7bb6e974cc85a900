//! A small disk of a test's own: the test runs again in a mount namespace.

use std::env;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

const VARIABLE: &str = "KEYWARD_TEST_TMPFS";

/// In the test itself: runs it again with a tmpfs of a size, and gives `None`. In that second run: the folder that the tmpfs is
/// on. `test` is its full path, `module::name`.
pub(crate) fn mounted(test: &str, size: &str) -> Option<PathBuf> {
    if let Some(folder) = env::var_os(VARIABLE) {
        return Some(folder.into());
    }
    let folder = tempfile::tempdir().unwrap();
    let script = format!(r#"mount -t tmpfs -o size={size},mode=0700 none "$0" && exec "$@""#);
    let output = Command::new("unshare")
        .args(namespaces())
        .args(["sh", "-c", &script])
        .arg(folder.path())
        .arg(env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture", "--test-threads=1"])
        .env(VARIABLE, folder.path())
        .output()
        .expect("unshare (Debian package util-linux) is needed for a small disk");
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{text}"
    );
    None
}

fn namespaces() -> &'static [&'static str] {
    let can = |arguments: &[&str]| {
        Command::new("unshare")
            .args(arguments)
            .arg("true")
            .output()
            .is_ok_and(|output| output.status.success())
    };
    // In a chroot there are no user namespaces, and the root is no mount to be made private.
    let in_chroot = &["-m", "--propagation", "unchanged"][..];
    [&["-Urm"][..], &["-m"][..], in_chroot]
        .into_iter()
        .find(|arguments| can(arguments))
        .expect(
            "this test mounts a small disk: it needs user namespaces \
             (sysctl -w kernel.unprivileged_userns_clone=1 user.max_user_namespaces=10000) or root",
        )
}

/// A file that takes all the room that is left.
pub(crate) fn fill(folder: &Path) -> PathBuf {
    let path = folder.join("ballast");
    let mut file: File = OpenOptions::new()
        .append(true)
        .create(true)
        .open(&path)
        .unwrap();
    let mut written = 0_u32;
    while file.write_all(&[1; 512]).is_ok() {
        written += 1;
        assert!(written < 100_000, "this disk does not fill");
    }
    path
}
