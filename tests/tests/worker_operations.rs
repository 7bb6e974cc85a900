//! Every operation of a worker, on a real SoftHSM token, checked by `openssl`.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]

use std::path::{Path, PathBuf};

use keyward_backend::{
    BackendError, KeyReport, VersionId,
    message::{Derive, Outcome, Sign, Unwrap, Work},
};
use keyward_protocol::{Algorithm, CoseKey, KeyType, Purpose, SecretBytes, operation::SignInput};
use keyward_tests::{SoftHsm, Worker, openssl};

const MESSAGE: &[u8] = b"a message of no particular length";

#[test]
fn signatures_of_every_algorithm_verify() {
    let hsm = SoftHsm::new();
    let mut worker = Worker::start(&hsm, None);
    let token = worker.open().unwrap();
    worker.login(hsm.pin()).unwrap();
    let mut made = 0;
    for key_type in KeyType::ALL {
        let algorithms = Purpose::Sign.algorithms(key_type);
        if algorithms.is_empty() {
            continue;
        }
        if !token.key_types.contains(&key_type) {
            // Only Ed25519 is left out of some builds of SoftHSM.
            assert_eq!(key_type, KeyType::Ed25519);
            let refused = worker.generate(key_type, Purpose::Sign);
            assert!(matches!(refused, Err(BackendError::MechanismInvalid(_))));
            continue;
        }
        let (id, report) = worker.generate(key_type, Purpose::Sign).unwrap();
        assert!(report.local && report.always_sensitive && report.never_extractable);
        assert_eq!(report.key_type, Some(key_type));
        let public = public_pem(&hsm, id, &report);
        for algorithm in algorithms {
            assert!(token.algorithms.contains(algorithm));
            let signature = worker.sign(id, *algorithm, MESSAGE).unwrap();
            verify(&public, *algorithm, &signature);
            made += 1;
        }
    }
    assert!(made >= 8);
}

#[test]
fn a_digest_is_signed_as_its_message_is() {
    let hsm = SoftHsm::new();
    let mut worker = Worker::ready(&hsm, None);
    let (id, report) = worker.generate(KeyType::P256, Purpose::Sign).unwrap();
    let digest = openssl::run(openssl::command("dgst").args(["-sha256", "-binary"]).arg({
        let file = hsm.dir().join("message");
        std::fs::write(&file, MESSAGE).unwrap();
        file
    }))
    .unwrap();
    let input = SignInput::Digest(digest);
    let outcome = worker.call(Work::Sign(Sign {
        id,
        algorithm: Algorithm::Esp256,
        input,
    }));
    let Outcome::Signature(signature) = outcome else {
        panic!("{outcome:?}")
    };
    verify(
        &public_pem(&hsm, id, &report),
        Algorithm::Esp256,
        &signature,
    );

    let input = SignInput::Digest(vec![0; 31]);
    let outcome = worker.call(Work::Sign(Sign {
        id,
        algorithm: Algorithm::Esp256,
        input,
    }));
    assert!(
        matches!(outcome, Outcome::Failed(BackendError::Invalid(_))),
        "{outcome:?}"
    );
}

#[test]
fn what_openssl_encrypted_opens_with_any_hash_and_label() {
    let hsm = SoftHsm::new();
    let mut worker = Worker::ready(&hsm, None);
    let (id, report) = worker.generate(KeyType::Rsa2048, Purpose::Unwrap).unwrap();
    let public = public_pem(&hsm, id, &report);
    let cases = [
        ("sha256", Algorithm::RsaOaepSha256, b"".as_slice()),
        ("sha256", Algorithm::RsaOaepSha256, b"label"),
        ("sha1", Algorithm::RsaOaepSha1, b""),
        ("sha1", Algorithm::RsaOaepSha1, b"label"),
    ];
    for (hash, algorithm, label) in cases {
        // Twice: the second time the worker knows what the token lacks.
        for message in [MESSAGE, b""] {
            let ciphertext = openssl::encrypt_oaep(&public, hash, label, message).unwrap();
            let opened = unwrap(&mut worker, id, algorithm, &ciphertext, label);
            assert_eq!(
                opened,
                Ok(SecretBytes::copy_from(message)),
                "{hash} {label:?}"
            );
        }
    }
}

