//! The real programs, end to end: `keywardd` with its monitor and workers, on real SoftHSM tokens.
//!
//! Each test has a daemon and tokens of its own, so they all run in parallel.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a test fails by panicking"
)]

mod absorb;
mod adopt;
mod attestation;
mod attestation_forged;
mod audit;
mod backup;
mod bad_frames;
mod change_pin;
mod clients;
mod config;
mod csr;
mod destruction;
mod doctor;
mod doctor_piv;
mod envelope;
mod envelope_states;
mod events;
mod failover;
mod files;
mod gcm;
mod handles;
mod import;
mod init;
mod init_piv;
mod init_tpm;
mod key_states;
mod lifecycle;
mod mac;
mod main_job;
mod opened_outside;
mod pcrs;
mod pin;
mod piv;
mod policy;
mod queue;
mod readme;
mod reconcile;
mod rescan;
mod rollback;
mod rotation;
mod sandbox;
mod seal;
mod several_tokens;
mod socket;
mod systemd;
mod token;
mod tpm;
mod tpm_exchange;
mod tpm_faults;
mod tpm_files;
mod version_states;
mod worker;
mod wrap;
