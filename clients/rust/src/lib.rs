//! A client of the keyward agent.
//!
//! [`Client`] blocks; `AsyncClient` (feature `tokio`) does not. Both are thin shells around
//! [`Connection`], which does no I/O of its own and can be driven by any event loop. Before
//! anything is sent the server's user id is checked, so that no PIN goes to a socket that
//! somebody else put in its place.
//!
//! ```no_run
//! use keyward_client::Agent;
//!
//! # fn main() -> Result<(), keyward_client::Error> {
//! let key = Agent::connect()?.signing_key("release")?;
//! let signature = key.sign_message(b"the release notes")?;
//! println!("{} made {} bytes", key.algorithm(), signature.len());
//! # Ok(())
//! # }
//! ```
//!
//! [`Agent`] gives keys as values; with the feature `signature` those that sign implement the
//! traits of the crate of that name. Every operation of the protocol can be asked for with
//! [`Client::call`]. `examples/` has whole programs.
#![forbid(unsafe_code)]

#[cfg(feature = "age")]
pub mod age;
#[cfg(feature = "tokio")]
pub mod asynchronous;
pub mod blocking;
pub mod connection;
pub mod error;
pub mod key;
pub mod key_format;
mod message;
pub mod socket;

pub use keyward_protocol as protocol;
/// Seals to a public key without asking the agent (feature `seal`).
#[cfg(feature = "seal")]
pub use keyward_seal as seal;

#[cfg(feature = "tokio")]
pub use asynchronous::AsyncClient;
pub use blocking::{Client, Ticket};
pub use connection::Connection;
pub use error::{Error, ProtocolError, Unreachable};
pub use key::Agent;
pub use message::{Signing, Verifying};
pub use socket::Endpoint;
