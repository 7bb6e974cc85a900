//! Private keys as they come to be imported: PKCS#8 (RFC 5958), with the public part computed from
//! the private one and never only believed.

mod rsa;

use keyward_backend::{BackendError, Result};
use keyward_protocol::CoseKey;
use p256::elliptic_curve::sec1::ToSec1Point;
use pkcs8::PrivateKeyInfoRef;
use pkcs8::der::asn1::OctetStringRef;
use pkcs8::der::{Decode, oid::ObjectIdentifier};
use sec1::EcPrivateKey;
use zeroize::Zeroizing;

pub use rsa::RsaNumbers;

const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");

/// A private key that is one, with the public key that belongs to it.
///
/// Numbers that stay in the bytes that were parsed are borrowed; what is computed is wiped on
/// drop, but for what the arithmetic of other crates leaves on its way.
pub struct PrivateKey<'a> {
    /// Its public part.
    pub public: CoseKey,
    /// Its private part.
    pub secret: Secret<'a>,
}

/// The private part of a key.
pub enum Secret<'a> {
    /// The scalar of an EC key, at full width.
    Scalar(Zeroizing<Vec<u8>>),
    /// The 32 bytes of an Ed25519 key (RFC 8032 §5.1.5).
    Seed(&'a [u8; 32]),
    /// The numbers of an RSA key.
    Rsa(RsaNumbers<'a>),
}

impl std::fmt::Debug for PrivateKey<'_> {
    /// Shows the public part alone.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("PrivateKey").field(&self.public).finish()
    }
}

impl<'a> PrivateKey<'a> {
    /// Parses a PrivateKeyInfo or OneAsymmetricKey.
    ///
    /// # Errors
    /// [`BackendError::Invalid`]: it is none, of a kind that keyward does not use, or its parts do
    /// not belong together.
    pub fn from_pkcs8(der: &'a [u8]) -> Result<Self> {
        let info =
            PrivateKeyInfoRef::from_der(der).map_err(|_| invalid("it is no PKCS#8 private key"))?;
        let bytes = info.private_key.as_bytes();
        let key = match info.algorithm.oid {
            EC => {
                let curve = info
                    .algorithm
                    .parameters_oid()
                    .map_err(|_| invalid("it names no curve"))?;
                ec(curve, bytes)?
            }
            ED25519 => ed25519(bytes)?,
            RSA => rsa::parse(bytes)?,
            other => return Err(invalid(&format!("a key of algorithm {other} is of no use"))),
        };
        match (info.public_key, public_bytes(&key.public)) {
            (Some(told), Some(computed)) if told.as_bytes() != Some(computed.as_slice()) => {
                Err(invalid(MISMATCH))
            }
            _ => Ok(key),
        }
    }
}

const MISMATCH: &str = "its public part does not belong to its private part";

fn ec(curve: ObjectIdentifier, bytes: &[u8]) -> Result<PrivateKey<'static>> {
    let key = EcPrivateKey::from_der(bytes).map_err(|_| invalid("it is no EC private key"))?;
    let inside = key
        .parameters
        .and_then(|parameters| parameters.named_curve());
    if inside.is_some_and(|inside| inside != curve) {
        return Err(invalid("it names two curves"));
    }
    let no_scalar = |_| invalid("its number is none of its curve");
    let (scalar, point) = match curve {
        P256 => {
            let key = p256::SecretKey::from_slice(key.private_key).map_err(no_scalar)?;
            let scalar = Zeroizing::new(key.to_bytes());
            (
                scalar.to_vec(),
                key.public_key().to_sec1_point(false).as_bytes().to_vec(),
            )
        }
        P384 => {
            let key = p384::SecretKey::from_slice(key.private_key).map_err(no_scalar)?;
            let scalar = Zeroizing::new(key.to_bytes());
            (
                scalar.to_vec(),
                key.public_key().to_sec1_point(false).as_bytes().to_vec(),
            )
        }
        other => return Err(invalid(&format!("a key on the curve {other} is of no use"))),
    };
    let scalar = Zeroizing::new(scalar);
    if key
        .public_key
        .is_some_and(|told| !is_same_point(told, &point))
    {
        return Err(invalid(MISMATCH));
    }
    let public = CoseKey::from_sec1(&point).ok_or_else(|| invalid("its point is none"))?;
    Ok(PrivateKey {
        public,
        secret: Secret::Scalar(scalar),
    })
}

/// Whether a point is that one, uncompressed or compressed (SEC 1 §2.3.3).
fn is_same_point(told: &[u8], point: &[u8]) -> bool {
    if told == point {
        return true;
    }
    let half = point.len().checked_div(2).unwrap_or_default();
    let x = point.get(1..half.saturating_add(1));
    let odd = point.last().is_some_and(|last| last & 1 == 1);
    told.split_first() == x.map(|x| if odd { (&3, x) } else { (&2, x) })
}

fn ed25519(bytes: &[u8]) -> Result<PrivateKey<'_>> {
    let no_seed = || invalid("it is no Ed25519 private key");
    let seed = <&OctetStringRef>::from_der(bytes).map_err(|_| no_seed())?;
    let seed: &[u8; 32] = seed.as_bytes().try_into().map_err(|_| no_seed())?;
    let key = ed25519_dalek::SigningKey::from_bytes(seed);
    Ok(PrivateKey {
        public: CoseKey::Ed25519 {
            x: key.verifying_key().to_bytes(),
        },
        secret: Secret::Seed(seed),
    })
}

/// What a OneAsymmetricKey holds as its public key; `None` where that is not compared.
fn public_bytes(key: &CoseKey) -> Option<Vec<u8>> {
    match key {
        CoseKey::Ed25519 { x } => Some(x.to_vec()),
        key => key.to_sec1(),
    }
}

fn invalid(what: &str) -> BackendError {
    BackendError::Invalid(what.to_owned())
}

#[cfg(test)]
mod tests;
