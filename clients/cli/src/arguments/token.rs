//! `keyward token …`, `keyward unlock`, `keyward lock`

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::Json;

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
