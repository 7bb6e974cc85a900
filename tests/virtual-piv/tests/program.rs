//! `virtual-piv`, the program for people.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

#[path = "support/client.rs"]
mod client;

use std::{
    io::{BufRead as _, BufReader, Write as _},
    process::{Command, Stdio},
};

use client::Said as _;

#[test]
fn it_prints_the_environment_obeys_and_leaves_nothing_when_its_input_ends() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_virtual-piv"))
        .args(["--card", "5.4:7", "--card", "generic"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut line = || {
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    };
    let socket = line();
    let socket = socket.strip_prefix("export PCSCLITE_CSOCK_NAME=").unwrap();
    let status = || {
        let mut command = Command::new("yubico-piv-tool");
        command
            .args(["-a", "status"])
            .env("PCSCLITE_CSOCK_NAME", socket);
        command.said().1
    };
    assert!(status().contains("Serial Number:\t7\n"));

    let mut say = |command: &str| writeln!(input, "{command}").unwrap();
    say("remove");
    assert_eq!(line(), "ok");
    assert!(status().contains("Failed to connect"));
    say("insert 0");
    assert_eq!(line(), "ok");
    assert!(status().contains("Serial Number:\t7\n"));
    say("touch by-hand");
    assert_eq!(line(), "ok");
    say("insert 2");
    assert_eq!(line(), "error: there is no reader 2");
    say("dance");
    assert!(line().starts_with("error: `dance` is no command"));
    say("status");
    assert_eq!(line(), "0: YubiKey5 7: in the reader");
    assert!(line().starts_with("1: Generic 12345678: in the reader"));

    drop(input);
    assert!(child.wait().unwrap().success());
    assert!(!std::path::Path::new(socket).exists());
}

#[test]
fn it_says_what_models_there_are() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_virtual-piv"));
    let said = command.args(["--card", "5.9"]).fails();
    assert!(
        said.contains("there is no model 5.9, but 4.3, 5.4, 5.7, generic"),
        "{said}"
    );
}
