//! `keyward key list`

use keyward_protocol::operation::{Describe, KeySummary, List};
use serde_json::{Value, json};

use crate::agent::{Agent, connect};
use crate::arguments::ListKeys;
use crate::error::Error;
use crate::exit::Exit;
use crate::output::{self, names, print, print_json, table};

pub(super) fn list(wanted: &ListKeys) -> Result<(), Error> {
    let mut agent = connect()?;
    let mut keys = all(&mut agent)?;
    let any = keys.is_empty();
    keys.retain(|key| fits(key, wanted));
    if !wanted.tags.is_empty() {
        keys = with_tags(&mut agent, keys, wanted)?;
    }
    if wanted.json.json {
        return print_json(&keys.iter().map(summary).collect());
    }
    if keys.is_empty() {
        return print(if any { "no keys\n" } else { "no such keys\n" });
    }
    let heading = ["ALIASES", "PURPOSE", "TYPE", "STATE", "TOKENS", "ID"];
    let mut rows = vec![heading.map(String::from)];
    rows.extend(keys.iter().map(|key| {
        [
            output::list(&key.aliases),
            key.purpose.to_string(),
            key.key_type.to_string(),
            key.state.to_string(),
            output::list(&key.tokens),
            key.id.clone(),
        ]
    }));
    print(&table(&rows))
}

/// The keys of all pages.
fn all(agent: &mut Agent) -> Result<Vec<KeySummary>, Error> {
    let mut keys: Vec<KeySummary> = Vec::new();
    let mut after = None;
    loop {
        let page = agent.call(List { after })?;
        let went_on = !page.keys.is_empty();
        keys.extend(page.keys);
        after = page.next;
        if after.is_none() {
            return Ok(keys);
        }
        if !went_on {
            let endless = "the agent's list of keys does not end";
            return Err(Error::new(Exit::Fault, endless));
        }
    }
}

fn fits(key: &KeySummary, wanted: &ListKeys) -> bool {
    wanted.purpose.is_none_or(|purpose| key.purpose == purpose)
        && wanted.state.is_none_or(|state| key.state == state)
        && (wanted.token.as_ref()).is_none_or(|token| key.tokens.contains(token))
}

/// A list has no tags: each key that is left is asked for.
fn with_tags(
    agent: &mut Agent,
    keys: Vec<KeySummary>,
    wanted: &ListKeys,
) -> Result<Vec<KeySummary>, Error> {
    let mut left = Vec::new();
    for key in keys {
        let id = key.id.clone();
        let description = match agent.call(Describe { key: id }) {
            Ok(description) => description,
            // It was destroyed meanwhile.
            Err(error) if error.exit == Exit::NotFound => continue,
            Err(error) => return Err(error),
        };
        let has = |(name, value): &(String, Option<String>)| {
            let there = description.tags.get(name);
            there.is_some_and(|there| value.as_ref().is_none_or(|value| there == value))
        };
        if wanted.tags.iter().all(has) {
            left.push(key);
        }
    }
    Ok(left)
}

fn summary(key: &KeySummary) -> Value {
    json!({
        "id": key.id,
        "aliases": key.aliases,
        "purpose": key.purpose.name(),
        "key_type": key.key_type.name(),
        "state": key.state.name(),
        "tokens": names(&key.tokens),
    })
}
