//! `keyward unwrap`, `keyward ecdh`, `keyward random`

use std::path::PathBuf;

use clap::{ArgGroup, Args, ValueEnum};
use keyward_protocol::{Algorithm, Purpose};

use super::Output;
use super::values::{Hex, algorithms};
use crate::hex;

#[derive(Args)]
pub(crate) struct Unwrap {
    /// The key's id or one of its aliases
    pub(crate) key: String,
    /// What was encrypted or wrapped; stdin if absent or `-`
    pub(crate) file: Option<PathBuf>,
    /// The algorithm; the key's first if not said
    #[arg(long, value_parser = algorithms(&[Purpose::Unwrap, Purpose::Wrap]), ignore_case = true)]
    pub(crate) algorithm: Option<Algorithm>,
    /// The label that it was encrypted with, for RSA
    #[arg(long, value_name = "TEXT", conflicts_with = "label_hex")]
    pub(crate) label: Option<String>,
    /// The label that it was encrypted with, in hexadecimal
    #[arg(long, value_name = "HEX", value_parser = hex::decode)]
    pub(crate) label_hex: Option<Hex>,
    /// The version of the key; the current one if not said
    #[arg(long)]
    pub(crate) version: Option<u32>,
    #[command(flatten)]
    pub(crate) output: Output,
}

#[derive(Args)]
#[command(group(ArgGroup::new("derivation").required(true).args(["raw", "hkdf"])))]
pub(crate) struct Ecdh {
    /// The key's id or one of its aliases
    pub(crate) key: String,
    /// The peer's public key, in PEM, DER, SSH, JWK or COSE form; `-` for stdin
    #[arg(long, value_name = "FILE")]
    pub(crate) peer: PathBuf,
    /// The raw x coordinate of the shared point
    #[arg(long)]
    pub(crate) raw: bool,
    /// A secret derived inside the agent by HKDF with this hash
    #[arg(long, value_enum)]
    pub(crate) hkdf: Option<HkdfHash>,
    /// How many bytes to derive
    #[arg(long, value_name = "BYTES", default_value_t = 32, conflicts_with = "raw",
          value_parser = clap::value_parser!(u32).range(1..=255 * 48))]
    pub(crate) length: u32,
    /// HKDF's salt, in hexadecimal
    #[arg(long, value_name = "HEX", value_parser = hex::decode, conflicts_with = "raw")]
    pub(crate) salt: Option<Hex>,
    /// What the secret is for: HKDF's info
    #[arg(long, value_name = "TEXT", conflicts_with = "raw")]
    pub(crate) info: Option<String>,
    /// The version of the key; the current one if not said
    #[arg(long)]
    pub(crate) version: Option<u32>,
    #[command(flatten)]
    pub(crate) output: Output,
}

/// The hash of HKDF.
#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum HkdfHash {
    /// SHA-256
    Sha256,
    /// SHA-384
    Sha384,
}

#[derive(Args)]
pub(crate) struct Random {
    /// How many bytes, 1 to 1024
    #[arg(value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub(crate) length: u32,
    /// The token; needed only where there are several
    #[arg(long)]
    pub(crate) token: Option<String>,
    /// Print hexadecimal digits
    #[arg(long)]
    pub(crate) hex: bool,
    #[command(flatten)]
    pub(crate) output: Output,
}
