//! Keys wrapped by keys.

use keyward_client::{
    Error,
    protocol::{
        Algorithm, ErrorCode, KeyType, Purpose, SecretBytes,
        operation::{Unwrap, Unwrapped, Wrap, Wrapped},
    },
};
use keyward_tests::{Daemon, Setup, request::refused};

fn wrap(key: &str, algorithm: Algorithm, plaintext: &[u8]) -> Wrap {
    Wrap {
        key: key.into(),
        algorithm: Some(algorithm),
        plaintext: SecretBytes::copy_from(plaintext),
    }
}

fn unwrap(key: &str, algorithm: Algorithm, ciphertext: &[u8]) -> Unwrap {
    Unwrap {
        key: key.into(),
        algorithm: Some(algorithm),
        ciphertext: ciphertext.to_vec().into(),
        label: None,
        version: None,
    }
}

const KINDS: [(KeyType, Algorithm, Algorithm); 2] = [
    (KeyType::Aes128, Algorithm::A128Kw, Algorithm::A128Kwp),
    (KeyType::Aes256, Algorithm::A256Kw, Algorithm::A256Kwp),
];

// SoftHSM 2.6.1 adds zeros to other lengths before it wraps: the worker sees that and refuses.
#[test]
fn what_is_wrapped_comes_out_again_and_nothing_else_does() {
    let daemon = Daemon::start(Setup::new());
    let mut client = daemon.client();
    for (kind, kw, kwp) in KINDS {
        let name = kind.name();
        daemon.create(name, Purpose::Wrap, kind);
        let lengths = [(kw, [16_usize, 24, 4096]), (kwp, [8, 40, 4096])];
        for (algorithm, lengths) in lengths {
            for length in lengths {
                let plaintext: Vec<u8> = (0..length).map(|i| i as u8).collect();
                let wrapped: Wrapped = client.call(wrap(name, algorithm, &plaintext)).unwrap();
                assert_eq!(wrapped.ciphertext.len(), length.div_ceil(8) * 8 + 8);
                let opened = client.call(unwrap(name, algorithm, &wrapped.ciphertext));
                assert_eq!(opened.unwrap().plaintext.expose(), plaintext);
                let other = if algorithm == kw { kwp } else { kw };
                let mut flipped = wrapped.ciphertext.to_vec();
                flipped[length / 2] ^= 4;
                let short = &wrapped.ciphertext[..wrapped.ciphertext.len() - 8];
                for wrong in [
                    unwrap(name, other, &wrapped.ciphertext),
                    unwrap(name, algorithm, &flipped),
                    unwrap(name, algorithm, short),
                    unwrap(name, algorithm, &wrapped.ciphertext[1..]),
                ] {
                    let failure = refused(client.call(wrong));
                    assert_eq!(
                        failure.code,
                        ErrorCode::UnwrapFailed,
                        "{algorithm} {length}"
                    );
                    assert_eq!(failure.message, "the ciphertext does not open");
                }
            }
        }
    }
    assert_eq!(daemon.token("main").restarts, 0, "nobody was blamed");
    for record in daemon.audit().iter().filter(|r| r["op"] == "wrap") {
        assert!(
            record["length"].is_u64() && record["digest"].is_null(),
            "{record}"
        );
    }
}

#[test]
fn what_no_algorithm_wraps_is_refused() {
    let daemon = Daemon::start(Setup::new());
    daemon.create("k", Purpose::Wrap, KeyType::Aes256);
    daemon.create("m", Purpose::Mac, KeyType::HmacSha256);
    let mut client = daemon.client();
    for (algorithm, length, code) in [
        (Algorithm::A256Kw, 8, ErrorCode::Invalid),
        (Algorithm::A256Kw, 17, ErrorCode::Invalid),
        (Algorithm::A256Kw, 4104, ErrorCode::Invalid),
        (Algorithm::A256Kwp, 0, ErrorCode::Invalid),
        (Algorithm::A256Kwp, 4097, ErrorCode::Invalid),
        (Algorithm::A128Kw, 16, ErrorCode::MechanismInvalid),
        (Algorithm::A256Gcm, 16, ErrorCode::MechanismInvalid),
    ] {
        let failure = refused(client.call(wrap("k", algorithm, &vec![0; length])));
        assert_eq!(failure.code, code, "{algorithm} {length}");
    }
    let label = Unwrap {
        label: Some(b"label".to_vec().into()),
        ..unwrap("k", Algorithm::A256Kw, &[0; 24])
    };
    assert_eq!(refused(client.call(label)).code, ErrorCode::Invalid);
    for length in [0, 7, 8, 15, 16, 23, 24, 4112] {
        let ciphertext = vec![0; length];
        for algorithm in [Algorithm::A256Kw, Algorithm::A256Kwp] {
            let result: Result<Unwrapped, Error> = client.call(unwrap("k", algorithm, &ciphertext));
            assert_eq!(
                refused(result).code,
                ErrorCode::UnwrapFailed,
                "{algorithm} {length}"
            );
        }
    }
    let mac = wrap("m", Algorithm::A256Kw, &[0; 16]);
    assert_eq!(refused(client.call(mac)).code, ErrorCode::WrongPurpose);
}
