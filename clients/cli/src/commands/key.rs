//! `keyward key …`

use std::io::IsTerminal;

use keyward_client::key_format;
use keyward_protocol::operation::{Describe, Destroy, GetPublicKey, KeySummary, List};
use keyward_protocol::{Format, operation};
use serde_json::{Value, json};

use crate::arguments::{Create, Json, KeyCommand, Public, PublicForm};
use crate::error::Error;
use crate::exit::Exit;
use crate::io::{self, Content};
use crate::output::{self, key_json, key_text, names, plain, print, print_json, table};
use crate::pin;

pub(super) fn run(command: KeyCommand) -> Result<(), Error> {
    match command {
        KeyCommand::Create(create) => self::create(create),
        KeyCommand::List(json) => list(&json),
        KeyCommand::Show { key, json } => show(super::connect()?.call(Describe { key })?, &json),
        KeyCommand::Public(public) => self::public(public),
        KeyCommand::Destroy { key, now, yes } => destroy(key, now, yes),
    }
}

fn create(create: Create) -> Result<(), Error> {
    let mut formats: Vec<Format> = create.formats;
    formats.sort_unstable();
    formats.dedup();
    let made = super::connect()?.call(operation::Create {
        purpose: create.purpose,
        key_type: create.key_type,
        alias: Some(create.alias),
        token: create.token,
        formats: (!formats.is_empty()).then_some(formats),
        tags: (!create.tags.is_empty()).then(|| create.tags.into_iter().collect()),
    })?;
    show(made, &create.json)
}

fn show(key: operation::KeyDescription, json: &Json) -> Result<(), Error> {
    if json.json {
        print_json(&key_json(&key))
    } else {
        print(&key_text(&key))
    }
}

fn list(json: &Json) -> Result<(), Error> {
    let mut client = super::connect()?;
    let mut keys: Vec<KeySummary> = Vec::new();
    let mut after = None;
    loop {
        let page = client.call(List { after })?;
        let went_on = !page.keys.is_empty();
        keys.extend(page.keys);
        after = page.next;
        if after.is_none() {
            break;
        }
        if !went_on {
            return Err(Error::new(
                Exit::Fault,
                "the agent's list of keys does not end",
            ));
        }
    }
    if json.json {
        return print_json(&keys.iter().map(summary).collect());
    }
    if keys.is_empty() {
        return print("no keys\n");
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

fn public(public: Public) -> Result<(), Error> {
    let content = match public.format {
        PublicForm::Der | PublicForm::Cose => Content::Binary,
        PublicForm::Pem | PublicForm::Ssh | PublicForm::Jwk => Content::Text,
    };
    let output = public.output.file.as_deref();
    io::check_output(output, content)?;
    let answer = super::connect()?.call(GetPublicKey {
        key: public.key.clone(),
        version: public.version,
    })?;
    let key = &answer.cose_key;
    let line = |text: String| format!("{text}\n").into_bytes();
    let bytes = match public.format {
        PublicForm::Pem => key_format::to_pem(key).map(String::into_bytes),
        PublicForm::Der => key_format::to_der(key),
        PublicForm::Ssh => key_format::to_ssh(key, &public.key).map(line),
        PublicForm::Jwk => Ok(line(key_format::to_jwk(key))),
        PublicForm::Cose => Ok(key_format::to_cose(key)),
    };
    let bytes = bytes.map_err(|e| Error::new(Exit::Fault, "the key has no such form").cause(e))?;
    io::write(output, content, &bytes)
}

fn destroy(key: String, now: bool, yes: bool) -> Result<(), Error> {
    if !yes && !std::io::stdin().is_terminal() {
        return Err(Error::usage(
            "destroying a key wants a word from a person, and stdin is no terminal",
        )
        .hint(format!("keyward key destroy {} --now --yes", plain(&key))));
    }
    let mut client = super::connect()?;
    if !yes {
        let description = client.call(Describe { key: key.clone() })?;
        let tokens = description.versions.iter().flat_map(|v| &v.placements);
        let mut tokens: Vec<&str> = tokens.map(|p| p.token.as_str()).collect();
        tokens.sort_unstable();
        tokens.dedup();
        let prompt = format!(
            "This destroys the {} key {} ({}) in {}, for good.\nType its name to go on: ",
            description.key_type,
            plain(&key),
            description.id,
            plain(&output::list(tokens)),
        );
        if pin::ask_line(&prompt)? != key {
            return Err(Error::new(
                Exit::Negative,
                "not destroyed: that is not its name",
            ));
        }
    }
    client.call(Destroy { key, now })?;
    Ok(())
}
