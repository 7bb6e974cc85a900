//! What happens is told to those who subscribed, as it happens.

use keyward_client::{
    AsyncClient,
    blocking::Events,
    protocol::{
        ErrorCode, SecretBytes,
        event::EventKind,
        message::{ClientMessage, Hello},
        operation::{Destroy, Lock, LoginState, Subscribe, Unlock},
    },
};
use keyward_tests::{Daemon, Fault, Pin, Raw, Setup, TokenSetup, raw::Answer, request::refused};

/// The next events, by kind and what they are about.
#[track_caller]
fn next(events: &mut Events, count: usize) -> Vec<(EventKind, Option<String>)> {
    let taken = events.take(count).map(Result::unwrap);
    taken.map(|e| (e.kind, e.token.or(e.key))).collect()
}

fn lock(daemon: &Daemon) {
    daemon.client().call(Lock { token: None }).unwrap();
}

fn unlock(daemon: &Daemon) {
    let pin = SecretBytes::copy_from(daemon.hsm("main").pin().as_bytes());
    daemon
        .client()
        .call(Unlock {
            token: None,
            pin: Some(pin),
            spend_withheld_try: false,
        })
        .unwrap();
}

fn locked() -> Daemon {
    let daemon = Daemon::start(Setup::new().token(TokenSetup::new("main").pin(Pin::Ask)));
    daemon.wait_for_token("main", LoginState::Locked);
    daemon
}

#[test]
fn what_becomes_of_keys_and_tokens_is_told_in_order() {
    let daemon = locked();
    let mut events = daemon.client().subscribe().unwrap();
    unlock(&daemon);
    let key = daemon.create_signer("k").id;
    daemon
        .client()
        .call(Destroy {
            key: "k".into(),
            now: true,
        })
        .unwrap();
    lock(&daemon);
    let main = || Some("main".to_owned());
    assert_eq!(
        next(&mut events, 4),
        [
            (EventKind::TokenUnlocked, main()),
            (EventKind::KeyCreated, Some(key.clone())),
            (EventKind::KeyDestroyed, Some(key)),
            (EventKind::TokenLocked, main()),
        ]
    );
    let records = daemon.audit();
    let subscribed = records.iter().filter(|r| r["op"] == "subscribe");
    assert_eq!(subscribed.count(), 1);
}

#[test]
fn another_token_in_the_place_and_the_right_one_again_are_told() {
    let daemon = Daemon::start(Setup::new().token(TokenSetup::new("main").fault()));
    daemon.wait_for_token("main", LoginState::Unlocked);
    let mut events = daemon.client().subscribe().unwrap();
    let other = Fault::Serial("0123456789");
    daemon.fault("main").set("C_GetTokenInfo", &other);
    daemon.kill_worker("main");
    daemon.wait_for_token("main", LoginState::Changed);
    daemon.fault("main").clear("C_GetTokenInfo");
    let kinds: Vec<_> = next(&mut events, 3).into_iter().map(|e| e.0).collect();
    assert_eq!(
        kinds,
        [
            EventKind::TokenChanged,
            EventKind::TokenInserted,
            EventKind::TokenUnlocked
        ]
    );
}

#[test]
fn a_worker_that_dies_is_nobody_elses_business() {
    let daemon = Daemon::start(Setup::new());
    daemon.wait_for_token("main", LoginState::Unlocked);
    let mut events = daemon.client().subscribe().unwrap();
    daemon.kill_worker("main");
    daemon.wait_for_token("main", LoginState::Unlocked);
    lock(&daemon);
    assert_eq!(next(&mut events, 1)[0].0, EventKind::TokenLocked);
}

#[test]
fn only_a_connection_that_agreed_on_events_can_subscribe() {
    let daemon = Daemon::start(Setup::new());
    let mut raw = Raw::welcomed(&daemon.socket());
    raw.call(1, Subscribe {});
    let (id, failure) = raw.failure();
    assert_eq!((id, failure.code), (Some(1), ErrorCode::Unsupported));
    let mut raw = Raw::connect(&daemon.socket());
    let mut hello = Hello::new("a test");
    hello.features = vec!["nothing".into(), "events".into()];
    raw.send(&ClientMessage::Hello(hello).encode());
    assert_eq!(raw.answer(), Answer::Welcome);
    for id in 1..3 {
        raw.call(id, Subscribe {});
        raw.reply::<Subscribe>(id);
    }
}

#[test]
fn whoever_does_not_read_delays_nobody_and_is_told_what_was_lost() {
    let daemon = locked();
    let mut slow = daemon.client().subscribe().unwrap();
    let mut quick = daemon.client().subscribe().unwrap();
    for _ in 0..1000 {
        unlock(&daemon);
        lock(&daemon);
        let kinds: Vec<_> = next(&mut quick, 2).into_iter().map(|e| e.0).collect();
        assert_eq!(kinds, [EventKind::TokenUnlocked, EventKind::TokenLocked]);
    }
    let mut seen = 0;
    let lost = loop {
        let event = slow.next().unwrap().unwrap();
        match event.kind {
            EventKind::Lost => break event.count.unwrap(),
            _ => seen += 1,
        }
    };
    assert!(seen > 256, "{seen}");
    assert_eq!(seen + lost, 2000);
    unlock(&daemon);
    assert_eq!(next(&mut slow, 1)[0].0, EventKind::TokenUnlocked);
}

#[test]
fn the_async_client_is_told_too_and_the_end_is_an_error() {
    let daemon = locked();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let client = AsyncClient::connect_to(daemon.endpoint()).await.unwrap();
        let mut events = client.subscribe().await.unwrap();
        unlock(&daemon);
        let event = events.next().await.unwrap();
        assert_eq!(event.kind, EventKind::TokenUnlocked);
        daemon.stop();
        assert!(events.next().await.is_err());
    });
}

#[test]
fn too_many_subscribers_of_one_user_are_refused() {
    let daemon = Daemon::start(Setup::new());
    let all: Vec<_> = (0..64)
        .map(|_| daemon.client().subscribe().unwrap())
        .collect();
    let mut client = daemon.client();
    assert_eq!(
        refused(daemon.client().subscribe().map(drop)).code,
        ErrorCode::Busy
    );
    drop(all);
    assert!(keyward_tests::wait_for(
        || daemon.client().subscribe().is_ok(),
        keyward_tests::PATIENCE
    ));
    client.call(Lock { token: None }).unwrap();
}
