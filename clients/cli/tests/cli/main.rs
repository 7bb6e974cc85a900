//! The program as a person and a script see it, against a server with fixed answers.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]

mod agent;
mod attest;
mod completion;
#[path = "../../../rust/tests/client/fake.rs"]
mod fake;
mod files;
mod golden;
mod init;
mod init_card;
mod man;
mod terminal;

/// The program under test.
const KEYWARD: &str = env!("CARGO_BIN_EXE_keyward");
/// Arguments of `env` that make a program take the signals of a terminal again: a test run that
/// was started with `nohup` hands down that they are ignored.
const INTERRUPTIBLE: [&str; 1] = ["--default-signal=HUP,INT,QUIT"];
