//! TPMs that are reset, killed, stalled, locked out, exchanged, or answer what they should not.

use std::{
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use keyward_client::{
    Error,
    protocol::{
        ErrorCode, KeyType, Purpose, SecretBytes,
        operation::{Create, Done, LoginState, Signature, Unlock},
    },
};
use keyward_tests::{
    Daemon, PATIENCE, Pin, Setup, TPM_PIN, TokenSetup, TpmToken,
    request::{create, refused, sign},
    swtpm::{
        Act, tpm2,
        wire::{self, code, rc},
    },
    wait_for,
};

fn setup() -> Setup {
    Setup::new().token(TokenSetup::tpm("main"))
}

fn start() -> Daemon {
    let daemon = Daemon::start(setup());
    daemon.create_signer("k");
    sign_once(&daemon, "k").expect("a signature");
    daemon
}

fn sign_once(daemon: &Daemon, key: &str) -> Result<Signature, Error> {
    daemon.client().call(sign(key, b"message"))
}

fn unlock(daemon: &Daemon, pin: &str) -> Result<Done, Error> {
    daemon.client().call(Unlock {
        token: Some("main".to_owned()),
        pin: Some(SecretBytes::copy_from(pin.as_bytes())),
        spend_withheld_try: false,
    })
}

/// How many wrong tries the TPM has counted.
fn counted(tpm: &TpmToken) -> u32 {
    let shown = tpm2(&tpm.proxy().tcti(), "tpm2_getcap", &["properties-variable"]);
    let shown = String::from_utf8(shown.stdout).unwrap();
    let counter = shown
        .lines()
        .find_map(|line| line.strip_prefix("TPM2_PT_LOCKOUT_COUNTER: 0x"));
    u32::from_str_radix(counter.expect("the counter"), 16).unwrap()
}

/// How many tries the TPM allows: with 0 it is locked out.
#[track_caller]
fn allow_tries(tpm: &TpmToken, tries: u32) {
    let response = tpm.proxy().send(&wire::lock_out_after(tries));
    assert_eq!(wire::code_of(&response), rc::SUCCESS);
}

#[test]
fn resets_and_suspensions_under_load_fail_no_request() {
    let daemon = start();
    let tpm = daemon.tpm("main");
    let (ends, signed) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut client = daemon.client();
                while !ends.load(Ordering::SeqCst) {
                    if let Err(error) = client.call(sign("k", b"message")) {
                        ends.store(true, Ordering::SeqCst);
                        panic!("{error:?}");
                    }
                    signed.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        for turn in 0..10 {
            match turn % 2 {
                0 => tpm.reset(),
                _ => tpm.suspend(),
            }
            let before = signed.load(Ordering::SeqCst);
            let goes_on =
                || ends.load(Ordering::SeqCst) || signed.load(Ordering::SeqCst) > before + 20;
            assert!(wait_for(goes_on, PATIENCE));
        }
        ends.store(true, Ordering::SeqCst);
    });
    assert_eq!(tpm.pins_sent(), 1, "the PIN is needed once");
    assert_eq!(daemon.token("main").restarts, 0, "{}", daemon.stderr());
}

#[test]
fn a_tpm_that_was_killed_and_started_again_serves_the_next_request() {
    let daemon = start();
    daemon.tpm("main").swtpm().restart();
    sign_once(&daemon, "k").expect("a signature");
    // Somebody asks while it is away.
    daemon.tpm("main").swtpm().kill();
    let failure = refused(sign_once(&daemon, "k"));
    assert_eq!(failure.code, ErrorCode::TokenAbsent, "{failure}");
    daemon.wait_for_token("main", LoginState::Absent);
    daemon.tpm("main").swtpm().restart();
    daemon.wait_for_token("main", LoginState::Unlocked);
    sign_once(&daemon, "k").expect("a signature");
}

#[test]
fn a_tpm_that_stalls_for_ten_seconds_keeps_nobody_waiting_past_the_deadline() {
    let setup = setup().token(TokenSetup::new("other"));
    let daemon = Daemon::start(setup);
    for token in ["main", "other"] {
        let on = Create {
            token: Some(token.to_owned()),
            ..create(token, Purpose::Sign, KeyType::P256)
        };
        daemon.client().call(on).unwrap();
    }
    let proxy = daemon.tpm("main").proxy();
    proxy.stall(&[]);
    let began = Instant::now();
    // The last of the deadlines is how long it stalls.
    let deadlines = [500, 2_000, 10_000].map(Duration::from_millis);
    thread::scope(|scope| {
        let waits = deadlines.map(|deadline| {
            let daemon = &daemon;
            scope.spawn(move || {
                let began = Instant::now();
                let mut client = daemon.client();
                let done = client.call_with_deadline(sign("main", b"message"), deadline);
                (refused(done), began.elapsed())
            })
        });
        proxy.wait_until_stalled();
        let mut served = 0;
        while waits.iter().any(|caller| !caller.is_finished()) {
            sign_once(&daemon, "other").expect("the other token serves");
            served += 1;
        }
        assert!(served > 10, "{served}");
        for (caller, deadline) in waits.into_iter().zip(deadlines) {
            let (failure, took) = caller.join().unwrap();
            assert_eq!(failure.code, ErrorCode::DeadlineExceeded, "{failure}");
            assert!(took >= deadline, "{took:?} of {deadline:?}");
        }
    });
    assert!(began.elapsed() >= Duration::from_secs(10));
    assert_eq!(daemon.token("main").restarts, 0, "{}", daemon.stderr());
    proxy.resume();
    sign_once(&daemon, "main").expect("a signature");
}

