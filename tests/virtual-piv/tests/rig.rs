//! The rig: many at once, each alone, and nothing left of it.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]

#[path = "support/client.rs"]
mod client;

use std::{
    env, fs,
    net::TcpListener,
    panic,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
};

use client::{PATIENCE, Said as _, wait_for};
use keyward_virtual_piv::{Card, Model, Rig, Touch, rig};

/// Selects PIV in a reader and asks for the serial number, by OpenSC's tool.
fn serial(rig: &Rig, reader: usize) -> Option<u32> {
    let name = rig.reader_name(reader);
    let mut command = rig.command("opensc-tool");
    command.args(["--reader", &name, "--card-driver", "default"]);
    command.args(["-s", "00:A4:04:00:05:A0:00:00:03:08", "-s", "00:F8:00:00"]);
    let (_, said) = command.said();
    let last = said.rsplit_once("Received (SW1=0x90, SW2=0x00):\n")?.1;
    let digits: Vec<&str> = last.split_whitespace().take(4).collect();
    u32::from_str_radix(&digits.concat(), 16).ok()
}

#[test]
fn twenty_rigs_at_once_have_each_their_own_card() {
    thread::scope(|scope| {
        for number in 0..20 {
            scope.spawn(move || {
                let rig = Rig::with(&Card::new(Model::YubiKey5, 1000 + number));
                assert_eq!(serial(&rig, 0), Some(1000 + number));
            });
        }
    });
}

#[test]
fn a_card_that_is_swapped_is_another_one() {
    let rig = Rig::start(1);
    for serial_number in [11, 12, 11] {
        rig.insert(0, &Card::new(Model::YubiKey57, serial_number));
        assert_eq!(serial(&rig, 0), Some(serial_number));
    }
    rig.remove(0);
    assert!(!rig.is_present(0));
    assert_eq!(serial(&rig, 0), None);
}

#[test]
fn a_card_that_is_put_back_is_the_same_and_has_forgotten_who_was_verified() {
    let card = Card::new(Model::YubiKey57, 5);
    let rig = Rig::with(&card);
    let tool = |arguments: &[&str]| rig.command("yubico-piv-tool").args(arguments).said();
    assert!(
        tool(&["-a", "verify-pin", "-P", "000000"])
            .1
            .contains("2 tries left")
    );
    rig.remove(0);
    rig.insert(0, &card);
    assert!(tool(&["-a", "status"]).1.contains("PIN tries left:\t2"));
}

#[test]
fn readers_are_named_as_yubikeys_are_or_otherwise() {
    let rig = Rig::with_readers(&[rig::YUBIKEY, rig::YUBIKEY, rig::GENERIC]);
    let names: Vec<String> = (0..3).map(|reader| rig.reader_name(reader)).collect();
    assert_eq!(names[0], "Yubico YubiKey OTP+FIDO+CCID 00 00");
    assert!(names[1].starts_with(rig::YUBIKEY) && names[1] != names[0]);
    assert!(names[2].starts_with(rig::GENERIC));
}

#[test]
fn a_card_that_blinks_holds_up_no_other_reader() {
    let [one, other] = [1, 2].map(|serial| Card::new(Model::YubiKey5, serial));
    let rig = Rig::start(2);
    rig.insert(0, &one);
    rig.insert(1, &other);
    thread::scope(|scope| {
        one.touch_timeout(PATIENCE);
        let busy = scope.spawn(|| sign_with_touch(&rig, &one, 0));
        assert!(one.wait_for_blinking(PATIENCE));
        // OpenSC's tool would ask all readers what they can do, and wait for the busy one.
        let name = rig.reader_name(1);
        let mut status = rig.command("yubico-piv-tool");
        let said = status.args(["--reader", &name, "-a", "status"]).succeeds();
        assert!(said.contains("Serial Number:\t2\n"), "{said}");
        assert!(one.is_blinking());
        one.press();
        let (good, said) = busy.join().unwrap();
        assert!(good, "{said}");
    });
}

#[test]
fn a_card_can_be_pulled_while_it_waits_for_a_touch() {
    let card = Card::new(Model::YubiKey5, 1);
    let rig = Rig::with(&card);
    thread::scope(|scope| {
        let busy = scope.spawn(|| sign_with_touch(&rig, &card, 0));
        assert!(card.wait_for_blinking(PATIENCE));
        rig.remove(0);
        assert!(!card.is_blinking());
        let (good, said) = busy.join().unwrap();
        assert!(!good, "{said}");
    });
    // Nothing of it reaches the next insertion.
    rig.insert(0, &card);
    assert_eq!(serial(&rig, 0), Some(1));
}

/// Makes a key that wants a touch and no PIN, and signs by it.
fn sign_with_touch(rig: &Rig, card: &Card, reader: usize) -> (bool, String) {
    let name = rig.reader_name(reader);
    let mut generate = rig.command("yubico-piv-tool");
    generate.args([
        "--reader", &name, "-a", "generate", "-s", "9a", "-A", "ECCP256",
    ]);
    generate
        .args(["--pin-policy=never", "--touch-policy=always"])
        .succeeds();

    card.touch(Touch::ByHand);
    let mut sign = rig.command("opensc-tool");
    sign.args(["--reader", &name, "--card-driver", "default"]);
    sign.args(["-s", "00:A4:04:00:05:A0:00:00:03:08"]);
    let sign_digest = format!("00:87:11:9A:26:7C:24:82:00:81:20{}", ":55".repeat(32));
    sign.args(["-s", &sign_digest]).said()
}

