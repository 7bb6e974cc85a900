//! The wrapping of a key for one TPM, outside of it (TPM 2.0 Library Part 1 §23.3): what
//! TPM2_Duplicate would do on the TPM that the key never was on.

use aes::{Aes128, Aes256};
use cfb_mode::Encryptor;
use cfb_mode::cipher::KeyIvInit;
use hmac::{Hmac, KeyInit, Mac};
use keyward_backend::{BackendError, Result};
use sha2::{Digest, Sha256};
use tss_esapi::interface_types::algorithm::{HashingAlgorithm, SymmetricMode};
use tss_esapi::interface_types::key_bits::AesKeyBits;
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
    let encrypted = encrypt(&parent, &seed, name, &sized(sensitive)?)?;
    let integrity = kdf_a(&seed, b"INTEGRITY", &[], 32)?;
    let mut code = mac(&integrity)?;
    code.update(&encrypted);
    code.update(name);
    let code = sized(&code.finalize().into_bytes())?;
    let private = Private::try_from([code.as_slice(), &encrypted].concat())?;
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
    // KDFe, one round (SP 800-56A §5.8.1): SHA-256 is as long as the seed.
    let seed = Sha256::new()
        .chain_update(1u32.to_be_bytes())
        .chain_update(z.x().value())
        .chain_update(LABEL)
        .chain_update(ephemeral.x().value())
        .chain_update(parent.x().value())
        .finalize();
    let x = sized(ephemeral.x().value())?;
    let y = sized(ephemeral.y().value())?;
    let point = [x.as_slice(), &y].concat();
    Ok((
        Zeroizing::new(seed.to_vec()),
        EncryptedSecret::try_from(point)?,
    ))
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

/// The sensitive part, encrypted with the parent's cipher and a key of the seed and the name.
fn encrypt(parent: &Public, seed: &[u8], name: &[u8], plain: &[u8]) -> Result<Vec<u8>> {
    let bits = match parent.symmetric_algorithm() {
        Some(SymmetricDefinitionObject::Aes {
            key_bits,
            mode: SymmetricMode::Cfb,
        }) => key_bits,
        _ => return Err(unknown("its cipher is not AES in CFB mode")),
    };
    let mut bytes = plain.to_vec();
    let wrong = |_| unknown("its cipher's key has another length");
    let iv = [0; 16];
    match bits {
        AesKeyBits::Aes128 => {
            let key = kdf_a(seed, b"STORAGE", name, 16)?;
            Encryptor::<Aes128>::new_from_slices(&key, &iv)
                .map_err(wrong)?
                .encrypt(&mut bytes);
        }
        AesKeyBits::Aes256 => {
            let key = kdf_a(seed, b"STORAGE", name, 32)?;
            Encryptor::<Aes256>::new_from_slices(&key, &iv)
                .map_err(wrong)?
                .encrypt(&mut bytes);
        }
        AesKeyBits::Aes192 => return Err(unknown("its cipher is AES-192")),
    }
    Ok(bytes)
}

/// KDFa, one round (TPM 2.0 Library Part 1 §11.4.10.2, SP 800-108 in counter mode).
fn kdf_a(seed: &[u8], label: &[u8], context: &[u8], length: u32) -> Result<Zeroizing<Vec<u8>>> {
    let mut code = mac(seed)?;
    code.update(&1u32.to_be_bytes());
    code.update(label);
    code.update(&[0]);
    code.update(context);
    code.update(&length.saturating_mul(8).to_be_bytes());
    let mut key = Zeroizing::new(code.finalize().into_bytes().to_vec());
    key.truncate(usize::try_from(length).unwrap_or(0));
    Ok(key)
}

fn mac(key: &[u8]) -> Result<Hmac<Sha256>> {
    Hmac::<Sha256>::new_from_slice(key).map_err(|_| unknown("its seed has no length"))
}

/// A TPM2B.
pub(super) fn sized(bytes: &[u8]) -> Result<Zeroizing<Vec<u8>>> {
    let length = u16::try_from(bytes.len())
        .map_err(|_| BackendError::Invalid("the key is too long for a TPM".to_owned()))?;
    Ok(Zeroizing::new(
        [length.to_be_bytes().as_slice(), bytes].concat(),
    ))
}

fn unknown(what: &str) -> BackendError {
    BackendError::MechanismInvalid(format!(
        "the TPM's storage root key is of a kind that keyward can't import below: {what}"
    ))
}