#[test]
fn what_does_not_open_gives_the_one_error() {
    let hsm = SoftHsm::new();
    let mut worker = Worker::ready(&hsm, None);
    let (id, report) = worker.generate(KeyType::Rsa2048, Purpose::Unwrap).unwrap();
    let public = public_pem(&hsm, id, &report);
    for (hash, algorithm) in [
        ("sha256", Algorithm::RsaOaepSha256),
        ("sha1", Algorithm::RsaOaepSha1),
    ] {
        let right = openssl::encrypt_oaep(&public, hash, b"", MESSAGE).unwrap();
        let mut flipped = right.clone();
        flipped[100] ^= 1;
        let wrong = [
            flipped,
            right[..255].to_vec(),
            [right.as_slice(), &[0]].concat(),
            vec![],
            vec![0; 256],
            vec![0xff; 256],
            [vec![0; 255], vec![1]].concat(),
        ];
        for ciphertext in wrong {
            let result = unwrap(&mut worker, id, algorithm, &ciphertext, b"");
            assert_eq!(
                result,
                Err(BackendError::UnwrapFailed),
                "{hash} {ciphertext:?}"
            );
        }
        let result = unwrap(&mut worker, id, algorithm, &right, b"other");
        assert_eq!(result, Err(BackendError::UnwrapFailed));
        assert!(unwrap(&mut worker, id, algorithm, &right, b"").is_ok());
    }
}

#[test]
fn both_sides_of_ecdh_have_the_same_secret() {
    let hsm = SoftHsm::new();
    let mut worker = Worker::ready(&hsm, None);
    for key_type in [KeyType::P256, KeyType::P384] {
        let (id, report) = worker.generate(key_type, Purpose::Agree).unwrap();
        let ours = public_pem(&hsm, id, &report);
        for round in 0..8 {
            let private = hsm.dir().join(format!("peer-{round}.pem"));
            let public = hsm.dir().join(format!("peer-{round}.pub"));
            openssl::generate_ec(key_type.name(), &private).unwrap();
            openssl::write_public(&private, &public).unwrap();
            let peer = CoseKey::from_spki(&openssl::public_der(&public).unwrap()).unwrap();
            let outcome = worker.call(Work::Derive(Derive { id, peer }));
            let Outcome::Secret(secret) = outcome else {
                panic!("{outcome:?}")
            };
            let expected = openssl::derive(&private, &ours).unwrap();
            assert_eq!(secret, SecretBytes::copy_from(&expected));
        }
    }
}

#[test]
fn a_peer_that_is_no_point_on_the_curve_is_refused() {
    let hsm = SoftHsm::new();
    let mut worker = Worker::ready(&hsm, None);
    let (id, report) = worker.generate(KeyType::P256, Purpose::Agree).unwrap();
    let CoseKey::P256 { x, mut y } = report.public.unwrap() else {
        panic!("not P-256")
    };
    y[31] ^= 1;
    let other_curve = CoseKey::P384 {
        x: [1; 48],
        y: [1; 48],
    };
    let no_curve = CoseKey::rsa(&[0xff; 256], &[1, 0, 1]).unwrap();
    for peer in [CoseKey::P256 { x, y }, other_curve, no_curve] {
        let outcome = worker.call(Work::Derive(Derive { id, peer }));
        assert!(
            matches!(outcome, Outcome::Failed(BackendError::Invalid(_))),
            "{outcome:?}"
        );
    }
    let (_, p384) = worker.generate(KeyType::P384, Purpose::Agree).unwrap();
    let outcome = worker.call(Work::Derive(Derive {
        id,
        peer: p384.public.unwrap(),
    }));
    assert!(
        matches!(outcome, Outcome::Failed(BackendError::Invalid(_))),
        "{outcome:?}"
    );
}

