//! `keyward key …` of what happens to a key after it was made

use clap::Args;
use keyward_protocol::{KeyState, Purpose};

use super::Json;
use super::values::{purposes, states, tag, tag_filter};

/// A key, and how it is shown.
#[derive(Args)]
pub(crate) struct OneKey {
    /// The key's id or one of its aliases
    pub(crate) key: String,
    #[command(flatten)]
    pub(crate) json: Json,
}

#[derive(Args)]
pub(crate) struct ListKeys {
    /// Only keys of this purpose
    #[arg(long, value_parser = purposes())]
    pub(crate) purpose: Option<Purpose>,
    /// Only keys whose current version is on this token
    #[arg(long)]
    pub(crate) token: Option<String>,
    /// Only keys in this state
    #[arg(long, value_parser = states())]
    pub(crate) state: Option<KeyState>,
    /// Only keys with this tag, of any value if none is given; several must all be there
    #[arg(long = "tag", value_name = "NAME[=VALUE]", value_parser = tag_filter)]
    pub(crate) tags: Vec<(String, Option<String>)>,
    #[command(flatten)]
    pub(crate) json: Json,
}

#[derive(Args)]
pub(crate) struct Compromised {
    #[command(flatten)]
    pub(crate) key: OneKey,
    /// Don't ask
    #[arg(long)]
    pub(crate) yes: bool,
}

#[derive(Args)]
pub(crate) struct Alias {
    #[command(flatten)]
    pub(crate) key: OneKey,
    /// A name that the key gets
    #[arg(long, value_name = "NAME", required_unless_present = "remove")]
    pub(crate) add: Vec<String>,
    /// A name that the key loses
    #[arg(long, value_name = "NAME")]
    pub(crate) remove: Vec<String>,
}

#[derive(Args)]
pub(crate) struct Tag {
    #[command(flatten)]
    pub(crate) key: OneKey,
    /// A word of yours, instead of one of the same name
    #[arg(long, value_name = "NAME=VALUE", value_parser = tag, required_unless_present = "remove")]
    pub(crate) set: Vec<(String, String)>,
    /// The name of a tag that the key loses
    #[arg(long, value_name = "NAME")]
    pub(crate) remove: Vec<String>,
}
