//! How something is protected outside of a TPM so that it alone can open it (TPM 2.0 Library Part 1
//! §23.3, §24.4): an imported key for its parent, a credential for an endorsement key.

use aes::{Aes128, Aes256};
use cfb_mode::Encryptor;
use cfb_mode::cipher::KeyIvInit;
use hmac::{Hmac, KeyInit, Mac};
use keyward_protocol::attestation::tpm::NameHash;
use sha2::{Digest, Sha256, Sha384};
use zeroize::Zeroizing;

/// Why there is nothing that the TPM could open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProtectError {
    /// The cipher of the TPM's key is none that is known here.
    #[error("its cipher is AES with {0} bits")]
    Cipher(u16),
    /// It is longer than a TPM2B can be.
    #[error("it is too long for a TPM")]
    TooLong,
    /// What no key derivation gives.
    #[error("a seed or key has a wrong length")]
    Length,
}

/// Protects `plain` by a seed that the TPM gets another way: TPM2B of the integrity code, and what
/// was encrypted. `name` is of the object that it is bound to.
///
/// # Errors
/// See [`ProtectError`].
pub fn protect(
    hash: NameHash,
    aes_bits: u16,
    seed: &[u8],
    name: &[u8],
    plain: &[u8],
) -> Result<Vec<u8>, ProtectError> {
    let encrypted = encrypt(hash, aes_bits, seed, name, &sized(plain)?)?;
    let key = kdf_a(hash, seed, b"INTEGRITY", &[], hash.length())?;
    let code = code(hash, &key, &[&encrypted, name])?;
    Ok([sized(&code)?.as_slice(), &encrypted].concat())
}

fn encrypt(
    hash: NameHash,
    aes_bits: u16,
    seed: &[u8],
    name: &[u8],
    plain: &[u8],
) -> Result<Vec<u8>, ProtectError> {
    let mut bytes = plain.to_vec();
    let iv = [0; 16];
    let wrong = |_| ProtectError::Length;
    match aes_bits {
        128 => {
            let key = kdf_a(hash, seed, b"STORAGE", name, 16)?;
            let cipher = Encryptor::<Aes128>::new_from_slices(&key, &iv).map_err(wrong)?;
            cipher.encrypt(&mut bytes);
        }
        256 => {
            let key = kdf_a(hash, seed, b"STORAGE", name, 32)?;
            let cipher = Encryptor::<Aes256>::new_from_slices(&key, &iv).map_err(wrong)?;
            cipher.encrypt(&mut bytes);
        }
        other => return Err(ProtectError::Cipher(other)),
    }
    Ok(bytes)
}

/// KDFa, one round (§11.4.10.2, SP 800-108 in counter mode).
fn kdf_a(
    hash: NameHash,
    seed: &[u8],
    label: &[u8],
    context: &[u8],
    length: usize,
) -> Result<Zeroizing<Vec<u8>>, ProtectError> {
    let bits = u32::try_from(length.saturating_mul(8)).map_err(|_| ProtectError::Length)?;
    let counter = 1u32.to_be_bytes();
    let parts: [&[u8]; 5] = [&counter, label, &[0], context, &bits.to_be_bytes()];
    let mut key = code(hash, seed, &parts)?;
    if key.len() < length {
        return Err(ProtectError::Length);
    }
    key.truncate(length);
    Ok(key)
}

/// KDFe, one round (§11.4.10.3, SP 800-56A §5.8.1): a seed as long as the digest, of what two keys
/// agree on. `label` ends with a zero.
#[must_use]
pub fn kdf_e(
    hash: NameHash,
    z: &[u8],
    label: &[u8],
    ephemeral_x: &[u8],
    public_x: &[u8],
) -> Zeroizing<Vec<u8>> {
    let counter = 1u32.to_be_bytes();
    let parts: [&[u8]; 5] = [&counter, z, label, ephemeral_x, public_x];
    Zeroizing::new(match hash {
        NameHash::Sha256 => Sha256::digest(&*Zeroizing::new(parts.concat())).to_vec(),
        NameHash::Sha384 => Sha384::digest(&*Zeroizing::new(parts.concat())).to_vec(),
    })
}

fn code(hash: NameHash, key: &[u8], parts: &[&[u8]]) -> Result<Zeroizing<Vec<u8>>, ProtectError> {
    match hash {
        NameHash::Sha256 => hmac::<Hmac<Sha256>>(key, parts),
        NameHash::Sha384 => hmac::<Hmac<Sha384>>(key, parts),
    }
}

fn hmac<M: Mac + KeyInit>(key: &[u8], parts: &[&[u8]]) -> Result<Zeroizing<Vec<u8>>, ProtectError> {
    let mut code = <M as KeyInit>::new_from_slice(key).map_err(|_| ProtectError::Length)?;
    for part in parts {
        code.update(part);
    }
    Ok(Zeroizing::new(code.finalize().into_bytes().to_vec()))
}

/// A TPM2B.
///
/// # Errors
/// [`ProtectError::TooLong`].
pub fn sized(bytes: &[u8]) -> Result<Zeroizing<Vec<u8>>, ProtectError> {
    let length = u16::try_from(bytes.len()).map_err(|_| ProtectError::TooLong)?;
    Ok(Zeroizing::new(
        [length.to_be_bytes().as_slice(), bytes].concat(),
    ))
}
