//! Keys as a token shows them, and whether they are what was asked for.

use cryptoki::object::{Attribute, AttributeType, ObjectClass, ObjectHandle};
use cryptoki::session::Session as RawSession;
use keyward_backend::message::Generate;
use keyward_backend::{BackendError, KeyReport, VersionId};
use keyward_protocol::{CoseKey, KeyType};

use super::error::{Attempt, Failure};
use super::session::attribute;
use super::token::Found;
use super::{locator, public_key, secret_key, template};

/// The objects of a key: a private one with its public one, or a secret one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Objects {
    pub(super) class: ObjectClass,
    /// The private or secret one.
    pub(super) key: ObjectHandle,
    pub(super) public: Option<ObjectHandle>,
}

impl Objects {
    pub(super) fn pair(public: ObjectHandle, private: ObjectHandle) -> Self {
        Self {
            class: ObjectClass::PRIVATE_KEY,
            key: private,
            public: Some(public),
        }
    }

    pub(super) fn secret(key: ObjectHandle) -> Self {
        Self {
            class: ObjectClass::SECRET_KEY,
            key,
            public: None,
        }
    }

    /// Those with an id. A key has either a private object or a secret one.
    pub(super) fn find(session: &RawSession, id: VersionId) -> Attempt<Option<Self>> {
        let objects = session.find_objects(&[
            Attribute::Token(true),
            Attribute::Id(id.as_bytes().to_vec()),
        ])?;
        let (mut keys, mut publics) = (Vec::new(), Vec::new());
        for object in objects {
            match attribute(session, object, AttributeType::Class)? {
                Some(Attribute::Class(ObjectClass::PUBLIC_KEY)) => publics.push(object),
                Some(Attribute::Class(
                    class @ (ObjectClass::PRIVATE_KEY | ObjectClass::SECRET_KEY),
                )) => keys.push((class, object)),
                _ => {}
            }
        }
        match (keys.as_slice(), publics.as_slice()) {
            ([], _) => Ok(None),
            ([(class, key)], [] | [_]) => Ok(Some(Self {
                class: *class,
                key: *key,
                public: publics.pop(),
            })),
            _ => Err(BackendError::Refused(format!(
                "there are several keys with the id {id}; remove those that keyward did not make"
            ))
            .into()),
        }
    }

    /// All of them.
    pub(super) fn each(self) -> impl Iterator<Item = ObjectHandle> {
        [self.key].into_iter().chain(self.public)
    }

    /// What kind of key it is, and its public part.
    pub(super) fn kind(self, session: &RawSession) -> Attempt<(Option<KeyType>, Option<CoseKey>)> {
        if self.class == ObjectClass::SECRET_KEY {
            return Ok((secret_key::key_type(session, self.key)?, None));
        }
        let public = public_key::read(session, self.key, self.public)?;
        Ok((public.key_type(), Some(public)))
    }

    /// The key as the token shows it.
    pub(super) fn report(
        self,
        session: &RawSession,
        found: &Found,
        id: VersionId,
    ) -> Attempt<KeyReport> {
        let holds = |kind| Ok::<_, Failure>(flag(session, self.key, kind)?.unwrap_or(false));
        let (key_type, public) = self.kind(session)?;
        Ok(KeyReport {
            key_type,
            public,
            locator: locator::of_key(&found.label, &found.identity, id, self.class),
            local: holds(AttributeType::Local)?,
            always_sensitive: holds(AttributeType::AlwaysSensitive)?,
            never_extractable: holds(AttributeType::NeverExtractable)?,
            blob: None,
            bound: None,
        })
    }
}

/// Reads back what was made.
pub(super) fn check(
    session: &RawSession,
    found: &Found,
    generate: &Generate,
    objects: Objects,
) -> Attempt<KeyReport> {
    let wrong = |what: String| -> Failure { BackendError::KeyUnsafe(what).into() };
    // What makes the key safe must be there; what it may be used for may be unknown to the token.
    let musts = [
        (AttributeType::Token, true),
        (AttributeType::Private, true),
        (AttributeType::Sensitive, true),
        (AttributeType::Extractable, false),
    ];
    for (kind, value) in musts {
        if flag(session, objects.key, kind)? != Some(value) {
            return Err(wrong(format!("{kind} is not {value}")));
        }
    }
    let uses = template::uses(generate.key_type, generate.purpose);
    let others = [(AttributeType::AlwaysAuthenticate, false)];
    for (kind, value) in uses.chain(others) {
        let there = flag(session, objects.key, kind)?;
        if there.is_some_and(|there| there != value) || (value && there.is_none()) {
            return Err(wrong(format!("{kind} is not {value}")));
        }
    }
    for object in objects.each() {
        match attribute(session, object, AttributeType::Id)? {
            Some(Attribute::Id(id)) if id == generate.id.as_bytes() => {}
            _ => return Err(wrong("CKA_ID is not the one that was asked for".to_owned())),
        }
    }
    let report = objects.report(session, found, generate.id)?;
    if report.key_type != Some(generate.key_type) {
        return Err(wrong(format!("it is not of type {}", generate.key_type)));
    }
    if let Some(CoseKey::Rsa { e, .. }) = &report.public
        && e != &[1, 0, 1]
    {
        return Err(wrong("its public exponent is not 65537".to_owned()));
    }
    let found_by_id = Objects::find(session, generate.id)?;
    if found_by_id.map(|found| found.key) != Some(objects.key) {
        return Err(wrong("it is not found by its CKA_ID".to_owned()));
    }
    Ok(report)
}

/// An attribute that is true or false; `None` if the token does not know it.
fn flag(session: &RawSession, object: ObjectHandle, kind: AttributeType) -> Attempt<Option<bool>> {
    Ok(match attribute(session, object, kind)? {
        Some(
            Attribute::Token(value)
            | Attribute::Private(value)
            | Attribute::Sensitive(value)
            | Attribute::Extractable(value)
            | Attribute::Sign(value)
            | Attribute::SignRecover(value)
            | Attribute::Verify(value)
            | Attribute::Encrypt(value)
            | Attribute::Decrypt(value)
            | Attribute::Derive(value)
            | Attribute::Wrap(value)
            | Attribute::Unwrap(value)
            | Attribute::AlwaysAuthenticate(value)
            | Attribute::Local(value)
            | Attribute::AlwaysSensitive(value)
            | Attribute::NeverExtractable(value),
        ) => Some(value),
        _ => None,
    })
}
