//! The traits of the `signature` crate, so that certificate builders, JWT libraries and the like
//! take a key of the agent for a key of their own.

use ed25519::Signature as Ed25519Signature;
use keyward_protocol::Algorithm;
use p256::ecdsa::{Signature as P256Signature, VerifyingKey as P256VerifyingKey};
use p384::ecdsa::{Signature as P384Signature, VerifyingKey as P384VerifyingKey};
use signature::hazmat::PrehashSigner;
use signature::{SignatureEncoding, Signer};

use super::SigningKey;

/// An RSA signature, of PS256 or RS256, as long as the modulus.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RsaSignature(Box<[u8]>);

impl TryFrom<&[u8]> for RsaSignature {
    type Error = signature::Error;

    fn try_from(bytes: &[u8]) -> Result<Self, Self::Error> {
        // 2,048 to 8,192 bits.
        if (256..=1024).contains(&bytes.len()) {
            return Ok(Self(bytes.into()));
        }
        Err(signature::Error::new())
    }
}

impl From<RsaSignature> for Box<[u8]> {
    fn from(signature: RsaSignature) -> Self {
        signature.0
    }
}

impl SignatureEncoding for RsaSignature {
    type Repr = Box<[u8]>;
}

macro_rules! signs {
    ($($signature:ty: $($algorithm:ident)|+;)+) => {$(
        impl Signer<$signature> for SigningKey {
            fn try_sign(&self, message: &[u8]) -> Result<$signature, signature::Error> {
                right(matches!(self.algorithm(), $(Algorithm::$algorithm)|+))?;
                let bytes = self.sign_message(message).map_err(signature::Error::from_source)?;
                <$signature>::try_from(bytes.as_slice())
            }
        }
    )+};
}

signs! {
    P256Signature: Esp256;
    P384Signature: Esp384;
    Ed25519Signature: Ed25519;
    RsaSignature: Ps256 | Rs256;
}

macro_rules! signs_digests {
    ($($signature:ty: $($algorithm:ident)|+;)+) => {$(
        impl PrehashSigner<$signature> for SigningKey {
            fn sign_prehash(&self, digest: &[u8]) -> Result<$signature, signature::Error> {
                right(matches!(self.algorithm(), $(Algorithm::$algorithm)|+))?;
                let bytes = self.sign_digest(digest).map_err(signature::Error::from_source)?;
                <$signature>::try_from(bytes.as_slice())
            }
        }
    )+};
}

signs_digests! {
    P256Signature: Esp256;
    P384Signature: Esp384;
    RsaSignature: Ps256 | Rs256;
}

impl SigningKey {
    /// The public part of a P-256 key.
    #[must_use]
    pub fn p256(&self) -> Option<P256VerifyingKey> {
        P256VerifyingKey::from_sec1_bytes(&self.public_key().cose_key.to_sec1()?).ok()
    }

    /// The public part of a P-384 key.
    #[must_use]
    pub fn p384(&self) -> Option<P384VerifyingKey> {
        P384VerifyingKey::from_sec1_bytes(&self.public_key().cose_key.to_sec1()?).ok()
    }
}

/// A signature of another algorithm than the key's is nobody's wish.
fn right(algorithm: bool) -> Result<(), signature::Error> {
    algorithm.then_some(()).ok_or_else(|| {
        signature::Error::from_source("the key does not make signatures of this type")
    })
}
