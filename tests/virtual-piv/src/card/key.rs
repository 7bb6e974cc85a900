//! Private keys, and what a card does with them (SP 800-78-4 §6.2, Yubico's additions).

mod prime;
pub(super) mod rsa;

use aws_lc_rs::agreement::{self, UnparsedPublicKey, X25519};
use ed25519_dalek::Signer as _;
use p256::ecdsa::signature::hazmat::PrehashSigner as _;
use p256::elliptic_curve::sec1::ToSec1Point as _;
use zeroize::Zeroizing;

use super::Reply;
use super::random::random;
use super::status::Status;
use super::tlv::{self, Tlv};
use rsa::RsaKey;

/// An algorithm, with its identifier of SP 800-78-4 Table 6-2 or of Yubico.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Algorithm {
    Rsa3072 = 0x05,
    Rsa1024 = 0x06,
    Rsa2048 = 0x07,
    P256 = 0x11,
    P384 = 0x14,
    Rsa4096 = 0x16,
    Ed25519 = 0xe0,
    X25519 = 0xe1,
}

impl Algorithm {
    pub(super) fn from_identifier(identifier: u8) -> Option<Self> {
        const ALL: [Algorithm; 8] = [
            Algorithm::Rsa3072,
            Algorithm::Rsa1024,
            Algorithm::Rsa2048,
            Algorithm::P256,
            Algorithm::P384,
            Algorithm::Rsa4096,
            Algorithm::Ed25519,
            Algorithm::X25519,
        ];
        ALL.into_iter()
            .find(|algorithm| algorithm.identifier() == identifier)
    }

    pub(super) fn identifier(self) -> u8 {
        self as u8
    }
}

/// A private key. It wipes itself.
pub(super) enum PrivateKey {
    P256(p256::SecretKey),
    P384(p384::SecretKey),
    Rsa(Box<RsaKey>),
    Ed25519(ed25519_dalek::SigningKey),
    X25519(Zeroizing<[u8; 32]>),
}

impl PrivateKey {
    pub(super) fn generate(algorithm: Algorithm) -> Reply<Self> {
        // A number at or above the order is as good as never drawn.
        let scalar = |_| Status::FAILED;
        Ok(match algorithm {
            Algorithm::P256 => {
                Self::P256(p256::SecretKey::from_slice(&*random::<32>()?).map_err(scalar)?)
            }
            Algorithm::P384 => {
                Self::P384(p384::SecretKey::from_slice(&*random::<48>()?).map_err(scalar)?)
            }
            Algorithm::Ed25519 => {
                Self::Ed25519(ed25519_dalek::SigningKey::from_bytes(&*random::<32>()?))
            }
            Algorithm::X25519 => Self::X25519(random()?),
            _ => Self::Rsa(Box::new(RsaKey::generate(algorithm)?)),
        })
    }

