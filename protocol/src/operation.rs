//! The operations: their numbers, what each is given, and what it answers.

mod adopt;
mod attestation;
mod backup;
mod bound;
mod card;
mod certificate;
mod envelope;
mod export;
mod import;
mod lifecycle;
mod manage;
mod read;
mod seal;
mod stream;
mod tags;
mod usage;
mod wrap;

use minicbor::{Decode, Encode};

use crate::cbor::{self, CborError};

pub use adopt::Adopt;
pub use attestation::{
    ActivateCredential, ActivatedCredential, Attest, Attested, GetAttestationKey,
    TokenAttestationKey,
};
pub use backup::{Backup, BackupPart, Restore, Restored};
pub use bound::{BindPcrs, BoundDescription, PcrChange, Reseal, Resealed, ResealedPlace};
pub use card::{
    Certificate, ChangePuk, GetCertificate, NewManagementKey, ResetToken, UnblockPin,
    WriteCertificate,
};
pub use certificate::{CertificateRequest, RequestCertificate, SubjectAltName};
pub use envelope::{
    DataKey, Decrypt, Decrypted, Encrypt, Encrypted, GenerateDataKey, HpkeOpen, ReEncrypt,
    ReEncrypted,
};
pub use export::{Export, Exported};
pub use import::{Import, KeyMaterial};
pub use lifecycle::{
    Alias, Disable, Enable, MarkCompromised, Recovered, Rescan, Rescanned, Rotate, Tag,
};
pub use manage::{
    AcceptRegistry, AcceptToken, ChangePin, Create, Destroy, Destroyed, Done, Lock, Unlock,
};
pub use read::{
    Describe, GetPublicKey, Holding, KeyDescription, KeyList, KeySummary, List, LoginState,
    PlacementDescription, PublicKey, Status, StatusReport, TokenStatus, VersionDescription,
};
pub use seal::{Unseal, Unsealed};
pub use stream::{Absorb, Absorbed, Subscribe};
pub use usage::{
    Ecdh, Kdf, Random, RandomBytes, SharedSecret, Sign, SignInput, Signature, Unwrap, Unwrapped,
    Verified, Verify,
};
pub use wrap::{Mac, MacTag, VerifyMac, Wrap, Wrapped};

/// An operation: what it is given, and the type of its answer.
pub trait Operation: Encode<()> + for<'b> Decode<'b, ()> {
    /// Its number on the wire.
    const CODE: OperationCode;
    /// Its answer.
    type Reply: Encode<()> + for<'b> Decode<'b, ()>;
}

/// How an operation is logged and guarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OperationClass {
    /// Uses a key, or the token's random numbers.
    Use,
    /// Changes keys, tokens or what the agent holds.
    Manage,
    /// Reads what there is.
    Read,
}

