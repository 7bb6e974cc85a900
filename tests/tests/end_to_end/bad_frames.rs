//! Bytes that no client should send: each gets a clear answer, and the agent serves on.

use keyward_client::protocol::{
    ErrorCode,
    cbor::{self, MAX_DEPTH},
    frame::MAX_FRAME,
    message::{ClientMessage, Hello},
    operation::{Random, Status},
};
use keyward_tests::{
    Daemon, Raw, Setup,
    raw::{Answer, call, framed},
    request::sign,
};

/// A welcomed client sends a body; the agent says that it is no message, hangs up, and serves on.
#[track_caller]
fn assert_malformed(body: &[u8]) -> String {
    let daemon = Daemon::start(Setup::new());
    let mut raw = Raw::welcomed(&daemon.socket());
    raw.send(body);
    let (id, failure) = raw.failure();
    assert_eq!(
        (id, failure.code),
        (None, ErrorCode::Malformed),
        "{failure}"
    );
    assert_eq!(raw.answer(), Answer::End);
    daemon.client().call(Status {}).expect("others are served");
    failure.message
}

#[test]
fn an_oversized_frame_is_refused_by_its_length_alone() {
    let daemon = Daemon::start(Setup::new());
    for claimed in [u32::try_from(MAX_FRAME).unwrap() + 1, u32::MAX] {
        let mut raw = Raw::welcomed(&daemon.socket());
        raw.write(&claimed.to_be_bytes()).unwrap();
        let (id, failure) = raw.failure();
        assert_eq!((id, failure.code), (None, ErrorCode::TooLarge), "{failure}");
        assert!(failure.message.contains(&claimed.to_string()), "{failure}");
        assert_eq!(raw.answer(), Answer::End);
    }
    let _ = daemon.status();
}

#[test]
fn a_frame_of_exactly_the_limit_is_taken() {
    let daemon = Daemon::start(Setup::new());
    daemon.create_signer("k");
    let overhead = call(1, sign("k", &vec![b'm'; 60_000])).len() - 60_000;
    let body = call(1, sign("k", &vec![b'm'; MAX_FRAME - overhead]));
    assert_eq!(body.len(), MAX_FRAME);
    let mut raw = Raw::welcomed(&daemon.socket());
    raw.send(&body);
    assert!(matches!(raw.answer(), Answer::Reply { id: 1, .. }));
}

#[test]
fn a_truncated_frame_ends_its_connection_and_nothing_else() {
    let daemon = Daemon::start(Setup::new());
    let whole = framed(&call(1, Status {}));
    for length in [1, 3, 4, whole.len() - 1] {
        let mut raw = Raw::welcomed(&daemon.socket());
        raw.write(&whole[..length]).unwrap();
        raw.finish();
        assert_eq!(raw.answer(), Answer::End, "after {length} bytes");
    }
    let _ = daemon.status();
}

#[test]
fn a_body_that_is_cut_short_inside_a_whole_frame_is_malformed() {
    let body = call(1, Status {});
    assert_malformed(&body[..body.len() - 1]);
}

#[test]
fn an_empty_frame_is_malformed() {
    assert_malformed(b"");
}

#[test]
fn non_deterministic_cbor_is_malformed() {
    // {0: 1, 1: 7, 2: 66, 3: {}} with the 1 in two bytes, with the keys exchanged, and without a definite length.
    let wrongs: [(&[u8], &str); 3] = [
        (&[0xa4, 0, 0x18, 1, 1, 7, 2, 0x18, 66, 3, 0xa0], "shortest"),
        (&[0xa4, 1, 7, 0, 1, 2, 0x18, 66, 3, 0xa0], "order"),
        (&[0xbf, 0, 1, 1, 7, 2, 0x18, 66, 3, 0xa0, 0xff], "definite"),
    ];
    for (body, why) in wrongs {
        let message = assert_malformed(body);
        assert!(message.contains(why), "{message}");
    }
}

#[test]
fn deeply_nested_cbor_is_malformed_and_takes_no_stack() {
    let deepest = [vec![0x81; MAX_FRAME - 1], vec![0]].concat();
    let message = assert_malformed(&deepest);
    assert!(message.contains(&MAX_DEPTH.to_string()), "{message}");
}

#[test]
fn a_claimed_length_allocates_nothing() {
    // An array, a string and a map of 2^32 or more elements in a few bytes.
    for head in [0x9bu8, 0x5b, 0xbb] {
        let body = [vec![head], u64::MAX.to_be_bytes().to_vec()].concat();
        assert_malformed(&body);
    }
}