#[test]
fn a_key_does_nothing_but_its_purpose() {
    let hsm = SoftHsm::new();
    let mut worker = Worker::ready(&hsm, None);
    let (sign, report) = worker.generate(KeyType::P256, Purpose::Sign).unwrap();
    let (agree, _) = worker.generate(KeyType::P256, Purpose::Agree).unwrap();
    let (rsa, rsa_report) = worker.generate(KeyType::Rsa2048, Purpose::Sign).unwrap();
    let outcome = worker.call(Work::Derive(Derive {
        id: sign,
        peer: report.public.unwrap(),
    }));
    assert!(
        matches!(outcome, Outcome::Failed(BackendError::MechanismInvalid(_))),
        "{outcome:?}"
    );
    let refused = worker.sign(agree, Algorithm::Esp256, MESSAGE);
    assert!(
        matches!(refused, Err(BackendError::MechanismInvalid(_))),
        "{refused:?}"
    );
    let refused = worker.sign(sign, Algorithm::Rs256, MESSAGE);
    assert!(
        matches!(refused, Err(BackendError::MechanismInvalid(_))),
        "{refused:?}"
    );
    let public = public_pem(&hsm, rsa, &rsa_report);
    let ciphertext = openssl::encrypt_oaep_sha256(&public, MESSAGE).unwrap();
    let refused = unwrap(&mut worker, rsa, Algorithm::RsaOaepSha256, &ciphertext, b"");
    assert!(
        matches!(refused, Err(BackendError::MechanismInvalid(_))),
        "{refused:?}"
    );
    let refused = worker.generate(KeyType::P256, Purpose::Unwrap);
    assert!(
        matches!(refused, Err(BackendError::MechanismInvalid(_))),
        "{refused:?}"
    );
}

#[test]
fn a_key_is_shown_and_destroyed() {
    let hsm = SoftHsm::new();
    let mut worker = Worker::ready(&hsm, None);
    let (id, report) = worker.generate(KeyType::P384, Purpose::Sign).unwrap();
    let (other, _) = worker.generate(KeyType::P384, Purpose::Sign).unwrap();
    assert!(worker.sign(id, Algorithm::Esp384, MESSAGE).is_ok());
    assert_eq!(
        worker.call(Work::Inspect(id)),
        Outcome::Key(Some(report.clone()))
    );
    assert!(report.locator.starts_with("pkcs11:token=keyward-test;"));
    for _ in 0..2 {
        assert_eq!(worker.call(Work::Destroy(id)), Outcome::Done);
        assert_eq!(worker.call(Work::Inspect(id)), Outcome::Key(None));
    }
    // On every thread, whatever it had looked up.
    for _ in 0..8 {
        assert_eq!(
            worker.sign(id, Algorithm::Esp384, MESSAGE),
            Err(BackendError::KeyNotFound)
        );
    }
    assert!(worker.sign(other, Algorithm::Esp384, MESSAGE).is_ok());
}

#[test]
fn random_bytes_come_in_the_length_that_was_asked_for() {
    let hsm = SoftHsm::new();
    let mut worker = Worker::ready(&hsm, None);
    let mut seen = Vec::new();
    for length in [1, 32, 1024, 1024] {
        let Outcome::Secret(bytes) = worker.call(Work::Random(length)) else {
            panic!("no bytes")
        };
        assert_eq!(bytes.len(), usize::try_from(length).unwrap());
        seen.push(bytes);
    }
    assert!(seen[2] != seen[3]);
    for length in [0, 65_537, u32::MAX] {
        let outcome = worker.call(Work::Random(length));
        assert!(matches!(outcome, Outcome::Failed(BackendError::Invalid(_))));
    }
}

