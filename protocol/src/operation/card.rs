//! What only PIV cards have: a PUK, a management key, and certificates beside the keys.

use minicbor::bytes::ByteVec;
use minicbor::{Decode, Encode};

use crate::secret::SecretBytes;

/// Changes a card's PUK. The old one counts as a try.
#[derive(Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct ChangePuk {
    /// The token; needed only where there are several.
    #[n(0)]
    pub token: Option<String>,
    /// The PUK as it is: 6 to 8 bytes.
    #[n(1)]
    pub old: SecretBytes,
    /// The PUK as it is to be.
    #[n(2)]
    pub new: SecretBytes,
    /// Spend the last try.
    #[n(3)]
    pub spend_withheld_try: bool,
}

/// Gives a blocked PIN a new value.
#[derive(Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct UnblockPin {
    /// The token; needed only where there are several.
    #[n(0)]
    pub token: Option<String>,
    /// The PUK. It counts as a try.
    #[n(1)]
    pub puk: SecretBytes,
    /// The PIN as it is to be: 6 to 8 bytes.
    #[n(2)]
    pub new: SecretBytes,
    /// Spend the last try of the PUK.
    #[n(3)]
    pub spend_withheld_try: bool,
}

/// Gives a card a new random management key, which it keeps behind its PIN.
#[derive(Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct NewManagementKey {
    /// The token; needed only where there are several.
    #[n(0)]
    pub token: Option<String>,
}

/// Brings a card back to how it left the factory: all keys on it are destroyed.
#[derive(Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct ResetToken {
    /// The token.
    #[n(0)]
    pub token: String,
    /// Its serial number, as a proof that this card is meant.
    #[n(1)]
    pub serial: String,
}

/// Asks for the certificate that a card keeps beside a key.
#[derive(Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct GetCertificate {
    /// The key's id or one of its aliases.
    #[n(0)]
    pub key: String,
    /// The version; the current one if absent.
    #[n(1)]
    pub version: Option<u32>,
}

/// A certificate that a card keeps beside a key.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Certificate {
    /// The certificate (RFC 5280), DER.
    #[n(0)]
    pub der: ByteVec,
    /// The token that has it.
    #[n(1)]
    pub token: String,
    /// The version.
    #[n(2)]
    pub version: u32,
}

/// Has the cards of a key keep a certificate beside it.
#[derive(Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct WriteCertificate {
    /// The key's id or one of its aliases.
    #[n(0)]
    pub key: String,
    /// The certificate (RFC 5280), DER, of the public part of the key's current version; empty: there
    /// is to be none.
    #[n(1)]
    pub der: ByteVec,
}
