//! The modules of `keywardd`. Read [`request`] first.
#![forbid(unsafe_code)]

pub mod agent;
pub mod audit;
pub mod caller;
pub mod certificate;
pub mod config;
pub mod daemon;
pub mod envelope;
pub mod events;
pub mod front;
pub mod limit;
pub mod monitor;
pub mod notify;
pub mod policy;
pub mod registry;
pub mod request;
pub mod server;
pub mod verify;
mod watch;
pub mod worker;
