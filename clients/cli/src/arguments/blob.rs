//! `keyward blob …`

use std::path::PathBuf;

use clap::{Args, Subcommand};
use keyward_protocol::{Algorithm, Purpose};

use super::values::{algorithms, tag};
use super::{Json, Output};

#[derive(Subcommand)]
pub(crate) enum BlobCommand {
    /// Encrypt up to 4 KiB under an encrypt key
    Encrypt(Encrypt),
    /// Open what `encrypt` or `data-key` made
    Decrypt(Decrypt),
    /// Encrypt again under another key or context; the plaintext stays inside the agent
    ReEncrypt(ReEncrypt),
    /// Make a random data key, and encrypt it under an encrypt key
    DataKey(DataKey),
    /// Print what is readable of a ciphertext, or of a file of `keyward encrypt`, without opening it
    Show(Show),
}

/// What is encrypted or opened.
#[derive(Args)]
pub(crate) struct Input {
    /// The input; stdin if absent or `-`
    pub(crate) file: Option<PathBuf>,
}

#[derive(Args)]
#[command(after_long_help = CONTEXT)]
pub(crate) struct Encrypt {
    /// The key's id or one of its aliases
    #[arg(long)]
    pub(crate) key: String,
    #[command(flatten)]
    pub(crate) input: Input,
    #[command(flatten)]
    pub(crate) context: Context,
    /// The algorithm; the key's first if not said
    #[arg(long, value_parser = algorithms(&[Purpose::Encrypt]), ignore_case = true)]
    pub(crate) algorithm: Option<Algorithm>,
    #[command(flatten)]
    pub(crate) output: Output,
}

/// The help of the encryption context.
pub(crate) const CONTEXT: &str = "\
The context says what the plaintext is for. It is authenticated, and kept neither in the ciphertext \
nor in the agent's log: whoever opens it must give the same one. It is no secret.";

#[derive(Args)]
pub(crate) struct Context {
    /// A part of the encryption context
    #[arg(long, value_name = "NAME=VALUE", value_parser = tag)]
    pub(crate) context: Vec<(String, String)>,
}

#[derive(Args)]
#[command(after_long_help = CONTEXT)]
pub(crate) struct Decrypt {
    #[command(flatten)]
    pub(crate) input: Input,
    /// The key that it must be of; else the one that it names
    #[arg(long)]
    pub(crate) key: Option<String>,
    #[command(flatten)]
    pub(crate) context: Context,
    #[command(flatten)]
    pub(crate) output: Output,
}

#[derive(Args)]
pub(crate) struct ReEncrypt {
    #[command(flatten)]
    pub(crate) input: Input,
    /// The key that it must be of; else the one that it names
    #[arg(long, value_name = "KEY")]
    pub(crate) source_key: Option<String>,
    /// A part of the context that it was encrypted with
    #[arg(long, value_name = "NAME=VALUE", value_parser = tag)]
    pub(crate) source_context: Vec<(String, String)>,
    /// The key to encrypt with; else the same one, in its current version
    #[arg(long)]
    pub(crate) key: Option<String>,
    /// A part of the new context; else it is the same one
    #[arg(long, value_name = "NAME=VALUE", value_parser = tag)]
    pub(crate) context: Vec<(String, String)>,
    #[command(flatten)]
    pub(crate) output: Output,
}

#[derive(Args)]
#[command(after_long_help = "\
Use the data key to encrypt what is too large for `blob encrypt`, keep its ciphertext beside that, and \
forget the data key. `keyward blob decrypt` gives it back. For whole files `keyward encrypt` does all \
of this.")]
pub(crate) struct DataKey {
    /// The key's id or one of its aliases
    #[arg(long)]
    pub(crate) key: String,
    #[command(flatten)]
    pub(crate) context: Context,
    /// How many bytes, 1 to 1024; 32 (AES-256) if not said
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub(crate) length: Option<u32>,
    /// 16 bytes, for AES-128
    #[arg(long, conflicts_with = "length")]
    pub(crate) aes128: bool,
    /// The encrypted data key alone, for whoever will use it later
    #[arg(long, conflicts_with = "plaintext_out")]
    pub(crate) without_plaintext: bool,
    /// Write the data key itself to a file that only you can read, or to stdout for `-`
    #[arg(
        long,
        value_name = "FILE",
        required_unless_present = "without_plaintext"
    )]
    pub(crate) plaintext_out: Option<PathBuf>,
    /// Write the encrypted data key to a file instead of stdout
    #[arg(long, value_name = "FILE")]
    pub(crate) ciphertext_out: Option<PathBuf>,
}

#[derive(Args)]
#[command(after_long_help = "\
What it is bound to (--context) is not in it. Nothing here proves that it is as it was encrypted: only \
opening it does.")]
pub(crate) struct Show {
    #[command(flatten)]
    pub(crate) input: Input,
    #[command(flatten)]
    pub(crate) json: Json,
}
