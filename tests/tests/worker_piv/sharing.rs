use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdout, Stdio};

use super::*;

/// The application of OpenPGP, selected by another program.
pub(super) fn select_openpgp(token: &PivToken) {
    let select = "00:A4:04:00:06:D2:76:00:01:24:01";
    let selected = token
        .rig()
        .command("opensc-tool")
        .args(["-r", "0", "-c", "default", "-s", select])
        .output()
        .unwrap();
    assert!(selected.status.success(), "{selected:?}");
}

#[test]
fn fifty_turns_with_another_application_take_one_login() {
    let mut rig = Rig::new(Model::YubiKey57);
    let key = rig.key();
    for _ in 0..50 {
        select_openpgp(&rig.token);
        rig.sign(&key).unwrap();
    }
    rig.assert_sound();
}

#[test]
fn an_application_that_is_still_selected_is_known_by_the_serial_number() {
    let mut rig = Rig::new(Model::YubiKey57);
    let key = rig.key();
    rig.sign(&key).unwrap();
    let asked = |rig: &Rig| (rig.token.card().count(0xa4), rig.token.card().count(0xf8));
    let (selects, serials) = asked(&rig);
    for _ in 0..5 {
        rig.sign(&key).unwrap();
    }
    assert_eq!(asked(&rig), (selects, serials + 5));
    select_openpgp(&rig.token);
    rig.sign(&key).unwrap();
    // One was the other program's; no PIN went to its application.
    assert_eq!(asked(&rig), (selects + 2, serials + 7));
    rig.assert_sound();
}

#[test]
fn another_program_does_not_find_the_pin_verified() {
    let mut rig = Rig::new(Model::YubiKey5);
    let key = rig.key();
    rig.sign(&key).unwrap();
    let log = rig.token.card().log();
    let unverified = log
        .iter()
        .filter(|one| (one.instruction, one.p1) == (0x20, 0xff));
    assert!(unverified.count() > 0);
    rig.assert_sound();
}

/// An scdaemon that has the card for itself, as it does by default.
struct Holder {
    child: Child,
    // Without a reader it would end.
    _output: BufReader<ChildStdout>,
}

impl Holder {
    fn new(token: &PivToken) -> Self {
        let home = token.rig().folder().join("gnupg");
        std::fs::create_dir(&home).unwrap();
        let programs = ["/usr/lib/gnupg/scdaemon", "/usr/libexec/scdaemon"];
        let program = programs
            .iter()
            .find(|path| std::fs::exists(path).unwrap())
            .expect("scdaemon is installed by `make test`");
        let mut child = token
            .rig()
            .command(program)
            .args(["--server", "--disable-ccid", "--homedir"])
            .arg(&home)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        writeln!(child.stdin.as_mut().unwrap(), "SERIALNO").unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut said = String::new();
        while !said.contains("S SERIALNO") || !said.ends_with("OK\n") {
            let length = output.read_line(&mut said).unwrap();
            assert!(length > 0, "scdaemon does not take the card: {said}");
        }
        Self {
            child,
            _output: output,
        }
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_card_that_another_program_holds_is_said_to_be_held_and_by_what_it_is_freed() {
    let mut rig = Rig::new(Model::YubiKey57);
    let key = rig.key();
    let holder = Holder::new(&rig.token);
    let held = rig.sign(&key);
    assert!(
        matches!(&held, Err(BackendError::Held(why)) if why.contains("pcsc-shared")),
        "{held:?}"
    );
    drop(holder);
    rig.sign(&key).unwrap();
    rig.assert_sound();
}

#[test]
fn another_program_gets_the_card_between_two_uses() {
    let mut rig = Rig::new(Model::YubiKey57);
    let key = rig.key();
    rig.sign(&key).unwrap();
    // It takes the card for itself alone, which a handle that is kept would not let it.
    drop(Holder::new(&rig.token));
    rig.sign(&key).unwrap();
}
