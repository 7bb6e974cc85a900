//! What is measured.

use serde::{Deserialize, Serialize};

/// One operation with one kind of key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) enum Work {
    /// An ECDSA signature with a P-256 key.
    SignP256,
    /// An RSASSA-PKCS1-v1_5 signature with a key of 2048 bits and SHA-256.
    SignRsa2048,
    /// RSAES-OAEP with a key of 2048 bits: SHA-256 by keyward, which SoftHSM alone does not have, SHA-1 by the references.
    UnwrapRsa2048,
    /// Raw ECDH with a P-256 key.
    EcdhP256,
    /// AES-256-GCM of 4 KiB.
    Encrypt4K,
    /// A data key of 32 bytes and its ciphertext; the references: 32 random bytes, and AES-256-GCM of them.
    DataKey,
    /// The data key back from its ciphertext, AES-256-GCM.
    DecryptDataKey,
    /// 32 bytes in HPKE (P-256); the references: the ECDH that is in it.
    HpkeOpen,
}

impl Work {
    /// All of them, in the order of the tables.
    pub(crate) const ALL: [Self; 8] = [
        Self::SignP256,
        Self::SignRsa2048,
        Self::UnwrapRsa2048,
        Self::EcdhP256,
        Self::Encrypt4K,
        Self::DataKey,
        Self::DecryptDataKey,
        Self::HpkeOpen,
    ];

    /// The name in the tables.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::SignP256 => "sign-p256",
            Self::SignRsa2048 => "sign-rsa2048",
            Self::UnwrapRsa2048 => "unwrap-rsa2048",
            Self::EcdhP256 => "ecdh-p256",
            Self::Encrypt4K => "encrypt-4k",
            Self::DataKey => "data-key",
            Self::DecryptDataKey => "decrypt-data-key",
            Self::HpkeOpen => "hpke-open-p256",
        }
    }
}

/// What is signed.
pub(crate) const MESSAGE: [u8; 64] = [0x5a; 64];
/// What is encrypted.
pub(crate) const PLAINTEXT: [u8; 4096] = [0x3c; 4096];
/// What is wrapped.
pub(crate) const SECRET: [u8; 32] = [0xa5; 32];
