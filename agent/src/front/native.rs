//! The native door: protocol/SPEC.md over a Unix stream socket.

mod connection;
mod outbox;
mod socket;
mod stream;

pub use connection::serve;
pub use socket::{Listeners, SocketError};
