//! The test harness of keyward: real tokens, a real `openssl`, faults on demand.

#![allow(clippy::expect_used, reason = "a harness fails by panicking")]

pub mod child;
pub mod fault;
pub mod openssl;
pub mod softhsm;
pub mod wait;
pub mod worker;

pub use fault::{Fault, FaultModule};
pub use softhsm::SoftHsm;
pub use wait::{wait_for, wait_for_some};
pub use worker::Worker;
