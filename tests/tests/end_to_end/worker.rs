//! Workers that die, hang or lie: only their own requests fail, and the next ones work.

use std::{fs, thread};

use keyward_client::{
    Error,
    protocol::{
        Algorithm, ErrorCode, KeyType, Purpose,
        operation::{KeyDescription, List, LoginState, Sign, Signature, Unwrap},
    },
};
use keyward_tests::{
    Daemon, Fault, PATIENCE, Setup, TokenSetup,
    process::pid,
    request::{create, refused, sign},
    wait_for,
};
use rustix::process::{Signal, kill_process};

const CKR_DEVICE_ERROR: u64 = 0x30;
const CKR_SESSION_HANDLE_INVALID: u64 = 0xb3;

fn setup() -> Setup {
    Setup::new().token(TokenSetup::new("main").fault())
}

#[track_caller]
fn sign_once(daemon: &Daemon, key: &str) -> Result<Signature, Error> {
    daemon.client().call(sign(key, b"message"))
}

/// How many objects of keys are in the token's folder: two for a key.
fn objects(daemon: &Daemon) -> usize {
    let tokens = fs::read_dir(daemon.hsm("main").token_dir()).unwrap();
    let files = tokens.flat_map(|token| fs::read_dir(token.unwrap().path()).unwrap());
    let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    names
        .filter(|name| name.ends_with(".object") && name != "token.object")
        .count()
}

fn keys(daemon: &Daemon) -> usize {
    daemon
        .client()
        .call(List { after: None })
        .unwrap()
        .keys
        .len()
}

#[test]
fn a_worker_killed_in_mid_request_fails_that_request_and_the_next_works() {
    let daemon = Daemon::start(setup());
    daemon.create_signer("k");
    let fault = daemon.fault("main");
    fault.set("C_Sign", &Fault::Hang);
    let result = thread::scope(|scope| {
        let signing = scope.spawn(|| sign_once(&daemon, "k"));
        assert!(wait_for(|| fault.calls("C_Sign") == 1, PATIENCE));
        daemon.kill_worker("main");
        signing.join().unwrap()
    });
    let failure = refused(result);
    assert_eq!(failure.code, ErrorCode::TokenFailed, "{failure}");
    fault.clear("C_Sign");
    sign_once(&daemon, "k").expect("the next one works");
    assert_eq!(daemon.token("main").restarts, 1);
}

#[test]
fn a_module_that_crashes_takes_its_own_request_with_it_and_no_other() {
    let daemon = Daemon::start(setup());
    daemon.create_signer("k");
    daemon.fault("main").set("C_Sign", &Fault::Crash);
    assert_eq!(
        refused(sign_once(&daemon, "k")).code,
        ErrorCode::TokenFailed
    );
    sign_once(&daemon, "k").expect("the next one works");
}

#[test]
fn requests_that_come_while_the_worker_is_away_wait_for_the_next_one() {
    let daemon = Daemon::start(setup());
    daemon.create_signer("k");
    kill_process(pid(daemon.worker_pid("main")), Signal::KILL).unwrap();
    // Whether the agent has seen the end yet or not, it is not lost: at most this one fails, and says so.
    match sign_once(&daemon, "k") {
        Ok(_) => {}
        result => assert_eq!(refused(result).code, ErrorCode::TokenFailed),
    }
    sign_once(&daemon, "k").expect("a signature");
}

#[test]
fn a_worker_that_hangs_past_its_timeout_is_killed_and_others_are_served_meanwhile() {
    let main = TokenSetup::new("main").fault().line("timeout = \"300ms\"");
    let daemon = Daemon::start(Setup::new().token(main).token(TokenSetup::new("other")));
    let on = |token: &str| keyward_client::protocol::operation::Create {
        token: Some(token.into()),
        ..create(token, Purpose::Sign, KeyType::P256)
    };
    daemon.client().call(on("main")).unwrap();
    daemon.client().call(on("other")).unwrap();
    let fault = daemon.fault("main");
    fault.set("C_Sign", &Fault::Hang);
    let result = thread::scope(|scope| {
        let signing = scope.spawn(|| sign_once(&daemon, "main"));
        assert!(wait_for(|| fault.calls("C_Sign") == 1, PATIENCE));
        while !signing.is_finished() {
            sign_once(&daemon, "other").expect("the other token serves");
        }
        signing.join().unwrap()
    });
    assert_eq!(refused(result).code, ErrorCode::TokenFailed);
    fault.clear("C_Sign");
    sign_once(&daemon, "main").expect("the next one works");
    assert_eq!(
        (
            daemon.token("main").restarts,
            daemon.token("other").restarts
        ),
        (1, 0)
    );
}