#[test]
fn a_worker_that_a_stopped_tpm_holds_is_killed() {
    let main = TokenSetup::tpm("main").line("timeout = \"1s\"");
    let daemon = Daemon::start(Setup::new().token(main));
    daemon.create_signer("k");
    let swtpm = daemon.tpm("main").swtpm();
    swtpm.stop();
    let failure = refused(sign_once(&daemon, "k"));
    assert_eq!(failure.code, ErrorCode::TokenFailed, "{failure}");
    swtpm.cont();
    daemon.wait_for_token("main", LoginState::Unlocked);
    sign_once(&daemon, "k").expect("a signature");
}

#[test]
fn a_wrong_pin_counts_once_and_is_never_sent_again() {
    let main = TokenSetup::tpm("main").pin(Pin::WrongFile);
    let daemon = Daemon::start(Setup::new().token(main));
    let tpm = daemon.tpm("main");
    daemon.wait_for_token("main", LoginState::Locked);
    assert_eq!((tpm.pins_sent(), counted(tpm)), (1, 1));
    daemon.kill_worker("main");
    daemon.wait_for_token("main", LoginState::Locked);
    assert_eq!((tpm.pins_sent(), counted(tpm)), (1, 1));
    unlock(&daemon, TPM_PIN).expect("the right one");
    assert_eq!(tpm.pins_sent(), 2);
    daemon.create_signer("k");
}

#[test]
fn a_lockout_is_shown_and_costs_no_try() {
    let main = TokenSetup::tpm("main").pin(Pin::Ask);
    let daemon = Daemon::start(Setup::new().token(main));
    daemon.wait_for_token("main", LoginState::Locked);
    let tpm = daemon.tpm("main");
    allow_tries(tpm, 0);
    let failure = refused(unlock(&daemon, TPM_PIN));
    assert_eq!(failure.code, ErrorCode::PinBlocked, "{failure}");
    assert_eq!((tpm.pins_sent(), counted(tpm)), (0, 0));
    let problem = daemon.token("main").problem.unwrap_or_default();
    assert!(problem.contains("lock"), "{problem}");
    allow_tries(tpm, 3);
    assert_eq!(daemon.token("main").problem, None, "the lockout is over");
    unlock(&daemon, TPM_PIN).expect("the lockout is over");
    daemon.create_signer("k");
    // What was unlocked goes on in a lockout: the keys are not under its protection.
    allow_tries(tpm, 0);
    sign_once(&daemon, "k").expect("a signature");
}

#[test]
fn another_tpm_gets_neither_the_pin_nor_the_keys() {
    let daemon = start();
    let tpm = daemon.tpm("main");
    let (sent, files) = (tpm.pins_sent(), tpm.key_files());
    // What is asked of a key that is not there does nothing.
    let used = || {
        let all = tpm.proxy().exchanges().into_iter();
        let uses = all.filter(|one| code::USES.contains(&one.code()));
        uses.filter(|one| one.rc() == Some(rc::SUCCESS)).count()
    };
    let before = used();
    tpm.replace();
    let failure = refused(sign_once(&daemon, "k"));
    assert_eq!(failure.code, ErrorCode::TokenChanged, "{failure}");
    daemon.wait_for_token("main", LoginState::Changed);
    let failure = refused(unlock(&daemon, TPM_PIN));
    assert_eq!(failure.code, ErrorCode::TokenChanged, "{failure}");
    assert_eq!((tpm.pins_sent(), used()), (sent, before));
    assert_eq!(tpm.key_files(), files, "nothing is deleted");
    let shown = daemon.cli(&["key", "list"]);
    assert!(String::from_utf8(shown).unwrap().contains('k'));
    tpm.put_back();
    daemon.wait_for_token("main", LoginState::Unlocked);
    sign_once(&daemon, "k").expect("a signature");
}

/// Commands of a signature, codes that are answered once instead, and whether the request succeeds
/// all the same.
const CODES: [(u32, u32, bool); 10] = [
    (code::SIGN, rc::RETRY, true),
    (code::SIGN, rc::OBJECT_MEMORY, true),
    (code::SIGN, rc::SESSION_MEMORY, true),
    (code::SIGN, rc::REFERENCE_H0, true),
    (code::SIGN, rc::LOCKOUT, false),
    (code::SIGN, rc::AUTH_FAIL, false),
    (code::SIGN, rc::FAILURE, false),
    (code::CREATE, rc::OBJECT_MEMORY, true),
    (code::CREATE, rc::RETRY, true),
    (code::CREATE, rc::FAILURE, false),
];

