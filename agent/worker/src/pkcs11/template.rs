//! How keys are made, and what they must be afterwards.

use cryptoki::error::RvError;
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, AttributeType, ObjectHandle};
use cryptoki::session::Session as RawSession;
use keyward_backend::message::Generate;
use keyward_backend::{BackendError, KeyReport, Result, VersionId};
use keyward_protocol::{CoseKey, KeyType, Purpose};

use super::error::{Attempt, Failure};
use super::public_key::{self, ec_params};
use super::session::{Session, attribute, find_one};
use super::token::Found;

/// What a private key may be used for, and what each bit is called.
const PRIVATE_USES: [AttributeType; 5] = [
    AttributeType::Sign,
    AttributeType::Decrypt,
    AttributeType::Derive,
    AttributeType::Unwrap,
    AttributeType::SignRecover,
];

impl Session<'_> {
    pub(super) fn generate_key(&mut self, generate: &Generate) -> Result<KeyReport> {
        if generate.purpose.algorithms(generate.key_type).is_empty() {
            return Err(BackendError::MechanismInvalid(format!(
                "a key of type {} can't have the purpose {}",
                generate.key_type, generate.purpose
            )));
        }
        let found = self.token.found()?;
        if !found.mechanisms.key_types().contains(&generate.key_type) {
            return Err(BackendError::MechanismInvalid(format!(
                "the token makes no keys of type {}",
                generate.key_type
            )));
        }
        self.writing(|session| make(session, &found, generate))
    }
}

fn make(session: &RawSession, found: &Found, generate: &Generate) -> Attempt<KeyReport> {
    if session
        .find_objects(&[
            Attribute::Token(true),
            Attribute::Id(generate.id.as_bytes().to_vec()),
        ])?
        .is_empty()
    {
        let (public, private) = generate_pair(session, generate)?;
        let checked = check(session, found, generate, public, private);
        if checked.is_err() {
            let destroyed = [
                session.destroy_object(private),
                session.destroy_object(public),
            ];
            if let Some(error) = destroyed.into_iter().find_map(std::result::Result::err) {
                return Err(BackendError::DeviceFailed(format!(
                    "a key that is not safe could not be destroyed, remove it with the token's own program: {} ({})",
                    generate.id,
                    super::error::describe(&error)
                ))
                .into());
            }
        }
        return checked;
    }
    Err(BackendError::Refused(format!(
        "an object with the id {} is there already",
        generate.id
    ))
    .into())
}

/// Makes the pair with everything that is not wanted said to be false; a token that does not take
/// so many words gets fewer, and what it makes of them is checked all the same.
fn generate_pair(
    session: &RawSession,
    generate: &Generate,
) -> Attempt<(ObjectHandle, ObjectHandle)> {
    let mechanism = match generate.key_type {
        KeyType::P256 | KeyType::P384 => Mechanism::EccKeyPairGen,
        KeyType::Ed25519 => Mechanism::EccEdwardsKeyPairGen,
        _ => Mechanism::RsaPkcsKeyPairGen,
    };
    let mut shapes = shapes(generate.key_type).into_iter().peekable();
    while let Some(shape) = shapes.next() {
        for explicit in [true, false] {
            let public = [shape.clone(), public_template(generate, explicit)].concat();
            let private = private_template(generate, explicit);
            match session.generate_key_pair(&mechanism, &public, &private) {
                Ok(pair) => return Ok(pair),
                Err(error) => {
                    let failure = Failure::from(error);
                    let last = shapes.peek().is_none() && !explicit;
                    if last || !failure.code().is_some_and(is_about_template) {
                        return Err(failure);
                    }
                }
            }
        }
    }
    Err(BackendError::MechanismInvalid("no form of the key's parameters".to_owned()).into())
}

fn is_about_template(code: RvError) -> bool {
    matches!(
        code,
        RvError::AttributeTypeInvalid
            | RvError::AttributeValueInvalid
            | RvError::AttributeReadOnly
            | RvError::TemplateInconsistent
            | RvError::CurveNotSupported
            | RvError::DomainParamsInvalid
            | RvError::ArgumentsBad
    )
}

/// The attributes that say what kind of key, in the forms to be tried.
fn shapes(key_type: KeyType) -> Vec<Vec<Attribute>> {
    match key_type.rsa_bits() {
        Some(bits) => vec![vec![
            Attribute::ModulusBits(u64::from(bits).into()),
            Attribute::PublicExponent(vec![1, 0, 1]),
        ]],
        None => ec_params(key_type)
            .iter()
            .map(|params| vec![Attribute::EcParams(params.to_vec())])
            .collect(),
    }
}

/// The one bit of a purpose.
fn private_use(purpose: Purpose) -> Option<AttributeType> {
    match purpose {
        Purpose::Sign => Some(AttributeType::Sign),
        Purpose::Agree => Some(AttributeType::Derive),
        Purpose::Unwrap => Some(AttributeType::Decrypt),
        _ => None,
    }
}

