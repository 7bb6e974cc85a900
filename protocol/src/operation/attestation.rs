//! What a token says about its keys, for those who don't trust the agent.

use minicbor::bytes::ByteVec;
use minicbor::{Decode, Encode};

use crate::secret::SecretBytes;

/// Has the token of a key say where it is.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Attest {
    /// The key's id or one of its aliases.
    #[n(0)]
    pub key: String,
    /// What the verifier asks with: 16 to 64 bytes.
    #[n(1)]
    pub nonce: ByteVec,
    /// The version; the current one if absent.
    #[n(2)]
    pub version: Option<u32>,
}

/// What a token says about a key.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Attested {
    /// An attestation bundle (SPEC.md §13.1).
    #[n(0)]
    pub bundle: ByteVec,
    /// The id of the key.
    #[n(1)]
    pub key: String,
    /// The version of the key.
    #[n(2)]
    pub version: u32,
}

/// Asks for a token's attestation key, which is made if there is none.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct GetAttestationKey {
    /// The token; needed only where there are several.
    #[n(0)]
    pub token: Option<String>,
}

/// A token's attestation key.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct TokenAttestationKey {
    /// The attestation key's document (SPEC.md §13.4).
    #[n(0)]
    pub document: ByteVec,
    /// The token.
    #[n(1)]
    pub token: String,
}

/// Has a token answer a challenge to its attestation key.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct ActivateCredential {
    /// The token; needed only where there are several.
    #[n(0)]
    pub token: Option<String>,
    /// The challenge's document (SPEC.md §13.5).
    #[n(1)]
    pub challenge: ByteVec,
}

/// What was in a challenge.
#[derive(Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct ActivatedCredential {
    /// The answer, which nobody but the verifier needs to see.
    #[n(0)]
    pub secret: SecretBytes,
}
