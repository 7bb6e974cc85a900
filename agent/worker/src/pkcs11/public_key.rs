//! Public keys, in the forms in which tokens show them.

use cryptoki::object::{Attribute, AttributeType, KeyType as RawKeyType, ObjectHandle};
use cryptoki::session::Session as RawSession;
use keyward_backend::BackendError;
use keyward_protocol::{CoseKey, KeyType};

use super::error::Attempt;
use super::session::attribute;
use crate::point::is_on_curve;

/// CKA_EC_PARAMS: object identifiers, DER.
const P256: &[u8] = &[0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
const P384: &[u8] = &[0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22];
const ED25519: &[u8] = &[0x06, 0x03, 0x2b, 0x65, 0x70];
/// The curve by its name, a PrintableString (PKCS#11 3.0 §2.3.10).
const ED25519_NAMED: &[u8] = b"\x13\x0cedwards25519";

/// CKA_EC_PARAMS in the forms that tokens take, the common one first; none for RSA.
#[must_use]
pub fn ec_params(key_type: KeyType) -> &'static [&'static [u8]] {
    match key_type {
        KeyType::P256 => &[P256],
        KeyType::P384 => &[P384],
        KeyType::Ed25519 => &[ED25519, ED25519_NAMED],
        _ => &[],
    }
}

/// The curve of CKA_EC_PARAMS.
#[must_use]
pub fn curve(params: &[u8]) -> Option<KeyType> {
    [KeyType::P256, KeyType::P384, KeyType::Ed25519]
        .into_iter()
        .find(|curve| ec_params(*curve).contains(&params))
}

/// A public key from its curve and CKA_EC_POINT, which is a DER OCTET STRING, the bare bytes, or a
/// DER BIT STRING: the length tells, as each curve has one.
#[must_use]
pub fn from_point(curve: KeyType, point: &[u8]) -> Option<CoseKey> {
    let length = match curve {
        KeyType::Ed25519 => 32,
        curve => curve.coordinate_length()?.checked_mul(2)?.checked_add(1)?,
    };
    let head = |tag: u8, unused: &[u8]| -> Option<Vec<u8>> {
        let inside = u8::try_from(length.checked_add(unused.len())?).ok()?;
        Some([&[tag, inside], unused].concat())
    };
    let bare = if point.len() == length {
        point
    } else {
        let (octets, bits) = (head(0x04, &[])?, head(0x03, &[0])?);
        let inside = point.strip_prefix(octets.as_slice());
        inside.or_else(|| point.strip_prefix(bits.as_slice()))?
    };
    if bare.len() != length {
        return None;
    }
    match curve {
        KeyType::Ed25519 => Some(CoseKey::Ed25519 {
            x: bare.try_into().ok()?,
        }),
        _ => CoseKey::from_sec1(bare).filter(is_on_curve),
    }
}

/// Reads a public key from its object, or from the private one where that shows it.
pub(super) fn read(
    session: &RawSession,
    private: ObjectHandle,
    public: Option<ObjectHandle>,
) -> Attempt<CoseKey> {
    let get = |kind: AttributeType| -> Attempt<Option<Vec<u8>>> {
        for object in public.into_iter().chain([private]) {
            match attribute(session, object, kind)? {
                Some(
                    Attribute::EcParams(bytes)
                    | Attribute::EcPoint(bytes)
                    | Attribute::Modulus(bytes)
                    | Attribute::PublicExponent(bytes),
                ) if !bytes.is_empty() => return Ok(Some(bytes)),
                _ => {}
            }
        }
        Ok(None)
    };
    let kind = match attribute(session, private, AttributeType::KeyType)? {
        Some(Attribute::KeyType(kind)) => Some(kind),
        _ => None,
    };
    let key = if kind == Some(RawKeyType::RSA) {
        let numbers = get(AttributeType::Modulus)?.zip(get(AttributeType::PublicExponent)?);
        numbers.and_then(|(n, e)| CoseKey::rsa(&n, &e))
    } else if kind == Some(RawKeyType::EC) || kind == Some(RawKeyType::EC_EDWARDS) {
        let point = get(AttributeType::EcParams)?.zip(get(AttributeType::EcPoint)?);
        point.and_then(|(params, point)| from_point(curve(&params)?, &point))
    } else {
        None
    };
    key.ok_or_else(|| {
        BackendError::MechanismInvalid(
            "the token shows no public key of a kind that keyward uses beside the private one"
                .to_owned(),
        )
        .into()
    })
}

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]
mod tests {
    use super::*;

    /// The base point of P-256 (SEC 2 §2.4.2).
    const G: &str = "046b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c2964fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5";

    fn hex(text: &str) -> Vec<u8> {
        let byte = |at| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
        (0..text.len()).step_by(2).map(byte).collect()
    }

    #[test]
    fn a_point_is_read_in_each_of_its_three_forms() {
        let bare = hex(G);
        let octets = [&[0x04, 0x41], bare.as_slice()].concat();
        let bits = [&[0x03, 0x42, 0x00], bare.as_slice()].concat();
        let key = CoseKey::from_sec1(&bare);
        assert!(key.is_some());
        for form in [&bare, &octets, &bits] {
            assert_eq!(from_point(KeyType::P256, form), key);
        }
        let x = [7; 32];
        let octets = [&[0x04, 0x20], x.as_slice()].concat();
        let bits = [&[0x03, 0x21, 0x00], x.as_slice()].concat();
        for form in [x.as_slice(), &octets, &bits] {
            assert_eq!(
                from_point(KeyType::Ed25519, form),
                Some(CoseKey::Ed25519 { x })
            );
        }
    }

    #[test]
    fn a_point_of_another_length_or_form_is_refused() {
        let bare = hex(G);
        let compressed = [&[0x02], &bare[1..33]].concat();
        let long = [&[0x04, 0x41], bare.as_slice(), &[0]].concat();
        let used_bits = [&[0x03, 0x42, 0x01], bare.as_slice()].concat();
        for form in [&bare[..64], &compressed, &long, &used_bits, &[]] {
            assert_eq!(from_point(KeyType::P256, form), None);
        }
        assert_eq!(from_point(KeyType::P384, &bare), None);
        assert_eq!(from_point(KeyType::Rsa2048, &bare), None);
    }

    #[test]
    fn a_point_that_is_not_on_the_curve_is_refused() {
        let mut point = hex(G);
        point[64] ^= 1;
        assert_eq!(from_point(KeyType::P256, &point), None);
        assert!(!is_on_curve(&CoseKey::P384 {
            x: [1; 48],
            y: [1; 48]
        }));
        assert!(!is_on_curve(&CoseKey::P256 {
            x: [0xff; 32],
            y: [0; 32]
        }));
    }

    #[test]
    fn ed25519_has_two_names() {
        assert_eq!(curve(b"\x13\x0cedwards25519"), Some(KeyType::Ed25519));
        assert_eq!(
            curve(&[0x06, 0x03, 0x2b, 0x65, 0x70]),
            Some(KeyType::Ed25519)
        );
        assert_eq!(curve(&[0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x0a]), None);
        assert_eq!(curve(&[]), None);
    }
}
