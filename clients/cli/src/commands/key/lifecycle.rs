//! `keyward key rotate|enable|disable|compromised|alias|tag`

use std::io::IsTerminal;

use keyward_protocol::operation::{
    self, Describe, Disable, Enable, KeyDescription, MarkCompromised, Rotate,
};

use crate::agent::connect;
use crate::arguments::{Alias, Compromised, Json, OneKey, Tag};
use crate::error::Error;
use crate::exit::Exit;
use crate::output::{key_json, list, plain, print, print_json, tags};
use crate::pin;

pub(super) fn rotate(OneKey { key, json }: OneKey) -> Result<(), Error> {
    let name = key.clone();
    say(connect()?.call(Rotate { key })?, &json, |rotated| {
        let Some((current, before)) = rotated.versions.split_last() else {
            return format!("{name} has no version");
        };
        let tokens = current.placements.iter().map(|place| &place.token);
        let old = before.last().map_or_else(String::new, |old| {
            format!("; version {} is {}", old.version, old.state)
        });
        format!(
            "{name} has version {} in {} now{old}",
            current.version,
            list(tokens)
        )
    })
}

pub(super) fn enable(OneKey { key, json }: OneKey) -> Result<(), Error> {
    let name = key.clone();
    say_state(connect()?.call(Enable { key })?, &json, &name)
}

pub(super) fn disable(OneKey { key, json }: OneKey) -> Result<(), Error> {
    let name = key.clone();
    say_state(connect()?.call(Disable { key })?, &json, &name)
}

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
    let name = key.clone();
    let marked = agent.call(MarkCompromised { key })?;
    say_state(marked, &compromised.key.json, &name)
}

pub(super) fn alias(alias: Alias) -> Result<(), Error> {
    let changed = connect()?.call(operation::Alias {
        key: alias.key.key,
        add: alias.add,
        remove: alias.remove,
    })?;
    // The name that was typed may be gone.
    say(changed, &alias.key.json, |key| match &*key.aliases {
        [] => format!("{} has no alias now", key.id),
        names => format!("{} has the aliases {} now", key.id, list(names)),
    })
}

pub(super) fn tag(tag: Tag) -> Result<(), Error> {
    let name = tag.key.key.clone();
    let changed = connect()?.call(operation::Tag {
        key: tag.key.key,
        set: tag.set.into_iter().collect(),
        remove: tag.remove,
    })?;
    say(changed, &tag.key.json, |key| match key.tags.is_empty() {
        true => format!("{name} has no tags now"),
        false => format!("{name} has the tags {} now", tags(key)),
    })
}

/// The state that the key has now.
fn say_state(key: KeyDescription, json: &Json, name: &str) -> Result<(), Error> {
    say(key, json, |key| format!("{name} is {} now", key.state))
}

/// A line of what is so now, or all of the key for a program.
fn say(
    key: KeyDescription,
    json: &Json,
    line: impl FnOnce(&KeyDescription) -> String,
) -> Result<(), Error> {
    if json.json {
        print_json(&key_json(&key))
    } else {
        print(&format!("{}\n", plain(&line(&key))))
    }
}