fn private_template(generate: &Generate, explicit: bool) -> Vec<Attribute> {
    let mut template = vec![
        Attribute::Token(true),
        Attribute::Private(true),
        Attribute::Sensitive(true),
        Attribute::Extractable(false),
        Attribute::Id(generate.id.as_bytes().to_vec()),
        Attribute::Label(generate.label.as_bytes().to_vec()),
    ];
    let wanted = private_use(generate.purpose);
    for usage in PRIVATE_USES {
        let value = Some(usage) == wanted;
        if value || explicit {
            template.extend(usage_attribute(usage, value));
        }
    }
    template
}

fn usage_attribute(usage: AttributeType, value: bool) -> Option<Attribute> {
    match usage {
        AttributeType::Sign => Some(Attribute::Sign(value)),
        AttributeType::SignRecover => Some(Attribute::SignRecover(value)),
        AttributeType::Decrypt => Some(Attribute::Decrypt(value)),
        AttributeType::Derive => Some(Attribute::Derive(value)),
        AttributeType::Unwrap => Some(Attribute::Unwrap(value)),
        _ => None,
    }
}

fn public_template(generate: &Generate, explicit: bool) -> Vec<Attribute> {
    let mut template = vec![
        Attribute::Token(true),
        Attribute::Private(false),
        Attribute::Id(generate.id.as_bytes().to_vec()),
        Attribute::Label(generate.label.as_bytes().to_vec()),
    ];
    let (verify, encrypt) = (
        generate.purpose == Purpose::Sign,
        generate.purpose == Purpose::Unwrap,
    );
    if verify || explicit {
        template.push(Attribute::Verify(verify));
    }
    if encrypt || explicit {
        template.push(Attribute::Encrypt(encrypt));
    }
    if explicit {
        template.push(Attribute::Wrap(false));
        template.push(Attribute::VerifyRecover(false));
    }
    template
}

/// Reads back what was made.
fn check(
    session: &RawSession,
    found: &Found,
    generate: &Generate,
    public: ObjectHandle,
    private: ObjectHandle,
) -> Attempt<KeyReport> {
    let wrong = |what: String| -> Failure { BackendError::KeyUnsafe(what).into() };
    let wanted = private_use(generate.purpose);
    // What makes the key safe must be there; what it may be used for may be unknown to the token.
    let musts = [
        (AttributeType::Token, true),
        (AttributeType::Private, true),
        (AttributeType::Sensitive, true),
        (AttributeType::Extractable, false),
    ];
    for (kind, value) in musts {
        if flag(session, private, kind)? != Some(value) {
            return Err(wrong(format!("{kind} is not {value}")));
        }
    }
    let uses = PRIVATE_USES.map(|usage| (usage, Some(usage) == wanted));
    let others = [(AttributeType::AlwaysAuthenticate, false)];
    for (kind, value) in uses.into_iter().chain(others) {
        let there = flag(session, private, kind)?;
        if there.is_some_and(|there| there != value) || (value && there.is_none()) {
            return Err(wrong(format!("{kind} is not {value}")));
        }
    }
    for object in [private, public] {
        match attribute(session, object, AttributeType::Id)? {
            Some(Attribute::Id(id)) if id == generate.id.as_bytes() => {}
            _ => return Err(wrong("CKA_ID is not the one that was asked for".to_owned())),
        }
    }
    let report = report(session, found, generate.id, private, Some(public))?;
    if report.key_type != Some(generate.key_type) {
        return Err(wrong(format!("it is not of type {}", generate.key_type)));
    }
    if let Some(CoseKey::Rsa { e, .. }) = &report.public
        && e != &[1, 0, 1]
    {
        return Err(wrong("its public exponent is not 65537".to_owned()));
    }
    if find_one(
        session,
        cryptoki::object::ObjectClass::PRIVATE_KEY,
        generate.id,
    )? != Some(private)
    {
        return Err(wrong("it is not found by its CKA_ID".to_owned()));
    }
    Ok(report)
}

/// A key as the token shows it.
pub(super) fn report(
    session: &RawSession,
    found: &Found,
    id: VersionId,
    private: ObjectHandle,
    public: Option<ObjectHandle>,
) -> Attempt<KeyReport> {
    let holds = |kind| Ok::<_, Failure>(flag(session, private, kind)?.unwrap_or(false));
    let public = public_key::read(session, private, public)?;
    Ok(KeyReport {
        key_type: public.key_type(),
        public: Some(public),
        locator: super::locator::private_key(&found.label, &found.identity, id),
        local: holds(AttributeType::Local)?,
        always_sensitive: holds(AttributeType::AlwaysSensitive)?,
        never_extractable: holds(AttributeType::NeverExtractable)?,
    })
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
            | Attribute::Decrypt(value)
            | Attribute::Derive(value)
            | Attribute::Unwrap(value)
            | Attribute::AlwaysAuthenticate(value)
            | Attribute::Local(value)
            | Attribute::AlwaysSensitive(value)
            | Attribute::NeverExtractable(value),
        ) => Some(value),
        _ => None,
    })
}
