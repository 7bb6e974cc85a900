//! What is left on the disk, and what is refused before it gets there.

use std::io::Read;
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
fn a_secret_does_not_go_through_a_link_into_a_file_of_another_mode() {
    let fake = agent::start();
    let folder = tempfile::tempdir().unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let (link, file) = (folder.path().join("link"), elsewhere.path().join("file"));
    std::fs::write(&file, "before").unwrap();
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o644)).unwrap();
    std::os::unix::fs::symlink(&file, &link).unwrap();
    let mut watched = std::fs::File::open(&file).unwrap();
    let output = keyward(folder.path(), &fake.path(), &["random", "7", "-o", "link"]);
    assert!(output.status.success(), "{output:?}");
    assert!(link.is_symlink());
    assert_eq!(std::fs::read(&file).unwrap(), [0xa5; 7]);
    assert_eq!(mode(&file), 0o600);
    let mut seen = String::new();
    watched.read_to_string(&mut seen).unwrap();
    assert_eq!(seen, "before");
    assert_eq!(std::fs::read_dir(elsewhere.path()).unwrap().count(), 1);
}

#[test]
fn a_link_to_nothing_is_no_place_for_an_output() {
    let fake = agent::start();
    let folder = tempfile::tempdir().unwrap();
    let link = folder.path().join("link");
    std::os::unix::fs::symlink("nothing", &link).unwrap();
    let output = keyward(folder.path(), &fake.path(), &["random", "7", "-o", "link"]);
    assert_eq!(output.status.code(), Some(2));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(
        stderr.contains("it is a symbolic link to nothing"),
        "{stderr}"
    );
    assert!(link.is_symlink());
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
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

#[test]
fn a_decrypted_file_is_its_owners_alone_and_an_encrypted_one_is_not() {
    let fake = agent::start();
    let folder = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| {
        let output = keyward(folder.path(), &fake.path(), arguments);
        assert!(output.status.success(), "{output:?}");
    };
    let plaintext = vec![7; 300_000];
    std::fs::write(folder.path().join("plain"), &plaintext).unwrap();
    run(&["encrypt", "--to", "data", "plain", "-o", "sealed"]);
    run(&["decrypt", "sealed", "-o", "again"]);
    assert!(std::fs::read(folder.path().join("again")).unwrap() == plaintext);
    assert_eq!(mode(&folder.path().join("again")), 0o600);
    assert_eq!(mode(&folder.path().join("sealed")) & 0o444, 0o444);
}

#[test]
fn a_link_stays_and_the_file_behind_it_is_replaced() {
    let fake = agent::start();
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("deep")).unwrap();
    std::fs::write(folder.path().join("deep/file"), "before").unwrap();
    std::os::unix::fs::symlink("deep/file", folder.path().join("link")).unwrap();
    let arguments = ["encrypt", "--to", "data", "-o", "link"];
    let output = keyward(folder.path(), &fake.path(), &arguments);
    assert_eq!(output.status.code(), Some(2));
    let output = keyward(
        folder.path(),
        &fake.path(),
        &[&arguments[..], &["--force"]].concat(),
    );
    assert!(output.status.success(), "{output:?}");
    assert!(folder.path().join("link").is_symlink());
    let written = std::fs::read(folder.path().join("deep/file")).unwrap();
    assert!(written.starts_with(b"age-encryption.org/v1\n-> keyward "));
}

#[test]
fn whatever_ends_it_leaves_no_part_of_a_file() {
    let fake = agent::start();
    let folder = tempfile::tempdir().unwrap();
    let mut child = Command::new("env")
        .args(crate::INTERRUPTIBLE)
        .args([KEYWARD, "encrypt", "--to", "data", "-o", "sealed"])
        .current_dir(folder.path())
        .env("KEYWARD_SOCK", fake.path())
        .stdin(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    // It has read more than it keeps, so it has begun to write.
    let mut stdin = child.stdin.take().unwrap();
    std::io::Write::write_all(&mut stdin, &vec![7; 4 << 20]).unwrap();
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    assert!(!child.wait().unwrap().success());
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn a_file_that_was_cut_leaves_nothing_and_a_pipe_is_told() {
    let fake = agent::start();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("plain"), vec![b'x'; 200_000]).unwrap();
    let run = |arguments: &[&str]| keyward(folder.path(), &fake.path(), arguments);
    assert!(
        run(&["encrypt", "--to", "data", "plain", "-o", "sealed"])
            .status
            .success()
    );
    let sealed = std::fs::read(folder.path().join("sealed")).unwrap();
    std::fs::write(folder.path().join("sealed"), &sealed[..150_000]).unwrap();
    let output = run(&["decrypt", "sealed", "-o", "again"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(!folder.path().join("again").exists());
    let output = run(&["decrypt", "sealed"]);
    assert_eq!(output.status.code(), Some(1));
    // What is authentic was written before.
    assert_eq!(output.stdout, vec![b'x'; 2 * 65536]);
    assert!(
        output
            .stderr
            .ends_with(b"what was written so far is not all of it\n")
    );
}
