//! TPM 2.0.

pub mod key_file;
pub mod store;
