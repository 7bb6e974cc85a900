//! `keyward key rotate|enable|disable|compromised|alias|tag`

use std::io::IsTerminal;

use keyward_protocol::operation::{self, Describe, MarkCompromised};

use crate::agent::connect;
use crate::arguments::{Alias, Compromised, Tag};
use crate::error::Error;
use crate::exit::Exit;
use crate::output::plain;
use crate::pin;

pub(super) fn compromised(compromised: Compromised) -> Result<(), Error> {
    let key = compromised.key.key;
    if !compromised.yes && !std::io::stdin().is_terminal() {
        return Err(Error::usage(
            "marking a key as compromised wants a word from a person, and stdin is no terminal",
        )
        .hint(format!("keyward key compromised {} --yes", plain(&key))));
    }
    let mut agent = connect()?;
    if !compromised.yes {
        let description = agent.call(Describe { key: key.clone() })?;
        let prompt = format!(
            "The {} {} key {} ({}) can do nothing any more but verify, and there is no way back.\n\
             Mark it as compromised? [y/N] ",
            description.key_type,
            description.purpose,
            plain(&key),
            description.id,
        );
        if !pin::agrees(&prompt)? {
            return Err(Error::new(
                Exit::Negative,
                "not marked: nothing was changed",
            ));
        }
    }
    super::show(agent.call(MarkCompromised { key })?, &compromised.key.json)
}

pub(super) fn alias(alias: Alias) -> Result<(), Error> {
    let changed = connect()?.call(operation::Alias {
        key: alias.key.key,
        add: alias.add,
        remove: alias.remove,
    })?;
    super::show(changed, &alias.key.json)
}

pub(super) fn tag(tag: Tag) -> Result<(), Error> {
    let changed = connect()?.call(operation::Tag {
        key: tag.key.key,
        set: tag.set.into_iter().collect(),
        remove: tag.remove,
    })?;
    super::show(changed, &tag.key.json)
}
