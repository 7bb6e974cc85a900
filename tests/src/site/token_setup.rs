//! How a token of a site is set up.

use std::fmt::Write as _;

/// Where the token `main` gets its PIN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pin {
    /// From a file with the right one.
    File,
    /// From a file with a wrong one.
    WrongFile,
    /// From a person.
    Ask,
}

/// How a token of the site is set up.
#[derive(Debug)]
pub struct TokenSetup {
    pub(super) name: &'static str,
    pub(super) pin: Pin,
    pub(super) kind: Kind,
    pub(super) lines: String,
}

/// What is behind a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    SoftHsm,
    Fault,
    Tpm { has_pin: bool, manufactured: bool },
}

impl TokenSetup {
    /// A SoftHSM token with its PIN in a file.
    #[must_use]
    pub fn new(name: &'static str) -> Self {
        Self {
            name,
            pin: Pin::File,
            kind: Kind::SoftHsm,
            lines: String::new(),
        }
    }

    /// A TPM with its PIN in a file.
    #[must_use]
    pub fn tpm(name: &'static str) -> Self {
        Self {
            kind: Kind::Tpm {
                has_pin: true,
                manufactured: false,
            },
            ..Self::new(name)
        }
    }

    /// A TPM whose keys need no PIN.
    #[must_use]
    pub fn tpm_without_pin(name: &'static str) -> Self {
        Self {
            kind: Kind::Tpm {
                has_pin: false,
                manufactured: false,
            },
            ..Self::new(name)
        }
    }

    /// A TPM with endorsement keys and their certificates, and with its PIN in a file.
    #[must_use]
    pub fn manufactured_tpm(name: &'static str) -> Self {
        Self {
            kind: Kind::Tpm {
                has_pin: true,
                manufactured: true,
            },
            ..Self::new(name)
        }
    }

    /// Where the PIN comes from.
    #[must_use]
    pub fn pin(mut self, pin: Pin) -> Self {
        self.pin = pin;
        self
    }

    /// Puts the fault module in front of the token.
    #[must_use]
    pub fn fault(mut self) -> Self {
        self.kind = Kind::Fault;
        self
    }

    /// Adds a line to the token's table in `keyward.toml`.
    #[must_use]
    pub fn line(mut self, line: &str) -> Self {
        writeln!(self.lines, "{line}").expect("a string takes everything");
        self
    }
}