    /// The key that IMPORT ASYMMETRIC KEY brings: its numbers have tags of their own.
    pub(super) fn import(algorithm: Algorithm, parts: &[Tlv<'_>]) -> Reply<Self> {
        let part = |tag| tlv::find(parts, tag).ok_or(Status::WRONG_DATA);
        let bytes = |tag| <[u8; 32]>::try_from(part(tag)?).map_err(|_| Status::WRONG_DATA);
        let scalar = |_| Status::WRONG_DATA;
        Ok(match algorithm {
            Algorithm::P256 => {
                Self::P256(p256::SecretKey::from_slice(part(0x06)?).map_err(scalar)?)
            }
            Algorithm::P384 => {
                Self::P384(p384::SecretKey::from_slice(part(0x06)?).map_err(scalar)?)
            }
            Algorithm::Ed25519 => {
                Self::Ed25519(ed25519_dalek::SigningKey::from_bytes(&bytes(0x07)?))
            }
            Algorithm::X25519 => Self::X25519(Zeroizing::new(bytes(0x08)?)),
            _ => {
                let parts = [part(1)?, part(2)?, part(3)?, part(4)?, part(5)?];
                Self::Rsa(Box::new(RsaKey::import(algorithm, parts)?))
            }
        })
    }

    pub(super) fn algorithm(&self) -> Algorithm {
        match self {
            Self::P256(_) => Algorithm::P256,
            Self::P384(_) => Algorithm::P384,
            Self::Rsa(key) => key.algorithm(),
            Self::Ed25519(_) => Algorithm::Ed25519,
            Self::X25519(_) => Algorithm::X25519,
        }
    }

    /// The public key as the card tells it: the inside of the template 7F49.
    pub(super) fn public(&self) -> Reply {
        Ok(match self {
            Self::Rsa(key) => {
                let mut public = tlv::object(0x81, key.modulus());
                public.extend(tlv::object(0x82, &rsa::EXPONENT));
                public
            }
            other => tlv::object(0x86, &other.public_bytes()?),
        })
    }

    /// The point of an elliptic curve.
    pub(super) fn public_bytes(&self) -> Reply {
        Ok(match self {
            Self::P256(key) => key.public_key().to_sec1_point(false).as_bytes().to_vec(),
            Self::P384(key) => key.public_key().to_sec1_point(false).as_bytes().to_vec(),
            Self::Ed25519(key) => key.verifying_key().as_bytes().to_vec(),
            Self::X25519(key) => x25519(key)?
                .compute_public_key()
                .map_err(|_| Status::FAILED)?
                .as_ref()
                .to_vec(),
            Self::Rsa(_) => return Err(Status::WRONG_DATA),
        })
    }

    /// What the key makes of a challenge: a signature, or for RSA the bare private operation.
    pub(super) fn respond(&self, challenge: &[u8]) -> Reply {
        match self {
            Self::P256(key) => {
                let digest = left_padded(challenge, 32)?;
                let key = p256::ecdsa::SigningKey::from(key);
                let signature: p256::ecdsa::Signature =
                    key.sign_prehash(&digest).map_err(|_| Status::FAILED)?;
                Ok(signature.to_der().as_bytes().to_vec())
            }
            Self::P384(key) => {
                let digest = left_padded(challenge, 48)?;
                let key = p384::ecdsa::SigningKey::from(key);
                let signature: p384::ecdsa::Signature =
                    key.sign_prehash(&digest).map_err(|_| Status::FAILED)?;
                Ok(signature.to_der().as_bytes().to_vec())
            }
            Self::Rsa(key) => key.raw(challenge),
            Self::Ed25519(key) => Ok(key.sign(challenge).to_bytes().to_vec()),
            Self::X25519(_) => Err(Status::WRONG_DATA),
        }
    }

    /// The secret that the key shares with another one: the x coordinate alone.
    pub(super) fn agree(&self, peer: &[u8]) -> Reply {
        let no_point = |_| Status::WRONG_DATA;
        match self {
            Self::P256(key) => {
                let peer = p256::PublicKey::from_sec1_bytes(peer).map_err(no_point)?;
                Ok(key.diffie_hellman(&peer).raw_secret_bytes().to_vec())
            }
            Self::P384(key) => {
                let peer = p384::PublicKey::from_sec1_bytes(peer).map_err(no_point)?;
                Ok(key.diffie_hellman(&peer).raw_secret_bytes().to_vec())
            }
            Self::X25519(key) => {
                let peer = UnparsedPublicKey::new(&X25519, peer);
                agreement::agree(&x25519(key)?, peer, Status::WRONG_DATA, |z| Ok(z.to_vec()))
            }
            Self::Rsa(_) | Self::Ed25519(_) => Err(Status::WRONG_DATA),
        }
    }
}

fn x25519(key: &[u8; 32]) -> Reply<agreement::PrivateKey> {
    agreement::PrivateKey::from_private_key(&X25519, key).map_err(|_| Status::FAILED)
}

/// A digest shorter than the curve's numbers gets zeros before it; a longer one is refused.
fn left_padded(digest: &[u8], length: usize) -> Reply {
    let missing = length.checked_sub(digest.len()).ok_or(Status::WRONG_DATA)?;
    let mut padded = vec![0; missing];
    padded.extend_from_slice(digest);
    Ok(padded)
}
