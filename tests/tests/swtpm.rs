//! The harness of TPM tests does what it says.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    path::Path,
    time::Duration,
};

use keyward_tests::{
    Proxy, Swtpm,
    swtpm::{
        Act, tpm2,
        wire::{self, code, rc},
    },
    wait_for,
};

fn works(tcti: &str) -> bool {
    tpm2(tcti, "tpm2_getrandom", &["4"]).status.success()
}

/// A transient key, which a reset takes away.
fn handles(tcti: &str) -> String {
    let output = tpm2(tcti, "tpm2_getcap", &["handles-transient"]);
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn many_are_there_at_once_and_each_is_its_own() {
    let all: Vec<_> = (0..8).map(|_| Swtpm::start()).collect();
    for (at, swtpm) in all.iter().enumerate() {
        assert!(works(&swtpm.tcti()), "{at}");
        for other in &all[..at] {
            assert_ne!(swtpm.port(), other.port());
            assert_ne!(swtpm.pid(), other.pid());
        }
    }
    let pids: Vec<_> = all.iter().map(Swtpm::pid).collect();
    drop(all);
    let gone = || {
        !pids
            .iter()
            .any(|pid| Path::new(&format!("/proc/{pid}")).exists())
    };
    assert!(wait_for(gone, Duration::from_secs(60)));
}

#[test]
fn one_that_is_killed_refuses_and_comes_back_with_what_it_stored() {
    let swtpm = Swtpm::start();
    let tcti = swtpm.tcti();
    let made = tpm2(&tcti, "tpm2_createprimary", &["-C", "o", "-c", "/dev/null"]);
    assert!(made.status.success(), "{made:?}");
    let ek = |tcti: &str| tpm2(tcti, "tpm2_nvdefine", &["0x1500016", "-s", "4"]);
    assert!(ek(&tcti).status.success());
    swtpm.kill();
    assert!(TcpStream::connect(("127.0.0.1", swtpm.port())).is_err());
    assert!(!works(&tcti));
    swtpm.restart();
    assert!(works(&tcti));
    let index = |tcti: &str| tpm2(tcti, "tpm2_nvreadpublic", &["0x1500016"]).status;
    assert!(index(&tcti).success());
    swtpm.replace();
    assert!(works(&tcti) && !index(&tcti).success(), "it is another one");
    swtpm.restart();
    assert!(index(&tcti).success(), "it is the same again");
}

#[test]
fn one_that_is_stopped_answers_when_it_goes_on() {
    let swtpm = Swtpm::start();
    let mut stream = TcpStream::connect(("127.0.0.1", swtpm.port())).unwrap();
    swtpm.stop();
    stream.write_all(&wire::get_random(4)).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_millis(50)))
        .unwrap();
    assert!(stream.read(&mut [0]).is_err(), "it answered");
    swtpm.cont();
    stream.set_read_timeout(None).unwrap();
    let mut header = [0; wire::HEADER];
    stream.read_exact(&mut header).unwrap();
    assert_eq!(wire::code_of(&header), rc::SUCCESS);
}

