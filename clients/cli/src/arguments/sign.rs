//! `keyward sign`, `keyward verify`

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use keyward_protocol::{Algorithm, Purpose};

use super::Output;
use super::values::{Hex, algorithms};
use crate::hex;

#[derive(Args)]
pub(crate) struct Sign {
    /// The key's id or one of its aliases
    pub(crate) key: String,
    #[command(flatten)]
    pub(crate) message: Message,
    /// The algorithm; the key's first if not said
    #[arg(long, value_parser = algorithms(&[Purpose::Sign]), ignore_case = true)]
    pub(crate) algorithm: Option<Algorithm>,
    /// The form of an ECDSA signature
    #[arg(long, value_enum, default_value_t = SignatureForm::Der)]
    pub(crate) encoding: SignatureForm,
    #[command(flatten)]
    pub(crate) output: Output,
}

#[derive(Args)]
pub(crate) struct Verify {
    /// The key's id or one of its aliases
    pub(crate) key: String,
    #[command(flatten)]
    pub(crate) message: Message,
    /// The file with the signature
    #[arg(long, value_name = "FILE")]
    pub(crate) signature: PathBuf,
    /// The form of an ECDSA signature
    #[arg(long, value_enum, default_value_t = SignatureForm::Der)]
    pub(crate) encoding: SignatureForm,
    /// The algorithm; the key's first if not said
    #[arg(long, value_parser = algorithms(&[Purpose::Sign]), ignore_case = true)]
    pub(crate) algorithm: Option<Algorithm>,
    /// The version of the key; the current one if not said
    #[arg(long)]
    pub(crate) version: Option<u32>,
}

#[derive(Args)]
#[group(id = "what", multiple = false)]
pub(crate) struct Message {
    /// What is signed; stdin if absent or `-`. It can be empty
    pub(crate) file: Option<PathBuf>,
    /// The message's digest instead, in hexadecimal
    #[arg(long, value_name = "HEX", value_parser = hex::decode)]
    pub(crate) digest: Option<Hex>,
    /// The message's digest instead, as the bytes in a file
    #[arg(long, value_name = "FILE")]
    pub(crate) digest_file: Option<PathBuf>,
}

/// The form of an ECDSA signature; those of other algorithms have one form.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum SignatureForm {
    /// A DER sequence of two numbers, for openssl and X.509
    Der,
    /// The two numbers side by side at full width, for COSE and JOSE
    Raw,
}