#[test]
fn a_device_error_starts_the_worker_anew() {
    let daemon = Daemon::start(setup());
    daemon.create_signer("k");
    let before = daemon.worker_pid("main");
    let error = Fault::ErrorOnce(CKR_DEVICE_ERROR);
    daemon.fault("main").set("C_Sign", &error);
    assert_eq!(
        refused(sign_once(&daemon, "k")).code,
        ErrorCode::TokenFailed
    );
    sign_once(&daemon, "k").expect("the next one works");
    assert_ne!(daemon.worker_pid("main"), before);
}

#[test]
fn a_session_that_the_token_has_lost_is_nobodys_business() {
    let daemon = Daemon::start(setup());
    daemon.create_signer("k");
    let error = Fault::ErrorOnce(CKR_SESSION_HANDLE_INVALID);
    daemon.fault("main").set("C_SignInit", &error);
    // Either it was made good, or the request failed and said so; the next one works.
    if let Err(error) = sign_once(&daemon, "k") {
        assert_eq!(refused::<()>(Err(error)).code, ErrorCode::TokenFailed);
    }
    sign_once(&daemon, "k").expect("a signature");
}

#[test]
fn a_token_that_never_comes_up_is_absent_and_says_why() {
    let site = setup().build();
    site.fault("main").set("C_Initialize", &Fault::CrashAlways);
    let daemon = Daemon::start_on(site);
    daemon.wait_for_token("main", LoginState::Absent);
    let failure = refused(
        daemon
            .client()
            .call(create("k", Purpose::Sign, KeyType::P256)),
    );
    assert_eq!(failure.code, ErrorCode::TokenAbsent, "{failure}");
    daemon.fault("main").clear("C_Initialize");
    daemon.wait_for_token("main", LoginState::Unlocked);
    daemon.create_signer("k");
}

#[test]
fn wrong_rsa_signatures_never_leave_the_agent() {
    let daemon = Daemon::start(setup());
    daemon.create("k", Purpose::Sign, KeyType::Rsa2048);
    let signed = |algorithm| {
        daemon.client().call(Sign {
            algorithm: Some(algorithm),
            ..sign("k", b"message")
        })
    };
    for algorithm in [Algorithm::Ps256, Algorithm::Rs256] {
        daemon.fault("main").set("C_Sign", &Fault::Garble);
        let failure = refused(signed(algorithm));
        assert_eq!(failure.code, ErrorCode::TokenFailed, "{failure}");
        assert!(failure.message.contains("held back"), "{failure}");
        daemon.fault("main").clear("C_Sign");
        signed(algorithm).expect("a good one leaves");
    }
    let records = daemon.audit();
    let failed = records
        .iter()
        .filter(|record| record["outcome"] == "token-failed");
    assert_eq!(failed.count(), 2, "the log has what happened");
}

#[test]
fn a_signature_of_the_wrong_length_never_leaves_the_agent() {
    let daemon = Daemon::start(setup());
    daemon.create_signer("k");
    daemon.fault("main").set("C_Sign", &Fault::Short);
    let failure = refused(sign_once(&daemon, "k"));
    assert_eq!(failure.code, ErrorCode::TokenFailed, "{failure}");
    daemon.fault("main").clear("C_Sign");
    sign_once(&daemon, "k").expect("a good one leaves");
}

#[test]
fn whatever_is_wrong_with_a_ciphertext_the_answer_is_the_same() {
    let daemon = Daemon::start(Setup::new());
    let key = daemon.create("k", Purpose::Unwrap, KeyType::Rsa2048);
    let unwrap = |ciphertext: Vec<u8>| {
        let failure = refused(daemon.client().call(Unwrap {
            key: "k".into(),
            algorithm: None,
            ciphertext: ciphertext.into(),
            label: None,
            version: None,
        }));
        (failure.code, failure.message, failure.hint)
    };
    let wrongs = [
        vec![0; 256],
        vec![1; 256],
        vec![0xff; 256],
        vec![7; 255],
        Vec::new(),
    ];
    let answers: Vec<_> = wrongs.into_iter().map(unwrap).collect();
    assert_eq!(answers[0].0, ErrorCode::UnwrapFailed);
    assert!(
        answers.iter().all(|answer| *answer == answers[0]),
        "{answers:?}"
    );
    assert_eq!(key.purpose, Purpose::Unwrap);
}

