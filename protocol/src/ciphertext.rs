//! What the agent's `encrypt` gives out: COSE_Encrypt0 and COSE_Encrypt (RFC 9052 §5), in the
//! form of SPEC.md §12.
//!
//! The types say what is in a ciphertext and what is authenticated beside it; the cryptography
//! is elsewhere. A [`Header`] is made first, for its [`aad`](Header::aad) goes into the AEAD; what
//! the AEAD gives makes a [`Ciphertext`] of it.
//!
//! ```
//! use keyward_protocol::ciphertext::{Body, Ciphertext, Context, Header, Scheme};
//!
//! let context = Context::new([("tenant".into(), "a".into())].into())?;
//! let header = Header::new(Scheme::A256Gcm, uuid::Uuid::from_u128(7), 1).ok_or("version 0")?;
//! let aad = header.aad(&context);
//! # let _ = aad;
//! // … AES-256-GCM with this IV, the AAD and an empty plaintext …
//! let (iv, content) = ([1; 12], vec![0; 16]);
//! let ciphertext = Ciphertext::new(header, Body::AesGcm { iv }, content)?;
//! assert_eq!(Ciphertext::decode(&ciphertext.encode())?, ciphertext);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod codec;
mod context;

use uuid::Uuid;

use crate::algorithm::Algorithm;
use crate::cbor::CborError;

pub use context::{Context, ContextError};

/// The longest ciphertext, in bytes.
pub const MAX_CIPHERTEXT: usize = 16 * 1024;
/// The initialisation vector of AES-GCM, in bytes (RFC 9053 §4.1).
pub const IV_LENGTH: usize = 12;
/// The authentication tag of AES-GCM, in bytes (RFC 9053 §4.1).
pub const TAG_LENGTH: usize = 16;
/// The encapsulated key of DHKEM(P-256, HKDF-SHA256), in bytes (RFC 9180 §7.1).
pub const EK_LENGTH: usize = 65;

/// What opens a ciphertext: the kind of key, and what it does with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Scheme {
    /// AES-GCM by a key of 128 bits (RFC 9053 §4.1), in COSE_Encrypt0.
    A128Gcm,
    /// AES-GCM by a key of 256 bits (RFC 9053 §4.1), in COSE_Encrypt0.
    A256Gcm,
    /// HPKE to a P-256 key with AES-128-GCM (draft-ietf-cose-hpke-27 §3.2), in COSE_Encrypt0.
    Hpke0,
    /// HPKE to a P-256 key with AES-256-GCM (draft-ietf-cose-hpke-27 §3.2), in COSE_Encrypt0.
    Hpke7,
    /// AES-GCM by a random key of 256 bits, which RSAES-OAEP with SHA-256 transports (RFC 8230 §3,
    /// RFC 9052 §8.5.3), in COSE_Encrypt.
    RsaOaep,
}

impl Scheme {
    /// Every scheme that this version knows.
    pub const ALL: [Self; 5] = [
        Self::A128Gcm,
        Self::A256Gcm,
        Self::Hpke0,
        Self::Hpke7,
        Self::RsaOaep,
    ];

    /// What the key itself does.
    #[must_use]
    pub const fn algorithm(self) -> Algorithm {
        match self {
            Self::A128Gcm => Algorithm::A128Gcm,
            Self::A256Gcm => Algorithm::A256Gcm,
            Self::Hpke0 => Algorithm::Hpke0,
            Self::Hpke7 => Algorithm::Hpke7,
            Self::RsaOaep => Algorithm::RsaOaepSha256,
        }
    }

    /// How the content is encrypted, which is what the protected header says. It differs from
    /// [`algorithm`](Self::algorithm) where the key transports another one.
    #[must_use]
    pub const fn content_algorithm(self) -> Algorithm {
        match self {
            Self::RsaOaep => Algorithm::A256Gcm,
            _ => self.algorithm(),
        }
    }

    /// The scheme of what a key does, if ciphertexts are made so.
    #[must_use]
    pub fn of(algorithm: Algorithm) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|scheme| scheme.algorithm() == algorithm)
    }
}

impl std::fmt::Display for Scheme {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::RsaOaep => write!(f, "{} with {}", self.algorithm(), self.content_algorithm()),
            _ => write!(f, "{}", self.algorithm()),
        }
    }
}

/// What a ciphertext says about itself and authenticates: the protected header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Header {
    scheme: Scheme,
    kid: Uuid,
    version: u32,
}

impl Header {
    /// The header of what a version of a key seals; `None` for version 0, which no key has.
    #[must_use]
    pub const fn new(scheme: Scheme, kid: Uuid, version: u32) -> Option<Self> {
        if version == 0 {
            return None;
        }
        Some(Self {
            scheme,
            kid,
            version,
        })
    }

    /// What opens it.
    #[must_use]
    pub const fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The id of the key (`kid`).
    #[must_use]
    pub const fn kid(&self) -> Uuid {
        self.kid
    }

    /// The version of the key, from 1.
    #[must_use]
    pub const fn version(&self) -> u32 {
        self.version
    }

    /// What the content's AEAD authenticates beside the content: the encoded Enc_structure (RFC
    /// 9052 §5.3), with the encryption context as `external_aad`.
    #[must_use]
    pub fn aad(&self, context: &Context) -> Vec<u8> {
        codec::enc_structure(self, context)
    }
}

