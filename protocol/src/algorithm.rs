//! Algorithms by their COSE numbers, and the key types that they need.

use minicbor::{Decode, Decoder, Encode, Encoder, decode, encode};

/// A fully specified COSE algorithm (RFC 9864, RFC 8230, RFC 8812), or one of keyward's
/// private-use numbers below -65536 where COSE has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Algorithm {
    /// ECDSA on P-256 with SHA-256 (RFC 9864), -9.
    Esp256,
    /// ECDSA on P-384 with SHA-384 (RFC 9864), -51.
    Esp384,
    /// Ed25519 (RFC 9864), -19.
    Ed25519,
    /// RSASSA-PSS with SHA-256, salt of 32 bytes (RFC 8230), -37.
    Ps256,
    /// RSASSA-PKCS1-v1_5 with SHA-256 (RFC 8812), -257.
    Rs256,
    /// RSAES-OAEP with SHA-256 for both hashes (RFC 8230), -41.
    RsaOaepSha256,
    /// RSAES-OAEP with SHA-1 for both hashes (RFC 8230), -40: to open what others sealed so.
    RsaOaepSha1,
    /// Raw ECDH: the x coordinate of the shared point (SP 800-56A §5.7.1.2), private use -65537.
    EcdhRaw,
    /// ECDH, then HKDF with SHA-256 (RFC 5869) inside the agent, private use -65538.
    EcdhHkdfSha256,
    /// ECDH, then HKDF with SHA-384 (RFC 5869) inside the agent, private use -65539.
    EcdhHkdfSha384,
    /// AES-GCM with a key of 128 bits (RFC 9053 §4.1), 1.
    A128Gcm,
    /// AES-GCM with a key of 256 bits (RFC 9053 §4.1), 3.
    A256Gcm,
    /// HPKE-0 of cose-hpke: DHKEM(P-256, HKDF-SHA256), HKDF-SHA256, AES-128-GCM (RFC 9180), 35.
    Hpke0,
    /// HPKE-7 of cose-hpke: DHKEM(P-256, HKDF-SHA256), HKDF-SHA256, AES-256-GCM (RFC 9180), 45.
    Hpke7,
    /// AES Key Wrap with a key of 128 bits (RFC 3394, RFC 9053 §6.2.1), -3.
    A128Kw,
    /// AES Key Wrap with a key of 256 bits (RFC 3394, RFC 9053 §6.2.1), -5.
    A256Kw,
    /// AES Key Wrap with Padding and a key of 128 bits (RFC 5649), private use -65540.
    A128Kwp,
    /// AES Key Wrap with Padding and a key of 256 bits (RFC 5649), private use -65541.
    A256Kwp,
    /// HMAC with SHA-256, whole (RFC 9053 §3.1), 5.
    HmacSha256,
    /// HMAC with SHA-384, whole (RFC 9053 §3.1), 6.
    HmacSha384,
    /// HMAC with SHA-512, whole (RFC 9053 §3.1), 7.
    HmacSha512,
}

impl Algorithm {
    /// Every algorithm that this version knows.
    pub const ALL: [Self; 21] = [
        Self::Esp256,
        Self::Esp384,
        Self::Ed25519,
        Self::Ps256,
        Self::Rs256,
        Self::RsaOaepSha256,
        Self::RsaOaepSha1,
        Self::EcdhRaw,
        Self::EcdhHkdfSha256,
        Self::EcdhHkdfSha384,
        Self::A128Gcm,
        Self::A256Gcm,
        Self::Hpke0,
        Self::Hpke7,
        Self::A128Kw,
        Self::A256Kw,
        Self::A128Kwp,
        Self::A256Kwp,
        Self::HmacSha256,
        Self::HmacSha384,
        Self::HmacSha512,
    ];

    /// The COSE number.
    #[must_use]
    pub const fn number(self) -> i32 {
        match self {
            Self::Esp256 => -9,
            Self::Esp384 => -51,
            Self::Ed25519 => -19,
            Self::Ps256 => -37,
            Self::Rs256 => -257,
            Self::RsaOaepSha256 => -41,
            Self::RsaOaepSha1 => -40,
            Self::EcdhRaw => -65_537,
            Self::EcdhHkdfSha256 => -65_538,
            Self::EcdhHkdfSha384 => -65_539,
            Self::A128Gcm => 1,
            Self::A256Gcm => 3,
            Self::Hpke0 => 35,
            Self::Hpke7 => 45,
            Self::A128Kw => -3,
            Self::A256Kw => -5,
            Self::A128Kwp => -65_540,
            Self::A256Kwp => -65_541,
            Self::HmacSha256 => 5,
            Self::HmacSha384 => 6,
            Self::HmacSha512 => 7,
        }
    }

