//! `tests/hardware-piv`, which compares real keys with the model, finds no difference where the key is
//! the model; and changes nothing of a key that is in use, or that nobody named.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

#[path = "support/client.rs"]
mod client;
#[path = "support/tools.rs"]
mod tools;

use std::{
    fs,
    io::{Read as _, Write as _},
    path::Path,
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use client::Said as _;
use keyward_virtual_piv::{Model, Touch};
use tools::{PIN, Tools};

/// Instead of 15 s.
const SECONDS: u64 = 2;

fn script(tools: &Tools, words: &str) -> Command {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../hardware-piv");
    let mut command = tools.tool(path.to_str().unwrap(), words);
    command.arg("--socket").arg(tools.rig.socket());
    command
}

/// Runs it with somebody who types what is asked, and touches when it is said.
fn converse(tools: &Tools, words: &str, serial: &str) -> (bool, String) {
    tools.card.touch_timeout(Duration::from_secs(SECONDS));
    tools.card.touch_cache(Duration::from_secs(SECONDS));
    let mut child = script(tools, words)
        .args(["--blink", &SECONDS.to_string()])
        .args(["--cache", &SECONDS.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let mut stdout = child.stdout.take().unwrap();
    let mut errors = child.stderr.take().unwrap();
    let errors = thread::spawn(move || {
        let mut said = String::new();
        errors.read_to_string(&mut said).unwrap();
        said
    });
    let mut said = Vec::new();
    let mut byte = [0];
    while stdout.read(&mut byte).unwrap() == 1 {
        said.push(byte[0]);
        let line = said.rsplit(|byte| *byte == b'\n').next().unwrap();
        let reply = match line {
            b"To go on, type its serial number: " => serial,
            _ if line.ends_with(b"press Enter when you are ready: ") => {
                let not = line.starts_with(b">>> DO NOT");
                tools
                    .card
                    .touch(if not { Touch::Never } else { Touch::AtOnce });
                ""
            }
            _ => continue,
        };
        writeln!(stdin, "{reply}").unwrap();
    }
    let said = String::from_utf8(said).unwrap() + &errors.join().unwrap();
    (child.wait().unwrap().success(), said)
}

/// Those that docs/virtual-piv.md lists.
fn checks() -> Vec<String> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/virtual-piv.md");
    let page = fs::read_to_string(page).unwrap();
    let ids = page.lines().filter_map(|line| {
        let (id, _) = line.strip_prefix("| HW-")?.split_once(' ')?;
        Some(format!("HW-{id}"))
    });
    let ids: Vec<String> = ids.collect();
    assert!(ids.len() >= 38);
    ids
}

#[track_caller]
fn assert_no_difference(model: Model) {
    let tools = Tools::new(model);
    let (good, said) = converse(&tools, "--give-up-f9", "12345678");
    assert!(good && !said.contains("DIFFERS"), "{said}");
    for check in checks() {
        assert!(said.contains(&format!("\n{check}  ")), "{check}: {said}");
    }
    assert!(tools.card.slots().is_empty());
}

#[test]
fn the_model_of_4_3_does_what_the_script_says_of_it() {
    assert_no_difference(Model::YubiKey4);
}

#[test]
fn the_model_of_5_4_does_what_the_script_says_of_it() {
    assert_no_difference(Model::YubiKey5);
}

#[test]
fn the_model_of_5_7_does_what_the_script_says_of_it() {
    assert_no_difference(Model::YubiKey57);
}

#[test]
fn a_difference_is_seen() {
    let tools = Tools::new(Model::YubiKey5);
    // One answer that no model gives, to the first change of a PIN.
    tools.card.answer(0x24, vec![0x6f, 0x00]);
    let (good, said) = converse(&tools, "--no-touch --only HW-13", "12345678");
    assert!(!good && said.contains("HW-13  DIFFERS"), "{said}");
}

#[test]
fn a_key_that_nobody_names_is_left_alone() {
    let tools = Tools::new(Model::YubiKey5);
    for typed in ["12345679", ""] {
        let (good, said) = converse(&tools, "", typed);
        assert!(!good && said.contains("nothing was changed"), "{said}");
    }
    assert_eq!(tools.card.pin_tries(), 3);
    assert_eq!(tools.card.count(0xfb), 0);
}

#[test]
fn a_key_that_is_in_use_is_left_alone_unless_it_is_said() {
    for model in [Model::YubiKey4, Model::YubiKey5] {
        let tools = Tools::new(model);
        tools.generate("9c", "ECCP256", "");
        let (good, said) = converse(&tools, "", "12345678");
        assert!(
            !good && said.contains("there is a key in slot 9C"),
            "{said}"
        );
        assert!(said.contains("--not-factory"), "{said}");
        assert_eq!(tools.card.slots(), [0x9c]);
        assert_eq!(tools.card.count(0xfb), 0);

        let words = "--not-factory --no-touch --only HW-05";
        let (good, said) = converse(&tools, words, "12345678");
        assert!(good, "{said}");
        assert!(tools.card.slots().is_empty());
    }
    // Also if it is the PIN alone that is another one.
    let tools = Tools::new(Model::YubiKey5);
    tools
        .yubico(&format!("-a change-pin -P {PIN} -N 654321"))
        .succeeds();
    let (good, said) = converse(&tools, "", "12345678");
    assert!(!good && said.contains("80 (80 PIN"), "{said}");
    assert!(tools.card.pin_is(b"654321\xff\xff"));
}

#[test]
fn a_card_that_is_no_yubikey_is_left_alone() {
    let tools = Tools::new(Model::Generic);
    let (good, said) = converse(&tools, "--reader Generic", "12345678");
    assert!(!good && said.contains("no YubiKey"), "{said}");
    let (good, said) = converse(&tools, "", "12345678");
    assert!(!good && said.contains("there is no reader"), "{said}");
}
