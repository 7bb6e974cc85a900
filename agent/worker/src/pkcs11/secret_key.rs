//! Secret keys: AES, and what HMAC takes.

use cryptoki::mechanism::{Mechanism, MechanismInfo, MechanismType};
use cryptoki::object::{
    Attribute, AttributeType, KeyType as RawKeyType, ObjectClass, ObjectHandle,
};
use cryptoki::session::Session as RawSession;
use keyward_backend::message::Generate;
use keyward_protocol::KeyType;

use super::error::Attempt;
use super::generate::first_form;
use super::read_back::Objects;
use super::session::attribute;
use super::template;
use super::token::Found;

/// The kinds of secret key that a token may want a key type to be, the common one first.
///
/// CKK_SHA384_HMAC and CKK_SHA512_HMAC are not among them: cryptoki 0.12 has the number of
/// CKK_SHA256_HMAC under all three names, and can't read the others.
pub(super) fn kinds(key_type: KeyType) -> &'static [RawKeyType] {
    match key_type {
        KeyType::Aes128 | KeyType::Aes256 => &[RawKeyType::AES],
        KeyType::HmacSha256 => &[RawKeyType::GENERIC_SECRET, RawKeyType::SHA256_HMAC],
        KeyType::HmacSha384 | KeyType::HmacSha512 => &[RawKeyType::GENERIC_SECRET],
        _ => &[],
    }
}

/// The mechanisms that make a kind of secret key.
pub(super) fn generators(kind: RawKeyType) -> &'static [MechanismType] {
    use MechanismType as M;
    match kind {
        RawKeyType::AES => &[M::AES_KEY_GEN],
        RawKeyType::GENERIC_SECRET => &[M::GENERIC_SECRET_KEY_GEN],
        RawKeyType::SHA256_HMAC => &[M::SHA256_KEY_GEN, M::GENERIC_SECRET_KEY_GEN],
        _ => &[],
    }
}

/// Makes a secret key in the first form that the token takes.
pub(super) fn generate(
    session: &RawSession,
    found: &Found,
    generate: &Generate,
    length: usize,
) -> Attempt<Objects> {
    let length = u64::try_from(length).unwrap_or_default();
    let there = |kind: &MechanismType| found.mechanisms.can(*kind, MechanismInfo::generate);
    let forms = kinds(generate.key_type).iter().flat_map(|kind| {
        let generators = generators(*kind).iter().copied().filter(there);
        generators.flat_map(|generator| [(*kind, generator, true), (*kind, generator, false)])
    });
    first_form(forms, |(kind, generator, explicit)| {
        let mut template = template::private(generate, explicit);
        template.push(Attribute::Class(ObjectClass::SECRET_KEY));
        template.push(Attribute::KeyType(kind));
        template.push(Attribute::ValueLen(length.into()));
        let handle = session.generate_key(&mechanism(generator), &template)?;
        Ok(Objects::secret(handle))
    })
}

fn mechanism(generator: MechanismType) -> Mechanism<'static> {
    match generator {
        MechanismType::AES_KEY_GEN => Mechanism::AesKeyGen,
        MechanismType::SHA256_KEY_GEN => Mechanism::Sha256KeyGen,
        _ => Mechanism::GenericSecretKeyGen,
    }
}

/// What kind of key a secret object is; `None` for one that keyward does not use.
pub(super) fn key_type(session: &RawSession, object: ObjectHandle) -> Attempt<Option<KeyType>> {
    let kind = match attribute(session, object, AttributeType::KeyType)? {
        Some(Attribute::KeyType(kind)) => kind,
        _ => return Ok(None),
    };
    let length = match attribute(session, object, AttributeType::ValueLen)? {
        Some(Attribute::ValueLen(length)) => usize::try_from(u64::from(length)).ok(),
        _ => None,
    };
    Ok(KeyType::ALL.into_iter().find(|key_type| {
        key_type.secret_length() == length && kinds(*key_type).contains(&kind) && length.is_some()
    }))
}
