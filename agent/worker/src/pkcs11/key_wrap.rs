//! AES Key Wrap, with padding (RFC 5649) and without (RFC 3394), of bytes that callers hold.
//!
//! PKCS#11 wraps and unwraps objects of the token alone, so the bytes are one for a moment: a
//! *session* object, extractable by necessity, that no other application sees and that is destroyed
//! before the answer. Where it can't be destroyed, the request fails as a failure of the device, so
//! that the session, and with it the object, is ended.

use cryptoki::mechanism::Mechanism;
use cryptoki::object::{
    Attribute, AttributeType, KeyType as RawKeyType, ObjectClass, ObjectHandle,
};
use cryptoki::session::Session as RawSession;
use keyward_backend::message::{Unwrap, Wrap};
use keyward_backend::{BackendError, Result};
use keyward_protocol::{Algorithm, KeyType, SecretBytes};

use super::Token;
use super::error::{Attempt, describe};
use super::import::SecretTemplate;
use super::opening::{finish, take};
use super::session::{Key, Session};

/// The block of RFC 3394, and what wrapping adds.
const BLOCK: usize = 8;
/// What is wrapped to see how a token pads: whole blocks.
const TRIED: [u8; 2 * BLOCK] = [0; 2 * BLOCK];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Kw,
    Kwp,
}

impl Session<'_> {
    /// Wraps bytes, which are a session object of the token for that moment.
    pub(super) fn wrap_bytes(&mut self, wrap: &Wrap) -> Result<Vec<u8>> {
        let token = self.token;
        self.with_key(wrap.id, |session, key| {
            let form = form(wrap.algorithm, key)?;
            let plaintext = wrap.plaintext.expose();
            let length = form.wrapped_length(plaintext.len()).ok_or_else(|| {
                BackendError::Invalid(match form {
                    Form::Kw => format!("{} wraps 16, 24, 32, … bytes", wrap.algorithm),
                    Form::Kwp => format!("{} wraps at least one byte", wrap.algorithm),
                })
            })?;
            form.check_padding(token, session, key)?;
            let wrapped = wrap_object(session, key, form, plaintext)?;
            if wrapped.len() != length {
                return Err(BackendError::DeviceFailed(format!(
                    "it wrapped to {} bytes where {length} are right",
                    wrapped.len()
                ))
                .into());
            }
            // SoftHSM 2.6.1 appends zeros to whole blocks before it wraps, and those would be part of
            // what the other side opens.
            if !plaintext.len().is_multiple_of(BLOCK)
                && unwrap_object(token, session, key, form, &wrapped)?.len() != plaintext.len()
            {
                return Err(BackendError::Invalid(
                    "this token wraps multiples of 8 bytes alone, as it adds zeros to others"
                        .to_owned(),
                )
                .into());
            }
            Ok(wrapped)
        })
    }

    /// Unwraps bytes, which are a session object of the token for that moment.
    pub(super) fn unwrap_bytes(&mut self, unwrap: &Unwrap) -> Result<SecretBytes> {
        let token = self.token;
        self.with_key(unwrap.id, |session, key| {
            let form = form(unwrap.algorithm, key)?;
            let failed = || BackendError::UnwrapFailed;
            if !unwrap.label.is_empty() {
                return Err(
                    BackendError::Invalid(format!("{} has no label", unwrap.algorithm)).into(),
                );
            }
            let lengths = form
                .plain_lengths(unwrap.ciphertext.len())
                .ok_or_else(failed)?;
            form.check_padding(token, session, key)?;
            let opened = unwrap_object(token, session, key, form, &unwrap.ciphertext)?;
            if !lengths.contains(&opened.len()) {
                return Err(BackendError::DeviceFailed(format!(
                    "it unwrapped {} bytes to {}",
                    unwrap.ciphertext.len(),
                    opened.len()
                ))
                .into());
            }
            Ok(opened)
        })
    }
}

/// Makes a session object of bytes, has it wrapped, and destroys it.
fn wrap_object(session: &RawSession, key: &Key, form: Form, plaintext: &[u8]) -> Attempt<Vec<u8>> {
    let object = session.create_object(&plain_object(plaintext).0)?;
    let wrapped = session.wrap_key(&form.mechanism(), key.handle, object);
    destroy(session, object)?;
    Ok(wrapped?)
}

/// Has a session object unwrapped, reads it, and destroys it.
fn unwrap_object(
    token: &Token,
    session: &RawSession,
    key: &Key,
    form: Form,
    ciphertext: &[u8],
) -> Attempt<SecretBytes> {
    let template = [
        Attribute::Class(ObjectClass::SECRET_KEY),
        Attribute::KeyType(RawKeyType::GENERIC_SECRET),
        Attribute::Token(false),
        Attribute::Sensitive(false),
        Attribute::Extractable(true),
    ];
    let object = session.unwrap_key(&form.mechanism(), key.handle, ciphertext, &template);
    let object = finish(token, session, object)?;
    let read = session.get_attributes(object, &[AttributeType::Value]);
    let read = read.map(|mut attributes| match attributes.pop() {
        Some(Attribute::Value(bytes)) => Some(take(bytes)),
        _ => None,
    });
    // Before anything that may have gone wrong with the reading: what was unwrapped must not stay.
    destroy(session, object)?;
    read?.ok_or_else(|| {
        BackendError::MechanismInvalid(
            "the token does not let what it unwrapped be read".to_owned(),
        )
        .into()
    })
}

