//! Messages there and back, and bytes that are none.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]

use proptest::prelude::*;

use super::*;

fn requests() -> Vec<Request> {
    let token = || "main".to_owned();
    let tasks = [
        Task::StartWorker { token: token() },
        Task::Identify { pid: 1 },
        Task::Remember {
            token: token(),
            pin: SecretBytes::copy_from(b"1234"),
        },
        Task::Forget { token: token() },
    ];
    tasks
        .into_iter()
        .map(|task| Request { id: u64::MAX, task })
        .collect()
}

fn replies() -> Vec<Reply> {
    let parent = Parent {
        pid: 1,
        comm: "init".to_owned(),
        exe: None,
    };
    let mut program = Program {
        start_time: 5,
        exe: Some("/bin/x".to_owned()),
        file: Some(FileId {
            device: 1,
            inode: 2,
        }),
        sha256: Some([7; 32]),
        parents: vec![parent],
        descends_from_monitor: true,
    };
    let full = Outcome::Program {
        program: program.clone(),
    };
    (program.exe, program.file, program.sha256) = (None, None, None);
    let outcomes = [
        full,
        Outcome::Program { program },
        Outcome::Worker { pid: 4 },
        Outcome::Done,
        Outcome::UnknownToken,
        Outcome::MayNotRemember,
        Outcome::ProcessGone,
        Outcome::failed("é".repeat(5000)),
    ];
    outcomes
        .into_iter()
        .map(|outcome| Reply { id: 3, outcome })
        .collect()
}

#[test]
fn messages_come_back_as_they_went_and_every_cut_is_refused() {
    for request in requests() {
        let bytes = encode_secret(&request);
        assert_eq!(bytes.expose(), cbor::encode(&request));
        assert_eq!(Request::decode(bytes.expose()).unwrap(), request);
        for cut in 0..bytes.len() {
            assert!(Request::decode(&bytes.expose()[..cut]).is_err());
        }
    }
    for reply in replies() {
        let bytes = reply.encode();
        assert_eq!(Reply::decode(&bytes).unwrap(), reply);
        for cut in 0..bytes.len() {
            assert!(Reply::decode(&bytes[..cut]).is_err());
        }
    }
}

#[test]
fn hostile_requests_are_refused() {
    let long_pin = Task::Remember {
        token: "main".to_owned(),
        pin: SecretBytes::zeroed(MAX_PIN + 1),
    };
    let long_name = Task::Forget {
        token: "m".repeat(MAX_REQUEST),
    };
    let mut hostile = [long_pin, long_name]
        .map(|task| cbor::encode(&Request { id: 1, task }))
        .to_vec();
    hostile.extend([
        b"".to_vec(),
        b"\xa0".to_vec(),
        // An array that claims four thousand million entries; maps without end; sixty levels.
        b"\x9a\xff\xff\xff\xff".to_vec(),
        b"\xbf".to_vec(),
        vec![0x81; 60],
        // A task that is not known; a field that is not known; a number that is not in its shortest form.
        b"\xa2\x00\x01\x01\xa1\x09\xa0".to_vec(),
        b"\xa3\x00\x01\x01\xa1\x02\xa1\x00\x01\x02\x00".to_vec(),
        b"\xa2\x00\x18\x01\x01\xa1\x02\xa1\x00\x01".to_vec(),
    ]);
    for bytes in hostile {
        assert!(Request::decode(&bytes).is_err(), "{bytes:02x?}");
    }
}

#[test]
fn the_longest_program_fits_into_an_answer() {
    let text = |length: usize| "x".repeat(length);
    let parent = || Parent {
        pid: u32::MAX,
        comm: text(64),
        exe: Some(text(MAX_PARENT_PATH)),
    };
    let program = Program {
        start_time: u64::MAX,
        exe: Some(text(MAX_PATH)),
        file: Some(FileId {
            device: u64::MAX,
            inode: u64::MAX,
        }),
        sha256: Some([0xff; 32]),
        parents: std::iter::repeat_with(parent).take(MAX_PARENTS).collect(),
        descends_from_monitor: true,
    };
    let reply = Reply {
        id: u64::MAX,
        outcome: Outcome::Program { program },
    };
    assert_eq!(Reply::decode(&reply.encode()).unwrap(), reply);
}

proptest! {
    #[test]
    fn no_bytes_make_a_decoder_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = Request::decode(&bytes);
        let _ = Reply::decode(&bytes);
    }

    #[test]
    fn a_changed_byte_makes_another_request_or_none(at in 0_usize..64, bit in 0_u8..8, which in 0_usize..4) {
        let requests = requests();
        let bytes = cbor::encode(&requests[which]);
        let mut changed = bytes.clone();
        let at = at % changed.len();
        changed[at] ^= 1 << bit;
        if let Ok(request) = Request::decode(&changed) {
            prop_assert_ne!(&request, &requests[which]);
            prop_assert_eq!(cbor::encode(&request), changed);
        }
    }
}
