//! How a token of a site is set up.

use std::fmt::Write as _;

use keyward_virtual_piv::Model;

use crate::CardToken;

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
    /// A card that is there already.
    pub(super) card: Option<CardToken>,
}

/// What is behind a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    SoftHsm,
    Fault,
    Tpm { has_pin: bool, manufactured: bool },
    Piv { model: Model, with_serial: bool },
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
            card: None,
        }
    }

    /// A PIV card from the factory with firmware 5.7, with its PIN in a file. All cards of a site have
    /// one pcscd, with a reader for each.
    #[must_use]
    pub fn piv(name: &'static str) -> Self {
        Self::piv_of(name, Model::YubiKey57)
    }

    /// A PIV card of another model.
    #[must_use]
    pub fn piv_of(name: &'static str, model: Model) -> Self {
        Self {
            kind: Kind::Piv {
                model,
                with_serial: true,
            },
            ..Self::new(name)
        }
    }

    /// A PIV card that another site has, too, and where it is.
    #[must_use]
    pub fn same_piv(name: &'static str, card: &CardToken) -> Self {
        Self {
            card: Some(card.clone()),
            ..Self::piv_of(name, card.card().model())
        }
    }

    /// Names no serial number in `keyward.toml`: the card is the only one.
    ///
    /// # Panics
    /// If the token is no PIV card.
    #[must_use]
    #[track_caller]
    pub fn any_serial(mut self) -> Self {
        match &mut self.kind {
            Kind::Piv { with_serial, .. } => *with_serial = false,
            other => panic!("{other:?} has no such number"),
        }
        self
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
