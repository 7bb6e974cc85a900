//! Seals to a P-256 key of keyward that is known by its public half: HPKE (RFC 9180) in base mode
//! with DHKEM(P-256, HKDF-SHA256) and HKDF-SHA256, single shot.
//!
//! Nobody has to ask the agent for this, and the agent's own `encrypt` does the same. Only the
//! agent opens, since the private key is in a token.
//!
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let point = [
//! #     0x04, 0x6b, 0x17, 0xd1, 0xf2, 0xe1, 0x2c, 0x42, 0x47, 0xf8, 0xbc, 0xe6, 0xe5, 0x63, 0xa4, 0x40, 0xf2,
//! #     0x77, 0x03, 0x7d, 0x81, 0x2d, 0xeb, 0x33, 0xa0, 0xf4, 0xa1, 0x39, 0x45, 0xd8, 0x98, 0xc2, 0x96, 0x4f,
//! #     0xe3, 0x42, 0xe2, 0xfe, 0x1a, 0x7f, 0x9b, 0x8e, 0xe7, 0xeb, 0x4a, 0x7c, 0x0f, 0x9e, 0x16, 0x2b, 0xce,
//! #     0x33, 0x57, 0x6b, 0x31, 0x5e, 0xce, 0xcb, 0xb6, 0x40, 0x68, 0x37, 0xbf, 0x51, 0xf5,
//! # ];
//! # let public = keyward_protocol::CoseKey::from_sec1(&point).ok_or("no point")?;
//! # let (key, version) = ("0b8f6f0e-5f0c-4c53-9d0a-3f3a54b0c9a1", 1);
//! use keyward_protocol::ciphertext::{Context, Header, Scheme};
//!
//! // `public`, `key` and `version` are what `get-public-key` answers.
//! let context = Context::new([("tenant".into(), "a".into())].into())?;
//! let header = Header::new(Scheme::Hpke7, key.parse()?, version).ok_or("no such version")?;
//! let ciphertext = keyward_seal::seal_ciphertext(header, &public, &context, b"plaintext")?;
//! // The agent's `decrypt` opens this, if it is told the same context.
//! let bytes = ciphertext.encode();
//! # assert!(bytes.len() < 300);
//! # Ok(())
//! # }
//! ```
#![forbid(unsafe_code)]

mod ikm;

use hpke::aead::{Aead, AesGcm128, AesGcm256};
use hpke::inout::InOutBuf;
use hpke::kdf::HkdfSha256;
use hpke::kem::DhP256HkdfSha256;
use hpke::{Deserializable, Kem, OpModeS, Serializable};
use keyward_protocol::ciphertext::{
    Body, Ciphertext, CiphertextError, Context, EK_LENGTH, Header, TAG_LENGTH,
};
use keyward_protocol::{Algorithm, CoseKey};

use ikm::Ikm;

/// The longest `info`, in bytes: the library counts it in 16 bits, with a few bytes of its own.
pub const MAX_INFO: usize = 60_000;

/// What differs between the suites: the AEAD (RFC 9180 §7.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Suite {
    /// AES-128-GCM: HPKE-0 of cose-hpke.
    Aes128Gcm,
    /// AES-256-GCM: HPKE-7 of cose-hpke.
    Aes256Gcm,
}

impl Suite {
    /// The suite of a COSE algorithm.
    #[must_use]
    pub const fn of(algorithm: Algorithm) -> Option<Self> {
        match algorithm {
            Algorithm::Hpke0 => Some(Self::Aes128Gcm),
            Algorithm::Hpke7 => Some(Self::Aes256Gcm),
            _ => None,
        }
    }
}

/// What sealing gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// The encapsulated key, an uncompressed point.
    pub enc: [u8; EK_LENGTH],
    /// The ciphertext, its tag behind it.
    pub ciphertext: Vec<u8>,
}

/// Why something was not sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    /// The public key is not of the algorithm's kind, or not on its curve: use another key.
    #[error("the public key does not fit the algorithm, or is not a valid one")]
    Key,
    /// Plaintext or `info` is longer than what can be sealed: send less.
    #[error("what is to be sealed is too long")]
    TooLong,
    /// The computation or the source of randomness failed: a fault of the machine.
    #[error("the computation failed")]
    Computation,
}

impl From<CiphertextError> for SealError {
    fn from(_: CiphertextError) -> Self {
        // The parts were made to fit; that leaves their length.
        Self::TooLong
    }
}

/// `SealBase` (RFC 9180 §6.1) to a P-256 key.
///
/// # Errors
/// [`SealError::Key`] for a key of another kind or one that is not on the curve,
/// [`SealError::TooLong`] for an `info` above [`MAX_INFO`].
pub fn seal(
    suite: Suite,
    public: &CoseKey,
    info: &[u8],
    aad: &[u8],
    plaintext: &[u8],
) -> Result<Sealed, SealError> {
    seal_with(&mut Ikm::random()?, suite, public, info, aad, plaintext)
}

/// Seals as a ciphertext of keyward (`SPEC.md` §12.4); the scheme of `header` is an HPKE one.
///
/// # Errors
/// [`SealError::Key`] also for another scheme, [`SealError::TooLong`] where the ciphertext would be
/// longer than all can be.
pub fn seal_ciphertext(
    header: Header,
    public: &CoseKey,
    context: &Context,
    plaintext: &[u8],
) -> Result<Ciphertext, SealError> {
    let suite = Suite::of(header.scheme().algorithm()).ok_or(SealError::Key)?;
    let Sealed { enc, ciphertext } = seal(suite, public, &[], &header.aad(context), plaintext)?;
    Ok(Ciphertext::new(header, Body::Hpke { ek: enc }, ciphertext)?)
}

fn seal_with(
    ikm: &mut Ikm,
    suite: Suite,
    public: &CoseKey,
    info: &[u8],
    aad: &[u8],
    plaintext: &[u8],
) -> Result<Sealed, SealError> {
    if info.len() > MAX_INFO {
        return Err(SealError::TooLong);
    }
    match suite {
        Suite::Aes128Gcm => single_shot::<AesGcm128>(ikm, public, info, aad, plaintext),
        Suite::Aes256Gcm => single_shot::<AesGcm256>(ikm, public, info, aad, plaintext),
    }
}

fn single_shot<A: Aead>(
    ikm: &mut Ikm,
    public: &CoseKey,
    info: &[u8],
    aad: &[u8],
    plaintext: &[u8],
) -> Result<Sealed, SealError> {
    let point = public.to_sec1().ok_or(SealError::Key)?;
    let recipient = <DhP256HkdfSha256 as Kem>::PublicKey::from_bytes(&point);
    let recipient = recipient.map_err(|_| SealError::Key)?;
    let length = plaintext.len();
    let mut ciphertext = vec![0; length.checked_add(TAG_LENGTH).ok_or(SealError::TooLong)?];
    let (body, rest) = ciphertext
        .split_at_mut_checked(length)
        .ok_or(SealError::Computation)?;
    let (enc, tag) =
        hpke::single_shot_seal_inout_detached_with_rng::<A, HkdfSha256, DhP256HkdfSha256>(
            &OpModeS::Base,
            &recipient,
            info,
            InOutBuf::new(plaintext, body).map_err(|_| SealError::Computation)?,
            aad,
            ikm,
        )
        .map_err(|_| SealError::Computation)?;
    rest.copy_from_slice(&tag.to_bytes());
    let enc = enc.to_bytes().as_slice().try_into();
    Ok(Sealed {
        enc: enc.map_err(|_| SealError::Computation)?,
        ciphertext,
    })
}

#[cfg(test)]
mod tests;