#[test]
fn the_proxy_counts_and_shows_what_passes() {
    let swtpm = Swtpm::start();
    let proxy = Proxy::start(&swtpm);
    assert_eq!(proxy.count(code::GET_RANDOM), 0);
    let output = tpm2(&proxy.tcti(), "tpm2_getrandom", &["16"]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(proxy.count(code::GET_RANDOM), 1);
    assert!(proxy.saw(&output.stdout), "the bytes passed in the clear");
    assert!(!proxy.saw(b"what nobody said"));
    let exchanges = proxy.exchanges();
    let one = exchanges
        .iter()
        .find(|one| one.code() == code::GET_RANDOM)
        .unwrap();
    assert_eq!(one.rc(), Some(rc::SUCCESS));
    assert!(one.response.ends_with(&output.stdout));
}

#[test]
fn the_proxy_answers_the_nth_command_of_a_code_and_no_other() {
    let swtpm = Swtpm::start();
    let proxy = Proxy::start(&swtpm);
    let tcti = proxy.tcti();
    proxy.once(code::GET_RANDOM, 1, Act::Answer(rc::FAILURE));
    assert!(works(&tcti));
    let failed = tpm2(&tcti, "tpm2_getrandom", &["4"]);
    assert!(
        String::from_utf8_lossy(&failed.stderr).contains("0x101"),
        "{failed:?}"
    );
    assert!(works(&tcti));
    assert_eq!(proxy.acted(), 1);
    proxy.always(code::GET_RANDOM, Act::Answer(rc::LOCKOUT));
    assert!(!works(&tcti) && !works(&tcti));
    proxy.clear();
    assert!(works(&tcti));
    // ESAPI sends it again by itself.
    proxy.once(code::GET_RANDOM, 0, Act::Answer(rc::RETRY));
    let before = proxy.count(code::GET_RANDOM);
    assert!(works(&tcti));
    assert_eq!(proxy.count(code::GET_RANDOM), before.saturating_add(2));
}

#[test]
fn the_proxy_loses_commands_and_answers() {
    let swtpm = Swtpm::start();
    let proxy = Proxy::start(&swtpm);
    let tcti = proxy.tcti();
    for act in [Act::Lose, Act::LoseAnswer] {
        proxy.once(code::GET_RANDOM, 0, act);
        assert!(!works(&tcti), "{act:?}");
        assert!(works(&tcti), "{act:?}");
    }
    let responses: Vec<_> = proxy
        .exchanges()
        .iter()
        .filter(|one| one.code() == code::GET_RANDOM)
        .map(|one| one.rc())
        .collect();
    let done = Some(rc::SUCCESS);
    assert_eq!(responses, [None, done, done, done]);
}

#[test]
fn the_proxy_holds_commands_back() {
    let swtpm = Swtpm::start();
    let proxy = Proxy::start(&swtpm);
    let tcti = proxy.tcti();
    proxy.stall(&[code::GET_RANDOM]);
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| works(&tcti));
        proxy.wait_until_stalled();
        // What it is not told to hold passes.
        assert!(tpm2(&tcti, "tpm2_getcap", &["algorithms"]).status.success());
        assert!(!waits.is_finished());
        proxy.resume();
        assert!(waits.join().unwrap());
    });
}

#[test]
fn the_proxy_takes_the_tpm_away_and_puts_it_back() {
    let swtpm = Swtpm::start();
    let proxy = Proxy::start(&swtpm);
    let tcti = proxy.tcti();
    assert!(works(&tcti));
    for _ in 0..3 {
        proxy.unplug();
        assert!(!works(&tcti));
        proxy.unplug();
        proxy.plug();
        assert!(works(&tcti));
    }
    swtpm.kill();
    assert!(!works(&tcti));
    swtpm.restart();
    assert!(works(&tcti));
}

#[test]
fn a_reset_and_a_suspension_take_what_was_loaded() {
    let swtpm = Swtpm::start();
    let proxy = Proxy::start(&swtpm);
    let tcti = proxy.tcti();
    let folder = tempfile::tempdir().unwrap();
    let context = folder.path().join("key");
    let context = context.to_str().unwrap();
    let load = || {
        let made = tpm2(&tcti, "tpm2_createprimary", &["-C", "o", "-c", context]);
        assert!(made.status.success(), "{made:?}");
        assert!(handles(&tcti).contains("0x80000000"), "{made:?}");
    };
    // What tpm2-tools saved, they can use after a suspension, and not after a reset.
    let usable = || tpm2(&tcti, "tpm2_readpublic", &["-c", context]).status;
    load();
    proxy.suspend(&swtpm);
    assert_eq!(handles(&tcti), "");
    assert!(usable().success());
    load();
    proxy.reset(&swtpm);
    assert_eq!(handles(&tcti), "");
    assert!(!usable().success());
    swtpm.init();
    let refused = tpm2(&tcti, "tpm2_getrandom", &["4"]);
    assert!(
        String::from_utf8_lossy(&refused.stderr).contains("0x100)"),
        "{refused:?}"
    );
    assert_eq!(
        wire::code_of(&proxy.send(&wire::startup(false))),
        rc::SUCCESS
    );
    assert!(works(&tcti));
}
