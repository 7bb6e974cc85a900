//! The agent: it lets programs use hardware keys, decides who may, and keeps the log.
//!
//! `keywardd` is this library and a `main`. It opens no device and loads no library.
#![forbid(unsafe_code)]

pub mod audit;
pub mod caller;
pub mod config;
pub mod monitor;
pub mod registry;
