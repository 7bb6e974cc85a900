//! A client of the keyward agent.
//!
//! [`Client`] blocks; `AsyncClient` (feature `tokio`) does not. Both are thin shells around
//! [`Connection`], which does no I/O of its own and can be driven by any event loop. Before
//! anything is sent the server's user id is checked, so that no PIN goes to a socket that
//! somebody else put in its place.
//!
//! ```no_run
//! use keyward_client::Client;
//! use keyward_client::protocol::operation::{Sign, SignInput};
//!
//! # fn main() -> Result<(), keyward_client::Error> {
//! let mut client = Client::connect()?;
//! let signature = client.call(Sign {
//!     key: "release".into(),
//!     algorithm: None,
//!     input: SignInput::Message(b"the release notes".to_vec()),
//! })?;
//! println!("{} made {} bytes", signature.algorithm, signature.signature.len());
//! # Ok(())
//! # }
//! ```
#![forbid(unsafe_code)]

#[cfg(feature = "tokio")]
pub mod asynchronous;
pub mod blocking;
pub mod connection;
pub mod error;
pub mod key_format;
mod message;
pub mod socket;

pub use keyward_protocol as protocol;

#[cfg(feature = "tokio")]
pub use asynchronous::AsyncClient;
pub use blocking::{Client, Ticket};
pub use connection::Connection;
pub use error::{Error, ProtocolError, Unreachable};
pub use message::{Signing, Verifying};
pub use socket::Endpoint;
