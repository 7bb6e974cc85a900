#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use super::*;

/// PEM, SSH line and JWK of one key, as other programs wrote them.
const KEYS: [[&str; 3]; 4] = [
    [
        include_str!("../../tests/keys/p256.pem"),
        include_str!("../../tests/keys/p256.ssh"),
        include_str!("../../tests/keys/p256.jwk"),
    ],
    [
        include_str!("../../tests/keys/p384.pem"),
        include_str!("../../tests/keys/p384.ssh"),
        include_str!("../../tests/keys/p384.jwk"),
    ],
    [
        include_str!("../../tests/keys/ed25519.pem"),
        include_str!("../../tests/keys/ed25519.ssh"),
        include_str!("../../tests/keys/ed25519.jwk"),
    ],
    [
        include_str!("../../tests/keys/rsa2048.pem"),
        include_str!("../../tests/keys/rsa2048.ssh"),
        include_str!("../../tests/keys/rsa2048.jwk"),
    ],
];

#[test]
fn the_forms_are_those_that_openssl_and_ssh_keygen_write() {
    for [pem, ssh, jwk] in KEYS {
        let key = parse(pem.as_bytes()).unwrap();
        assert_eq!(to_pem(&key).unwrap(), pem);
        assert_eq!(to_ssh(&key, "").unwrap(), ssh.trim_end());
        assert_eq!(to_jwk(&key), jwk.trim_end());
    }
}

#[test]
fn a_key_is_read_in_every_form_that_is_written() {
    for [pem, ..] in KEYS {
        let key = parse(pem.as_bytes()).unwrap();
        let forms = [
            to_der(&key).unwrap(),
            to_ssh(&key, "a comment").unwrap().into_bytes(),
            to_jwk(&key).into_bytes(),
            to_cose(&key),
        ];
        for form in forms {
            assert_eq!(parse(&form), Ok(key.clone()));
        }
    }
}

#[test]
fn what_is_cut_short_is_never_a_key() {
    for [pem, ..] in KEYS {
        let key = parse(pem.as_bytes()).unwrap();
        let forms = [
            to_der(&key).unwrap(),
            to_ssh(&key, "").unwrap().into_bytes(),
            to_jwk(&key).into_bytes(),
            to_cose(&key),
        ];
        for form in forms {
            for length in 0..form.len() {
                assert!(parse(&form[..length]).is_err());
            }
        }
    }
}

#[test]
fn a_private_key_is_refused_by_its_name() {
    let pem = "-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n";
    assert!(matches!(
        parse(pem.as_bytes()),
        Err(KeyFormatError::OtherPem { label }) if label == "PRIVATE KEY"
    ));
    let jwk = r#"{"crv":"Ed25519","kty":"OKP","x":"AA","d":"AA"}"#;
    assert!(matches!(
        parse(jwk.as_bytes()),
        Err(KeyFormatError::Broken { form: "JWK", .. })
    ));
}

#[test]
fn a_curve_of_the_wrong_name_is_refused() {
    let [_, _, jwk] = KEYS[0];
    assert!(parse(jwk.replace("P-256", "P-384").as_bytes()).is_err());
    assert_eq!(
        parse(jwk.replace("P-256", "P-521").as_bytes()),
        Err(KeyFormatError::Unknown)
    );
}

#[test]
fn a_comment_cannot_begin_a_line_of_its_own() {
    let key = parse(KEYS[0][0].as_bytes()).unwrap();
    assert_eq!(
        to_ssh(&key, "me\nssh-rsa AAAA you"),
        Err(KeyFormatError::Comment)
    );
}

#[test]
fn an_ecdsa_signature_of_openssl_goes_there_and_back() {
    let der = hex(
        "304502201511d84c471b6e4ea5106a302d43241685c9249b10a5a5d12062eddb049f3354\
         022100aed181120b6ec38f406f3b2ece63bd217a67c1e523d7336f2c008086625e1cde",
    );
    let raw = ecdsa_from_der(&der, 32).unwrap();
    assert_eq!(
        raw[..32],
        hex("1511d84c471b6e4ea5106a302d43241685c9249b10a5a5d12062eddb049f3354")
    );
    assert_eq!(ecdsa_to_der(&raw).unwrap(), der);
    assert!(ecdsa_from_der(&der, 31).is_err());
    assert!(ecdsa_from_der(&der[..der.len() - 1], 32).is_err());
}

#[test]
fn small_numbers_of_a_signature_keep_their_width() {
    let mut raw = vec![0; 64];
    (raw[31], raw[63]) = (1, 0x80);
    let der = ecdsa_to_der(&raw).unwrap();
    assert_eq!(der, hex("300702010102020080"));
    assert_eq!(ecdsa_from_der(&der, 32).unwrap(), raw);
    assert!(ecdsa_to_der(&raw[1..]).is_err());
    assert!(ecdsa_to_der(&[]).is_err());
}

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text
        .chars()
        .filter_map(|c| c.to_digit(16))
        .map(|d| d as u8)
        .collect();
    digits
        .chunks(2)
        .map(|pair| pair[0] << 4 | pair[1])
        .collect()
}
