//! What only PIV cards have.

use std::path::PathBuf;

use clap::Args;

use super::Output;

#[derive(Args)]
#[command(after_long_help = "\
What no file has is asked for on the terminal, without echo, the new PUK twice. A wrong PUK counts as a \
try, and a card whose PUK is blocked can only be reset.")]
pub(crate) struct ChangePuk {
    /// The token; needed only where there are several
    pub(crate) token: Option<String>,
    /// Read the PUK as it is from the first line of a file, or of stdin for `-`
    #[arg(long, value_name = "FILE")]
    pub(crate) old_puk_file: Option<PathBuf>,
    /// Read the PUK as it is to be from the first line of a file, or for `-` from the next line of
    /// stdin
    #[arg(long, value_name = "FILE")]
    pub(crate) new_puk_file: Option<PathBuf>,
    /// Spend the last try
    #[arg(long)]
    pub(crate) spend_last_try: bool,
}

#[derive(Args)]
#[command(after_long_help = "\
What no file has is asked for on the terminal, without echo, the new PIN twice. A wrong PUK counts as a \
try, and a card whose PUK is blocked can only be reset. The token is locked afterwards.")]
pub(crate) struct UnblockPin {
    /// The token; needed only where there are several
    pub(crate) token: Option<String>,
    /// Read the PUK from the first line of a file, or of stdin for `-`
    #[arg(long, value_name = "FILE")]
    pub(crate) puk_file: Option<PathBuf>,
    /// Read the new PIN from the first line of a file, or for `-` from the next line of stdin
    #[arg(long, value_name = "FILE")]
    pub(crate) new_pin_file: Option<PathBuf>,
    /// Spend the last try of the PUK
    #[arg(long)]
    pub(crate) spend_last_try: bool,
}

#[derive(Args)]
#[command(after_long_help = "\
All keys and certificates on the card are destroyed, whoever made them, and PIN, PUK and management key \
are the factory's then. It needs neither PIN nor PUK. Asked twice on the terminal: for the serial number \
that is printed on the card, and once more.")]
pub(crate) struct ResetToken {
    /// The token
    pub(crate) token: String,
    /// The card's serial number; with --yes it is not asked for
    #[arg(long, value_name = "NUMBER")]
    pub(crate) serial: Option<String>,
    /// Don't ask
    #[arg(long, requires = "serial")]
    pub(crate) yes: bool,
}

#[derive(Args)]
#[command(after_long_help = "\
Its public key is compared with the key's, and nothing else in it is looked at.

Example:
  keyward key certificate web -o web.crt")]
pub(crate) struct ReadCertificate {
    /// The key's id or one of its aliases
    pub(crate) key: String,
    /// The version of the key; the current one if not said
    #[arg(long)]
    pub(crate) version: Option<u32>,
    /// Write DER, not PEM
    #[arg(long)]
    pub(crate) der: bool,
    #[command(flatten)]
    pub(crate) output: Output,
}

#[derive(Args)]
#[command(after_long_help = "\
The certificate is PEM or DER, and of the key's current version. Programs that use the card without \
keyward find it there too.

Example:
  keyward key set-certificate web web.crt")]
pub(crate) struct WriteCertificate {
    /// The key's id or one of its aliases
    pub(crate) key: String,
    /// The file with the certificate; stdin if not said, or `-`
    pub(crate) file: Option<PathBuf>,
    /// Remove the certificate that is there
    #[arg(long, conflicts_with = "file")]
    pub(crate) remove: bool,
}
