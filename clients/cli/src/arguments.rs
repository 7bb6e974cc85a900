//! The command line.

mod adopt;
mod attest;
mod backup;
mod blob;
mod card;
mod csr;
mod doctor;
mod export;
mod file;
mod import;
mod init;
mod key;
mod lifecycle;
mod piv;
mod seal;
mod secret;
mod sign;
mod token;
mod values;
mod wrap;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::exit;

pub(crate) use adopt::Adopt;
pub(crate) use attest::{
    Activate, AttestChallenge, AttestCommand, AttestEnrol, AttestVerify, KeyAttest,
    TokenAttestationKey,
};
pub(crate) use backup::{Backup, Restore, Watch};
pub(crate) use blob::{BlobCommand, DataKey, Decrypt, Encrypt, ReEncrypt, Show};
pub(crate) use card::{ChangePuk, ReadCertificate, ResetToken, UnblockPin, WriteCertificate};
pub(crate) use csr::Csr;
pub(crate) use doctor::Doctor;
pub(crate) use export::Export;
pub(crate) use file::{Bound, DecryptFile, EncryptFile};
pub(crate) use import::Import;
pub(crate) use init::Init;
pub(crate) use key::{Create, KeyCommand, Public, PublicForm, Reseal};
pub(crate) use lifecycle::{Alias, Compromised, ListKeys, OneKey, Tag};
pub(crate) use piv::PivOptions;
pub(crate) use seal::{Pcrs, Seal, Unseal};
pub(crate) use secret::{Ecdh, HkdfHash, Random, Unwrap};
pub(crate) use sign::{Message, Sign, SignatureForm, Verify};
pub(crate) use token::{AcceptRegistry, ChangePin, Lock, Rescan, TokenCommand, Unlock};
pub(crate) use wrap::{HpkeCommand, HpkeOpen, HpkeSeal, Mac, VerifyMac, Wrap};

/// Use keys that live in hardware tokens, through the agent keywardd.
#[derive(Parser)]
#[command(
    name = "keyward",
    version,
    max_term_width = 100,
    disable_help_subcommand = false
)]
#[command(subcommand_required = true, arg_required_else_help = true)]
#[command(
    after_help = "`keyward COMMAND --help` says more; `keyward --help` lists the exit codes."
)]
#[command(after_long_help = AFTER.as_str())]
pub(crate) struct Arguments {
    /// Where a use of a key finds its token absent or locked, wait for it: so many seconds for the whole
    /// use, its touch too, and no more than the agent's max_deadline
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) wait: Option<u32>,
    #[command(subcommand)]
    pub(crate) command: Command,
}

static AFTER: std::sync::LazyLock<String> = std::sync::LazyLock::new(|| {
    format!(
        "{}\n\nEnvironment:\n  \
         KEYWARD_SOCK        the agent's socket; else $XDG_RUNTIME_DIR/keyward/agent.sock if it is\n                      \
         there, else /run/keyward/agent.sock\n  \
         KEYWARD_SERVER_UID  a user, by number, who may run the agent besides you and root",
        exit::HELP
    )
});

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Set up a first token: one that is there, or one in software
    Init(Init),
    /// Show how the agent and its tokens are
    Status(Json),
    /// Find out what is wrong, and what to do about it
    Doctor(Doctor),
    /// List, unlock and lock tokens, change their PINs, find their keys
    #[command(subcommand)]
    Token(TokenCommand),
    /// Give a token its PIN (short for `token unlock`)
    Unlock(Unlock),
    /// Take the PIN away from a token, or from all (short for `token lock`)
    Lock(Lock),
    /// Create, import, list, show, change and destroy keys
    #[command(subcommand)]
    Key(KeyCommand),
    /// Sign a message or a digest
    Sign(Sign),
    /// Verify a signature
    Verify(Verify),
    /// Encrypt and open small data and data keys, show ciphertexts
    #[command(subcommand)]
    Blob(BlobCommand),
    /// Wrap a key's bytes with a wrap key
    Wrap(Wrap),
    /// Open what was encrypted to an unwrap key, or wrapped by a wrap key
    Unwrap(Unwrap),
    /// Have a TPM seal a little data, such as a passphrase
    Seal(Seal),
    /// Have a TPM give back what it has sealed
    Unseal(Unseal),
    /// Make a message authentication code
    Mac(Mac),
    /// Verify a message authentication code
    VerifyMac(VerifyMac),
    /// Seal to a public key by HPKE, and open it
    #[command(subcommand)]
    Hpke(HpkeCommand),
    /// Agree on a secret with a peer's public key
    Ecdh(Ecdh),
    /// Encrypt a file or a stream of any size
    Encrypt(EncryptFile),
    /// Decrypt what `encrypt` made
    Decrypt(DecryptFile),
    /// Print random bytes of a token's generator
    Random(Random),
    /// Verify where keys are, and enrol the TPMs that say so
    #[command(subcommand)]
    Attest(AttestCommand),
    /// Print what happens to tokens and keys, until Ctrl-C
    Watch(Watch),
    /// Write a copy of all that the agent keeps
    Backup(Backup),
    /// Take over what a copy has
    Restore(Restore),
    /// Say that the agent's registry is the right one, though its log knows another
    AcceptRegistry(AcceptRegistry),
    /// Print what teaches a shell to complete keyward's command lines
    #[command(after_long_help = crate::completion::HELP)]
    Completions {
        /// The shell
        shell: crate::completion::Shell,
    },
    /// Write the manual pages
    #[command(hide = true)]
    Man {
        /// The folder to write them to
        dir: PathBuf,
    },
}

#[derive(Args)]
pub(crate) struct Json {
    /// Print one JSON document
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args)]
pub(crate) struct Output {
    /// Write to a file, which is replaced as a whole, instead of stdout
    #[arg(id = "output", short, long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definitions_are_consistent() {
        Arguments::command().debug_assert();
    }
}
