//! What waits for a token: bounded, fair, cancellable, with a deadline.

use std::{process::Stdio, time::Duration};

use keyward_client::protocol::{
    ErrorCode,
    operation::{Destroy, Sign},
};
use keyward_tests::{
    Daemon, Fault, PATIENCE, Raw, Setup, TokenSetup,
    raw::Answer,
    request::{refused, sign},
    wait_for,
};

/// A daemon whose token signs one at a time, and hangs while it does.
#[track_caller]
fn hanging(setup: Setup) -> Daemon {
    let main = TokenSetup::new("main").fault().line("threads = 1");
    let daemon = Daemon::start(setup.token(main));
    daemon.create_signer("k");
    daemon.fault("main").set("C_Sign", &Fault::Hang);
    daemon
}

#[test]
fn one_caller_that_floods_a_token_does_not_keep_another_from_it() {
    let daemon = hanging(Setup::new());
    let mut flood = Raw::welcomed(&daemon.socket());
    for id in 0..200 {
        flood.call(id, sign("k", b"flood"));
    }
    assert!(wait_for(|| daemon.token("main").pending == 200, PATIENCE));
    // Another process is another caller.
    let mut other = daemon.keyward();
    other.args(["sign", "k"]).stdin(Stdio::null());
    other.stdout(Stdio::null()).stderr(Stdio::null());
    let mut other = other.spawn().unwrap();
    assert!(wait_for(|| daemon.token("main").pending == 201, PATIENCE));
    daemon.fault("main").clear("C_Sign");
    for _ in 0..200 {
        assert!(matches!(flood.answer(), Answer::Reply { .. }));
    }
    assert!(other.wait().unwrap().success());
    let records = daemon.audit();
    let mut signs = records.iter().filter(|record| record["op"] == "sign");
    let turn = signs.position(|record| record["caller"]["pid"] == other.id());
    // Two are with the worker already, and one may be behind them.
    assert!(turn.is_some_and(|turn| turn <= 4), "{turn:?}");
}

#[test]
fn a_full_queue_says_busy_at_once_and_what_waits_is_served() {
    let daemon = hanging(Setup::new().section("[limits]\nqueue = 8\nqueue_per_caller = 4"));
    let mut raw = Raw::welcomed(&daemon.socket());
    for id in 0..10 {
        raw.call(id, sign("k", b"message"));
    }
    // Two are with the worker, four wait, four are refused while it hangs.
    for expected in 6..10 {
        let (id, failure) = raw.failure();
        assert_eq!((id, failure.code), (Some(expected), ErrorCode::Busy));
    }
    daemon.fault("main").clear("C_Sign");
    for _ in 0..6 {
        assert!(matches!(raw.answer(), Answer::Reply { id: 0..6, .. }));
    }
}

#[test]
fn what_was_cancelled_in_the_queue_never_reaches_the_token() {
    let daemon = hanging(Setup::new());
    let mut raw = Raw::welcomed(&daemon.socket());
    for id in 0..4 {
        raw.call(id, sign("k", b"message"));
    }
    raw.cancel(3);
    let (id, failure) = raw.failure();
    assert_eq!((id, failure.code), (Some(3), ErrorCode::Cancelled));
    // One that nobody knows, or that is answered already, is no mistake.
    raw.cancel(3);
    raw.cancel(4711);
    daemon.fault("main").clear("C_Sign");
    for _ in 0..3 {
        assert!(matches!(raw.answer(), Answer::Reply { id: 0..3, .. }));
    }
    assert_eq!(daemon.fault("main").calls("C_Sign"), 3);
}

#[test]
fn a_request_whose_deadline_passes_is_answered_while_the_token_hangs() {
    let daemon = hanging(Setup::new());
    let mut client = daemon.client();
    let limit = Duration::from_millis(100);
    let failure = refused(client.call_with_deadline(sign("k", b"message"), limit));
    assert_eq!(failure.code, ErrorCode::DeadlineExceeded);
    daemon.fault("main").clear("C_Sign");
    client.call(sign("k", b"message")).expect("a signature");
}

#[test]
fn a_destruction_that_never_left_the_queue_has_failed_for_good() {
    let daemon = hanging(Setup::new());
    let mut raw = Raw::welcomed(&daemon.socket());
    for id in 0..3 {
        raw.call(id, sign("k", b"message"));
    }
    assert!(wait_for(|| daemon.token("main").pending == 3, PATIENCE));
    let destroy = Destroy {
        key: "k".into(),
        now: true,
    };
    let limit = Duration::from_secs(1);
    let failure = refused(daemon.client().call_with_deadline(destroy, limit));
    assert_eq!(failure.code, ErrorCode::DeadlineExceeded);
    daemon.fault("main").clear("C_Sign");
    for _ in 0..3 {
        assert!(matches!(raw.answer(), Answer::Reply { .. }));
    }
    let records = daemon.audit();
    let of = |kind: &str| {
        let found = records
            .iter()
            .find(|r| r["op"] == "destroy" && r["kind"] == kind);
        found.unwrap_or_else(|| panic!("no {kind} in {records:#?}"))
    };
    assert_eq!(of("manage-outcome")["intent"], of("manage-intent")["seq"]);
    assert_eq!(daemon.fault("main").calls("C_DestroyObject"), 0);
    daemon.client().call(sign("k", b"message")).expect("a key");
}

#[test]
fn the_configuration_bounds_what_a_client_can_ask_for() {
    let limits = "[limits]\ndeadline = \"2s\"\nmax_deadline = \"2s\"";
    let daemon = hanging(Setup::new().section(limits));
    let mut client = daemon.client();
    let none: Result<_, _> = client.call::<Sign>(sign("k", b"message"));
    assert_eq!(refused(none).code, ErrorCode::DeadlineExceeded);
    let long = client.call_with_deadline(sign("k", b"message"), Duration::from_secs(600));
    assert_eq!(refused(long).code, ErrorCode::DeadlineExceeded);
}

#[test]
fn one_token_that_hangs_does_not_slow_another() {
    let stuck = TokenSetup::new("stuck").fault();
    let daemon = Daemon::start(Setup::new().token(stuck).token(TokenSetup::new("good")));
    for token in ["stuck", "good"] {
        let request = keyward_client::protocol::operation::Create {
            token: Some(token.into()),
            ..keyward_tests::request::create(
                token,
                keyward_client::protocol::Purpose::Sign,
                keyward_client::protocol::KeyType::P256,
            )
        };
        daemon.client().call(request).expect("a key");
    }
    daemon.fault("stuck").set("C_Sign", &Fault::Hang);
    let mut raw = Raw::welcomed(&daemon.socket());
    for id in 0..100 {
        raw.call(id, sign("stuck", b"message"));
    }
    assert!(wait_for(|| daemon.token("stuck").pending == 100, PATIENCE));
    // On the same connection too.
    raw.call(1000, sign("good", b"message"));
    let _ = raw.reply::<Sign>(1000);
    let answers = daemon
        .client()
        .pipeline((0..100).map(|_| sign("good", b"message")));
    assert!(answers.iter().all(Result::is_ok));
    assert_eq!(daemon.token("stuck").pending, 100, "none of them moved");
    daemon.fault("stuck").clear("C_Sign");
    for _ in 0..100 {
        assert!(matches!(raw.answer(), Answer::Reply { id: 0..100, .. }));
    }
}
