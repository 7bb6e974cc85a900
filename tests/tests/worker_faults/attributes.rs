//! Attributes.

use super::*;

#[test]
fn a_key_with_a_wrong_attribute_is_destroyed() {
    let mut rig = Rig::ready();
    for (attribute, value) in [
        (CKA_SENSITIVE, 0),
        (CKA_EXTRACTABLE, 1),
        (CKA_SIGN, 0),
        (CKA_DECRYPT, 1),
        (CKA_ALWAYS_AUTHENTICATE, 1),
    ] {
        let before = rig.faults.calls("C_DestroyObject");
        rig.faults.set(
            "C_GetAttributeValue",
            &Fault::Replace(vec![(attribute, vec![value])]),
        );
        let refused = rig.worker.generate(KeyType::P256, Purpose::Sign);
        assert!(
            matches!(refused, Err(BackendError::KeyUnsafe(_))),
            "{attribute:#x}: {refused:?}"
        );
        assert_eq!(rig.faults.calls("C_DestroyObject") - before, 2);
        rig.faults.clear("C_GetAttributeValue");
    }
}

#[test]
fn attributes_that_a_token_does_not_know_are_tolerated_one_by_one() {
    let mut rig = Rig::ready();
    let unknown = vec![CKA_ALWAYS_AUTHENTICATE, CKA_DECRYPT, CKA_NEVER_EXTRACTABLE];
    rig.faults.set("C_GetAttributeValue", &Fault::Hide(unknown));
    let (id, report) = rig.worker.generate(KeyType::P256, Purpose::Sign).unwrap();
    assert!(report.local && report.always_sensitive && !report.never_extractable);
    assert!(rig.worker.sign(id, Algorithm::Esp256, MESSAGE).is_ok());
    rig.faults
        .set("C_GetAttributeValue", &Fault::Hide(vec![CKA_SENSITIVE]));
    let refused = rig.worker.generate(KeyType::P256, Purpose::Sign);
    assert!(
        matches!(refused, Err(BackendError::KeyUnsafe(_))),
        "{refused:?}"
    );
}

#[test]
fn a_key_that_wants_its_pin_each_time_is_refused_with_the_reason() {
    let mut rig = Rig::ready();
    let (id, _) = rig.worker.generate(KeyType::P256, Purpose::Sign).unwrap();
    let always = Fault::Replace(vec![(CKA_ALWAYS_AUTHENTICATE, vec![1])]);
    rig.faults.set("C_GetAttributeValue", &always);
    let refused = rig.worker.sign(id, Algorithm::Esp256, MESSAGE);
    let Err(BackendError::MechanismInvalid(text)) = refused else {
        panic!("{refused:?}")
    };
    assert!(text.contains("CKA_ALWAYS_AUTHENTICATE"));
}
