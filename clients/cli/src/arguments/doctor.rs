//! `keyward doctor`

use std::path::PathBuf;

use clap::Args;

#[derive(Args)]
#[command(after_long_help = AFTER)]
pub(crate) struct Doctor {
    /// The agent's configuration; by default the one that keywardd would read
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Print one JSON document
    #[arg(long)]
    pub(crate) json: bool,
    /// The program that loads modules
    #[arg(long, hide = true)]
    pub(crate) worker: Option<PathBuf>,
}

const AFTER: &str = "\
It looks at the programs, the configuration, the agent, the kernel and each token of the configuration, \
whether an agent runs or not, and says of each problem what causes it and what to type. A token that the agent \
has is not touched; of one that it does not have, the module is loaded, or the TPM or the card asked, in a sealed \
process of its own. No PIN is sent, and nothing is changed. For the system's agent run it as root.

A line begins with `ok`, `note` (worth knowing), `skipped` or `PROBLEM`. The exit code is 1 if there is a \
problem.";
