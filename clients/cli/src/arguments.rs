//! The command line.

use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{ArgGroup, Args, Parser, Subcommand, ValueEnum};
use keyward_protocol::{Algorithm, Format, KeyType, Purpose};

use crate::{exit, hex};

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
    /// Show how the agent and its tokens are
    Status(Json),
    /// List, unlock, lock and accept tokens
    #[command(subcommand)]
    Token(TokenCommand),
    /// Give a token its PIN (short for `token unlock`)
    Unlock(Unlock),
    /// Take the PIN away from a token, or from all (short for `token lock`)
    Lock(Lock),
    /// Create, list, show and destroy keys
    #[command(subcommand)]
    Key(KeyCommand),
    /// Sign a message or a digest
    Sign(Sign),
    /// Verify a signature
    Verify(Verify),
    /// Open what was encrypted to an unwrap key
    Unwrap(Unwrap),
    /// Agree on a secret with a peer's public key
    Ecdh(Ecdh),
    /// Print random bytes of a token's generator
    Random(Random),
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

#[derive(Subcommand)]
pub(crate) enum KeyCommand {
    /// Create a key in a token
    Create(Create),
    /// List the keys
    List(Json),
    /// Show all that is known about a key
    Show {
        /// The key's id or one of its aliases
        key: String,
        #[command(flatten)]
        json: Json,
    },
    /// Print the public part of a key
    Public(Public),
    /// Destroy a key in all its tokens; there is no way back
    Destroy {
        /// The key's id or one of its aliases
        key: String,
        /// Now: it can't be scheduled yet, so this must be said
        #[arg(long, required = true)]
        now: bool,
        /// Don't ask
        #[arg(long)]
        yes: bool,
    },
}

#[derive(Args)]
pub(crate) struct Create {
    /// A name for the key
    pub(crate) alias: String,
    /// What the key is for; it can't be changed later
    #[arg(long, value_parser = purposes())]
    pub(crate) purpose: Purpose,
    /// What kind of key
    #[arg(long = "type", value_name = "TYPE", value_parser = key_types(), ignore_case = true)]
    pub(crate) key_type: KeyType,
    /// The token; needed only where there are several
    #[arg(long)]
    pub(crate) token: Option<String>,
    /// What a sign key may sign, `raw` if not said
    #[arg(long = "format", value_name = "FORMAT", value_delimiter = ',', value_parser = formats())]
    pub(crate) formats: Vec<Format>,
    /// A word of yours, as NAME=VALUE
    #[arg(long = "tag", value_name = "NAME=VALUE", value_parser = tag)]
    pub(crate) tags: Vec<(String, String)>,
    #[command(flatten)]
    pub(crate) json: Json,
}

#[derive(Args)]
pub(crate) struct Public {
    /// The key's id or one of its aliases
    pub(crate) key: String,
    /// The form
    #[arg(long, value_enum, default_value_t = PublicForm::Pem)]
    pub(crate) format: PublicForm,
    /// The version of the key; the current one if not said
    #[arg(long)]
    pub(crate) version: Option<u32>,
    #[command(flatten)]
    pub(crate) output: Output,
}

#[derive(Args)]
pub(crate) struct Output {
    /// Write to a file, which is replaced as a whole, instead of stdout
    #[arg(id = "output", short, long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
}

/// The form of a public key.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum PublicForm {
    /// SubjectPublicKeyInfo in PEM, for openssl
    Pem,
    /// SubjectPublicKeyInfo in DER
    Der,
    /// A line of authorized_keys
    Ssh,
    /// A JSON Web Key
    Jwk,
    /// A COSE_Key
    Cose,
}

/// The form of an ECDSA signature; those of other algorithms have one form.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum SignatureForm {
    /// A DER sequence of two numbers, for openssl and X.509
    Der,
    /// The two numbers side by side at full width, for COSE and JOSE
    Raw,
}

#[derive(Args)]
#[group(id = "what", multiple = false)]
pub(crate) struct Message {
    /// What is signed; stdin if absent or `-`
    pub(crate) file: Option<PathBuf>,
    /// The message's digest instead, in hexadecimal
    #[arg(long, value_name = "HEX", value_parser = hex::decode)]
    pub(crate) digest: Option<Hex>,
    /// The message's digest instead, as the bytes in a file
    #[arg(long, value_name = "FILE")]
    pub(crate) digest_file: Option<PathBuf>,
}

/// Bytes of hexadecimal digits: clap would take a plain `Vec` for many values.
pub(crate) type Hex = std::vec::Vec<u8>;

#[derive(Args)]
pub(crate) struct Sign {
    /// The key's id or one of its aliases
    pub(crate) key: String,
    #[command(flatten)]
    pub(crate) message: Message,
    /// The algorithm; the key's first if not said
    #[arg(long, value_parser = algorithms(), ignore_case = true)]
    pub(crate) algorithm: Option<Algorithm>,
    /// The form of an ECDSA signature
    #[arg(long, value_enum, default_value_t = SignatureForm::Der)]
    pub(crate) encoding: SignatureForm,
    #[command(flatten)]
    pub(crate) output: Output,
}

