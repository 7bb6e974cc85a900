//! Keys from outside, looked at before a token gets them: what kind they are, and their public part.

use aws_lc_rs::agreement::{self, ECDH_P256, ECDH_P384};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _, RsaKeyPair};
use der::asn1::{ObjectIdentifier, OctetStringRef, UintRef};
use der::{Decode, Encode};
use keyward_backend::key_file::KeyFile;
use keyward_protocol::attestation::tpm;
use keyward_protocol::operation::KeyMaterial;
use keyward_protocol::{CoseKey, ErrorCode, Failure, KeyType};
use pkcs8::{AlgorithmIdentifierRef, PrivateKeyInfoRef};
use sec1::{EcParameters, EcPrivateKey};

const ID_EC_PUBLIC_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const SECP256R1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const SECP384R1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
const ID_ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
const RSA_ENCRYPTION: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
/// 65537: the one public exponent that is taken (FIPS 186-5 §A.1.1 takes others; nobody needs them).
const RSA_EXPONENT: [u8; 3] = [1, 0, 1];

/// What a key from outside is.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Kind {
    /// Its type.
    pub(super) key_type: KeyType,
    /// Its public part, computed from the private one; a secret key has none.
    pub(super) public: Option<CoseKey>,
}

/// Looks at a key.
///
/// # Errors
/// It is not one that keyward takes, and why, without any of its bytes.
pub(super) fn inspect(material: &KeyMaterial) -> Result<Kind, Failure> {
    let invalid = |words: String| Failure::new(ErrorCode::Invalid, words);
    match material {
        KeyMaterial::Secret(KeyType::Data, bytes) => match bytes.len() {
            1..=KeyType::MOST_DATA => Ok(Kind {
                key_type: KeyType::Data,
                public: None,
            }),
            other => Err(invalid(format!(
                "a token seals 1 to {} bytes, not {other}; encrypt more with a data key that is sealed",
                KeyType::MOST_DATA
            ))),
        },
        KeyMaterial::Secret(key_type, bytes) => match key_type.secret_length() {
            Some(length) if length == bytes.len() => Ok(Kind {
                key_type: *key_type,
                public: None,
            }),
            Some(length) => Err(invalid(format!(
                "a key of type {key_type} has {length} bytes, not {}",
                bytes.len()
            ))),
            None => Err(invalid(format!(
                "a key of type {key_type} is imported as PKCS#8"
            ))),
        },
        KeyMaterial::Tss2(pem) => tpm_key(pem.expose())
            .map_err(|words| invalid(format!("the key file can't be used: {words}"))),
        KeyMaterial::Pkcs8(bytes) => private_key(bytes.expose())
            .map_err(|words| invalid(format!("the private key can't be used: {words}"))),
    }
}

/// The file of a TPM's key says what it is. That the private part belongs to it, the TPM alone can
/// see.
fn tpm_key(pem: &[u8]) -> Result<Kind, String> {
    let file = KeyFile::from_pem(pem).map_err(|error| error.to_string())?;
    let public = file.public.get(2..).unwrap_or_default();
    let public = tpm::Public::parse(public)
        .map_err(|error| error.to_string())?
        .key;
    let key_type = public
        .key_type()
        .filter(|key_type| *key_type != KeyType::Ed25519);
    Ok(Kind {
        key_type: key_type.ok_or("RSA keys have 2048, 3072 or 4096 bits")?,
        public: Some(public),
    })
}

const NOT_DER: &str = "it is not one PrivateKeyInfo in DER with nothing beside the key";

