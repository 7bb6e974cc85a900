//! `keyward key adopt`

use clap::Args;
use keyward_protocol::{Format, KeyType, Purpose};

use super::Json;
use super::values::{formats, key_types, purposes, tag};

#[derive(Args)]
#[command(after_long_help = "\
For keys that another program has made in a token, at a place that the token itself knows: in a TPM a \
persistent handle, on a PIV card a slot. The key is not changed, and the other program can go on using it. \
keyward remembers which key it is, and uses no other that somebody puts at that place later. On a YubiKey it \
writes a note beside the key, with the management key that is behind the PIN or the factory's.

A key of a TPM must have an empty authorization value and no policy, and must not be restricted \
(`tpm2_readpublic -c HANDLE` shows the attributes). That its value is empty is tried once: where it is not, and the \
key is not noda, that is a wrong try of the TPM's lockout.

`keyward key destroy` has keyward forget an adopted key. The key itself stays in the token until \
`tpm2_evictcontrol -C o -c HANDLE` or, from firmware 5.7 on, `ykman piv keys delete SLOT` removes it.

Examples:
  keyward key adopt web --token chip --at 0x81000010 --purpose sign
  keyward key adopt mail --token yubikey --at 9c --purpose sign")]
pub(crate) struct Adopt {
    /// A name for the key
    pub(crate) alias: String,
    /// Where it is: for a TPM a persistent handle, such as 0x81000010, for a PIV card a slot, such as 9c
    #[arg(long, value_name = "PLACE")]
    pub(crate) at: String,
    /// What the key is for; it can't be changed later
    #[arg(long, value_parser = purposes())]
    pub(crate) purpose: Purpose,
    /// What kind of key it is; what the token says if not said
    #[arg(long = "type", value_name = "TYPE", value_parser = key_types(), ignore_case = true)]
    pub(crate) key_type: Option<KeyType>,
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
