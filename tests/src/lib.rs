//! The test harness of keyward: real tokens, a real `openssl`, faults on demand.

#![allow(clippy::expect_used, reason = "a harness fails by panicking")]

#[allow(clippy::arithmetic_side_effects, reason = "numbers of a measurement")]
pub mod bench;
pub mod child;
pub mod daemon;
pub mod fault;
pub mod openssl;
pub mod piv;
pub mod process;
pub mod raw;
pub mod remote;
pub mod request;
pub mod site;
pub mod softhsm;
pub mod swtpm;
pub mod wait;
pub mod worker;

pub use daemon::{Daemon, PATIENCE};
pub use fault::{Fault, FaultModule};
pub use piv::{CardToken, PIV_PIN, PivToken};
pub use raw::Raw;
pub use remote::RemoteBackend;
pub use site::{Pin, Setup, Site, TokenSetup};
pub use softhsm::SoftHsm;
pub use swtpm::{Proxy, Swtpm, TPM_PIN, TpmToken};
pub use wait::{wait_for, wait_for_some};
pub use worker::Worker;
