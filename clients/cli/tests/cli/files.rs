//! What is left on the disk, and what is refused before it gets there.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use crate::{KEYWARD, agent};

fn keyward(folder: &Path, socket: &Path, arguments: &[&str]) -> Output {
    Command::new(KEYWARD)
        .args(arguments)
        .current_dir(folder)
        .env("KEYWARD_SOCK", socket)
        .output()
        .unwrap()
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn a_secret_is_its_owners_alone_and_replaces_what_was_there() {
    let fake = agent::start();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("secret");
    std::fs::write(&file, "what was there before").unwrap();
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o644)).unwrap();
    let output = keyward(
        folder.path(),
        &fake.path(),
        &["random", "7", "-o", "secret"],
    );
    assert!(output.status.success() && output.stdout.is_empty());
    assert_eq!(std::fs::read(&file).unwrap(), [0xa5; 7]);
    assert_eq!(mode(&file), 0o600);
    let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().collect();
    assert_eq!(left.len(), 1);
}

#[test]
fn a_file_that_cannot_be_written_is_an_error_and_leaves_nothing() {
    let fake = agent::start();
    let folder = tempfile::tempdir().unwrap();
    let output = keyward(
        folder.path(),
        &fake.path(),
        &["random", "7", "-o", "no/where"],
    );
    assert_eq!(output.status.code(), Some(2));
    assert!(
        output
            .stderr
            .starts_with(b"keyward: error: can't write no/where\n  caused by: ")
    );
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn a_device_is_written_to_and_not_replaced() {
    let fake = agent::start();
    let folder = tempfile::tempdir().unwrap();
    let output = keyward(
        folder.path(),
        &fake.path(),
        &["random", "7", "-o", "/dev/stderr"],
    );
    assert!(output.status.success());
    assert_eq!(output.stderr, [0xa5; 7]);
}

#[test]
fn a_reader_that_has_had_enough_is_no_error() {
    let fake = agent::start();
    let folder = tempfile::tempdir().unwrap();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = Command::new(KEYWARD)
        .args(["status"])
        .current_dir(folder.path())
        .env("KEYWARD_SOCK", fake.path())
        .stdout(writer)
        .output()
        .unwrap();
    assert!(output.status.success() && output.stderr.is_empty());
}

#[test]
fn every_kind_of_socket_trouble_has_a_hint() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("file"), "").unwrap();
    drop(std::os::unix::net::UnixListener::bind(folder.path().join("stale")).unwrap());
    let long = "x".repeat(108);
    for (socket, cause) in [
        ("none", "there is no such socket"),
        ("file", "it is not a socket"),
        ("stale", "no process listens on it"),
        (&long, "the path has 108 bytes"),
    ] {
        let output = keyward(folder.path(), Path::new(socket), &["status"]);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(3), "{stderr}");
        assert!(stderr.contains(cause), "{stderr}");
        assert!(stderr.contains("\n  hint: "), "{stderr}");
    }
}