#[test]
fn a_killed_pcscd_refuses_its_clients_and_comes_back_with_its_cards() {
    let card = Card::new(Model::YubiKey57, 7);
    let rig = Rig::with(&card);
    rig.kill();
    assert_eq!(rig.pid(), None);
    let (good, said) = rig.command("opensc-tool").arg("--list-readers").said();
    assert!(
        said.contains("No smart card readers found"),
        "{good}: {said}"
    );

    rig.restart();
    assert_eq!(serial(&rig, 0), Some(7));
    // Also from one moment to the next.
    rig.restart();
    assert_eq!(serial(&rig, 0), Some(7));

    // What is put in meanwhile is there then.
    rig.kill();
    rig.insert(0, &Card::new(Model::YubiKey57, 8));
    rig.restart();
    assert_eq!(serial(&rig, 0), Some(8));
}

#[test]
fn a_stopped_pcscd_answers_nothing_until_it_goes_on() {
    let rig = Rig::with(&Card::new(Model::YubiKey57, 9));
    // A connection has the name of the socket that it came to, also while nobody accepts it.
    let path = rig.folder().to_str().unwrap();
    let connections = || {
        let sockets = fs::read_to_string("/proc/net/unix").unwrap();
        sockets.lines().filter(|line| line.contains(path)).count()
    };
    let goes_on = AtomicBool::new(false);
    thread::scope(|scope| {
        rig.stop();
        let before = connections();
        let client = scope.spawn(|| {
            let (good, said) = rig.command("opensc-tool").arg("--atr").said();
            assert!(good, "{said}");
            assert!(goes_on.load(Ordering::SeqCst), "answered by a stopped one");
        });
        let came = wait_for(|| connections() > before);
        goes_on.store(true, Ordering::SeqCst);
        rig.cont();
        assert!(came);
        client.join().unwrap();
    });
}

#[test]
fn nothing_is_left_of_a_rig_that_was_dropped_or_whose_test_panicked() {
    let (trace, rig) = trace_and_rig();
    assert!(!trace.is_gone());
    drop(rig);
    trace.assert_gone();

    let (sender, receiver) = mpsc::channel();
    let panicked = thread::spawn(move || {
        let (trace, rig) = trace_and_rig();
        sender.send(trace).unwrap();
        let _kept = rig;
        panic::resume_unwind(Box::new("a test fails"));
    });
    assert!(panicked.join().is_err());
    receiver.recv().unwrap().assert_gone();
}

#[test]
fn nothing_is_left_of_a_rig_whose_process_was_killed() {
    const CHILD: &str = "KEYWARD_RIG_CHILD";
    if let Ok(file) = env::var(CHILD) {
        let (trace, _rig) = trace_and_rig();
        let text = format!("{}\n{}\n", trace.pid, trace.folder.display());
        let new = Path::new(&file).with_extension("new");
        fs::write(&new, text).unwrap();
        fs::rename(new, file).unwrap();
        loop {
            thread::park();
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("trace");
    let mut child = Command::new(env::current_exe().unwrap())
        .args([
            "nothing_is_left_of_a_rig_whose_process_was_killed",
            "--exact",
        ])
        .env(CHILD, &file)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    assert!(wait_for(|| file.exists()));
    child.kill().unwrap();
    child.wait().unwrap();
    let text = fs::read_to_string(&file).unwrap();
    let (pid, folder) = text.trim_end().split_once('\n').unwrap();
    let trace = Trace {
        pid: pid.parse().unwrap(),
        folder: folder.into(),
        port: None,
    };
    assert!(wait_for(|| trace.is_gone()));
}

/// What there is of a rig outside of its process.
struct Trace {
    pid: u32,
    folder: PathBuf,
    port: Option<u16>,
}

impl Trace {
    fn is_gone(&self) -> bool {
        let process = PathBuf::from(format!("/proc/{}", self.pid));
        !process.exists() && !self.folder.exists()
    }

    #[track_caller]
    fn assert_gone(&self) {
        assert!(self.is_gone());
        for port in self.port.into_iter().flat_map(|port| [port, port + 1]) {
            TcpListener::bind(("0.0.0.0", port)).unwrap();
        }
    }
}

fn trace_and_rig() -> (Trace, Rig) {
    let rig = Rig::with(&Card::new(Model::YubiKey5, 1));
    let configuration = rig.folder().join("reader.conf.d/readers");
    let configuration = fs::read_to_string(configuration).unwrap();
    let port = configuration.split_once("/dev/null:").unwrap().1;
    let port = port.lines().next().unwrap().parse().unwrap();
    let trace = Trace {
        pid: rig.pid().unwrap(),
        folder: rig.folder().to_owned(),
        port: Some(port),
    };
    (trace, rig)
}
