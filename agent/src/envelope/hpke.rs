//! Opens HPKE (RFC 9180) in base mode with DHKEM(P-256, HKDF-SHA256) and HKDF-SHA256, single shot.
//!
//! Of the private key it needs one ECDH, which the token does: all else is computed here, from
//! Z, the encapsulated key and the public key. Sealing is in `keyward_seal`.

mod token_kem;

use hpke::aead::{Aead, AeadTag, AesGcm128, AesGcm256};
use hpke::inout::InOutBuf;
use hpke::kdf::HkdfSha256;
use hpke::kem::DhP256HkdfSha256;
use hpke::{Deserializable, Kem, OpModeR, Serializable};
use keyward_protocol::{CoseKey, SecretBytes};
use keyward_seal::{MAX_INFO, Suite};

use self::token_kem::{Point, TokenKem, TokenKey};
use super::OpenFailed;

/// What ECDH on P-256 gives, in bytes (RFC 9180 §4.1, Ndh).
const Z_LENGTH: usize = 32;

/// The peer of the token's ECDH: the encapsulated key as a point that is on the curve and not at
/// infinity (RFC 9180 §7.1.4), `None` for anything else.
#[must_use]
pub fn peer_of(enc: &[u8]) -> Option<CoseKey> {
    // Takes 65 bytes in the uncompressed form only.
    <DhP256HkdfSha256 as Kem>::PublicKey::from_bytes(enc).ok()?;
    CoseKey::from_sec1(enc)
}

/// `OpenBase` (RFC 9180 §6.1), where `z` is what ECDH of the private key of `public` with
/// [`peer_of`] `enc` gave.
///
/// # Errors
/// [`OpenFailed`], whatever is wrong: a length, a point, a key, or one bit of anything.
pub fn open(
    suite: Suite,
    z: &SecretBytes,
    enc: &[u8],
    public: &CoseKey,
    info: &[u8],
    aad: &[u8],
    ciphertext: &[u8],
) -> Result<SecretBytes, OpenFailed> {
    peer_of(enc).ok_or(OpenFailed)?;
    let enc = Point::from_bytes(enc).map_err(|_| OpenFailed)?;
    let public = public.to_sec1().ok_or(OpenFailed)?;
    let public = Point::from_bytes(&public).map_err(|_| OpenFailed)?;
    if info.len() > MAX_INFO || z.len() != Z_LENGTH {
        return Err(OpenFailed);
    }
    let key = TokenKey { z, public };
    match suite {
        Suite::Aes128Gcm => single_shot::<AesGcm128>(&key, &enc, info, aad, ciphertext),
        Suite::Aes256Gcm => single_shot::<AesGcm256>(&key, &enc, info, aad, ciphertext),
    }
}

fn single_shot<A: Aead>(
    key: &TokenKey<'_>,
    enc: &Point,
    info: &[u8],
    aad: &[u8],
    ciphertext: &[u8],
) -> Result<SecretBytes, OpenFailed> {
    let length = ciphertext
        .len()
        .checked_sub(AeadTag::<A>::size())
        .ok_or(OpenFailed)?;
    let (ciphertext, tag) = ciphertext.split_at_checked(length).ok_or(OpenFailed)?;
    let tag = AeadTag::<A>::from_bytes(tag).map_err(|_| OpenFailed)?;
    let mut plaintext = SecretBytes::zeroed(length);
    hpke::single_shot_open_inout_detached::<A, HkdfSha256, TokenKem<'_>>(
        &OpModeR::Base,
        key,
        enc,
        info,
        InOutBuf::new(ciphertext, plaintext.expose_mut()).map_err(|_| OpenFailed)?,
        aad,
        &tag,
    )
    .map_err(|_| OpenFailed)?;
    Ok(plaintext)
}

#[cfg(test)]
mod tests;
