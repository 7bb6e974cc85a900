//! Public keys as SubjectPublicKeyInfo (RFC 5280 §4.1.2.7, RFC 5480, RFC 8410, RFC 8017 §A.1).

use der::asn1::{AnyRef, BitStringRef, ObjectIdentifier, UintRef};
use der::{Decode, Encode};
use spki::{AlgorithmIdentifierRef, SubjectPublicKeyInfoRef};

use crate::cose_key::CoseKey;

const ID_EC_PUBLIC_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const SECP256R1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const SECP384R1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
const ID_ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
const RSA_ENCRYPTION: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");

/// Why bytes are not a public key that keyward knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SpkiError {
    /// Not a SubjectPublicKeyInfo in DER.
    #[error("not a SubjectPublicKeyInfo in DER")]
    Der,
    /// A kind or curve of key that keyward does not know.
    #[error("a kind or curve of key that keyward does not know")]
    Unknown,
}

impl CoseKey {
    /// The key as SubjectPublicKeyInfo, DER.
    ///
    /// # Errors
    /// [`SpkiError::Der`] if the numbers don't fit into DER, which no key of this type does.
    pub fn to_spki(&self) -> Result<Vec<u8>, SpkiError> {
        let rsa;
        let point;
        let (oid, parameters, bits): (_, Option<AnyRef<'_>>, &[u8]) = match self {
            Self::P256 { .. } | Self::P384 { .. } => {
                let curve = if matches!(self, Self::P256 { .. }) {
                    &SECP256R1
                } else {
                    &SECP384R1
                };
                point = self.to_sec1().unwrap_or_default();
                (ID_EC_PUBLIC_KEY, Some(curve.into()), &point)
            }
            Self::Ed25519 { x } => (ID_ED25519, None, x),
            Self::Rsa { n, e } => {
                rsa = pkcs1::RsaPublicKey {
                    modulus: UintRef::new(n).map_err(|_| SpkiError::Der)?,
                    public_exponent: UintRef::new(e).map_err(|_| SpkiError::Der)?,
                }
                .to_der()
                .map_err(|_| SpkiError::Der)?;
                (RSA_ENCRYPTION, Some(AnyRef::NULL), &rsa)
            }
        };
        SubjectPublicKeyInfoRef {
            algorithm: AlgorithmIdentifierRef { oid, parameters },
            subject_public_key: BitStringRef::from_bytes(bits).map_err(|_| SpkiError::Der)?,
        }
        .to_der()
        .map_err(|_| SpkiError::Der)
    }

    /// The key of a SubjectPublicKeyInfo in DER.
    ///
    /// # Errors
    /// Not DER, or a key that keyward does not know.
    pub fn from_spki(bytes: &[u8]) -> Result<Self, SpkiError> {
        let info = SubjectPublicKeyInfoRef::from_der(bytes).map_err(|_| SpkiError::Der)?;
        let bits = info.subject_public_key.as_bytes().ok_or(SpkiError::Der)?;
        let key = match info.algorithm.oid {
            ID_EC_PUBLIC_KEY => {
                let curve = info
                    .algorithm
                    .parameters_oid()
                    .map_err(|_| SpkiError::Der)?;
                Self::from_sec1(bits).filter(|key| {
                    matches!(
                        (curve, key),
                        (SECP256R1, Self::P256 { .. }) | (SECP384R1, Self::P384 { .. })
                    )
                })
            }
            ID_ED25519 if info.algorithm.parameters.is_none() => {
                bits.try_into().ok().map(|x| Self::Ed25519 { x })
            }
            // RFC 3279 §2.3.1: the parameters are NULL.
            RSA_ENCRYPTION if info.algorithm.parameters == Some(AnyRef::NULL) => {
                let rsa: pkcs1::RsaPublicKey<UintRef<'_>> =
                    pkcs1::RsaPublicKey::from_der(bits).map_err(|_| SpkiError::Der)?;
                Self::rsa(rsa.modulus.as_bytes(), rsa.public_exponent.as_bytes())
            }
            _ => None,
        };
        key.ok_or(SpkiError::Unknown)
    }
}