macro_rules! operations {
    ($($(#[$doc:meta])* $name:ident = $number:literal, $text:literal, $class:ident => $reply:ty;)+) => {
        /// The number of an operation (SPEC.md §6).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum OperationCode { $($(#[$doc])* $name),+ }

        impl OperationCode {
            /// Every operation that this version knows.
            pub const ALL: &'static [Self] = &[$(Self::$name),+];

            /// The number on the wire.
            #[must_use]
            pub const fn number(self) -> u32 {
                match self { $(Self::$name => $number),+ }
            }

            /// The operation of a number.
            #[must_use]
            pub const fn from_number(number: u32) -> Option<Self> {
                match number { $($number => Some(Self::$name),)+ _ => None }
            }

            /// The name that logs and policies use.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $text),+ }
            }

            /// How it is logged and guarded.
            #[must_use]
            pub const fn class(self) -> OperationClass {
                match self { $(Self::$name => OperationClass::$class),+ }
            }
        }

        /// Any operation with its parameters.
        #[derive(Debug, PartialEq, Eq)]
        pub enum Request { $($(#[$doc])* $name($name)),+ }

        impl Request {
            /// Which operation it is.
            #[must_use]
            pub const fn code(&self) -> OperationCode {
                match self { $(Self::$name(_) => OperationCode::$name),+ }
            }

            /// Decodes the parameters of an operation; unknown fields are refused.
            ///
            /// # Errors
            /// The bytes are not the operation's parameters.
            pub fn decode_body(code: OperationCode, body: &[u8]) -> Result<Self, CborError> {
                match code { $(OperationCode::$name => cbor::decode_exact(body).map(Self::$name)),+ }
            }

            /// Encodes the parameters at the end of `bytes`.
            pub fn encode_body_into(&self, bytes: &mut Vec<u8>) {
                match self { $(Self::$name(body) => cbor::encode_into(body, bytes)),+ }
            }
        }

        $(
            impl Operation for $name {
                const CODE: OperationCode = OperationCode::$name;
                type Reply = $reply;
            }

            impl From<$name> for Request {
                fn from(body: $name) -> Self {
                    Self::$name(body)
                }
            }
        )+
    };
}

operations! {
    /// Signs a message or a digest.
    Sign = 1, "sign", Use => Signature;
    /// Verifies a signature with the key's public part, in the agent.
    Verify = 2, "verify", Use => Verified;
    /// Opens what was encrypted to the key.
    Unwrap = 3, "unwrap", Use => Unwrapped;
    /// Agrees on a secret with a peer's public key.
    Ecdh = 4, "ecdh", Use => SharedSecret;
    /// Random bytes from a token.
    Random = 5, "random", Use => RandomBytes;
    /// The public part of a key.
    GetPublicKey = 6, "get-public-key", Use => PublicKey;
    /// Encrypts up to 4 KiB under a key, bound to a context.
    Encrypt = 7, "encrypt", Use => Encrypted;
    /// Opens what `encrypt` or `generate-data-key` made.
    Decrypt = 8, "decrypt", Use => Decrypted;
    /// Makes a random data key, and encrypts it under a key.
    GenerateDataKey = 9, "generate-data-key", Use => DataKey;
    /// Decrypts and encrypts again under another key or context; the plaintext stays inside.
    ReEncrypt = 10, "re-encrypt", Use => ReEncrypted;
    /// Wraps a key's bytes with a wrap key (SP 800-38F).
    Wrap = 11, "wrap", Use => Wrapped;
    /// Makes a message authentication code.
    Mac = 12, "mac", Use => MacTag;
    /// Verifies a message authentication code.
    VerifyMac = 13, "verify-mac", Use => Verified;
    /// Opens an HPKE ciphertext (RFC 9180 §6.1) that was sealed to the key.
    HpkeOpen = 14, "hpke-open", Use => Decrypted;
    /// Makes a certification request (RFC 2986), signed by the key.
    RequestCertificate = 15, "request-certificate", Use => CertificateRequest;
    /// Has the token of a key say where it is.
    Attest = 16, "attest", Use => Attested;
    /// A token's attestation key.
    GetAttestationKey = 17, "get-attestation-key", Use => TokenAttestationKey;
    /// Gives back what was sealed.
    Unseal = 18, "unseal", Use => Unsealed;
    /// The certificate that a card keeps beside a key.
    GetCertificate = 19, "get-certificate", Use => Certificate;
    /// Makes a key in a token.
    Create = 32, "create", Manage => KeyDescription;
    /// Destroys a key in all its tokens.
    Destroy = 33, "destroy", Manage => Destroyed;
    /// Gives a token its PIN.
    Unlock = 34, "unlock", Manage => Done;
    /// Takes the PIN away from a token, or from all.
    Lock = 35, "lock", Manage => Done;
    /// Says that the token that is there now is the right one.
    AcceptToken = 36, "accept-token", Manage => Done;
    /// Puts a key that exists already into one token or several.
    Import = 37, "import", Manage => KeyDescription;
    /// Makes a new version of a key; the old ones still open what they sealed.
    Rotate = 38, "rotate", Manage => KeyDescription;
    /// Lets a suspended key be used.
    Enable = 39, "enable", Manage => KeyDescription;
    /// Suspends a key.
    Disable = 40, "disable", Manage => KeyDescription;
    /// Says that somebody else may have the key; there is no way back.
    MarkCompromised = 41, "mark-compromised", Manage => KeyDescription;
    /// Gives and takes a key's names.
    Alias = 42, "alias", Manage => KeyDescription;
    /// Sets and removes a key's tags.
    Tag = 43, "tag", Manage => KeyDescription;
    /// Changes a token's PIN.
    ChangePin = 44, "change-pin", Manage => Done;
    /// Looks for keys on a token that the registry does not have.
    Rescan = 45, "rescan", Manage => Rescanned;
    /// A part of a copy of all that the agent keeps.
    Backup = 46, "backup", Manage => BackupPart;
    /// A part of such a copy, to be taken over.
    Restore = 47, "restore", Manage => Restored;
    /// Says that the registry as it is is the right one, though the log knows another.
    AcceptRegistry = 48, "accept-registry", Manage => Done;
    /// Approves the values that PCRs have now, for a key that is bound to them.
    Reseal = 49, "reseal", Manage => Resealed;
    /// Has a token answer a challenge to its attestation key.
    ActivateCredential = 50, "activate-credential", Manage => ActivatedCredential;
    /// Takes in a key that is at a place of its own in a token already, made by another program.
    Adopt = 51, "adopt", Manage => KeyDescription;
    /// The file of a key that a TPM keeps in one.
    Export = 52, "export", Manage => Exported;
    /// Changes a card's PUK.
    ChangePuk = 53, "change-puk", Manage => Done;
    /// Gives a blocked PIN a new value.
    UnblockPin = 54, "unblock-pin", Manage => Done;
    /// Gives a card a new random management key.
    NewManagementKey = 55, "new-management-key", Manage => Done;
    /// Brings a card back to how it left the factory.
    ResetToken = 56, "reset-token", Manage => Done;
    /// Has the cards of a key keep a certificate beside it.
    WriteCertificate = 57, "write-certificate", Manage => Done;
    /// The keys.
    List = 64, "list", Read => KeyList;
    /// All that is known about a key.
    Describe = 65, "describe", Read => KeyDescription;
    /// How the agent and its tokens are.
    Status = 66, "status", Read => StatusReport;
    /// Tells this connection what happens from now on.
    Subscribe = 67, "subscribe", Read => Done;
    /// Takes a part of a message that is too large for one frame, to be signed or verified.
    Absorb = 68, "absorb", Read => Absorbed;
}
