//! The files of TPM keys, given to other programs.

use minicbor::{Decode, Encode};

/// Asks for the file of a key that a TPM keeps in one. Only that TPM can load it; whoever may use the
/// TPM can then use the key, without keyward.
#[derive(Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Export {
    /// The key's id or one of its aliases.
    #[n(0)]
    pub key: String,
    /// The version; the current one if absent.
    #[n(1)]
    pub version: Option<u32>,
    /// The token; needed only where several TPMs have the key.
    #[n(2)]
    pub token: Option<String>,
}

/// The file of a key.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Exported {
    /// A TSS2 PRIVATE KEY in PEM.
    #[n(0)]
    pub pem: String,
    /// The token whose TPM can load it.
    #[n(1)]
    pub token: String,
    /// The version.
    #[n(2)]
    pub version: u32,
    /// The handle of the key that it is loaded below.
    #[n(3)]
    pub parent: u32,
}
