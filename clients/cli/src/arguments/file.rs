//! Files of any size.

use std::path::PathBuf;

use clap::Args;

use super::values::tag;

#[derive(Args)]
#[command(after_long_help = "\
The file is in the age format (age-encryption.org/v1). For each key it holds a file key that the \
agent encrypted, so any one of the keys opens it: name a key of a spare token too. The agent sees the \
file key, never the file.")]
pub(crate) struct EncryptFile {
    /// A key that opens the file: its id or one of its aliases; can be said several times
    #[arg(id = "key", long = "to", value_name = "KEY", required = true)]
    pub(crate) keys: Vec<String>,
    #[command(flatten)]
    pub(crate) bound: Bound,
    #[command(flatten)]
    pub(crate) target: Target,
    /// What is encrypted; stdin if absent or `-`. It can be empty
    pub(crate) file: Option<PathBuf>,
}

#[derive(Args)]
#[command(after_long_help = "\
Each key that the file was encrypted for is tried until one opens it. Nothing is written that was \
changed; whether the end is missing is known at the end. A file named by -o is there as a whole or \
not at all, and only its owner can read it. What reads from stdout must look at the exit code.")]
pub(crate) struct DecryptFile {
    #[command(flatten)]
    pub(crate) bound: Bound,
    #[command(flatten)]
    pub(crate) target: Target,
    /// What is decrypted; stdin if absent or `-`
    pub(crate) file: Option<PathBuf>,
}

#[derive(Args)]
pub(crate) struct Bound {
    /// What the file belongs to; whoever decrypts it must say the same. It is not in the file
    #[arg(long = "context", value_name = "NAME=VALUE", value_parser = tag)]
    pub(crate) context: Vec<(String, String)>,
}

#[derive(Args)]
pub(crate) struct Target {
    /// Write to a file, which is there as a whole or not at all, instead of stdout
    #[arg(id = "output", short, long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// Replace the file if it is there
    #[arg(long, requires = "output")]
    pub(crate) force: bool,
}
