//! What a key is for, and where it is in its life.

use minicbor::{Decode, Encode};

use crate::algorithm::{Algorithm, KeyType};

/// Makes the `ALL` list, `name` and `from_name` of a plain enum.
macro_rules! named {
    ($type:ident { $($variant:ident = $name:literal),+ $(,)? }) => {
        impl $type {
            /// Every value, in the order of their numbers.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The name that people read and type.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }

            /// The value of a name.
            #[must_use]
            pub fn from_name(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|v| v.name() == name)
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.name())
            }
        }
    };
}
pub(crate) use named;

/// The one purpose of a key, fixed when it is made (SP 800-57 Part 1 §5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Encode, Decode)]
#[cbor(index_only)]
#[non_exhaustive]
pub enum Purpose {
    /// Signs messages or digests.
    #[n(1)]
    Sign,
    /// Agrees on secrets by ECDH.
    #[n(2)]
    Agree,
    /// Unwraps what others encrypted to its public key.
    #[n(3)]
    Unwrap,
    /// Encrypts and decrypts small data and data keys, each bound to its encryption context.
    #[n(4)]
    Encrypt,
    /// Wraps and unwraps other keys (SP 800-38F).
    #[n(5)]
    Wrap,
    /// Makes and verifies message authentication codes.
    #[n(6)]
    Mac,
    /// Is data that the token gives back, and no key: what `seal` made.
    #[n(7)]
    Seal,
}

named!(Purpose {
    Sign = "sign",
    Agree = "agree",
    Unwrap = "unwrap",
    Encrypt = "encrypt",
    Wrap = "wrap",
    Mac = "mac",
    Seal = "seal",
});

impl Purpose {
    /// What a key of this purpose and type can do, the default first; empty if the two don't fit.
    #[must_use]
    pub const fn algorithms(self, key_type: KeyType) -> &'static [Algorithm] {
        use Algorithm as A;
        match (self, key_type) {
            (Self::Sign, KeyType::P256) => &[A::Esp256],
            (Self::Sign, KeyType::P384) => &[A::Esp384],
            (Self::Sign, KeyType::Ed25519) => &[A::Ed25519],
            (Self::Sign, KeyType::Rsa2048 | KeyType::Rsa3072 | KeyType::Rsa4096) => {
                &[A::Ps256, A::Rs256]
            }
            (Self::Agree, KeyType::P256 | KeyType::P384) => {
                &[A::EcdhHkdfSha256, A::EcdhHkdfSha384, A::EcdhRaw]
            }
            (Self::Unwrap, KeyType::Rsa2048 | KeyType::Rsa3072 | KeyType::Rsa4096) => {
                &[A::RsaOaepSha256, A::RsaOaepSha1]
            }
            (Self::Encrypt, KeyType::Aes128) => &[A::A128Gcm],
            (Self::Encrypt, KeyType::Aes256) => &[A::A256Gcm],
            (Self::Encrypt, KeyType::P256) => &[A::Hpke7, A::Hpke0],
            (Self::Encrypt, KeyType::Rsa2048 | KeyType::Rsa3072 | KeyType::Rsa4096) => {
                &[A::RsaOaepSha256]
            }
            (Self::Wrap, KeyType::Aes128) => &[A::A128Kwp, A::A128Kw],
            (Self::Wrap, KeyType::Aes256) => &[A::A256Kwp, A::A256Kw],
            (Self::Mac, KeyType::HmacSha256) => &[A::HmacSha256],
            (Self::Mac, KeyType::HmacSha384) => &[A::HmacSha384],
            (Self::Mac, KeyType::HmacSha512) => &[A::HmacSha512],
            _ => &[],
        }
    }

    /// Whether there are keys of this purpose and type. Sealed data has no algorithm: it is given back as
    /// it is.
    #[must_use]
    pub const fn fits(self, key_type: KeyType) -> bool {
        matches!((self, key_type), (Self::Seal, KeyType::Data))
            || !self.algorithms(key_type).is_empty()
    }
}

/// What a sign key may sign.
///
/// A digest hides its content, so signing one is an action of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Encode, Decode)]
#[cbor(index_only)]
#[non_exhaustive]
pub enum Format {
    /// Any message, as bytes.
    #[n(1)]
    Raw,
    /// A digest that the caller computed.
    #[n(2)]
    Digest,
    /// An SSH user authentication request (RFC 4252 §7).
    #[n(3)]
    SshUserauth,
    /// An SSHSIG blob (OpenSSH PROTOCOL.sshsig).
    #[n(4)]
    Sshsig,
    /// A certificate, request or revocation list (RFC 5280, RFC 2986).
    #[n(5)]
    X509,
    /// A TLS handshake signature (RFC 8446 §4.4.3).
    #[n(6)]
    Tls,
}

named!(Format {
    Raw = "raw",
    Digest = "digest",
    SshUserauth = "ssh-userauth",
    Sshsig = "sshsig",
    X509 = "x509",
    Tls = "tls",
});

/// Where a key or a version is in its life (SP 800-57 Part 1 §7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Encode, Decode)]
#[cbor(index_only)]
#[non_exhaustive]
pub enum KeyState {
    /// Made, not yet to be used.
    #[n(1)]
    PreActivation,
    /// In use.
    #[n(2)]
    Active,
    /// Not to be used until a person says so.
    #[n(3)]
    Suspended,
    /// May open what it sealed, nothing new.
    #[n(4)]
    Deactivated,
    /// Somebody else may have it.
    #[n(5)]
    Compromised,
    /// Gone.
    #[n(6)]
    Destroyed,
}

named!(KeyState {
    PreActivation = "pre-activation",
    Active = "active",
    Suspended = "suspended",
    Deactivated = "deactivated",
    Compromised = "compromised",
    Destroyed = "destroyed",
});
