//! Data that a token seals: `import` gives it to the token, with the purpose `seal`.

use minicbor::{Decode, Encode};

use crate::secret::SecretBytes;

/// Asks for what was sealed.
#[derive(Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Unseal {
    /// The id of the sealed data, or one of its aliases.
    #[n(0)]
    pub key: String,
}

/// What was sealed.
#[derive(Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Unsealed {
    /// The data.
    #[n(0)]
    pub data: SecretBytes,
    /// The id of the sealed data.
    #[n(1)]
    pub key: String,
    /// The version of it.
    #[n(2)]
    pub version: u32,
}
