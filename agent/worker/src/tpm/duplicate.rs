//! The wrapping of a key for one TPM, outside of it (TPM 2.0 Library Part 1 §23.3): what
//! TPM2_Duplicate would do on the TPM that the key never was on.

use keyward_attestation::protect;
use keyward_backend::{BackendError, Result};
use keyward_protocol::attestation::tpm::NameHash;
use tss_esapi::interface_types::algorithm::{HashingAlgorithm, SymmetricMode};
use tss_esapi::structures::{
    Data, EccPoint, EncryptedSecret, HashScheme, Private, Public, PublicKeyRsa,
    RsaDecryptionScheme, SymmetricDefinitionObject,
};
use zeroize::Zeroizing;

use super::Failure;
use super::device::{Device, Secrecy};

/// What both sides put into their derivations (TPM 2.0 Library Part 1 §B.10.3, §C.6.3).
const LABEL: &[u8] = b"DUPLICATE\0";

/// Wraps a TPMT_SENSITIVE for the storage root key.
pub(super) fn wrap(
    device: &mut Device,
    sensitive: &[u8],
    name: &[u8],
) -> std::result::Result<(Private, EncryptedSecret), Failure> {
    let srk = device.srk;
    let (parent, _, _) = device.run(|device| device.context.read_public(srk))?;
    if parent.name_hashing_algorithm() != HashingAlgorithm::Sha256 {
        return Err(unknown("its name is not made by SHA-256").into());
    }
    let (seed, secret) = match &parent {
        Public::Ecc { unique, .. } => ecc_seed(device, unique)?,
        Public::Rsa { .. } => rsa_seed(device)?,
        _ => return Err(unknown("it is neither an EC nor an RSA key").into()),
    };
    let bits = cipher(&parent)?;
    let private = protect::protect(NameHash::Sha256, bits, &seed, name, sensitive);
    let private = Private::try_from(private.map_err(|error| unknown(&error.to_string()))?)?;
    Ok((private, secret))
}

/// A seed that the TPM agrees on with itself: TPM2_ECDH_KeyGen makes the other key, and KDFe the
/// seed.
fn ecc_seed(
    device: &mut Device,
    parent: &EccPoint,
) -> std::result::Result<(Zeroizing<Vec<u8>>, EncryptedSecret), Failure> {
    let (z, ephemeral) = device.run(|device| {
        let srk = device.srk;
        let session = device.session(Secrecy::Answer)?;
        device
            .context
            .execute_with_session(Some(session), |context| context.ecdh_key_gen(srk))
    })?;
    let (own, other) = (ephemeral.x().value(), parent.x().value());
    let seed = protect::kdf_e(NameHash::Sha256, z.x().value(), LABEL, own, other);
    let x = sized(ephemeral.x().value())?;
    let y = sized(ephemeral.y().value())?;
    let point = [x.as_slice(), &y].concat();
    Ok((seed, EncryptedSecret::try_from(point)?))
}

/// A seed that is encrypted to the parent with RSAES-OAEP.
fn rsa_seed(
    device: &mut Device,
) -> std::result::Result<(Zeroizing<Vec<u8>>, EncryptedSecret), Failure> {
    let mut seed = Zeroizing::new(vec![0; 32]);
    super::pin::random(&mut seed)?;
    let encrypted = device.run(|device| {
        let srk = device.srk;
        let session = device.session(Secrecy::Question)?;
        device
            .context
            .execute_with_session(Some(session), |context| {
                context.rsa_encrypt(
                    srk,
                    PublicKeyRsa::try_from(seed.as_slice())?,
                    RsaDecryptionScheme::Oaep(HashScheme::new(HashingAlgorithm::Sha256)),
                    Data::try_from(LABEL)?,
                )
            })
    })?;
    let secret = EncryptedSecret::try_from(encrypted.value())?;
    Ok((seed, secret))
}

/// The bits of the parent's cipher.
fn cipher(parent: &Public) -> Result<u16> {
    match parent.symmetric_algorithm() {
        Some(SymmetricDefinitionObject::Aes {
            key_bits,
            mode: SymmetricMode::Cfb,
        }) => Ok(key_bits.into()),
        _ => Err(unknown("its cipher is not AES in CFB mode")),
    }
}

/// A TPM2B.
pub(super) fn sized(bytes: &[u8]) -> Result<Zeroizing<Vec<u8>>> {
    protect::sized(bytes).map_err(|error| BackendError::Invalid(error.to_string()))
}

fn unknown(what: &str) -> BackendError {
    BackendError::MechanismInvalid(format!(
        "the TPM's storage root key is of a kind that keyward can't import below: {what}"
    ))
}
