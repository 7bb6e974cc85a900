//! What a public area says about its key.

use keyward_backend::{BackendError, KeyReport, Result};
use keyward_protocol::{CoseKey, KeyType};
use sha2::{Digest, Sha256};
use tss_esapi::Error;
use tss_esapi::interface_types::algorithm::HashingAlgorithm;
use tss_esapi::interface_types::ecc::EccCurve;
use tss_esapi::interface_types::key_bits::RsaKeyBits;
use tss_esapi::structures::{HashScheme, KeyedHashScheme, Public, PublicKeyedHashParameters};
use tss_esapi::traits::Marshall;
use tss_esapi::tss2_esys::TPMS_KEYEDHASH_PARMS;

use super::device::digits;
use super::error::answer;

/// What a key is, as its public area says.
///
/// # Errors
/// [`BackendError::MechanismInvalid`] for a public part that is none of its type.
pub(super) fn report(public: &Public) -> Result<KeyReport> {
    let (key_type, key) = kind(public)?;
    let name = digits(&name_of(public).map_err(answer)?);
    let attributes = public.object_attributes();
    let fixed = attributes.fixed_tpm() && attributes.fixed_parent();
    let made_here = fixed && attributes.sensitive_data_origin();
    Ok(KeyReport {
        public: key,
        locator: format!("tpm:name={name}"),
        local: made_here,
        always_sensitive: made_here,
        never_extractable: made_here,
        key_type,
        blob: None,
        bound: None,
    })
}

/// A key's name: nameAlg, and the digest of its public area (TPM 2.0 Library Part 1 §16). Every key
/// here has SHA-256.
pub(super) fn name_of(public: &Public) -> std::result::Result<Vec<u8>, Error> {
    let digest = Sha256::digest(public.marshall()?);
    Ok([[0x00, 0x0b].as_slice(), &digest].concat())
}

/// The type of a key and its public part.
pub(super) fn kind(public: &Public) -> Result<(Option<KeyType>, Option<CoseKey>)> {
    match public {
        Public::Ecc {
            parameters, unique, ..
        } => {
            let key_type = match parameters.ecc_curve() {
                EccCurve::NistP256 => KeyType::P256,
                EccCurve::NistP384 => KeyType::P384,
                _ => return Ok((None, None)),
            };
            let width = key_type.coordinate_length().unwrap_or_default();
            let mut point = vec![0x04];
            for coordinate in [unique.x().value(), unique.y().value()] {
                point.extend(full_width(coordinate, width)?);
            }
            let key = CoseKey::from_sec1(&point).ok_or_else(no_key)?;
            Ok((Some(key_type), Some(key)))
        }
        Public::Rsa {
            parameters, unique, ..
        } => {
            let key_type = match parameters.key_bits() {
                RsaKeyBits::Rsa2048 => KeyType::Rsa2048,
                RsaKeyBits::Rsa3072 => KeyType::Rsa3072,
                RsaKeyBits::Rsa4096 => KeyType::Rsa4096,
                RsaKeyBits::Rsa1024 => return Ok((None, None)),
            };
            let exponent = match parameters.exponent().value() {
                0 => 65_537,
                other => other,
            };
            let key = CoseKey::rsa(unique.value(), &exponent.to_be_bytes()).ok_or_else(no_key)?;
            Ok((Some(key_type), Some(key)))
        }
        Public::KeyedHash {
            object_attributes: attributes,
            parameters,
            ..
        } => match attributes.sign_encrypt() || attributes.decrypt() {
            true => Ok((mac_type(parameters), None)),
            false => Ok((Some(KeyType::Data), None)),
        },
        Public::SymCipher { .. } => Ok((None, None)),
    }
}

fn mac_type(parameters: &PublicKeyedHashParameters) -> Option<KeyType> {
    let scheme = TPMS_KEYEDHASH_PARMS::from(*parameters).scheme;
    let Ok(KeyedHashScheme::Hmac { hmac_scheme }) = scheme.try_into() else {
        return None;
    };
    match HashScheme::from(hmac_scheme).hashing_algorithm() {
        HashingAlgorithm::Sha256 => Some(KeyType::HmacSha256),
        HashingAlgorithm::Sha384 => Some(KeyType::HmacSha384),
        HashingAlgorithm::Sha512 => Some(KeyType::HmacSha512),
        _ => None,
    }
}

/// A number with its leading zeros: some TPMs leave them out.
pub(super) fn full_width(number: &[u8], width: usize) -> Result<Vec<u8>> {
    let zeros = width.checked_sub(number.len()).ok_or_else(|| {
        BackendError::DeviceFailed(format!(
            "it gave a number of {} bytes where {width} are right",
            number.len()
        ))
    })?;
    Ok([vec![0; zeros].as_slice(), number].concat())
}

fn no_key() -> BackendError {
    BackendError::MechanismInvalid("the public part is none of its type".to_owned())
}
