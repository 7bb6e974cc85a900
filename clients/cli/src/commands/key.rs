//! `keyward key …`

mod adopt;
mod attest;
mod certificate;
mod csr;
mod export;
mod import;
mod lifecycle;
mod list;
mod reseal;

use std::io::IsTerminal;

use keyward_client::key_format;
use keyward_protocol::operation::{Describe, Destroy, GetPublicKey};
use keyward_protocol::piv::PivLocator;
use keyward_protocol::{Format, operation};

use crate::agent::connect;
use crate::arguments::{Create, Json, KeyCommand, OneKey, Public, PublicForm};
use crate::destination::{self, Content};
use crate::error::Error;
use crate::exit::Exit;
use crate::output::{self, key_json, key_text, plain, print, print_json};
use crate::pin;

pub(super) fn run(command: KeyCommand) -> Result<(), Error> {
    match command {
        KeyCommand::Create(create) => self::create(create),
        KeyCommand::Import(import) => import::import(import),
        KeyCommand::Adopt(adopt) => adopt::adopt(adopt),
        KeyCommand::Export(export) => export::export(export),
        KeyCommand::List(wanted) => list::list(&wanted),
        KeyCommand::Show(OneKey { key, json }) => show(connect()?.call(Describe { key })?, &json),
        KeyCommand::Public(public) => self::public(public),
        KeyCommand::Attest(attest) => attest::attest(attest),
        KeyCommand::Csr(csr) => csr::csr(csr),
        KeyCommand::Certificate(wanted) => certificate::read(wanted),
        KeyCommand::SetCertificate(write) => certificate::write(write),
        KeyCommand::Rotate(key) => lifecycle::rotate(key),
        KeyCommand::Reseal(wanted) => reseal::reseal(wanted),
        KeyCommand::Enable(key) => lifecycle::enable(key),
        KeyCommand::Disable(key) => lifecycle::disable(key),
        KeyCommand::Compromised(compromised) => lifecycle::compromised(compromised),
        KeyCommand::Alias(alias) => lifecycle::alias(alias),
        KeyCommand::Tag(tag) => lifecycle::tag(tag),
        KeyCommand::Destroy { key, now, yes } => destroy(key, now, yes),
    }
}

fn create(create: Create) -> Result<(), Error> {
    let mut formats: Vec<Format> = create.formats;
    formats.sort_unstable();
    formats.dedup();
    let made = connect()?.call(operation::Create {
        bind: create.pcrs.bind(),
        purpose: create.purpose,
        key_type: create.key_type,
        alias: Some(create.alias),
        token: create.token,
        formats: (!formats.is_empty()).then_some(formats),
        tags: (!create.tags.is_empty()).then(|| create.tags.into_iter().collect()),
        piv: create.piv.choice(),
    })?;
    show(made, &create.json)
}

pub(super) fn show(key: operation::KeyDescription, json: &Json) -> Result<(), Error> {
    if json.json {
        print_json(&key_json(&key))
    } else {
        print(&key_text(&key))
    }
}

fn public(public: Public) -> Result<(), Error> {
    let content = match public.format {
        PublicForm::Der | PublicForm::Cose => Content::Binary,
        PublicForm::Pem | PublicForm::Ssh | PublicForm::Jwk => Content::Text,
    };
    let output = public.output.file.as_deref();
    destination::check(output, content)?;
    let answer = connect()?.call(GetPublicKey {
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
    destination::write(output, content, &bytes)
}

/// What a key leaves behind in tokens, where other programs have put it.
fn left(key: &operation::KeyDescription) -> String {
    let places = key.versions.iter().flat_map(|version| &version.placements);
    let adopted = places.filter_map(|place| {
        if let Ok(card) = place.locator.parse::<PivLocator>() {
            let slot = card.slot;
            return card.adopted.then(|| format!(
                "keyward has forgotten the key, which stays in {} in slot {slot:02x}; to remove it, from firmware 5.7 on: ykman piv keys delete {slot:02x}\n",
                plain(&place.token),
            ));
        }
        let (at, _) = place.locator.strip_prefix("tpm:handle=")?.split_once(';')?;
        Some(format!(
            "keyward has forgotten the key, which stays in {} at {at}; to remove it: tpm2_evictcontrol -C o -c {at}\n",
            plain(&place.token),
            at = plain(at),
        ))
    });
    adopted.collect()
}

fn destroy(key: String, now: bool, yes: bool) -> Result<(), Error> {
    if !yes && !std::io::stdin().is_terminal() {
        return Err(Error::usage(
            "destroying a key wants a word from a person, and stdin is no terminal",
        )
        .hint(format!("keyward key destroy {} --now --yes", plain(&key))));
    }
    let mut agent = connect()?;
    // Whoever does not want to be asked may not be allowed to look either.
    let described = match agent.call(Describe { key: key.clone() }) {
        Ok(description) => Some(description),
        Err(error) if !yes => return Err(error),
        Err(_) => None,
    };
    if let Some(description) = described.as_ref().filter(|_| !yes) {
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
    let destroyed = agent.call(Destroy { key, now })?;
    let mut text = described.as_ref().map(left).unwrap_or_default();
    for token in destroyed.overwritten.unwrap_or_default() {
        text.push_str(&format!(
            "{} can't delete a key (a YubiKey can from firmware 5.7 on): it was overwritten with one that nobody uses, and its slot \
             is free\n",
            plain(&token)
        ));
    }
    print(&text)
}
