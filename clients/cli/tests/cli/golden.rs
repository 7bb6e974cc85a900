//! Cases in files: a command, what goes in, what must come out.
//!
//! A file of `tests/golden` is a chain of cases. `$ COMMAND` begins one and is run by a shell in
//! a folder of its own that the cases of the file share; the lines below are its stdout, then
//! each line of stderr with `! ` before it, then `? CODE` unless it is 0. `#` begins a comment.
//! With `KEYWARD_BLESS=1` the files are written anew from what came out.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::{KEYWARD, agent};

#[test]
fn every_case_gives_what_its_file_says() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    assert!(!files.is_empty());
    let fake = agent::start();
    let wrong: Vec<String> = files
        .iter()
        .filter_map(|file| run_file(file, &fake.path()))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What is wrong with a file, if anything.
fn run_file(file: &Path, socket: &Path) -> Option<String> {
    let wanted = std::fs::read_to_string(file).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut came = String::new();
    for line in wanted.lines() {
        if line.is_empty() || line.starts_with('#') {
            writeln!(came, "{line}").unwrap();
        } else if let Some(command) = line.strip_prefix("$ ") {
            writeln!(came, "{line}").unwrap();
            came.push_str(&run(command, folder.path(), socket));
        }
    }
    if came == wanted {
        return None;
    }
    if std::env::var_os("KEYWARD_BLESS").is_some() {
        std::fs::write(file, came).unwrap();
        return None;
    }
    let at = came.lines().zip(wanted.lines()).take_while(|(a, b)| a == b);
    let at = at.count();
    Some(format!(
        "{}:{}: wanted\n  {}\ncame\n  {}",
        file.display(),
        at + 1,
        wanted.lines().nth(at).unwrap_or("(the end)"),
        came.lines().nth(at).unwrap_or("(the end)"),
    ))
}

fn run(command: &str, folder: &Path, socket: &Path) -> String {
    let bin = Path::new(KEYWARD).parent().unwrap();
    let path = std::env::var("PATH").unwrap();
    // Without a terminal of its own: what would ask must say that it can't.
    let output = Command::new("setsid")
        .args(["--wait", "sh", "-c", command])
        .current_dir(folder)
        .env_clear()
        .env("PATH", format!("{}:{path}", bin.display()))
        .env("KEYWARD_SOCK", socket)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let mut text = String::new();
    let stdout = String::from_utf8_lossy(&output.stdout);
    let stderr = String::from_utf8_lossy(&output.stderr);
    text.push_str(&stdout);
    if !stdout.is_empty() && !stdout.ends_with('\n') {
        text.push_str("(no line feed)\n");
    }
    for line in stderr.lines() {
        writeln!(text, "! {line}").unwrap();
    }
    match output.status.code().unwrap() {
        0 => {}
        code => writeln!(text, "? {code}").unwrap(),
    }
    // The case's socket has another name each time; an empty line would look like the file's own.
    text.replace(&*socket.to_string_lossy(), "SOCKET")
        .lines()
        .map(|line| {
            if line.is_empty() {
                ".\n".into()
            } else {
                format!("{line}\n")
            }
        })
        .collect()
}
