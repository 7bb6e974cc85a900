//! Data that a token seals.

use keyward_protocol::operation::KeyMaterial;
use keyward_protocol::{KeyType, Purpose, SecretBytes};

use super::{Fixture, generate, import, make, quick, ready, seals_data};
use crate::backend::{Backend, Session};
use crate::error::BackendError;
use crate::token::VersionId;

/// Data of each length that there is room for is given back as it was, until it is destroyed; a token
/// that seals none says so.
///
/// # Panics
/// If it is not so.
pub fn sealed_data_is_given_back<F: Fixture>() {
    let (fixture, report) = ready::<F>();
    let mut session = fixture.backend().session().unwrap();
    let (purpose, key_type) = quick(&report);
    let (key, _) = make(&mut session, purpose, key_type);
    let no_data = session.unseal_data(key);
    assert!(
        matches!(no_data, Err(BackendError::MechanismInvalid(_))),
        "{no_data:?}"
    );
    let material = |length: usize| {
        let data: Vec<u8> = (1..=u8::MAX).cycle().take(length).collect();
        KeyMaterial::Secret(KeyType::Data, SecretBytes::copy_from(&data))
    };
    if !seals_data(&report) {
        let refused = import(&mut session, Purpose::Seal, KeyType::Data, material(8));
        assert!(matches!(refused, Err(BackendError::MechanismInvalid(_))));
        return;
    }
    for length in [1, 32, KeyType::MOST_DATA] {
        let given = material(length);
        let (id, shown) = import(&mut session, Purpose::Seal, KeyType::Data, given).unwrap();
        assert_eq!(shown.public, None);
        assert_eq!(session.inspect(id), Ok(Some(shown)));
        let KeyMaterial::Secret(_, wanted) = material(length) else {
            panic!("it is data");
        };
        assert_eq!(session.unseal_data(id), Ok(wanted));
        session.destroy(id).unwrap();
        assert_eq!(session.unseal_data(id), Err(BackendError::KeyNotFound));
    }
    for length in [0, KeyType::MOST_DATA + 1] {
        let refused = import(&mut session, Purpose::Seal, KeyType::Data, material(length));
        assert!(
            matches!(refused, Err(BackendError::Invalid(_))),
            "{refused:?}"
        );
    }
    let made = session.generate(&generate(KeyType::Data, Purpose::Seal));
    assert!(matches!(made, Err(BackendError::MechanismInvalid(_))));
    let never = session.unseal_data(VersionId::random());
    assert_eq!(never, Err(BackendError::KeyNotFound));
}