impl Form {
    fn mechanism(self) -> Mechanism<'static> {
        match self {
            Self::Kw => Mechanism::AesKeyWrap,
            Self::Kwp => Mechanism::AesKeyWrapPad,
        }
    }

    /// Refuses KWP on a token whose CKM_AES_KEY_WRAP_PAD is that of PKCS#11 2.40, which pads by
    /// PKCS#7: nothing else would open what it wraps. It makes more of whole blocks, which is tried
    /// once, with bytes that are no secret; the length of others does not tell.
    fn check_padding(self, token: &Token, session: &RawSession, key: &Key) -> Attempt<()> {
        if self == Self::Kw {
            return Ok(());
        }
        let found = token.found()?;
        let right = match found.pads_by_rfc_5649.get() {
            Some(right) => *right,
            None => {
                let wrapped = wrap_object(session, key, self, &TRIED)?;
                let right = self.wrapped_length(TRIED.len()) == Some(wrapped.len());
                *found.pads_by_rfc_5649.get_or_init(|| right)
            }
        };
        if right {
            return Ok(());
        }
        Err(BackendError::MechanismInvalid(
            "this token pads by PKCS#7 before it wraps, as PKCS#11 2.40 had it, and not by RFC 5649: \
             wrap multiples of 8 bytes with KW"
                .to_owned(),
        )
        .into())
    }

    /// How long so many bytes are when they are wrapped; `None` if they can't be.
    fn wrapped_length(self, plain: usize) -> Option<usize> {
        match self {
            Self::Kw if plain < 2 * BLOCK || !plain.is_multiple_of(BLOCK) => None,
            Self::Kwp if plain == 0 => None,
            _ => plain.checked_next_multiple_of(BLOCK)?.checked_add(BLOCK),
        }
    }

    /// How long the plaintext of so many bytes can be; `None` if there is none.
    fn plain_lengths(self, wrapped: usize) -> Option<std::ops::RangeInclusive<usize>> {
        let most = wrapped.checked_sub(BLOCK)?;
        let least = match self {
            Self::Kw => most,
            Self::Kwp => most.checked_sub(BLOCK)?.checked_add(1)?,
        };
        (self.wrapped_length(most) == Some(wrapped)).then_some(least..=most)
    }
}

/// How to wrap, if the key is one for the algorithm.
fn form(algorithm: Algorithm, key: &Key) -> Attempt<Form> {
    match (algorithm, key.kind) {
        (Algorithm::A128Kw, KeyType::Aes128) | (Algorithm::A256Kw, KeyType::Aes256) => Ok(Form::Kw),
        (Algorithm::A128Kwp, KeyType::Aes128) | (Algorithm::A256Kwp, KeyType::Aes256) => {
            Ok(Form::Kwp)
        }
        (algorithm, kind) => Err(BackendError::MechanismInvalid(format!(
            "a key of type {kind} does not wrap with {algorithm}"
        ))
        .into()),
    }
}

fn plain_object(plaintext: &[u8]) -> SecretTemplate {
    SecretTemplate(vec![
        Attribute::Class(ObjectClass::SECRET_KEY),
        Attribute::KeyType(RawKeyType::GENERIC_SECRET),
        Attribute::Token(false),
        Attribute::Private(true),
        Attribute::Sensitive(true),
        Attribute::Extractable(true),
        Attribute::Value(plaintext.to_vec()),
    ])
}

/// Destroys an object that holds a caller's bytes.
fn destroy(session: &RawSession, object: ObjectHandle) -> Result<()> {
    session.destroy_object(object).map_err(|error| {
        BackendError::DeviceFailed(format!(
            "the session object of wrapped bytes could not be destroyed: {}",
            describe(&error)
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_those_of_the_two_specifications() {
        for (plain, kw, kwp) in [
            (0, None, None),
            (1, None, Some(16)),
            (8, None, Some(16)),
            (9, None, Some(24)),
            (16, Some(24), Some(24)),
            (20, None, Some(32)),
            (24, Some(32), Some(32)),
            (usize::MAX, None, None),
        ] {
            assert_eq!(Form::Kw.wrapped_length(plain), kw, "{plain}");
            assert_eq!(Form::Kwp.wrapped_length(plain), kwp, "{plain}");
        }
        for wrapped in [0, 1, 8, 15, 17, 23, 25] {
            assert_eq!(Form::Kw.plain_lengths(wrapped), None);
            assert_eq!(Form::Kwp.plain_lengths(wrapped), None);
        }
        assert_eq!(Form::Kw.plain_lengths(16), None);
        assert_eq!(Form::Kw.plain_lengths(24), Some(16..=16));
        assert_eq!(Form::Kwp.plain_lengths(16), Some(1..=8));
        assert_eq!(Form::Kwp.plain_lengths(24), Some(9..=16));
    }
}