/// What else is needed to open the content; not authenticated by itself, but another value opens
/// nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Body {
    /// Of [`Scheme::A128Gcm`] and [`Scheme::A256Gcm`].
    AesGcm {
        /// The initialisation vector (RFC 9052 §3.1, label 5).
        iv: [u8; IV_LENGTH],
    },
    /// Of [`Scheme::Hpke0`] and [`Scheme::Hpke7`].
    Hpke {
        /// The encapsulated key, an uncompressed point that nobody has checked yet
        /// (draft-ietf-cose-hpke-27 §3.1, label -4).
        ek: [u8; EK_LENGTH],
    },
    /// Of [`Scheme::RsaOaep`].
    RsaOaep {
        /// The initialisation vector of the content.
        iv: [u8; IV_LENGTH],
        /// The content's key, encrypted: as long as the modulus of an RSA key of 2048, 3072 or
        /// 4096 bits.
        encrypted_key: Vec<u8>,
    },
}

/// A ciphertext whose parts fit together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ciphertext {
    header: Header,
    body: Body,
    content: Vec<u8>,
}

/// Why bytes are no ciphertext of keyward.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CiphertextError {
    /// More than [`MAX_CIPHERTEXT`] bytes: nothing that keyward made.
    #[error("a ciphertext has at most {MAX_CIPHERTEXT} bytes")]
    TooLarge,
    /// The first bytes are the tag of neither COSE_Encrypt0 nor COSE_Encrypt: look for another
    /// file.
    #[error("neither a tagged COSE_Encrypt0 nor a tagged COSE_Encrypt")]
    NotCiphertext,
    /// A format number that this version does not know: update keyward.
    #[error("a ciphertext of format {0}, which this version of keyward does not know")]
    UnknownFormat(u64),
    /// COSE, but damaged, or not of keyward's form.
    #[error("not a ciphertext of keyward's form: {0}")]
    Malformed(#[from] CborError),
}

impl Ciphertext {
    /// A ciphertext of its parts; `content` is the AEAD's ciphertext with its tag behind it.
    ///
    /// # Errors
    /// [`CiphertextError::Malformed`] if the parts are not those of the header's scheme or of a wrong
    /// length, [`CiphertextError::TooLarge`] if it would be longer than all can be.
    pub fn new(header: Header, body: Body, content: Vec<u8>) -> Result<Self, CiphertextError> {
        let fits = match (header.scheme, &body) {
            (Scheme::A128Gcm | Scheme::A256Gcm, Body::AesGcm { .. }) => true,
            (Scheme::Hpke0 | Scheme::Hpke7, Body::Hpke { ek }) => ek.first() == Some(&0x04),
            (Scheme::RsaOaep, Body::RsaOaep { encrypted_key, .. }) => {
                matches!(encrypted_key.len(), 256 | 384 | 512)
            }
            _ => false,
        };
        if !fits || content.len() < TAG_LENGTH {
            return Err(CborError::Shape.into());
        }
        let ciphertext = Self {
            header,
            body,
            content,
        };
        if ciphertext.encode().len() > MAX_CIPHERTEXT {
            return Err(CiphertextError::TooLarge);
        }
        Ok(ciphertext)
    }

    /// Reads a ciphertext; each has one encoding.
    ///
    /// # Errors
    /// Why it is none.
    pub fn decode(bytes: &[u8]) -> Result<Self, CiphertextError> {
        codec::decode(bytes)
    }

    /// The one encoding.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        codec::encode(self)
    }

    /// The protected header.
    #[must_use]
    pub const fn header(&self) -> &Header {
        &self.header
    }

    /// What opens it.
    #[must_use]
    pub const fn scheme(&self) -> Scheme {
        self.header.scheme
    }

    /// The id of the key (`kid`).
    #[must_use]
    pub const fn kid(&self) -> Uuid {
        self.header.kid
    }

    /// The version of the key, from 1.
    #[must_use]
    pub const fn version(&self) -> u32 {
        self.header.version
    }

    /// What else is needed to open it.
    #[must_use]
    pub const fn body(&self) -> &Body {
        &self.body
    }

    /// The AEAD's ciphertext, its tag behind it.
    #[must_use]
    pub fn content(&self) -> &[u8] {
        &self.content
    }

    /// The initialisation vector, where one is sent.
    #[must_use]
    pub const fn iv(&self) -> Option<&[u8; IV_LENGTH]> {
        match &self.body {
            Body::AesGcm { iv } | Body::RsaOaep { iv, .. } => Some(iv),
            Body::Hpke { .. } => None,
        }
    }

    /// HPKE's encapsulated key.
    #[must_use]
    pub const fn ek(&self) -> Option<&[u8; EK_LENGTH]> {
        match &self.body {
            Body::Hpke { ek } => Some(ek),
            _ => None,
        }
    }

    /// The content's key, encrypted to an RSA key.
    #[must_use]
    pub fn encrypted_key(&self) -> Option<&[u8]> {
        match &self.body {
            Body::RsaOaep { encrypted_key, .. } => Some(encrypted_key),
            _ => None,
        }
    }

    /// How long the plaintext is, which is no secret.
    #[must_use]
    pub fn plaintext_length(&self) -> usize {
        self.content.len().saturating_sub(TAG_LENGTH)
    }

    /// What the AEAD authenticates beside the content: [`Header::aad`].
    #[must_use]
    pub fn aad(&self, context: &Context) -> Vec<u8> {
        self.header.aad(context)
    }
}
