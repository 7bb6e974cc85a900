//! Completion, in the shells themselves.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::{KEYWARD, agent};

/// What bash offers for the last of these words. The function is the one that the script
/// registers, and gets what bash gives to one.
fn bash(socket: &Path, words: &[&str]) -> Vec<String> {
    let script = r#"
        source <(keyward completions bash)
        registered=$(complete -p keyward)
        function=${registered##*-F }
        COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMP_TYPE=9
        "${function%% *}" keyward "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
        ((${#COMPREPLY[@]} == 0)) || printf '%s\n' "${COMPREPLY[@]}"
    "#;
    shell(
        Command::new("bash")
            .args(["--norc", "-euc", script, "bash"])
            .args(words),
        socket,
    )
}

fn shell(command: &mut Command, socket: &Path) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("message.txt"), "").unwrap();
    let bin = Path::new(KEYWARD).parent().unwrap();
    let path = std::env::var("PATH").unwrap();
    let output = command
        .env("PATH", format!("{}:{path}", bin.display()))
        .env("KEYWARD_SOCK", socket)
        .env("HOME", folder.path())
        .current_dir(folder.path())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && stderr.is_empty(), "{stderr}");
    let stdout = String::from_utf8(output.stdout).unwrap();
    stdout.lines().map(|line| line.trim().to_owned()).collect()
}

#[test]
fn bash_completes_commands_options_values_and_files() {
    let fake = agent::start();
    let offered = |words: &[&str]| bash(&fake.path(), words);
    assert_eq!(offered(&["keyward", "stat"]), ["status"]);
    assert_eq!(offered(&["keyward", "token", "unl"]), ["unlock"]);
    assert_eq!(offered(&["keyward", "sign", "--enc"]), ["--encoding"]);
    assert_eq!(offered(&["keyward", "sign", "--encoding", "d"]), ["der"]);
    assert_eq!(
        offered(&["keyward", "sign", "release", "mess"]),
        ["message.txt"]
    );
    assert!(!offered(&["keyward", ""]).contains(&"man".to_owned()));
}

#[test]
fn bash_completes_the_keys_that_fit_the_command() {
    let fake = agent::start();
    let offered = |words: &[&str]| {
        let mut names = bash(&fake.path(), words);
        names.retain(|name| !name.starts_with('-'));
        names
    };
    // In the order of the list; its second page has `backup`.
    assert_eq!(
        offered(&["keyward", "key", "show", ""]),
        ["release", "messages", "backup"]
    );
    assert_eq!(offered(&["keyward", "sign", ""]), ["release", "messages"]);
    assert_eq!(offered(&["keyward", "unwrap", ""]), ["backup"]);
    assert_eq!(offered(&["keyward", "sign", "rel"]), ["release"]);
    assert_eq!(offered(&["keyward", "unlock", ""]), ["main"]);
    assert_eq!(offered(&["keyward", "random", "--token", "m"]), ["main"]);
}

#[test]
fn without_an_agent_there_are_no_names_and_no_words() {
    let none = Path::new("none");
    assert!(bash(none, &["keyward", "unlock", "m"]).is_empty());
    assert_eq!(bash(none, &["keyward", "unl"]), ["unlock"]);
}

#[test]
fn an_agent_that_does_not_answer_is_not_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("silent");
    // It is connected to, and never says hello.
    let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    assert!(bash(&socket, &["keyward", "unlock", "m"]).is_empty());
}

#[test]
fn every_shell_has_a_script_that_runs_this_program() {
    for name in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = Command::new(KEYWARD)
            .args(["completions", name])
            .output()
            .unwrap();
        let script = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success());
        assert!(
            script.contains("KEYWARD_COMPLETE") && script.contains("keyward --")
                || script.contains("\"keyward\" --"),
            "{script}"
        );
    }
}
