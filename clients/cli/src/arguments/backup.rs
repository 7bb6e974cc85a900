//! `keyward backup`, `keyward restore`, `keyward watch`

use std::path::PathBuf;

use clap::Args;

use super::Json;

#[derive(Args)]
#[command(after_long_help = "\
The copy has the names, tags, states and places of all keys, and the blobs of keys that a token keeps \
outside of itself, which only that token can use. It has no private key and no PIN.")]
pub(crate) struct Backup {
    /// The file, which is replaced as a whole and which only you can read; stdout for `-`
    #[arg(id = "output", short, long, value_name = "FILE", required = true)]
    pub(crate) file: PathBuf,
}

#[derive(Args)]
#[command(after_long_help = "\
Keys that the agent does not know come back, suspended: look at each with `keyward key show`, then \
`keyward key enable`. Keys that it knows get what they lack; new versions and places only while they are \
disabled. What is stricter in the agent stays: a key that was disabled since is not enabled by an old copy.")]
pub(crate) struct Restore {
    /// The copy that `keyward backup` made
    pub(crate) file: PathBuf,
    /// Check it, and say what would happen
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Don't ask
    #[arg(long, conflicts_with = "dry_run")]
    pub(crate) yes: bool,
    #[command(flatten)]
    pub(crate) json: Json,
}

#[derive(Args)]
pub(crate) struct Watch {
    /// Print one JSON document for each, a line each
    #[arg(long)]
    pub(crate) json: bool,
}
