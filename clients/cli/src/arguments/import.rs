//! `keyward key import`

use std::path::PathBuf;

use clap::Args;
use keyward_protocol::{Format, KeyType, Purpose};

use super::values::{formats, purposes, secret_types, tag};
use super::{Json, Pcrs, PivOptions};

#[derive(Args)]
#[command(after_long_help = "\
The key comes from stdin alone: a private key as PKCS#8 (RFC 5958) in PEM or DER, plain or encrypted \
with a passphrase (PBES2), a TSS2 PRIVATE KEY in PEM, or with --type the bytes of a secret key. EC keys on P-256 and P-384, \
Ed25519, and RSA of 2048, 3072 or 4096 bits are taken.

The key was outside of hardware, and copies of it may still be: no token can promise otherwise. A \
key that was made in its token (`keyward key create`) can never be copied. What import is for: keys \
that exist, and a key in two tokens, so that one is the other's spare.

With --pcr a TPM among the tokens uses the key only while the machine booted as now. A token beside it \
that is no TPM serves when that has changed for good; without one, --recovery-key or --no-recovery is needed.

A TSS2 PRIVATE KEY is the file of a key that a TPM has encrypted, and goes to the token of that \
TPM. It must have no password and no policy, and its parent is the storage root key at 0x81000001, \
or the owner hierarchy, as tpm2-openssl makes them. It stays as it is: whoever has a copy of the file \
and may use the TPM can use the key without keyward, also where the token has a PIN.

Examples:
  openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 |
      keyward key import deploy --purpose sign --token main --token spare
  keyward key import backup --purpose encrypt --type aes256 < key.bin
  openssl genpkey -provider tpm2 -algorithm EC -pkeyopt group:P-256 |
      keyward key import web --purpose sign
  keyward key import --into deploy --token third < deploy.pem
  keyward key import web --purpose sign --token chip --token hsm --pcr 7 < web.pem")]
pub(crate) struct Import {
    /// A name for the key
    #[arg(conflicts_with = "into")]
    pub(crate) alias: Option<String>,
    /// What the key is for; it can't be changed later
    #[arg(long, value_parser = purposes(), required_unless_present = "into")]
    pub(crate) purpose: Option<Purpose>,
    /// Stdin has the bytes of a secret key of this type
    #[arg(long = "type", value_name = "TYPE", value_parser = secret_types(), ignore_case = true)]
    pub(crate) key_type: Option<KeyType>,
    /// A token that gets the key, once for each; needed only where there are several
    #[arg(long = "token", value_name = "TOKEN")]
    pub(crate) token: Vec<String>,
    /// What a sign key may sign, `raw` if not said
    #[arg(long = "format", value_name = "FORMAT", value_delimiter = ',', value_parser = formats(),
          conflicts_with = "into")]
    pub(crate) formats: Vec<Format>,
    /// A word of yours, as NAME=VALUE
    #[arg(long = "tag", value_name = "NAME=VALUE", value_parser = tag, conflicts_with = "into")]
    pub(crate) tags: Vec<(String, String)>,
    /// A key that keyward has already and whose current version this is: it gets the tokens as
    /// further places
    #[arg(long, value_name = "KEY", conflicts_with = "purpose")]
    pub(crate) into: Option<String>,
    #[command(flatten)]
    pub(crate) pcrs: Pcrs,
    /// Read the passphrase of an encrypted key from the first line of a file; else it is asked for
    /// on the terminal
    #[arg(long, value_name = "FILE", conflicts_with = "key_type")]
    pub(crate) passphrase_file: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) piv: PivOptions,
    #[command(flatten)]
    pub(crate) json: Json,
}