#[test]
fn an_unknown_operation_is_unsupported_and_the_connection_lives() {
    let daemon = Daemon::start(Setup::new());
    let mut raw = Raw::welcomed(&daemon.socket());
    // {0: 1, 1: 7, 2: 9999, 3: {}}
    raw.send(&[0xa4, 0, 1, 1, 7, 2, 0x19, 0x27, 0x0f, 3, 0xa0]);
    let (id, failure) = raw.failure();
    assert_eq!((id, failure.code), (Some(7), ErrorCode::Unsupported));
    assert!(failure.message.contains("9999"), "{failure}");
    raw.call(8, Status {});
    assert!(!raw.reply::<Status>(8).software.is_empty());
}

#[test]
fn an_unknown_field_is_malformed_and_the_connection_lives() {
    let daemon = Daemon::start(Setup::new());
    let mut raw = Raw::welcomed(&daemon.socket());
    // status with a field that it does not have: {0: 1, 1: 7, 2: 66, 3: {9: 1}}
    raw.send(&[0xa4, 0, 1, 1, 7, 2, 0x18, 66, 3, 0xa1, 9, 1]);
    let (id, failure) = raw.failure();
    assert_eq!((id, failure.code), (Some(7), ErrorCode::Malformed));
    raw.call(8, Status {});
    let _ = raw.reply::<Status>(8);
}

#[test]
fn a_version_that_is_not_spoken_is_told_and_the_connection_ends() {
    let daemon = Daemon::start(Setup::new());
    let mut raw = Raw::connect(&daemon.socket());
    let newer = Hello {
        oldest: 98,
        newest: 99,
        ..Hello::new("a test")
    };
    raw.send(&ClientMessage::Hello(newer).encode());
    let (id, failure) = raw.failure();
    assert_eq!((id, failure.code), (None, ErrorCode::Version));
    assert!(failure.message.contains("98 to 99"), "{failure}");
    assert!(failure.hint.is_some());
    assert_eq!(raw.answer(), Answer::End);
}

#[test]
fn a_range_of_versions_that_has_ours_in_it_is_welcome() {
    let daemon = Daemon::start(Setup::new());
    let mut raw = Raw::connect(&daemon.socket());
    let wide = Hello {
        oldest: 0,
        newest: 99,
        features: vec!["telepathy".into()],
        ..Hello::new("a test")
    };
    raw.send(&ClientMessage::Hello(wide).encode());
    assert_eq!(raw.answer(), Answer::Welcome);
}

#[test]
fn whoever_does_not_say_hello_first_or_says_it_twice_is_cut_off() {
    let daemon = Daemon::start(Setup::new());
    let mut rude = Raw::connect(&daemon.socket());
    rude.call(1, Status {});
    assert_eq!(rude.failure().1.code, ErrorCode::Malformed);
    assert_eq!(rude.answer(), Answer::End);
    let mut twice = Raw::welcomed(&daemon.socket());
    twice.send(&ClientMessage::Hello(Hello::new("again")).encode());
    assert_eq!(twice.failure().1.code, ErrorCode::Malformed);
    assert_eq!(twice.answer(), Answer::End);
}

#[test]
fn two_requests_of_one_id_under_way_are_a_broken_client() {
    let daemon = Daemon::start(Setup::new());
    let mut raw = Raw::welcomed(&daemon.socket());
    let random = || Random {
        length: 16,
        token: None,
    };
    raw.write(&[framed(&call(5, random())), framed(&call(5, random()))].concat())
        .unwrap();
    // The first may be answered before the end.
    let mut answers = Vec::new();
    while answers.last() != Some(&Answer::End) {
        answers.push(raw.answer());
    }
    let malformed = |answer: &Answer| matches!(answer, Answer::Failure { id: None, failure } if failure.code == ErrorCode::Malformed);
    assert!(answers.iter().any(malformed), "{answers:?}");
}

#[test]
fn random_bytes_from_a_fixed_seed_never_bring_the_agent_down() {
    let daemon = Daemon::start(Setup::new());
    let mut state: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut random = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[0]
    };
    for _ in 0..200 {
        let mut raw = Raw::welcomed(&daemon.socket());
        let length = usize::from(random());
        let mut body: Vec<u8> = (0..length).map(|_| random()).collect();
        if random() % 2 == 0 {
            // Near to a message: a good one with one byte changed.
            body = call(1, sign("k", b"message"));
            let at = usize::from(random()) % body.len();
            body[at] = random();
        }
        raw.send(&body);
        raw.finish();
        while raw.answer() != Answer::End {}
    }
    let report = daemon.client().call(Status {}).expect("it serves");
    assert_eq!(
        cbor::encode(&report).first().map(|byte| byte >> 5),
        Some(5),
        "a map"
    );
}
