//! Operations that use a key.

use std::fmt;

use minicbor::bytes::ByteVec;
use minicbor::{Decode, Decoder, Encode, Encoder, decode, encode};

use crate::algorithm::Algorithm;
use crate::cose_key::CoseKey;
use crate::secret::SecretBytes;

/// Signs with the current version of a key.
#[derive(Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Sign {
    /// The key's id or one of its aliases.
    #[n(0)]
    pub key: String,
    /// The algorithm; the key's first if absent.
    #[n(1)]
    pub algorithm: Option<Algorithm>,
    /// What to sign.
    #[n(2)]
    pub input: SignInput,
}

/// What is signed: `[1, message]`, `[2, digest]` or `[3, stream]`.
#[derive(Clone, PartialEq, Eq)]
pub enum SignInput {
    /// The message itself, hashed by agent or token.
    Message(Vec<u8>),
    /// The message's digest, of the algorithm's own hash; needs the format `digest`.
    Digest(Vec<u8>),
    /// The message that this connection gave in parts ([`Absorb`](super::Absorb)), by the number
    /// of its stream; the stream ends with it.
    Absorbed(u32),
}

impl SignInput {
    /// The bytes, whichever they are; none for what was absorbed.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Message(bytes) | Self::Digest(bytes) => bytes,
            Self::Absorbed(_) => &[],
        }
    }
}

impl fmt::Debug for SignInput {
    /// Shows the length alone: what is signed is nobody else's business.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let form = match self {
            Self::Message(_) => "Message",
            Self::Digest(_) => "Digest",
            Self::Absorbed(stream) => return write!(f, "Absorbed({stream})"),
        };
        write!(f, "{form}({} bytes)", self.bytes().len())
    }
}

impl<C> Encode<C> for SignInput {
    fn encode<W: encode::Write>(
        &self,
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), encode::Error<W::Error>> {
        let (form, bytes) = match self {
            Self::Message(bytes) => (1, bytes),
            Self::Digest(bytes) => (2, bytes),
            Self::Absorbed(stream) => return e.array(2)?.u8(3)?.u32(*stream)?.ok(),
        };
        e.array(2)?.u8(form)?.bytes(bytes)?.ok()
    }
}

impl<'b, C> Decode<'b, C> for SignInput {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, decode::Error> {
        if d.array()? != Some(2) {
            return Err(decode::Error::message("not [form, bytes]"));
        }
        match d.u8()? {
            1 => Ok(Self::Message(d.bytes()?.to_vec())),
            2 => Ok(Self::Digest(d.bytes()?.to_vec())),
            3 => Ok(Self::Absorbed(d.u32()?)),
            _ => Err(decode::Error::message("unknown form of input")),
        }
    }
}

/// A signature.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Signature {
    /// In COSE's form (RFC 9053 §2): r and s side by side at full width for ECDSA.
    #[n(0)]
    pub signature: ByteVec,
    /// The algorithm that made it.
    #[n(1)]
    pub algorithm: Algorithm,
    /// The id of the key.
    #[n(2)]
    pub key: String,
    /// The version of the key.
    #[n(3)]
    pub version: u32,
}

/// Verifies a signature with the public part of a key.
#[derive(Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Verify {
    /// The key's id or one of its aliases.
    #[n(0)]
    pub key: String,
    /// The algorithm; the key's first if absent.
    #[n(1)]
    pub algorithm: Option<Algorithm>,
    /// What was signed.
    #[n(2)]
    pub input: SignInput,
    /// The signature in COSE's form.
    #[n(3)]
    pub signature: ByteVec,
    /// The version of the key; the current one if absent.
    #[n(4)]
    pub version: Option<u32>,
}

/// What became of a verification.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Verified {
    /// Whether the signature is right.
    #[n(0)]
    pub valid: bool,
    /// The version of the key that was tried.
    #[n(1)]
    pub version: u32,
}

/// Opens what was encrypted to an unwrap key (RSAES-OAEP), or wrapped by a wrap key (AES-KW, KWP).
#[derive(Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Unwrap {
    /// The key's id or one of its aliases.
    #[n(0)]
    pub key: String,
    /// The algorithm; the key's first if absent.
    #[n(1)]
    pub algorithm: Option<Algorithm>,
    /// What was encrypted, as long as the modulus for RSA.
    #[n(2)]
    pub ciphertext: ByteVec,
    /// OAEP's label (RFC 8017 §7.1); empty if absent, as it must be for AES.
    #[n(3)]
    pub label: Option<ByteVec>,
    /// The version of the key; the current one if absent.
    #[n(4)]
    pub version: Option<u32>,
}

/// What was inside.
#[derive(Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Unwrapped {
    /// The plaintext.
    #[n(0)]
    pub plaintext: SecretBytes,
    /// The id of the key.
    #[n(1)]
    pub key: String,
    /// The version of the key that opened it.
    #[n(2)]
    pub version: u32,
}

/// Agrees on a secret with a peer.
#[derive(Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Ecdh {
    /// The key's id or one of its aliases.
    #[n(0)]
    pub key: String,
    /// The peer's public key, on the same curve.
    #[n(1)]
    pub peer: CoseKey,
    /// How to derive the secret; absent: the raw x coordinate.
    #[n(2)]
    pub kdf: Option<Kdf>,
    /// The version of the key; the current one if absent.
    #[n(3)]
    pub version: Option<u32>,
}

/// HKDF (RFC 5869) of the raw secret, inside the agent, which never leaves it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Kdf {
    /// [`Algorithm::EcdhHkdfSha256`] or [`Algorithm::EcdhHkdfSha384`].
    #[n(0)]
    pub algorithm: Algorithm,
    /// The salt; absent: as many zero bytes as the hash is long.
    #[n(1)]
    pub salt: Option<ByteVec>,
    /// What the derived secret is for; empty if absent.
    #[n(2)]
    pub info: Option<ByteVec>,
    /// How many bytes to derive, 1 to 255 times the hash's length.
    #[n(3)]
    pub length: u32,
}

/// The secret that both sides have.
#[derive(Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct SharedSecret {
    /// The secret.
    #[n(0)]
    pub secret: SecretBytes,
    /// The id of the key.
    #[n(1)]
    pub key: String,
    /// The version of the key.
    #[n(2)]
    pub version: u32,
}

/// Random bytes from a token's generator.
#[derive(Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Random {
    /// How many, 1 to 1,024.
    #[n(0)]
    pub length: u32,
    /// The token; needed only where there are several.
    #[n(1)]
    pub token: Option<String>,
}

/// Random bytes.
#[derive(Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct RandomBytes {
    /// The bytes; often a secret to be.
    #[n(0)]
    pub bytes: SecretBytes,
    /// The token that made them.
    #[n(1)]
    pub token: String,
}
