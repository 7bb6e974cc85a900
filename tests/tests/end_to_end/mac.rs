//! Message authentication codes.

use keyward_client::protocol::{
    ErrorCode, KeyType, Purpose, SecretBytes,
    operation::{Mac, VerifyMac},
};
use keyward_tests::{Daemon, Setup, request::refused};

fn mac(key: &str, message: &[u8]) -> Mac {
    Mac {
        key: key.into(),
        message: SecretBytes::copy_from(message),
    }
}

fn verify_mac(key: &str, message: &[u8], tag: &[u8]) -> VerifyMac {
    VerifyMac {
        key: key.into(),
        message: SecretBytes::copy_from(message),
        tag: tag.to_vec().into(),
        version: None,
    }
}

#[test]
fn a_code_verifies_whole_and_for_its_message_only() {
    let daemon = Daemon::start(Setup::new());
    let mut client = daemon.client();
    for (kind, length) in [
        (KeyType::HmacSha256, 32),
        (KeyType::HmacSha384, 48),
        (KeyType::HmacSha512, 64),
    ] {
        let name = kind.name();
        daemon.create(name, Purpose::Mac, kind);
        for message in [&b""[..], b"message", &[1; 60_000]] {
            let tag = client.call(mac(name, message)).unwrap().tag;
            assert_eq!(tag.len(), length);
            assert_eq!(client.call(mac(name, message)).unwrap().tag, tag);
            let mut valid = |message: &[u8], tag: &[u8]| {
                let verified = client.call(verify_mac(name, message, tag));
                verified.unwrap().valid
            };
            assert!(valid(message, &tag));
            assert!(!valid(b"another", &tag));
            for byte in [0, length - 1] {
                let mut flipped = tag.to_vec();
                flipped[byte] ^= 0x80;
                assert!(!valid(message, &flipped));
            }
            for shortened in [&tag[..0], &tag[..16], &tag[..length - 1]] {
                assert!(!valid(message, shortened));
            }
            assert!(!valid(message, &[&tag[..], &[0]].concat()));
        }
    }
    daemon.create_signer("signer");
    let failure = refused(client.call(mac("signer", b"message")));
    assert_eq!(failure.code, ErrorCode::WrongPurpose);
    let records = daemon.audit();
    let uses = records
        .iter()
        .filter(|r| r["op"] == "mac" || r["op"] == "verify-mac");
    assert!(uses.clone().all(|r| r["digest"].is_null()));
    assert!(uses.clone().any(|r| r["length"] == 60_000));
}
