//! Making keys.

use cryptoki::error::RvError;
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, ObjectHandle};
use cryptoki::session::Session as RawSession;
use keyward_backend::message::Generate;
use keyward_backend::{BackendError, KeyReport, Result};
use keyward_protocol::{CoseKey, KeyType, Purpose};

use super::error::{Attempt, Failure, describe};
use super::read_back::{Objects, check};
use super::secret_key;
use super::session::Session;
use super::template;
use super::token::Found;

impl Session<'_> {
    pub(super) fn generate_key(&mut self, generate: &Generate) -> Result<KeyReport> {
        let found = self.token.found()?;
        is_possible(&found, generate)?;
        self.writing(|session| {
            adopt(session, &found, generate, None, || {
                match generate.key_type.secret_length() {
                    Some(length) => secret_key::generate(session, &found, generate, length),
                    None => generate_pair(session, generate),
                }
            })
        })
    }
}

/// Whether the token can make such a key, and then do anything with it.
pub(super) fn is_possible(found: &Found, generate: &Generate) -> Result<()> {
    let (key_type, purpose) = (generate.key_type, generate.purpose);
    let refused = |what: String| Err(BackendError::MechanismInvalid(what));
    if purpose == Purpose::Seal {
        return refused("only a TPM seals data".to_owned());
    }
    let algorithms = purpose.algorithms(key_type);
    if algorithms.is_empty() {
        return refused(format!(
            "a key of type {key_type} can't have the purpose {purpose}"
        ));
    }
    if !found.mechanisms.key_types().contains(&key_type) {
        return refused(format!("the token makes no keys of type {key_type}"));
    }
    let there = found.mechanisms.algorithms();
    if !algorithms.iter().any(|algorithm| there.contains(algorithm)) {
        return refused(format!(
            "the token has none of the algorithms that a key of type {key_type} and purpose {purpose} needs"
        ));
    }
    Ok(())
}

/// Has a key made, reads it back, and destroys it if it is not what was asked for, or not the one
/// with that public part.
pub(super) fn adopt(
    session: &RawSession,
    found: &Found,
    generate: &Generate,
    public: Option<&CoseKey>,
    make: impl FnOnce() -> Attempt<Objects>,
) -> Attempt<KeyReport> {
    if !session
        .find_objects(&[
            Attribute::Token(true),
            Attribute::Id(generate.id.as_bytes().to_vec()),
        ])?
        .is_empty()
    {
        return Err(BackendError::Exists(generate.id.to_string()).into());
    }
    let objects = make()?;
    let checked = check(session, found, generate, objects).and_then(|report| {
        match public.is_some() && report.public.as_ref() != public {
            true => Err(BackendError::KeyUnsafe("it is another key".to_owned()).into()),
            false => Ok(report),
        }
    });
    if checked.is_err() {
        destroy_all(session, generate, objects.each())?;
    }
    checked
}

/// Destroys objects that must not stay, each of them even if one can't be.
pub(super) fn destroy_all(
    session: &RawSession,
    generate: &Generate,
    objects: impl IntoIterator<Item = ObjectHandle>,
) -> Attempt<()> {
    let mut failed = None;
    for object in objects {
        if let Err(error) = session.destroy_object(object) {
            failed = Some(error);
        }
    }
    match failed {
        None => Ok(()),
        Some(error) => Err(BackendError::DeviceFailed(format!(
            "a key that is not safe could not be destroyed, remove it with the token's own program: {} ({})",
            generate.id,
            describe(&error)
        ))
        .into()),
    }
}

/// Makes the pair with everything that is not wanted said to be false; a token that does not take
/// so many words gets fewer, and what it makes of them is checked all the same.
fn generate_pair(session: &RawSession, generate: &Generate) -> Attempt<Objects> {
    let mechanism = match generate.key_type {
        KeyType::P256 | KeyType::P384 => Mechanism::EccKeyPairGen,
        KeyType::Ed25519 => Mechanism::EccEdwardsKeyPairGen,
        _ => Mechanism::RsaPkcsKeyPairGen,
    };
    let forms = template::shapes(generate.key_type)
        .into_iter()
        .flat_map(|shape| [(shape.clone(), true), (shape, false)]);
    first_form(forms, |(shape, explicit)| {
        let public = [shape, template::public(generate, explicit)].concat();
        let private = template::private(generate, explicit);
        let (public, private) = session.generate_key_pair(&mechanism, &public, &private)?;
        Ok(Objects::pair(public, private))
    })
}

/// The first of several forms of the same that the token does not refuse as a form.
pub(super) fn first_form<F, T>(
    forms: impl IntoIterator<Item = F>,
    mut attempt: impl FnMut(F) -> Attempt<T>,
) -> Attempt<T> {
    let mut last: Failure =
        BackendError::MechanismInvalid("no form of the key's parameters".to_owned()).into();
    for form in forms {
        match attempt(form) {
            Err(failure) if failure.code().is_some_and(is_about_template) => last = failure,
            done => return done,
        }
    }
    Err(last)
}

fn is_about_template(code: RvError) -> bool {
    matches!(
        code,
        RvError::AttributeTypeInvalid
            | RvError::AttributeValueInvalid
            | RvError::AttributeReadOnly
            | RvError::TemplateIncomplete
            | RvError::TemplateInconsistent
            | RvError::CurveNotSupported
            | RvError::DomainParamsInvalid
            | RvError::ArgumentsBad
    )
}