fn private_key(bytes: &[u8]) -> Result<Kind, &'static str> {
    let info = PrivateKeyInfoRef::from_der(bytes).map_err(|_| NOT_DER)?;
    // Attributes and extensions are skipped by the decoder: what is not looked at is not taken.
    if !is_whole(&info, bytes) {
        return Err(NOT_DER);
    }
    let inner = info.private_key.as_bytes();
    let public = match info.algorithm.oid {
        ID_EC_PUBLIC_KEY => ec(&info.algorithm, inner)?,
        ID_ED25519 if info.algorithm.parameters.is_none() => ed25519(inner)?,
        RSA_ENCRYPTION if info.algorithm.parameters == Some(der::asn1::AnyRef::NULL) => rsa(inner)?,
        _ => return Err("its algorithm is not one that keyward has (P-256, P-384, Ed25519, RSA)"),
    };
    if let Some(stated) = &info.public_key {
        let computed = match &public {
            CoseKey::Ed25519 { x } => x.to_vec(),
            other => other.to_sec1().ok_or(NOT_DER)?,
        };
        if stated.as_bytes() != Some(&computed) {
            return Err(OTHER_PUBLIC);
        }
    }
    let key_type = public
        .key_type()
        .ok_or("RSA keys have 2048, 3072 or 4096 bits")?;
    Ok(Kind {
        key_type,
        public: Some(public),
    })
}

const OTHER_PUBLIC: &str = "the public key in it belongs to another private key";

/// RFC 5915, with the curve in the algorithm.
fn ec(algorithm: &AlgorithmIdentifierRef<'_>, inner: &[u8]) -> Result<CoseKey, &'static str> {
    let curve = algorithm.parameters_oid().map_err(|_| NOT_DER)?;
    let (ecdh, length) = match curve {
        SECP256R1 => (&ECDH_P256, 32),
        SECP384R1 => (&ECDH_P384, 48),
        _ => return Err("its curve is not one that keyward has (P-256, P-384)"),
    };
    let key = EcPrivateKey::from_der(inner).map_err(|_| NOT_DER)?;
    if !is_whole(&key, inner) || key.private_key.len() != length {
        return Err(NOT_DER);
    }
    if key
        .parameters
        .is_some_and(|p| p != EcParameters::NamedCurve(curve))
    {
        return Err("it names two curves");
    }
    let private = agreement::PrivateKey::from_private_key(ecdh, key.private_key)
        .map_err(|_| "its number is not in the range of the curve")?;
    let public = private.compute_public_key().map_err(|_| NOT_DER)?;
    if key
        .public_key
        .is_some_and(|stated| stated != public.as_ref())
    {
        return Err(OTHER_PUBLIC);
    }
    CoseKey::from_sec1(public.as_ref()).ok_or(NOT_DER)
}

/// RFC 8410 §7.
fn ed25519(inner: &[u8]) -> Result<CoseKey, &'static str> {
    let seed = <&OctetStringRef>::from_der(inner).map_err(|_| NOT_DER)?;
    let pair = Ed25519KeyPair::from_seed_unchecked(seed.as_bytes()).map_err(|_| NOT_DER)?;
    let x = pair.public_key().as_ref().try_into().map_err(|_| NOT_DER)?;
    Ok(CoseKey::Ed25519 { x })
}

/// RFC 8017 §A.1.2.
fn rsa(inner: &[u8]) -> Result<CoseKey, &'static str> {
    let key = pkcs1::RsaPrivateKey::<UintRef<'_>>::from_der(inner).map_err(|_| NOT_DER)?;
    if !is_whole(&key, inner) || key.other_prime_infos.is_some() {
        return Err("it is not an RSA key of two primes");
    }
    if key.public_exponent.as_bytes() != RSA_EXPONENT {
        return Err("its public exponent is not 65537");
    }
    let public = CoseKey::rsa(key.modulus.as_bytes(), &RSA_EXPONENT)
        .filter(|public| public.key_type().is_some())
        .ok_or("RSA keys have 2048, 3072 or 4096 bits")?;
    // That its numbers belong together.
    RsaKeyPair::from_der(inner).map_err(|_| "its numbers don't belong together")?;
    Ok(public)
}

/// Whether everything in the bytes was decoded. DER has one encoding, so the lengths tell.
fn is_whole(decoded: &impl Encode, bytes: &[u8]) -> bool {
    decoded
        .encoded_len()
        .ok()
        .and_then(|length| usize::try_from(length).ok())
        == Some(bytes.len())
}

#[cfg(test)]
mod tests;
