//! Clients that are slow, idle, many, or die in the middle.

use std::{collections::HashSet, process::Stdio, thread, time::Duration};

use keyward_client::protocol::{
    ErrorCode,
    message::{ClientMessage, Hello},
    operation::{Sign, Status},
};
use keyward_tests::{
    Daemon, Fault, PATIENCE, Raw, Setup, TokenSetup, openssl,
    process::status_field,
    raw::{Answer, call, framed},
    request::sign,
    wait_for,
};

/// Sends a byte now and then until the agent answers; all the while others are served.
#[track_caller]
fn drip(daemon: &Daemon, raw: &mut Raw, bytes: &[u8]) -> usize {
    let mut sent = 0;
    for byte in bytes {
        if raw.write(&[*byte]).is_err() {
            break;
        }
        sent += 1;
        daemon.client().call(Status {}).expect("others are served");
        if wait_for(|| raw.has_answer(), Duration::from_millis(50)) {
            break;
        }
    }
    sent
}

#[test]
fn a_client_that_sends_its_hello_byte_by_byte_is_cut_off_and_others_are_served() {
    let daemon = Daemon::start(Setup::new().section("[limits]\nhello = \"300ms\""));
    let mut raw = Raw::connect(&daemon.socket());
    let hello = Hello::new("x".repeat(4000));
    let bytes = framed(&ClientMessage::Hello(hello).encode());
    let sent = drip(&daemon, &mut raw, &bytes);
    assert!(sent < bytes.len(), "it was never cut off");
    let (id, failure) = raw.failure();
    assert_eq!((id, failure.code), (None, ErrorCode::DeadlineExceeded));
    assert_eq!(raw.answer(), Answer::End);
}

#[test]
fn a_client_that_sends_a_frame_byte_by_byte_is_cut_off_and_others_are_served() {
    let daemon = Daemon::start(Setup::new().section("[limits]\nframe = \"300ms\""));
    let mut raw = Raw::welcomed(&daemon.socket());
    let bytes = framed(&call(1, sign("k", &[0; 4000])));
    let sent = drip(&daemon, &mut raw, &bytes);
    assert!(sent < bytes.len(), "it was never cut off");
    let (id, failure) = raw.failure();
    assert_eq!((id, failure.code), (None, ErrorCode::DeadlineExceeded));
    assert_eq!(raw.answer(), Answer::End);
}

#[test]
fn a_client_that_says_nothing_is_cut_off_after_the_hello_limit() {
    let daemon = Daemon::start(Setup::new().section("[limits]\nhello = \"100ms\""));
    let mut raw = Raw::connect(&daemon.socket());
    assert_eq!(raw.failure().1.code, ErrorCode::DeadlineExceeded);
    assert_eq!(raw.answer(), Answer::End);
}

#[test]
fn a_thousand_idle_connections_keep_nobody_waiting() {
    let daemon = Daemon::start(Setup::new());
    daemon.create_signer("k");
    let idle: Vec<_> = (0..1000).map(|_| Raw::welcomed(&daemon.socket())).collect();
    let mut client = daemon.client();
    client.call(sign("k", b"message")).expect("a signature");
    let report = client.call(Status {}).unwrap();
    assert_eq!(report.connections, 1001);
    let resident = status_field(daemon.pid(), "VmRSS").unwrap();
    let kibibytes: u64 = resident.split(' ').next().unwrap().parse().unwrap();
    println!("keywardd with 1,000 idle connections: {resident} resident");
    assert!(kibibytes <= 40 * 1024, "{resident}");
    drop(idle);
    let gone = || client.call(Status {}).unwrap().connections == 1;
    assert!(wait_for(gone, PATIENCE));
}

#[test]
fn one_connection_too_many_is_told_so_and_the_others_stay() {
    let daemon = Daemon::start(Setup::new().section("[limits]\nconnections = 3"));
    let mut taken: Vec<_> = (0..3).map(|_| Raw::welcomed(&daemon.socket())).collect();
    let mut fourth = Raw::connect(&daemon.socket());
    let (id, failure) = fourth.failure();
    assert_eq!((id, failure.code), (None, ErrorCode::Busy));
    for raw in &mut taken {
        raw.call(1, Status {});
        let _ = raw.reply::<Status>(1);
    }
    drop(taken.pop());
    let free = || Raw::connect(&daemon.socket()).is_welcome();
    assert!(wait_for(free, PATIENCE));
}

