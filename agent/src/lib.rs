//! The modules of `keywardd`.
#![forbid(unsafe_code)]

pub mod caller;
pub mod config;
pub mod monitor;
