//! TPM2B_PUBLIC templates: what a key may do is fixed when it is made.

use keyward_backend::{BackendError, Result};
use keyward_protocol::{KeyType, Purpose};
use tss_esapi::attributes::ObjectAttributesBuilder;
use tss_esapi::interface_types::algorithm::{HashingAlgorithm, PublicAlgorithm};
use tss_esapi::interface_types::ecc::EccCurve;
use tss_esapi::interface_types::key_bits::RsaKeyBits;
use tss_esapi::structures::{
    Digest, EccPoint, EccScheme, HashScheme, HmacScheme, KeyDerivationFunctionScheme,
    KeyedHashScheme, Public, PublicBuilder, PublicEccParameters, PublicKeyRsa,
    PublicKeyedHashParameters, PublicRsaParameters, RsaExponent, RsaScheme,
    SymmetricDefinitionObject,
};

use super::error::answer;

/// Where the private part of a key comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// The TPM makes it: it never leaves, and can't be given to another TPM.
    Tpm,
    /// It was made elsewhere. Its sensitive part is wrapped for this TPM alone all the same; without
    /// a policy, or with one for another command, nothing can authorize its duplication.
    Elsewhere,
    /// It was made elsewhere and comes with TPM2_Create, which binds it to this TPM.
    Given,
}

/// The unique part of a key: what is empty until the TPM has made it.
pub(super) enum Unique {
    /// To be filled in by the TPM.
    Empty,
    /// An EC point.
    Point(EccPoint),
    /// A modulus and its exponent; 0 stands for 65,537.
    Modulus(PublicKeyRsa, u32),
}

/// The template of a key of a type and purpose. Every key is `noDA`: its authorization value is
/// empty, or 32 random bytes that nobody guesses (see `pin.rs`). With a policy that is needed for
/// every use.
pub(super) fn template(
    key_type: KeyType,
    purpose: Purpose,
    origin: Origin,
    unique: Unique,
    policy: Option<[u8; 32]>,
) -> Result<Public> {
    let signs = matches!(purpose, Purpose::Sign | Purpose::Mac);
    // What is neither is data.
    let decrypts = !signs && purpose != Purpose::Seal;
    let attributes = ObjectAttributesBuilder::new()
        .with_fixed_tpm(origin != Origin::Elsewhere)
        .with_fixed_parent(origin != Origin::Elsewhere)
        .with_sensitive_data_origin(origin == Origin::Tpm)
        // With a policy nothing else authorizes a use.
        .with_user_with_auth(policy.is_none())
        .with_no_da(true)
        .with_sign_encrypt(signs)
        .with_decrypt(decrypts)
        .build()
        .map_err(answer)?;
    let builder = PublicBuilder::new()
        .with_name_hashing_algorithm(HashingAlgorithm::Sha256)
        .with_object_attributes(attributes);
    let builder = match policy {
        Some(policy) => {
            builder.with_auth_policy(Digest::try_from(policy.as_slice()).map_err(answer)?)
        }
        None => builder,
    };
    let public = match key_type {
        KeyType::P256 | KeyType::P384 => {
            let (curve, hash) = match key_type {
                KeyType::P256 => (EccCurve::NistP256, HashingAlgorithm::Sha256),
                _ => (EccCurve::NistP384, HashingAlgorithm::Sha384),
            };
            let scheme = match signs {
                true => EccScheme::EcDsa(HashScheme::new(hash)),
                false => EccScheme::Null,
            };
            let point = match unique {
                Unique::Point(point) => point,
                _ => EccPoint::default(),
            };
            builder
                .with_public_algorithm(PublicAlgorithm::Ecc)
                .with_ecc_parameters(PublicEccParameters::new(
                    SymmetricDefinitionObject::Null,
                    scheme,
                    curve,
                    KeyDerivationFunctionScheme::Null,
                ))
                .with_ecc_unique_identifier(point)
        }
        KeyType::Rsa2048 | KeyType::Rsa3072 | KeyType::Rsa4096 => {
            let (modulus, exponent) = match unique {
                Unique::Modulus(modulus, exponent) => (modulus, exponent),
                _ => (PublicKeyRsa::default(), 0),
            };
            // Without a scheme of its own: which one is said with each use, as other programs that
            // load the key expect.
            builder
                .with_public_algorithm(PublicAlgorithm::Rsa)
                .with_rsa_parameters(PublicRsaParameters::new(
                    SymmetricDefinitionObject::Null,
                    RsaScheme::Null,
                    bits(key_type)?,
                    RsaExponent::create(exponent).map_err(answer)?,
                ))
                .with_rsa_unique_identifier(modulus)
        }
        KeyType::HmacSha256 | KeyType::HmacSha384 | KeyType::HmacSha512 => builder
            .with_public_algorithm(PublicAlgorithm::KeyedHash)
            .with_keyed_hash_parameters(PublicKeyedHashParameters::new(KeyedHashScheme::Hmac {
                hmac_scheme: HmacScheme::new(mac_hash(key_type)),
            }))
            .with_keyed_hash_unique_identifier(Digest::default()),
        KeyType::Data => builder
            .with_public_algorithm(PublicAlgorithm::KeyedHash)
            .with_keyed_hash_parameters(PublicKeyedHashParameters::new(KeyedHashScheme::Null))
            .with_keyed_hash_unique_identifier(Digest::default()),
        other => {
            return Err(BackendError::MechanismInvalid(format!(
                "a TPM has no keys of type {other}"
            )));
        }
    };
    public.build().map_err(answer)
}