#[derive(Args)]
pub(crate) struct Verify {
    /// The key's id or one of its aliases
    pub(crate) key: String,
    #[command(flatten)]
    pub(crate) message: Message,
    /// The file with the signature
    #[arg(long, value_name = "FILE")]
    pub(crate) signature: PathBuf,
    /// The form of an ECDSA signature
    #[arg(long, value_enum, default_value_t = SignatureForm::Der)]
    pub(crate) encoding: SignatureForm,
    /// The algorithm; the key's first if not said
    #[arg(long, value_parser = algorithms(), ignore_case = true)]
    pub(crate) algorithm: Option<Algorithm>,
    /// The version of the key; the current one if not said
    #[arg(long)]
    pub(crate) version: Option<u32>,
}

#[derive(Args)]
pub(crate) struct Unwrap {
    /// The key's id or one of its aliases
    pub(crate) key: String,
    /// What was encrypted; stdin if absent or `-`
    pub(crate) file: Option<PathBuf>,
    /// The algorithm; the key's first if not said
    #[arg(long, value_parser = algorithms(), ignore_case = true)]
    pub(crate) algorithm: Option<Algorithm>,
    /// The label that it was encrypted with
    #[arg(long, value_name = "TEXT", conflicts_with = "label_hex")]
    pub(crate) label: Option<String>,
    /// The label that it was encrypted with, in hexadecimal
    #[arg(long, value_name = "HEX", value_parser = hex::decode)]
    pub(crate) label_hex: Option<Hex>,
    /// The version of the key; the current one if not said
    #[arg(long)]
    pub(crate) version: Option<u32>,
    #[command(flatten)]
    pub(crate) output: Output,
}

#[derive(Args)]
#[command(group(ArgGroup::new("derivation").required(true).args(["raw", "hkdf"])))]
pub(crate) struct Ecdh {
    /// The key's id or one of its aliases
    pub(crate) key: String,
    /// The peer's public key, in PEM, DER, SSH, JWK or COSE form; `-` for stdin
    #[arg(long, value_name = "FILE")]
    pub(crate) peer: PathBuf,
    /// The raw x coordinate of the shared point
    #[arg(long)]
    pub(crate) raw: bool,
    /// A secret derived inside the agent by HKDF with this hash
    #[arg(long, value_enum)]
    pub(crate) hkdf: Option<HkdfHash>,
    /// How many bytes to derive
    #[arg(long, value_name = "BYTES", default_value_t = 32, conflicts_with = "raw",
          value_parser = clap::value_parser!(u32).range(1..=255 * 48))]
    pub(crate) length: u32,
    /// HKDF's salt, in hexadecimal
    #[arg(long, value_name = "HEX", value_parser = hex::decode, conflicts_with = "raw")]
    pub(crate) salt: Option<Hex>,
    /// What the secret is for: HKDF's info
    #[arg(long, value_name = "TEXT", conflicts_with = "raw")]
    pub(crate) info: Option<String>,
    /// The version of the key; the current one if not said
    #[arg(long)]
    pub(crate) version: Option<u32>,
    #[command(flatten)]
    pub(crate) output: Output,
}

/// The hash of HKDF.
#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum HkdfHash {
    /// SHA-256
    Sha256,
    /// SHA-384
    Sha384,
}

#[derive(Args)]
pub(crate) struct Random {
    /// How many bytes, 1 to 1024
    #[arg(value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub(crate) length: u32,
    /// The token; needed only where there are several
    #[arg(long)]
    pub(crate) token: Option<String>,
    /// Print hexadecimal digits
    #[arg(long)]
    pub(crate) hex: bool,
    #[command(flatten)]
    pub(crate) output: Output,
}

/// A parser of names that help can list and a typo can be held against.
fn named<T: Clone + Send + Sync + 'static>(
    names: Vec<String>,
    value: fn(&str) -> Option<T>,
) -> impl TypedValueParser<Value = T> {
    let names: Vec<&'static str> = names.into_iter().map(|name| &*name.leak()).collect();
    PossibleValuesParser::new(names).try_map(move |name| value(&name).ok_or("it has no value"))
}

fn purposes() -> impl TypedValueParser<Value = Purpose> {
    named(
        Purpose::ALL.iter().map(ToString::to_string).collect(),
        Purpose::from_name,
    )
}

fn formats() -> impl TypedValueParser<Value = Format> {
    named(
        Format::ALL.iter().map(ToString::to_string).collect(),
        Format::from_name,
    )
}

fn key_types() -> impl TypedValueParser<Value = KeyType> {
    let name = |key_type: KeyType| key_type.name().replace('-', "").to_ascii_lowercase();
    named(
        KeyType::ALL.into_iter().map(name).collect(),
        KeyType::from_name,
    )
}

fn algorithms() -> impl TypedValueParser<Value = Algorithm> {
    let names = Algorithm::ALL
        .into_iter()
        .filter(|a| !a.name().starts_with("ECDH"));
    PossibleValuesParser::new(names.map(Algorithm::name))
        .try_map(|name| Algorithm::from_name(&name).ok_or("it has no number"))
}

fn tag(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.into(), value.into())),
        _ => Err("not NAME=VALUE".into()),
    }
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