#[test]
fn a_client_that_dies_in_the_middle_of_a_request_takes_nothing_with_it() {
    let main = TokenSetup::new("main").fault().line("threads = 1");
    let daemon = Daemon::start(Setup::new().token(main));
    daemon.create_signer("k");
    let fault = daemon.fault("main");
    fault.set("C_Sign", &Fault::Hang);
    let mut raw = Raw::welcomed(&daemon.socket());
    for id in 0..10 {
        raw.call(id, sign("k", b"message"));
    }
    assert!(wait_for(|| fault.calls("C_Sign") == 1, PATIENCE));
    drop(raw);
    // One is in the token and one in its socket; the others leave the queue.
    assert!(wait_for(|| daemon.token("main").pending <= 2, PATIENCE));
    fault.clear("C_Sign");
    daemon
        .client()
        .call(sign("k", b"message"))
        .expect("a signature");
    assert!(fault.calls("C_Sign") <= 3, "{}", fault.calls("C_Sign"));
    assert_eq!(daemon.token("main").restarts, 0);
    let cancelled = || {
        let records = daemon.audit();
        let signs = records.iter().filter(|record| record["op"] == "sign");
        signs
            .filter(|record| record["outcome"] == "cancelled")
            .count()
    };
    assert!(
        wait_for(|| cancelled() == 10, PATIENCE),
        "each has its record"
    );
}

#[test]
fn a_program_killed_in_the_middle_of_its_request_leaves_nothing_behind() {
    let daemon = Daemon::start(Setup::new().token(TokenSetup::new("main").fault()));
    daemon.create_signer("k");
    let fault = daemon.fault("main");
    fault.set("C_Sign", &Fault::Hang);
    let mut program = daemon.keyward();
    program.args(["sign", "k"]).stdin(Stdio::null());
    let mut program = program.stdout(Stdio::null()).spawn().unwrap();
    assert!(wait_for(|| fault.calls("C_Sign") == 1, PATIENCE));
    program.kill().unwrap();
    program.wait().unwrap();
    // Its connection is gone before the token has answered, and the status has one only: its own.
    let gone = || daemon.status().connections == 1;
    assert!(wait_for(gone, PATIENCE));
    fault.clear("C_Sign");
    assert!(wait_for(|| daemon.token("main").pending == 0, PATIENCE));
    daemon
        .client()
        .call(sign("k", b"message"))
        .expect("a signature");
    assert_eq!(daemon.token("main").restarts, 0);
}

#[test]
fn eight_clients_get_a_thousand_pipelined_signatures_each_of_its_own_message() {
    let daemon = Daemon::start(Setup::new());
    daemon.create_signer("k");
    let public = daemon.public_file("k");
    let client = |number: usize| {
        let messages: Vec<_> = (0..125).map(|n| format!("{number} {n}")).collect();
        let requests: Vec<Sign> = messages.iter().map(|m| sign("k", m.as_bytes())).collect();
        let answers = daemon.client().pipeline(requests);
        let signatures = answers
            .into_iter()
            .map(|answer| answer.expect("a signature"));
        let signatures: Vec<_> = signatures
            .map(|signature| signature.signature.to_vec())
            .collect();
        assert_eq!(signatures.len(), 125);
        let der = keyward_client::key_format::ecdsa_to_der(&signatures[100]).unwrap();
        openssl::verify_ecdsa(&public, "sha256", messages[100].as_bytes(), &der).unwrap();
        signatures
    };
    let all: Vec<Vec<u8>> = thread::scope(|scope| {
        let client = &client;
        let clients: Vec<_> = (0..8).map(|n| scope.spawn(move || client(n))).collect();
        clients
            .into_iter()
            .flat_map(|c| c.join().unwrap())
            .collect()
    });
    assert_eq!(all.iter().collect::<HashSet<_>>().len(), 1000);
    let signs = daemon
        .audit()
        .into_iter()
        .filter(|record| record["op"] == "sign");
    assert_eq!(signs.count(), 1000, "each has its record");
}

#[test]
fn a_client_that_takes_no_answers_keeps_nobody_waiting() {
    let daemon = Daemon::start(Setup::new());
    daemon.create_signer("k");
    let mut deaf = Raw::welcomed(&daemon.socket());
    let socket = daemon.socket();
    // It asks on until the agent reads no more from it.
    let flood = thread::spawn(move || {
        let mut id = 1;
        while deaf.try_write(&framed(&call(id, Status {}))) {
            id += 1;
        }
        (deaf, id)
    });
    let (deaf, asked) = flood.join().unwrap();
    assert!(asked > 10);
    let mut client =
        keyward_client::Client::connect_to(keyward_client::Endpoint::at(socket)).unwrap();
    client.call(sign("k", b"message")).expect("a signature");
    drop(deaf);
}