/// An attestation key: it signs what the TPM made, and nothing that it is given.
pub(super) fn attestation() -> Result<Public> {
    let attributes = ObjectAttributesBuilder::new()
        .with_fixed_tpm(true)
        .with_fixed_parent(true)
        .with_sensitive_data_origin(true)
        .with_user_with_auth(true)
        .with_no_da(true)
        .with_restricted(true)
        .with_sign_encrypt(true)
        .build()
        .map_err(answer)?;
    PublicBuilder::new()
        .with_public_algorithm(PublicAlgorithm::Ecc)
        .with_name_hashing_algorithm(HashingAlgorithm::Sha256)
        .with_object_attributes(attributes)
        .with_ecc_parameters(PublicEccParameters::new(
            SymmetricDefinitionObject::Null,
            EccScheme::EcDsa(HashScheme::new(HashingAlgorithm::Sha256)),
            EccCurve::NistP256,
            KeyDerivationFunctionScheme::Null,
        ))
        .with_ecc_unique_identifier(EccPoint::default())
        .build()
        .map_err(answer)
}

/// A sealed object: data that the TPM gives back to who knows its authorization value. Wrong tries
/// count for the dictionary attack lockout.
pub(super) fn sealed() -> Result<Public> {
    let attributes = ObjectAttributesBuilder::new()
        .with_fixed_tpm(true)
        .with_fixed_parent(true)
        .with_user_with_auth(true)
        .build()
        .map_err(answer)?;
    PublicBuilder::new()
        .with_public_algorithm(PublicAlgorithm::KeyedHash)
        .with_name_hashing_algorithm(HashingAlgorithm::Sha256)
        .with_object_attributes(attributes)
        .with_keyed_hash_parameters(PublicKeyedHashParameters::new(KeyedHashScheme::Null))
        .with_keyed_hash_unique_identifier(Digest::default())
        .build()
        .map_err(answer)
}

pub(super) fn bits(key_type: KeyType) -> Result<RsaKeyBits> {
    match key_type {
        KeyType::Rsa2048 => Ok(RsaKeyBits::Rsa2048),
        KeyType::Rsa3072 => Ok(RsaKeyBits::Rsa3072),
        KeyType::Rsa4096 => Ok(RsaKeyBits::Rsa4096),
        other => Err(BackendError::MechanismInvalid(format!(
            "{other} is no RSA key"
        ))),
    }
}

fn mac_hash(key_type: KeyType) -> HashingAlgorithm {
    match key_type {
        KeyType::HmacSha384 => HashingAlgorithm::Sha384,
        KeyType::HmacSha512 => HashingAlgorithm::Sha512,
        _ => HashingAlgorithm::Sha256,
    }
}
