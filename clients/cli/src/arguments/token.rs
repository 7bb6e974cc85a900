//! `keyward token …`, `keyward unlock`, `keyward lock`

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{Activate, ChangePuk, Json, ResetToken, TokenAttestationKey, UnblockPin};

#[derive(Subcommand)]
pub(crate) enum TokenCommand {
    /// List the tokens
    List(Json),
    /// Give a token its PIN
    Unlock(Unlock),
    /// Take the PIN away from a token, or from all
    Lock(Lock),
    /// Say that the token that is there now is the right one, and enrol it anew
    Accept {
        /// The token's name in the configuration
        token: String,
    },
    /// Change a token's PIN
    ChangePin(ChangePin),
    /// Look for keys of keyward on a token that the agent does not know
    Rescan(Rescan),
    /// Show the key by which a token attests others, which is made if there is none
    AttestationKey(TokenAttestationKey),
    /// Answer a challenge to a token's attestation key
    Activate(Activate),
    /// Change the PUK of a PIV card
    ChangePuk(ChangePuk),
    /// Give the blocked PIN of a PIV card a new value, by its PUK
    UnblockPin(UnblockPin),
    /// Give a PIV card a new random management key, which it keeps behind its PIN
    NewManagementKey {
        /// The token; needed only where there are several
        token: Option<String>,
    },
    /// Bring a PIV card back to how it left the factory; all its keys are destroyed
    Reset(ResetToken),
}

#[derive(Args)]
#[command(after_long_help = "\
Without --pin-file and --from-source the PIN is asked for on the terminal, without echo. A PIN is \
never taken from the command line or the environment, where others can read it.")]
pub(crate) struct Unlock {
    /// The token; needed only where there are several
    pub(crate) token: Option<String>,
    /// Read the PIN from the first line of a file, or of stdin for `-`
    #[arg(long, value_name = "FILE", conflicts_with = "from_source")]
    pub(crate) pin_file: Option<PathBuf>,
    /// Let the agent read the PIN from the source in its configuration
    #[arg(long)]
    pub(crate) from_source: bool,
    /// Spend a try that keyward holds back: the token's last one, or one whose outcome is unknown
    #[arg(long)]
    pub(crate) spend_last_try: bool,
}

#[derive(Args)]
pub(crate) struct Lock {
    /// The token; all of them if none is named
    pub(crate) token: Option<String>,
}

#[derive(Args)]
#[command(after_long_help = "\
PINs that no file has are asked for on the terminal, without echo, the new one twice. Where the \
configuration names a source of the PIN, change it there too.")]
pub(crate) struct ChangePin {
    /// The token; needed only where there are several
    pub(crate) token: Option<String>,
    /// Read the PIN as it is from the first line of a file, or of stdin for `-`
    #[arg(long, value_name = "FILE")]
    pub(crate) old_pin_file: Option<PathBuf>,
    /// Read the PIN as it is to be from the first line of a file, or for `-` from the next line of
    /// stdin
    #[arg(long, value_name = "FILE")]
    pub(crate) new_pin_file: Option<PathBuf>,
    /// Spend a try that keyward holds back: the token's last one, or one whose outcome is unknown
    #[arg(long)]
    pub(crate) spend_last_try: bool,
}

#[derive(Args)]
#[command(after_long_help = "\
Keys that are found come back suspended: look at each (`keyward key show`), then `keyward key enable` \
it. Nothing is changed on the token.")]
pub(crate) struct Rescan {
    /// The token; needed only where there are several
    pub(crate) token: Option<String>,
    #[command(flatten)]
    pub(crate) json: Json,
}

#[derive(Args)]
#[command(after_long_help = "\
Where the registry was lost, put back or changed, the agent refuses changes: `keyward status` says why. \
If there is a backup, `keyward restore` is the way. Else accept the registry as it is, then let \
`keyward token rescan` find the keys again on each token. Their aliases and tags are lost.

Tokens are enrolled anew: make sure that the right ones are there before.")]
pub(crate) struct AcceptRegistry {
    /// Don't ask
    #[arg(long)]
    pub(crate) yes: bool,
}
