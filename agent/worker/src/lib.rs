//! One process per token.
//!
//! A worker speaks to one token and to nobody but the agent, decides nothing, and holds no
//! credential but that token's. It seals itself before it loads the vendor's module, so that all
//! of the module's code and threads are inside the seal.
//!
//! Read [`process`] first: it is a worker's life from the first packet to the last.
#![forbid(unsafe_code)]

pub mod credential;
mod digest;
pub mod emsa;
pub mod oaep;
pub mod piv;
pub mod pkcs11;
pub mod point;
pub mod private_key;
pub mod probe;
pub mod process;
pub mod serve;
pub mod tpm;
