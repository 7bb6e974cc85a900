//! A PIV card (NIST SP 800-73-4) with the extensions of the YubiKey, in software: for tests only.
//!
//! [`Card`] is the card: commands go in, answers come out, and a test decides when somebody touches
//! it, pulls it, or has it answer nonsense. docs/virtual-piv.md says of each behaviour where it is
//! known from. Its keys are real, and worth nothing: they are in the memory of a test.

pub mod card;
pub mod link;
pub mod rig;
pub mod terminal;

pub use card::{Card, Exchange, Insertion, Model, Touch};
pub use rig::Rig;
pub use terminal::Terminal;