/// Kills something in the middle of a creation, and waits until nothing of it is left.
#[track_caller]
fn killed_in_mid_create(call: &str, kill: impl FnOnce(&mut Daemon) + Send) {
    let mut daemon = Daemon::start(setup());
    let kept: KeyDescription = daemon.create_signer("kept");
    assert_eq!(objects(&daemon), 2);
    let before = daemon.fault("main").calls(call);
    daemon.fault("main").set(call, &Fault::Hang);
    let mut client = daemon.client();
    thread::scope(|scope| {
        let creating =
            scope.spawn(move || client.call(create("lost", Purpose::Sign, KeyType::P256)));
        let begun = || daemon.fault("main").calls(call) > before;
        assert!(wait_for(begun, PATIENCE));
        kill(&mut daemon);
        creating.join().unwrap().expect_err("it was not made");
    });
    daemon.fault("main").clear(call);
    daemon.wait_for_token("main", LoginState::Unlocked);
    let finished = || {
        let records = daemon.audit();
        let mut creates = records.iter().filter(|record| record["op"] == "create");
        creates.any(|record| {
            record["kind"] == "manage-outcome"
                && record["detail"]
                    .as_str()
                    .is_some_and(|d| d.contains("undone"))
        })
    };
    assert!(wait_for(finished, PATIENCE), "{:#?}", daemon.audit());
    assert_eq!(
        (objects(&daemon), keys(&daemon)),
        (2, 1),
        "the orphan is gone"
    );
    sign_once(&daemon, &kept.id).expect("what was there before is there");
    daemon.create_signer("lost");
}

fn kill_the_worker(daemon: &mut Daemon) {
    daemon.kill_worker("main");
}

fn kill_the_agent(daemon: &mut Daemon) {
    daemon.signal(Signal::KILL);
    daemon.wait();
    daemon.fault("main").clear("C_GenerateKeyPair");
    daemon.fault("main").clear("C_GetAttributeValue");
    daemon.start_again();
}

#[test]
fn a_worker_killed_before_a_key_is_made_leaves_nothing() {
    killed_in_mid_create("C_GenerateKeyPair", kill_the_worker);
}

#[test]
fn a_worker_killed_after_a_key_is_made_leaves_no_orphan() {
    killed_in_mid_create("C_GetAttributeValue", kill_the_worker);
}

#[test]
fn an_agent_killed_before_a_key_is_made_leaves_nothing() {
    killed_in_mid_create("C_GenerateKeyPair", kill_the_agent);
}

#[test]
fn an_agent_killed_after_a_key_is_made_leaves_no_orphan() {
    killed_in_mid_create("C_GetAttributeValue", kill_the_agent);
}

#[test]
fn a_worker_killed_in_mid_destroy_has_the_key_destroyed_in_the_end() {
    let daemon = Daemon::start(setup());
    daemon.create_signer("k");
    let fault = daemon.fault("main");
    fault.set("C_DestroyObject", &Fault::Hang);
    let result = thread::scope(|scope| {
        let destroying = scope.spawn(|| {
            daemon
                .client()
                .call(keyward_client::protocol::operation::Destroy {
                    key: "k".into(),
                    now: true,
                })
        });
        assert!(wait_for(|| fault.calls("C_DestroyObject") == 1, PATIENCE));
        daemon.kill_worker("main");
        destroying.join().unwrap()
    });
    assert_eq!(refused(result).code, ErrorCode::TokenFailed);
    fault.clear("C_DestroyObject");
    assert!(
        wait_for(|| objects(&daemon) == 0, PATIENCE),
        "{:#?}",
        daemon.audit()
    );
    let gone = || refused(sign_once(&daemon, "k")).code == ErrorCode::NotFound;
    assert!(wait_for(gone, PATIENCE));
}

#[test]
fn a_key_that_can_be_read_out_is_destroyed_and_refused() {
    const CKA_EXTRACTABLE: u64 = 0x162;
    let daemon = Daemon::start(setup());
    let lie = Fault::Replace(vec![(CKA_EXTRACTABLE, vec![1])]);
    daemon.fault("main").set("C_GetAttributeValue", &lie);
    let failure = refused(
        daemon
            .client()
            .call(create("k", Purpose::Sign, KeyType::P256)),
    );
    assert_eq!(failure.code, ErrorCode::TokenFailed, "{failure}");
    assert_eq!((objects(&daemon), keys(&daemon)), (0, 0));
}
