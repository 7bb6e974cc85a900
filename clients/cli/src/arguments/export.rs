//! `keyward key export`

use clap::Args;

use super::Output;

#[derive(Args)]
#[command(after_long_help = "\
The file is a TSS2 PRIVATE KEY in PEM, as tpm2-openssl reads it. The key in it is encrypted by the \
TPM: the file works only on that TPM, below its storage root key at 0x81000001, for whoever may use \
the TPM. keyward neither asks nor records anything when it is used so.

A key of a token with a PIN has no such file: its authorization value is a random one that the PIN \
opens, and nobody can type it. Nor has one that is bound to PCRs, or that is in a PKCS#11 token.

Examples:
  keyward key export web -o web.pem
  openssl dgst -provider tpm2 -provider default -sha256 -sign web.pem FILE")]
pub(crate) struct Export {
    /// The key's id or one of its aliases
    pub(crate) key: String,
    /// The version of the key; the current one if not said
    #[arg(long)]
    pub(crate) version: Option<u32>,
    /// The token; needed only where several TPMs have the key
    #[arg(long)]
    pub(crate) token: Option<String>,
    #[command(flatten)]
    pub(crate) output: Output,
}