#[test]
fn a_code_that_the_tpm_answers_once_breaks_nothing() {
    let daemon = start();
    let tpm = daemon.tpm("main");
    for (number, (command, rc, succeeds)) in CODES.into_iter().enumerate() {
        let acted = tpm.proxy().acted();
        tpm.proxy().once(command, 0, Act::Answer(rc));
        let done = match command {
            code::CREATE => {
                let new = create(&format!("new{number}"), Purpose::Sign, KeyType::P256);
                daemon.client().call(new).map(drop)
            }
            _ => sign_once(&daemon, "k").map(drop),
        };
        assert_eq!(tpm.proxy().acted(), acted + 1, "{command:#x} {rc:#x}");
        assert_eq!(done.is_ok(), succeeds, "{command:#x} {rc:#x}: {done:?}");
        let works = || sign_once(&daemon, "k").is_ok();
        assert!(
            wait_for(works, PATIENCE),
            "{command:#x} {rc:#x}\n{}",
            daemon.stderr()
        );
    }
    assert_eq!(counted(tpm), 0, "a code is no wrong try");
}

#[test]
fn a_pin_whose_proof_the_tpm_does_not_take_is_not_proved_again() {
    for (rc, wanted) in [
        (rc::AUTH_FAIL, ErrorCode::PinIncorrect),
        (rc::LOCKOUT, ErrorCode::PinBlocked),
    ] {
        let main = TokenSetup::tpm("main").pin(Pin::Ask);
        let daemon = Daemon::start(Setup::new().token(main));
        daemon.wait_for_token("main", LoginState::Locked);
        let tpm = daemon.tpm("main");
        tpm.proxy().once(code::UNSEAL, 0, Act::Answer(rc));
        let failure = refused(unlock(&daemon, TPM_PIN));
        assert_eq!(failure.code, wanted, "{failure}");
        assert_eq!(tpm.pins_sent(), 1);
    }
}

#[test]
fn commands_and_answers_that_are_lost_cost_no_try() {
    let daemon = start();
    let tpm = daemon.tpm("main");
    for act in [Act::Lose, Act::LoseAnswer] {
        tpm.proxy().once(code::SIGN, 0, act);
        // A signature can be made again, so whoever asks may not even notice.
        if let Err(error) = sign_once(&daemon, "k") {
            let failure = refused::<()>(Err(error));
            assert_eq!(failure.code, ErrorCode::TokenAbsent, "{failure}");
        }
        daemon.wait_for_token("main", LoginState::Unlocked);
        sign_once(&daemon, "k").expect("a signature");
    }
    assert_eq!(counted(tpm), 0);
}

/// The TPM may have counted it.
#[test]
fn a_pin_whose_answer_is_lost_is_not_sent_again_by_itself() {
    let site = setup().build();
    let proxy = site.tpm("main").proxy();
    proxy.once(code::UNSEAL, 0, Act::LoseAnswer);
    let daemon = Daemon::start_on(site);
    let tpm = daemon.tpm("main");
    let known = || daemon.token("main").problem.is_some() && tpm.proxy().acted() == 1;
    assert!(wait_for(known, PATIENCE), "{}", daemon.stderr());
    daemon.wait_for_token("main", LoginState::Locked);
    assert_eq!(tpm.proxy().count(code::UNSEAL), 1);
    // A person's word is wanted for another.
    let failure = refused(unlock(&daemon, TPM_PIN));
    assert_eq!(failure.code, ErrorCode::PinWithheld, "{failure}");
    let word = Unlock {
        token: Some("main".to_owned()),
        pin: Some(SecretBytes::copy_from(TPM_PIN.as_bytes())),
        spend_withheld_try: true,
    };
    daemon.client().call(word).expect("the right PIN");
    daemon.create_signer("k");
}

#[test]
fn the_daemon_starts_without_its_tpm() {
    let site = setup().build();
    site.tpm("main").proxy().unplug();
    let daemon = Daemon::start_on(site);
    daemon.wait_for_token("main", LoginState::Absent);
    let problem = daemon.token("main").problem.unwrap_or_default();
    assert!(problem.contains("swtpm"), "{problem}");
    daemon.tpm("main").proxy().plug();
    daemon.wait_for_token("main", LoginState::Unlocked);
    daemon.create_signer("k");
}

#[test]
fn the_daemon_starts_while_its_tpm_vanishes() {
    let site = setup().build();
    site.tpm("main").proxy().stall(&[]);
    let daemon = Daemon::start_on(site);
    let proxy = daemon.tpm("main").proxy();
    proxy.wait_until_stalled();
    proxy.unplug();
    proxy.resume();
    daemon.wait_for_token("main", LoginState::Absent);
    proxy.plug();
    daemon.wait_for_token("main", LoginState::Unlocked);
    daemon.create_signer("k");
    assert_eq!(daemon.tpm("main").pins_sent(), 1);
}
