//! What the attestation of a token proves (SPEC.md §13), decided from bytes alone: no agent, no
//! token, no network.
//!
//! [`verify`](verify::verify) says whether a key is in hardware, and who vouches for that.
//! [`enrol`] is how a verifier comes to vouch for the attestation key of a TPM. [`protect`] is the
//! part of both sides that a TPM fixes.
#![forbid(unsafe_code)]

#[cfg(feature = "verify")]
pub mod chain;
#[cfg(feature = "verify")]
pub mod enrol;
#[cfg(feature = "verify")]
pub mod piv;
pub mod protect;
#[cfg(feature = "verify")]
pub mod verify;

#[cfg(all(test, feature = "verify"))]
mod tests;
