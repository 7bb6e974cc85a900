//! The operations: their numbers, what each is given, and what it answers.

mod manage;
mod read;
mod tags;
mod usage;

use minicbor::{Decode, Encode};

use crate::cbor::{self, CborError};

pub use manage::{AcceptToken, Create, Destroy, Done, Lock, Unlock};
pub use read::{
    Describe, GetPublicKey, Holding, KeyDescription, KeyList, KeySummary, List, LoginState,
    PlacementDescription, PublicKey, Status, StatusReport, TokenStatus, VersionDescription,
};
pub use usage::{
    Ecdh, Kdf, Random, RandomBytes, SharedSecret, Sign, SignInput, Signature, Unwrap, Unwrapped,
    Verified, Verify,
};

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
    /// Makes a key in a token.
    Create = 32, "create", Manage => KeyDescription;
    /// Destroys a key in all its tokens.
    Destroy = 33, "destroy", Manage => Done;
    /// Gives a token its PIN.
    Unlock = 34, "unlock", Manage => Done;
    /// Takes the PIN away from a token, or from all.
    Lock = 35, "lock", Manage => Done;
    /// Says that the token that is there now is the right one.
    AcceptToken = 36, "accept-token", Manage => Done;
    /// The keys.
    List = 64, "list", Read => KeyList;
    /// All that is known about a key.
    Describe = 65, "describe", Read => KeyDescription;
    /// How the agent and its tokens are.
    Status = 66, "status", Read => StatusReport;
}
