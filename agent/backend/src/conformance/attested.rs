//! What a token says about its keys.

use keyward_protocol::Algorithm;
use keyward_protocol::attestation::{Identity, Statement, tpm};

use super::{Fixture, import, make, possible, ready, software};
use crate::backend::{Backend, Session};
use crate::error::BackendError;
use crate::message::Attest;
use crate::token::VersionId;

/// A token that attests has one attestation key, says of each key pair which it is and what it was
/// asked with, signed by that, and says nothing of secret keys; another attests nothing at all.
///
/// # Panics
/// If it is not so.
pub fn what_is_attested_is_so<F: Fixture>() {
    let (fixture, report) = ready::<F>();
    let mut session = fixture.backend().session().unwrap();
    let attest = |id| Attest {
        id,
        qualifying_data: [7; 32].into(),
    };
    let quick = possible(&report).filter(|(_, key_type)| key_type.rsa_bits() <= Some(2048));
    let identity = session.attestation_key();
    for (purpose, key_type) in quick {
        let material = software::material(key_type);
        let outside = import(&mut session, purpose, key_type, material).unwrap();
        for (id, key) in [make(&mut session, purpose, key_type), outside] {
            let said = session.attest(&attest(id));
            session.destroy(id).unwrap();
            if let (Ok(Statement::Piv(said)), Err(_)) = (&said, &identity) {
                // Each key has a certificate of its own, and one that came from outside has none.
                assert!(key.local, "{purpose} {key_type}");
                let public = key.public.as_ref().unwrap().to_spki().unwrap();
                let mut parts = said.certificate.windows(public.len());
                assert!(parts.any(|part| part == public), "{purpose} {key_type}");
                continue;
            }
            let (Ok(identity), false) = (&identity, key_type.is_secret()) else {
                let refused = matches!(said, Err(BackendError::MechanismInvalid(_)));
                assert!(refused, "{purpose} {key_type}: {said:?}");
                continue;
            };
            let (Statement::Tpm(said), Identity::Tpm(known)) = (said.unwrap(), identity) else {
                panic!("a token of a kind that this suite does not know");
            };
            assert_eq!(said.key.ak, known.ak);
            let public = tpm::Public::parse(&said.public).unwrap();
            assert_eq!(Some(&public.key), key.public.as_ref());
            let certified = tpm::Certify::parse(&said.attest).unwrap();
            assert_eq!(certified.name, public.name);
            assert_eq!(certified.qualifying_data, [7; 32]);
            let ak = tpm::Public::parse(&known.ak).unwrap();
            let signature = tpm::parse_signature(&said.signature).unwrap();
            let holds = software::verifies(Algorithm::Esp256, &ak.key, &said.attest, &signature);
            assert!(holds, "{purpose} {key_type}");
        }
    }
    // There is one, and it is no key of anybody's.
    if let Ok(first) = identity {
        assert_eq!(session.attestation_key(), Ok(first));
        let never = session.attest(&attest(VersionId::random()));
        assert_eq!(never, Err(BackendError::KeyNotFound));
    }
}
