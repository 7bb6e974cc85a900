//! Which token it is: pinned when it is first seen, and no PIN goes to another.

use keyward_client::protocol::{
    ErrorCode, SecretBytes,
    operation::{AcceptToken, LoginState, Unlock},
};
use keyward_tests::{
    Daemon, Fault, Setup, TokenSetup,
    request::{refused, sign},
};

#[test]
fn another_token_in_the_place_gets_no_pin_until_a_person_accepts_it() {
    let mut daemon = Daemon::start(Setup::new().token(TokenSetup::new("main").fault()));
    daemon.create_signer("k");
    let identity = daemon.token("main").identity.expect("it is pinned");
    daemon.terminate();
    daemon
        .fault("main")
        .set("C_GetTokenInfo", &Fault::Serial("0123456789"));
    daemon.start_again();
    daemon.wait_for_token("main", LoginState::Changed);
    let logins = || daemon.fault("main").calls("C_Login");
    assert_eq!(logins(), 1, "the first life's");
    let problem = daemon.token("main").problem.unwrap_or_default();
    assert!(problem.contains("0123456789"), "{problem}");
    let unlock = |pin: &str| {
        daemon.client().call(Unlock {
            token: None,
            pin: Some(SecretBytes::copy_from(pin.as_bytes())),
            spend_withheld_try: true,
        })
    };
    let failure = refused(unlock(daemon.hsm("main").pin()));
    assert_eq!(failure.code, ErrorCode::TokenChanged, "{failure}");
    assert_eq!(failure.hint.as_deref(), Some("keyward token accept main"));
    assert_eq!(
        refused(daemon.client().call(sign("k", b"message"))).code,
        ErrorCode::TokenChanged
    );
    assert_eq!(logins(), 1);

    let accept = AcceptToken {
        token: "main".into(),
    };
    daemon.client().call(accept).expect("accepted");
    daemon.wait_for_token("main", LoginState::Unlocked);
    assert_ne!(daemon.token("main").identity, Some(identity));
    daemon
        .client()
        .call(sign("k", b"message"))
        .expect("a signature");
    let operations: Vec<_> = daemon
        .audit()
        .into_iter()
        .map(|record| record["op"].clone())
        .collect();
    let count = |op: &str| operations.iter().filter(|o| *o == op).count();
    assert_eq!(
        (count("accept-token"), count("pin-token")),
        (2, 4),
        "an intent and an outcome of each: {operations:?}"
    );
}

#[test]
fn a_token_that_comes_back_is_used_again() {
    let mut daemon = Daemon::start(Setup::new().token(TokenSetup::new("main").fault()));
    daemon.create_signer("k");
    daemon.terminate();
    daemon
        .fault("main")
        .set("C_GetTokenInfo", &Fault::Serial("0123456789"));
    daemon.start_again();
    daemon.wait_for_token("main", LoginState::Changed);
    daemon.fault("main").clear("C_GetTokenInfo");
    daemon.wait_for_token("main", LoginState::Unlocked);
    daemon
        .client()
        .call(sign("k", b"message"))
        .expect("a signature");
}

#[test]
fn with_several_tokens_one_has_to_be_named() {
    let daemon = Daemon::start(
        Setup::new()
            .token(TokenSetup::new("one"))
            .token(TokenSetup::new("two")),
    );
    let request = |token: Option<&str>| {
        daemon
            .client()
            .call(keyward_client::protocol::operation::Random {
                length: 32,
                token: token.map(str::to_owned),
            })
    };
    let failure = refused(request(None));
    assert_eq!(failure.code, ErrorCode::Invalid);
    assert!(failure.message.contains("one, two"), "{failure}");
    assert_eq!(refused(request(Some("three"))).code, ErrorCode::NotFound);
    assert_eq!(request(Some("two")).unwrap().token, "two");
}
