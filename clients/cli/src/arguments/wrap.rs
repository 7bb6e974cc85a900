//! `keyward wrap`, `keyward mac`, `keyward verify-mac`, `keyward hpke …`

use std::path::PathBuf;

use clap::{ArgGroup, Args, Subcommand};
use keyward_protocol::{Algorithm, Purpose};

use super::Output;
use super::values::{Hex, algorithms};
use crate::hex;

#[derive(Args)]
pub(crate) struct Wrap {
    /// The key's id or one of its aliases
    pub(crate) key: String,
    /// The bytes of the key to wrap, up to 4096; stdin if absent or `-`
    pub(crate) file: Option<PathBuf>,
    /// The algorithm; the key's first if not said
    #[arg(long, value_parser = algorithms(&[Purpose::Wrap]), ignore_case = true)]
    pub(crate) algorithm: Option<Algorithm>,
    #[command(flatten)]
    pub(crate) output: Output,
}

#[derive(Args)]
pub(crate) struct Mac {
    /// The key's id or one of its aliases
    pub(crate) key: String,
    /// The message; stdin if absent or `-`. It can be empty
    pub(crate) file: Option<PathBuf>,
    /// Print hexadecimal digits
    #[arg(long)]
    pub(crate) hex: bool,
    #[command(flatten)]
    pub(crate) output: Output,
}

#[derive(Args)]
#[command(group(ArgGroup::new("code").required(true).args(["tag", "tag_file"])))]
pub(crate) struct VerifyMac {
    /// The key's id or one of its aliases
    pub(crate) key: String,
    /// The message; stdin if absent or `-`. It can be empty
    pub(crate) file: Option<PathBuf>,
    /// The code, whole, in hexadecimal
    #[arg(long, value_name = "HEX", value_parser = hex::decode)]
    pub(crate) tag: Option<Hex>,
    /// The code as the bytes in a file
    #[arg(long, value_name = "FILE")]
    pub(crate) tag_file: Option<PathBuf>,
    /// The version of the key; the current one if not said
    #[arg(long)]
    pub(crate) version: Option<u32>,
}

#[derive(Subcommand)]
pub(crate) enum HpkeCommand {
    /// Seal to a P-256 key, for which no token is needed
    Seal(HpkeSeal),
    /// Open what was sealed to a P-256 key
    Open(HpkeOpen),
}

/// What both sides of HPKE must know.
#[derive(Args)]
pub(crate) struct HpkeShared {
    /// The algorithm: HPKE-7 has AES-256-GCM, HPKE-0 has AES-128-GCM
    #[arg(long, value_parser = algorithms(&[Purpose::Encrypt]), ignore_case = true)]
    pub(crate) algorithm: Option<Algorithm>,
    /// What the exchange is for: HPKE's info
    #[arg(long, value_name = "TEXT", conflicts_with = "info_hex")]
    pub(crate) info: Option<String>,
    /// HPKE's info, in hexadecimal
    #[arg(long, value_name = "HEX", value_parser = hex::decode)]
    pub(crate) info_hex: Option<Hex>,
    /// What was authenticated beside: HPKE's aad
    #[arg(long, value_name = "TEXT", conflicts_with = "aad_hex")]
    pub(crate) aad: Option<String>,
    /// HPKE's aad, in hexadecimal
    #[arg(long, value_name = "HEX", value_parser = hex::decode)]
    pub(crate) aad_hex: Option<Hex>,
}

impl HpkeShared {
    /// HPKE's info, if there is some.
    pub(crate) fn info(&self) -> Option<Vec<u8>> {
        let text = self.info.as_ref().map(|text| text.clone().into_bytes());
        text.or_else(|| self.info_hex.clone())
    }

    /// HPKE's aad, if there is some.
    pub(crate) fn aad(&self) -> Option<Vec<u8>> {
        let text = self.aad.as_ref().map(|text| text.clone().into_bytes());
        text.or_else(|| self.aad_hex.clone())
    }
}

#[derive(Args)]
#[command(after_long_help = "\
HPKE (RFC 9180) in base mode: DHKEM(P-256, HKDF-SHA256), HKDF-SHA256, AES-GCM, one message. Without \
--enc and --enc-file the encapsulated key is the first 65 bytes of the input, the ciphertext with its \
tag the rest.")]
pub(crate) struct HpkeOpen {
    /// The key's id or one of its aliases
    pub(crate) key: String,
    /// What was sealed; stdin if absent or `-`
    pub(crate) file: Option<PathBuf>,
    /// The encapsulated key, an uncompressed point in hexadecimal
    #[arg(long, value_name = "HEX", value_parser = hex::decode, conflicts_with = "enc_file")]
    pub(crate) enc: Option<Hex>,
    /// The encapsulated key as the bytes in a file
    #[arg(long, value_name = "FILE")]
    pub(crate) enc_file: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) shared: HpkeShared,
    /// The version of the key; the current one if not said
    #[arg(long)]
    pub(crate) version: Option<u32>,
    #[command(flatten)]
    pub(crate) output: Output,
}

#[derive(Args)]
#[command(group(ArgGroup::new("recipient").required(true).args(["to", "public_key"])))]
#[command(after_long_help = "\
The output is the encapsulated key of 65 bytes, then the ciphertext with its tag, as `keyward hpke open` \
takes them. Nothing is encrypted in the agent: it is asked for the public key of --to alone.")]
pub(crate) struct HpkeSeal {
    /// What to seal; stdin if absent or `-`
    pub(crate) file: Option<PathBuf>,
    /// A key of the agent, by its id or one of its aliases
    #[arg(long, value_name = "KEY")]
    pub(crate) to: Option<String>,
    /// A public key in PEM, DER, SSH, JWK or COSE form; no agent is needed then
    #[arg(long, value_name = "FILE")]
    pub(crate) public_key: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) shared: HpkeShared,
    #[command(flatten)]
    pub(crate) output: Output,
}