    /// The name that people read and type.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Esp256 => "ESP256",
            Self::Esp384 => "ESP384",
            Self::Ed25519 => "Ed25519",
            Self::Ps256 => "PS256",
            Self::Rs256 => "RS256",
            Self::RsaOaepSha256 => "RSAES-OAEP-SHA256",
            Self::RsaOaepSha1 => "RSAES-OAEP-SHA1",
            Self::EcdhRaw => "ECDH",
            Self::EcdhHkdfSha256 => "ECDH-HKDF-SHA256",
            Self::EcdhHkdfSha384 => "ECDH-HKDF-SHA384",
            Self::A128Gcm => "A128GCM",
            Self::A256Gcm => "A256GCM",
            Self::Hpke0 => "HPKE-0",
            Self::Hpke7 => "HPKE-7",
            Self::A128Kw => "A128KW",
            Self::A256Kw => "A256KW",
            Self::A128Kwp => "A128KWP",
            Self::A256Kwp => "A256KWP",
            Self::HmacSha256 => "HMAC-SHA256",
            Self::HmacSha384 => "HMAC-SHA384",
            Self::HmacSha512 => "HMAC-SHA512",
        }
    }

    /// The algorithm of a COSE number.
    #[must_use]
    pub fn from_number(number: i64) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|a| i64::from(a.number()) == number)
    }

    /// The algorithm of a name, in any case.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|a| a.name().eq_ignore_ascii_case(name))
    }

    /// How long the digest is that [`SignInput::Digest`](crate::operation::SignInput) must hold,
    /// or `None` where the algorithm signs the message itself.
    #[must_use]
    pub const fn digest_length(self) -> Option<usize> {
        match self {
            Self::Esp256 | Self::Ps256 | Self::Rs256 => Some(32),
            Self::Esp384 => Some(48),
            _ => None,
        }
    }
}

impl std::fmt::Display for Algorithm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl<C> Encode<C> for Algorithm {
    fn encode<W: encode::Write>(
        &self,
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), encode::Error<W::Error>> {
        e.i32(self.number())?.ok()
    }
}

impl<'b, C> Decode<'b, C> for Algorithm {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, decode::Error> {
        let number = d.i64()?;
        Self::from_number(number).ok_or_else(|| decode::Error::message("unknown algorithm"))
    }
}

/// What kind of key it is: its family and size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Encode, Decode)]
#[cbor(index_only)]
#[non_exhaustive]
pub enum KeyType {
    /// An elliptic-curve key on P-256 (secp256r1).
    #[n(1)]
    P256,
    /// An elliptic-curve key on P-384 (secp384r1).
    #[n(2)]
    P384,
    /// An Edwards key on Curve25519.
    #[n(3)]
    Ed25519,
    /// An RSA key of 2048 bits.
    #[n(4)]
    Rsa2048,
    /// An RSA key of 3072 bits.
    #[n(5)]
    Rsa3072,
    /// An RSA key of 4096 bits.
    #[n(6)]
    Rsa4096,
    /// An AES key of 128 bits.
    #[n(7)]
    Aes128,
    /// An AES key of 256 bits.
    #[n(8)]
    Aes256,
    /// A key of 32 bytes for HMAC with SHA-256.
    #[n(9)]
    HmacSha256,
    /// A key of 48 bytes for HMAC with SHA-384.
    #[n(10)]
    HmacSha384,
    /// A key of 64 bytes for HMAC with SHA-512.
    #[n(11)]
    HmacSha512,
    /// Data of 1 to [`MOST_DATA`](Self::MOST_DATA) bytes that a token gives back: no key.
    #[n(12)]
    Data,
}

impl KeyType {
    /// Every key type that this version knows.
    pub const ALL: [Self; 12] = [
        Self::P256,
        Self::P384,
        Self::Ed25519,
        Self::Rsa2048,
        Self::Rsa3072,
        Self::Rsa4096,
        Self::Aes128,
        Self::Aes256,
        Self::HmacSha256,
        Self::HmacSha384,
        Self::HmacSha512,
        Self::Data,
    ];

    /// The most data that can be sealed, in bytes (MAX_SYM_DATA, TPM 2.0 Library Part 2 §11.1.14).
    pub const MOST_DATA: usize = 128;

    /// The name that people read and type.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::P256 => "P-256",
            Self::P384 => "P-384",
            Self::Ed25519 => "Ed25519",
            Self::Rsa2048 => "RSA-2048",
            Self::Rsa3072 => "RSA-3072",
            Self::Rsa4096 => "RSA-4096",
            Self::Aes128 => "AES-128",
            Self::Aes256 => "AES-256",
            Self::HmacSha256 => "HMAC-SHA256",
            Self::HmacSha384 => "HMAC-SHA384",
            Self::HmacSha512 => "HMAC-SHA512",
            Self::Data => "data",
        }
    }

    /// The key type of a name, in any case and with or without the dash.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        let plain = name.replace('-', "");
        Self::ALL
            .into_iter()
            .find(|t| t.name().replace('-', "").eq_ignore_ascii_case(&plain))
    }

    /// The modulus in bits, for RSA.
    #[must_use]
    pub const fn rsa_bits(self) -> Option<u32> {
        match self {
            Self::Rsa2048 => Some(2048),
            Self::Rsa3072 => Some(3072),
            Self::Rsa4096 => Some(4096),
            _ => None,
        }
    }

    /// Whether it has no public part.
    #[must_use]
    pub const fn is_secret(self) -> bool {
        matches!(self, Self::Data) || self.secret_length().is_some()
    }

    /// The length of a secret key in bytes; `None` for key pairs, and for data, which has any.
    #[must_use]
    pub const fn secret_length(self) -> Option<usize> {
        match self {
            Self::Aes128 => Some(16),
            Self::Aes256 | Self::HmacSha256 => Some(32),
            Self::HmacSha384 => Some(48),
            Self::HmacSha512 => Some(64),
            _ => None,
        }
    }

    /// The length of a field element in bytes, for the NIST curves.
    #[must_use]
    pub const fn coordinate_length(self) -> Option<usize> {
        match self {
            Self::P256 => Some(32),
            Self::P384 => Some(48),
            _ => None,
        }
    }
}

impl std::fmt::Display for KeyType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}
