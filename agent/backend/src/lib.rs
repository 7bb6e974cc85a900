//! What a keyward worker is.
//!
//! One process serves one token. The agent talks to it over a SOCK_SEQPACKET pair, one message a
//! packet: [`message::Call`] in, [`message::Answer`] out, in any order, by id. The monitor sends
//! [`start::Start`] as the very first packet. A worker's code for its kind of hardware is a
//! [`Backend`]; the loop around it is the same for all kinds.
#![forbid(unsafe_code)]

pub mod backend;
#[cfg(feature = "conformance")]
pub mod conformance;
pub mod error;
pub mod key_file;
pub mod message;
pub mod pcr;
pub mod start;
pub mod tcti;
pub mod token;

pub use backend::{Backend, Notice, Session};
pub use error::{BackendError, Result};
pub use tcti::Tcti;
pub use token::{Destroyed, KeyReport, MOST_BLOB, TokenIdentity, TokenReport, VersionId};
