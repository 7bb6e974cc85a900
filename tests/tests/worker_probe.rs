//! `keyward-worker probe` and `init-token`, as `keyward init` uses them.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::{
    fs,
    os::unix::process::ExitStatusExt,
    path::Path,
    process::{Command, Output, Stdio},
};

use keyward_tests::{
    Fault, FaultModule, PATIENCE, SoftHsm, process::run_with, site::program, wait_for,
};
use serde_json::Value;

fn worker(hsm: &SoftHsm, arguments: &[&str]) -> Command {
    let mut command = Command::new(program("keyward-worker"));
    command
        .args(arguments)
        .arg(format!("--read={}", hsm.conf().display()))
        .arg(format!("--write={}", hsm.token_dir().display()))
        .env_clear()
        .envs(hsm.environment())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn probe(hsm: &SoftHsm, faults: Option<&FaultModule>) -> Command {
    let module = faults.map_or(hsm.module(), FaultModule::library);
    let mut command = worker(hsm, &["probe", "pkcs11", module.to_str().unwrap()]);
    if let Some(faults) = faults {
        command
            .envs(faults.environment())
            .arg(format!("--write={}", faults.dir().display()));
    }
    command
}

fn json(output: &Output) -> Value {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn names(folder: &Path) -> usize {
    fs::read_dir(folder).unwrap().count()
}

#[test]
fn a_probe_says_what_tokens_there_are_and_changes_nothing() {
    let hsm = SoftHsm::new();
    let before = names(&hsm.token_dir());
    let found = json(&run_with(&mut probe(&hsm, None), b""));
    let tokens = found["tokens"].as_array().unwrap();
    let ours = tokens.iter().find(|t| t["label"] == hsm.label()).unwrap();
    assert_eq!(ours["manufacturer"], "SoftHSM project");
    assert_eq!(
        (&ours["initialised"], &ours["hardware"]),
        (&true.into(), &false.into())
    );
    assert_eq!(names(&hsm.token_dir()), before);
}

#[test]
fn a_probe_is_sealed_before_the_module_is_loaded() {
    let hsm = SoftHsm::new();
    let faults = FaultModule::new(&hsm);
    faults.set("C_Initialize", &Fault::Probe(vec!["/etc/hostname".into()]));
    json(&run_with(&mut probe(&hsm, Some(&faults)), b""));
    let probed = faults.probed("C_Initialize").unwrap();
    assert!(probed.values().all(|result| result != "ok"), "{probed:?}");
}

#[test]
fn a_module_that_crashes_ends_the_probe_alone() {
    let hsm = SoftHsm::new();
    let faults = FaultModule::new(&hsm);
    faults.set("C_GetTokenInfo", &Fault::CrashAlways);
    let output = run_with(&mut probe(&hsm, Some(&faults)), b"");
    assert_eq!(output.status.signal(), Some(6));
    assert!(output.stdout.is_empty());
}

#[test]
fn a_module_that_hangs_is_killed_with_whoever_asked() {
    let hsm = SoftHsm::new();
    let faults = FaultModule::new(&hsm);
    faults.set("C_Initialize", &Fault::Hang);
    let mut child = probe(&hsm, Some(&faults)).spawn().unwrap();
    assert!(wait_for(|| faults.calls("C_Initialize") == 1, PATIENCE));
    child.kill().unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(9));
}

#[test]
fn a_tokens_failure_is_told_in_its_place() {
    let hsm = SoftHsm::new();
    let faults = FaultModule::new(&hsm);
    faults.set("C_GetTokenInfo", &Fault::Error(0x30));
    let found = json(&run_with(&mut probe(&hsm, Some(&faults)), b""));
    let problem = found["tokens"][0]["problem"].as_str().unwrap();
    assert!(problem.contains("CKR_DEVICE_ERROR"), "{problem}");
}

#[test]
fn a_new_token_has_the_pin_from_stdin_and_the_old_ones_are_left() {
    let hsm = SoftHsm::new();
    let module = hsm.module().to_str().unwrap();
    let mut command = worker(&hsm, &["init-token", "pkcs11", module, "second"]);
    let made = json(&run_with(&mut command, b"12345678\nsecret-pin\n"));
    assert_eq!(made["token"]["label"], "second");
    assert_eq!(made["token"]["pin_initialised"], true);
    assert_eq!(names(&hsm.token_dir()), 2);
}

#[test]
fn without_two_pins_nothing_is_made() {
    let hsm = SoftHsm::new();
    let module = hsm.module().to_str().unwrap();
    let long = format!("12345678\n{}\n", "9".repeat(300));
    for input in [
        &b""[..],
        b"12345678\n",
        b"12345678\n\n",
        b"\n1234\n",
        b"12345678\n\xff\n",
        long.as_bytes(),
    ] {
        let mut command = worker(&hsm, &["init-token", "pkcs11", module, "second"]);
        let output = run_with(&mut command, input);
        assert_eq!(output.status.code(), Some(1));
        assert!(output.stdout.is_empty());
    }
    assert_eq!(names(&hsm.token_dir()), 1);
}

#[test]
fn what_is_no_module_is_an_error_in_words() {
    let hsm = SoftHsm::new();
    for (module, why) in [
        ("/etc/passwd", "can't be loaded"),
        ("/no/such.so", "can't be loaded"),
        ("libsofthsm2.so", "whole path"),
    ] {
        let output = run_with(&mut worker(&hsm, &["probe", "pkcs11", module]), b"");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1));
        assert!(
            stderr.starts_with("keyward-worker: error: ") && stderr.contains(why),
            "{stderr}"
        );
    }
}
