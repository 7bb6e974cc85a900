//! `keyward key …`

use clap::{Args, Subcommand, ValueEnum};
use keyward_protocol::{Format, KeyType, Purpose};

use super::values::{formats, key_types, purposes, tag};
use super::{
    Adopt, Alias, Compromised, Csr, Export, Import, Json, KeyAttest, ListKeys, OneKey, Output,
    Pcrs, PivOptions, ReadCertificate, Tag, WriteCertificate,
};

#[derive(Subcommand)]
pub(crate) enum KeyCommand {
    /// Create a key in a token
    Create(Create),
    /// Put a key that exists already into one token or several
    Import(Import),
    /// Take in a key that another program has made in a token
    Adopt(Adopt),
    /// Give out the file of a TPM's key, for programs that use that TPM themselves
    Export(Export),
    /// List the keys
    List(ListKeys),
    /// Show all that is known about a key
    Show(OneKey),
    /// Print the public part of a key
    Public(Public),
    /// Make a certification request, signed by the key
    Csr(Csr),
    /// Print the certificate that a PIV card keeps beside a key
    Certificate(ReadCertificate),
    /// Have a PIV card keep a certificate beside a key
    SetCertificate(WriteCertificate),
    /// Have the key's token say where the key is, for somebody else to verify
    Attest(KeyAttest),
    /// Make a new version of a key; the old ones still open what they sealed
    Rotate(OneKey),
    /// Approve the values that PCRs have now, for a key of a TPM that is bound to them
    Reseal(Reseal),
    /// Let a suspended or recovered key be used
    Enable(OneKey),
    /// Suspend a key until it is enabled
    Disable(OneKey),
    /// Say that somebody else may have a key; there is no way back
    Compromised(Compromised),
    /// Give a key names, and take them away
    Alias(Alias),
    /// Set and remove a key's tags
    Tag(Tag),
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
    pub(crate) pcrs: Pcrs,
    #[command(flatten)]
    pub(crate) piv: PivOptions,
    #[command(flatten)]
    pub(crate) json: Json,
}

#[derive(Args)]
pub(crate) struct Reseal {
    /// The key's id or one of its aliases
    pub(crate) key: String,
    /// Take away what was approved before
    #[arg(long)]
    pub(crate) drop_old: bool,
    /// Don't ask
    #[arg(long)]
    pub(crate) yes: bool,
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
