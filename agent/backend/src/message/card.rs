//! What only PIV cards are asked for.

use keyward_protocol::SecretBytes;
use minicbor::bytes::ByteVec;
use minicbor::{Decode, Encode};

use crate::token::VersionId;

/// Keeps a certificate beside a key.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct WriteCertificate {
    /// Which key.
    #[n(0)]
    pub id: VersionId,
    /// The certificate, DER; empty: there is to be none.
    #[n(1)]
    pub certificate: ByteVec,
}

/// Gives a blocked PIN a new value.
#[derive(Debug, PartialEq, Eq, Encode, Decode)]
pub struct UnblockPin {
    /// What unblocks it.
    #[n(0)]
    pub puk: SecretBytes,
    /// The PIN as it is to be.
    #[n(1)]
    pub new: SecretBytes,
    /// Whether the PUK is sent although it has one try left.
    #[n(2)]
    pub last_try: bool,
}

/// Changes a card's PUK.
#[derive(Debug, PartialEq, Eq, Encode, Decode)]
pub struct ChangePuk {
    /// As it is.
    #[n(0)]
    pub old: SecretBytes,
    /// As it is to be.
    #[n(1)]
    pub new: SecretBytes,
    /// Whether it is sent although it has one try left.
    #[n(2)]
    pub last_try: bool,
}
