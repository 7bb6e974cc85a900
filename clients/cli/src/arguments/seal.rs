//! `keyward seal`, `keyward unseal`, and what keys are bound to

use std::path::PathBuf;

use clap::Args;
use keyward_protocol::operation::BindPcrs;

use super::values::tag;
use super::{Json, Output};

/// What a TPM binds to PCRs.
#[derive(Args)]
pub(crate) struct Pcrs {
    /// Let a TPM use it only while these PCRs have the values that they have now, or others that
    /// `key reseal` approves
    #[arg(
        long = "pcr",
        value_name = "PCR",
        value_delimiter = ',',
        value_parser = clap::value_parser!(u8).range(0..=23)
    )]
    pub(crate) pcrs: Vec<u8>,
    /// The sign key that approves other values of the PCRs
    #[arg(
        long,
        value_name = "KEY",
        requires = "pcrs",
        conflicts_with = "no_recovery"
    )]
    pub(crate) recovery_key: Option<String>,
    /// Nobody approves other values: with new firmware, say, it is lost
    #[arg(long, requires = "pcrs")]
    pub(crate) no_recovery: bool,
}

impl Pcrs {
    /// The same for the agent, if it is to be bound at all.
    pub(crate) fn bind(self) -> Option<BindPcrs> {
        let mut pcrs = self.pcrs;
        pcrs.sort_unstable();
        pcrs.dedup();
        (!pcrs.is_empty()).then_some(BindPcrs {
            pcrs,
            recovery_key: self.recovery_key,
            no_recovery: self.no_recovery,
        })
    }
}

#[derive(Args)]
#[command(after_long_help = "\
A TPM encrypts the data for itself, and gives it back to whoever may use the agent, with the PIN of the \
token if that has one, and with --pcr only while the machine booted as now. Nothing else can open it, \
so keep another copy of what must not be lost with the machine: the data can't be read out of a \
backup. There is room for 1 to 128 bytes, such as a key or a passphrase; larger data is encrypted \
with a key that is sealed.

What is sealed is listed, named, suspended and destroyed as keys are (`keyward key …`); it has one \
version.

Examples:
  head -c 32 /dev/urandom | keyward seal disk --token chip --pcr 7 --recovery-key rescue
  keyward unseal disk | cryptsetup open /dev/sda2 data --key-file -")]
pub(crate) struct Seal {
    /// A name for it
    pub(crate) alias: String,
    /// The data, up to 128 bytes; stdin if absent or `-`
    pub(crate) file: Option<PathBuf>,
    /// A token that seals it, once for each; needed only where there are several
    #[arg(long = "token", value_name = "TOKEN")]
    pub(crate) token: Vec<String>,
    #[command(flatten)]
    pub(crate) pcrs: Pcrs,
    /// A word of yours, as NAME=VALUE
    #[arg(long = "tag", value_name = "NAME=VALUE", value_parser = tag)]
    pub(crate) tags: Vec<(String, String)>,
    #[command(flatten)]
    pub(crate) json: Json,
}

#[derive(Args)]
pub(crate) struct Unseal {
    /// The id of what was sealed, or one of its aliases
    pub(crate) key: String,
    #[command(flatten)]
    pub(crate) output: Output,
}
