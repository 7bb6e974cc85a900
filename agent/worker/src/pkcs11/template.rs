//! What tokens are told about the keys that they are to hold.

use cryptoki::object::{Attribute, AttributeType};
use keyward_backend::message::Generate;
use keyward_protocol::{KeyType, Purpose};

use super::public_key::ec_params;

/// What a private key may be used for, one bit each.
const PRIVATE_USES: &[AttributeType] = &[
    AttributeType::Sign,
    AttributeType::Decrypt,
    AttributeType::Derive,
    AttributeType::Unwrap,
    AttributeType::SignRecover,
];

/// What a secret key may be used for.
const SECRET_USES: &[AttributeType] = &[
    AttributeType::Encrypt,
    AttributeType::Decrypt,
    AttributeType::Sign,
    AttributeType::Verify,
    AttributeType::Wrap,
    AttributeType::Unwrap,
    AttributeType::Derive,
];

/// Every use that a key of a type could have, each with whether one of this purpose has it.
///
/// Never WRAP with DECRYPT, nor UNWRAP with ENCRYPT: such a key tells every key that it wraps.
pub(super) fn uses(
    key_type: KeyType,
    purpose: Purpose,
) -> impl Iterator<Item = (AttributeType, bool)> {
    use AttributeType as A;
    let secret = key_type.secret_length().is_some();
    let wanted: &[A] = match (purpose, key_type) {
        (Purpose::Sign, _) => &[A::Sign],
        (Purpose::Agree, _) | (Purpose::Encrypt, KeyType::P256) => &[A::Derive],
        (Purpose::Encrypt, _) if secret => &[A::Encrypt, A::Decrypt],
        (Purpose::Unwrap | Purpose::Encrypt, _) => &[A::Decrypt],
        (Purpose::Wrap, _) => &[A::Wrap, A::Unwrap],
        (Purpose::Mac, _) => &[A::Sign, A::Verify],
        _ => &[],
    };
    let all = if secret { SECRET_USES } else { PRIVATE_USES };
    all.iter().map(|usage| (*usage, wanted.contains(usage)))
}

/// The private or secret key. What is not wanted is said to be false where that is made explicit;
/// some tokens do not take so many words.
pub(super) fn private(generate: &Generate, explicit: bool) -> Vec<Attribute> {
    let mut template = vec![
        Attribute::Token(true),
        Attribute::Private(true),
        Attribute::Sensitive(true),
        Attribute::Extractable(false),
        Attribute::Id(generate.id.as_bytes().to_vec()),
        Attribute::Label(generate.label.as_bytes().to_vec()),
    ];
    for (usage, value) in uses(generate.key_type, generate.purpose) {
        if value || explicit {
            template.extend(usage_attribute(usage, value));
        }
    }
    template
}

/// The public key beside a private one.
pub(super) fn public(generate: &Generate, explicit: bool) -> Vec<Attribute> {
    let mut template = vec![
        Attribute::Token(true),
        Attribute::Private(false),
        Attribute::Id(generate.id.as_bytes().to_vec()),
        Attribute::Label(generate.label.as_bytes().to_vec()),
    ];
    let verify = generate.purpose == Purpose::Sign;
    let encrypt = generate.key_type.rsa_bits().is_some() && !verify;
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

/// The attributes that say what kind of key pair, in the forms to be tried.
pub(super) fn shapes(key_type: KeyType) -> Vec<Vec<Attribute>> {
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

fn usage_attribute(usage: AttributeType, value: bool) -> Option<Attribute> {
    match usage {
        AttributeType::Sign => Some(Attribute::Sign(value)),
        AttributeType::SignRecover => Some(Attribute::SignRecover(value)),
        AttributeType::Verify => Some(Attribute::Verify(value)),
        AttributeType::Encrypt => Some(Attribute::Encrypt(value)),
        AttributeType::Decrypt => Some(Attribute::Decrypt(value)),
        AttributeType::Derive => Some(Attribute::Derive(value)),
        AttributeType::Wrap => Some(Attribute::Wrap(value)),
        AttributeType::Unwrap => Some(Attribute::Unwrap(value)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_wraps_does_not_decrypt_and_one_that_unwraps_does_not_encrypt() {
        for key_type in KeyType::ALL {
            for purpose in Purpose::ALL {
                let has = |usage| uses(key_type, *purpose).any(|one| one == (usage, true));
                let (wrap, unwrap) = (has(AttributeType::Wrap), has(AttributeType::Unwrap));
                let (encrypt, decrypt) = (has(AttributeType::Encrypt), has(AttributeType::Decrypt));
                assert!(
                    !(wrap && decrypt || unwrap && encrypt),
                    "{key_type} {purpose}"
                );
            }
        }
    }

    #[test]
    fn a_key_that_can_do_something_has_a_use() {
        for key_type in KeyType::ALL {
            for purpose in Purpose::ALL {
                let used = uses(key_type, *purpose).any(|(_, value)| value);
                assert!(
                    used || purpose.algorithms(key_type).is_empty(),
                    "{key_type} {purpose}"
                );
            }
        }
    }
}