#[test]
fn threads_serve_at_the_same_time_and_every_signature_verifies() {
    let hsm = SoftHsm::new();
    let mut worker = Worker::ready(&hsm, None);
    let (id, report) = worker.generate(KeyType::P256, Purpose::Sign).unwrap();
    let mut signatures = Vec::new();
    for _ in 0..40 {
        let calls: Vec<u64> = (0..20)
            .map(|_| {
                let input = SignInput::Message(MESSAGE.to_vec());
                worker.send(Work::Sign(Sign {
                    id,
                    algorithm: Algorithm::Esp256,
                    input,
                }))
            })
            .collect();
        for call in calls {
            let outcome = worker.receive(call).unwrap();
            let Outcome::Signature(signature) = outcome else {
                panic!("{outcome:?}")
            };
            signatures.push(signature.to_vec());
        }
    }
    let public = public_pem(&hsm, id, &report);
    for signature in signatures.iter().step_by(20) {
        verify(&public, Algorithm::Esp256, signature);
    }
    signatures.sort();
    signatures.dedup();
    assert_eq!(signatures.len(), 800);
}

fn unwrap(
    worker: &mut Worker,
    id: VersionId,
    algorithm: Algorithm,
    ciphertext: &[u8],
    label: &[u8],
) -> Result<SecretBytes, BackendError> {
    let (ciphertext, label) = (ciphertext.to_vec().into(), label.to_vec().into());
    match worker.call(Work::Unwrap(Unwrap {
        id,
        algorithm,
        ciphertext,
        label,
    })) {
        Outcome::Secret(opened) => Ok(opened),
        Outcome::Failed(error) => Err(error),
        other => panic!("{other:?}"),
    }
}

/// The public key as a PEM file, by openssl from DER.
fn public_pem(hsm: &SoftHsm, id: VersionId, report: &KeyReport) -> PathBuf {
    let (der, pem) = (
        hsm.dir().join(format!("{id}.der")),
        hsm.dir().join(format!("{id}.pem")),
    );
    std::fs::write(&der, report.public.clone().unwrap().to_spki().unwrap()).unwrap();
    let mut command = openssl::command("pkey");
    command
        .args(["-pubin", "-inform", "DER", "-in"])
        .arg(der)
        .args(["-pubout", "-out"])
        .arg(&pem);
    openssl::run(&mut command).unwrap();
    pem
}

fn verify(public: &Path, algorithm: Algorithm, signature: &[u8]) {
    let verified = match algorithm {
        Algorithm::Esp256 => openssl::verify_ecdsa(public, "sha256", MESSAGE, &der(signature)),
        Algorithm::Esp384 => openssl::verify_ecdsa(public, "sha384", MESSAGE, &der(signature)),
        Algorithm::Ps256 => openssl::verify_pss(public, "sha256", MESSAGE, signature),
        Algorithm::Rs256 => openssl::verify_pkcs1(public, "sha256", MESSAGE, signature),
        Algorithm::Ed25519 => openssl::verify_ed25519(public, MESSAGE, signature),
        other => panic!("{other} signs nothing"),
    };
    verified.unwrap_or_else(|error| panic!("{algorithm}: {error:?}"));
}

/// ECDSA's r ‖ s as DER.
fn der(signature: &[u8]) -> Vec<u8> {
    let integer = |bytes: &[u8]| {
        let start = bytes.iter().position(|byte| *byte != 0).unwrap();
        let bytes = &bytes[start..];
        let sign = if bytes[0] & 0x80 == 0 {
            vec![]
        } else {
            vec![0]
        };
        let bytes = [sign.as_slice(), bytes].concat();
        [
            &[0x02, u8::try_from(bytes.len()).unwrap()],
            bytes.as_slice(),
        ]
        .concat()
    };
    let (r, s) = signature.split_at(signature.len() / 2);
    let inside = [integer(r), integer(s)].concat();
    [
        &[0x30, u8::try_from(inside.len()).unwrap()],
        inside.as_slice(),
    ]
    .concat()
}
