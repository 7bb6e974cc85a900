//! The wire protocol of keyward.
//!
//! A connection to `keywardd` is a Unix stream of *frames*: a length and one item of
//! deterministic CBOR (RFC 8949 §4.2). The client says [`Hello`](message::Hello), the agent
//! answers [`Welcome`](message::Welcome), then the client sends requests and the agent answers
//! each by its id, in any order. `SPEC.md` beside this crate is normative; the types here are
//! one implementation of it, and `vectors/` holds what both must agree on.
//!
//! The crate does no I/O and has no unsafe code. Nothing in it allocates what a peer merely
//! claims: a length is checked against the bytes that are there first.
#![forbid(unsafe_code)]

pub mod algorithm;
pub mod attestation;
pub mod backup;
pub mod cbor;
pub mod ciphertext;
pub mod cose_key;
pub mod error;
pub mod event;
pub mod frame;
pub mod key;
pub mod message;
pub mod operation;
pub mod piv;
pub mod secret;
pub mod spki;
pub mod thumbprint;

pub use algorithm::{Algorithm, KeyType};
pub use ciphertext::Ciphertext;
pub use cose_key::CoseKey;
pub use error::{ErrorCode, Failure};
pub use key::{Format, KeyState, Purpose};
pub use operation::{Operation, OperationCode, Request};
pub use secret::SecretBytes;
pub use thumbprint::Thumbprint;
