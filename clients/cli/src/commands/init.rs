//! `keyward init`: a first token, from finding it to the configuration.
//!
//! Everything is decided and said first ([`choose`](choose::choose), [`plan_text`](text::plan)), then
//! asked, and only then made, wholly or not at all ([`make`](make::make)).

mod card;
mod choose;
mod config;
mod make;
pub(super) mod modules;
pub(super) mod places;
mod random;
mod record;
mod text;
pub(super) mod tpm;
mod undo;
pub(super) mod uri;
pub(super) mod worker;

use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use keyward_protocol::SecretBytes;

use crate::arguments::Init;
use crate::error::Error;
use crate::exit::Exit;
use crate::output::print;
use crate::{io, pin};
use card::Card;
use choose::{Choice, choose};
use config::{Hardware, Pin, Section};
use make::{Kind, NewCard, NewToken, Plan};
use places::{Mode, Owner, Places, USER};
use worker::Worker;

/// Who looks at modules where the agent's user is not made, since it is a dry run.
const NOBODY: Owner = Owner {
    uid: 65534,
    gid: 65534,
};
/// What a token is called that nobody named.
const DEFAULT_NAME: &str = "main";
/// The shortest PIN that SoftHSM takes; a TPM would take less, and counts wrong ones.
const SHORTEST_PIN: usize = 4;

/// Sets up a token, or takes that back.
pub(super) fn init(init: Init) -> Result<(), Error> {
    let mode = if init.system {
        Mode::System
    } else {
        Mode::User
    };
    let mut places = Places::of(mode)?;
    if init.undo {
        return undo::undo(&init, &places);
    }
    if let Some(name) = &init.name {
        config::check_name(name)?;
    }
    let before = config_before(&init, &places)?;
    let make_user = mode == Mode::System && places.owner.is_none();
    if make_user && !init.dry_run {
        // Modules are looked at as this user.
        agents_user(&init, &mut places)?;
    }
    // Root itself loads no module.
    let owner = places.owner.or(make_user.then_some(NOBODY));
    let worker = Worker::find(init.worker.clone(), init.best_effort, owner)?;
    let choice = choose(&init, &places, &worker)?;
    if let Choice::Card(card) = &choice
        && let Some(there) = config::token_of_card(before.as_deref(), card.serial())
    {
        return Err(Error::usage(format!(
            "{} has this card already, as token {there}",
            places.config().display()
        ))
        .hint("keyward token --help  # what can be changed of it"));
    }
    let name = name(&init, &choice, before.as_deref());
    let ready = ready(&init, &places, choice, name)?;
    let section = ready.section(&init).text();
    let config = match &before {
        None => config::fresh(&places, init.best_effort, &section),
        Some(text) => config::added(&places.config(), text, &ready.name, &section)?,
    };
    print(&text::plan(&init, &places, &ready, before.is_some()))?;
    if init.dry_run {
        return print(&format!("\nIn {}:\n\n{section}", places.config().display()));
    }
    if !init.yes && !confirm("Go on?")? {
        return Err(Error::new(Exit::Negative, "nothing was done"));
    }
    let plan = Plan {
        places: &places,
        name: &ready.name,
        config,
        before,
        pin: ready.pin(&init)?,
        new: ready.new.as_ref(),
        card: ready.new_card(&init)?,
    };
    if let Some(new) = &plan.card {
        card::show(&init, &new.secrets)?;
    }
    let replaced = make::make(&plan, &worker)?;
    print(&text::next(&init, &places, &ready, replaced))
}

/// What is to be set up: a token that is there, or one that is to be made.
struct Ready {
    /// What keyward calls it.
    name: String,
    hardware: Hardware,
    /// The token for people.
    shown: String,
    software: bool,
    new: Option<NewToken>,
    /// Where the PIN is kept that nobody types.
    pin_file: Option<PathBuf>,
}

/// The name that was given, or what a person would call the token.
fn name(init: &Init, choice: &Choice, before: Option<&str>) -> String {
    match (&init.name, choice) {
        (Some(name), _) => name.clone(),
        (None, Choice::Card(card)) => config::free_name(before, card.name()),
        (None, _) => DEFAULT_NAME.to_owned(),
    }
}

fn ready(init: &Init, places: &Places, choice: Choice, name: String) -> Result<Ready, Error> {
    match choice {
        Choice::There(candidate) => {
            if init.pin_file.is_some() || init.remember_pin_in_file {
                let what = "the PIN of a token that is there is not asked for here";
                return Err(Error::usage(what)
                    .hint("leave --pin-file and --remember-pin-in-file out; keyward unlock"));
            }
            refuse_no_pin(init)?;
            let own = || uri::of(&candidate.found);
            Ok(Ready {
                name,
                shown: choose::describe(&candidate.found),
                software: choose::is_software(&candidate.found),
                hardware: Hardware::Pkcs11 {
                    uri: init.token_uri.clone().unwrap_or_else(own),
                    module: candidate.module,
                },
                new: None,
                pin_file: None,
            })
        }
        Choice::Card(card) => ready_card(init, places, *card, name),
        Choice::Tpm(tpm) => {
            let folder = places.state.join("tpm").join(&name);
            let new = NewToken {
                pin_file: pin_file(init, places, &name),
                kind: Kind::Tpm(tpm.tcti.clone()),
                folder,
            };
            if new.folder.exists() {
                let what = format!("{} is there already", new.folder.display());
                return Err(Error::usage(what).hint(format!(
                    "--name OTHER; or, to use the keys in it, write [token.{}] with kind = \"tpm\" into {}",
                    name,
                    places.config().display()
                )));
            }
            new.refuse_there()?;
            Ok(Ready {
                name,
                shown: format!("a new folder of keys of {}", tpm.describe()),
                software: tpm.is_software(),
                hardware: Hardware::Tpm(tpm),
                pin_file: new.pin_file.clone(),
                new: Some(new),
            })
        }
        Choice::Make(mut module) => {
            refuse_no_pin(init)?;
            let folder = places.state.join("softhsm").join(&name);
            let conf = match places.mode {
                Mode::User => folder.join("softhsm2.conf"),
                // Out of reach of the agent, which only reads it.
                Mode::System => places.config_folder.join(format!("{name}.softhsm2.conf")),
            };
            let tokens = folder.join("tokens");
            let variable = (
                "SOFTHSM2_CONF".to_owned(),
                conf.to_string_lossy().into_owned(),
            );
            module.environment = [variable].into();
            module.read = vec![conf.clone()];
            module.write = vec![tokens.clone()];
            let new = NewToken {
                pin_file: pin_file(init, places, &name),
                folder,
                kind: Kind::SoftHsm {
                    module: module.clone(),
                    conf,
                    tokens,
                },
            };
            new.refuse_there()?;
            let uri = format!("pkcs11:token={name};manufacturer=SoftHSM%20project");
            Ok(Ready {
                hardware: Hardware::Pkcs11 { module, uri },
                shown: format!("a new SoftHSM token \"{name}\""),
                software: true,
                name,
                pin_file: new.pin_file.clone(),
                new: Some(new),
            })
        }
    }
}

/// A card, with what the person has to say about it.
fn ready_card(init: &Init, places: &Places, mut card: Card, name: String) -> Result<Ready, Error> {
    refuse_no_pin(init)?;
    card.from_factory = init.from_factory;
    if card.is_silent() && !init.from_factory && !init.yes && !init.dry_run {
        let question = format!(
            "{} does not say whether its PIN and PUK are those of the factory. Is it as it came from there? \
             Then they are tried, once each, and replaced.",
            card.describe()
        );
        card.from_factory = confirm(&question)?;
    }
    card::check_wanted(init, card.steps())?;
    let pin_file = pin_file(init, places, &name);
    if let Some(there) = pin_file.as_ref().filter(|path| path.exists()) {
        let what = format!("{} is there already", there.display());
        return Err(Error::usage(what).hint("--name OTHER, or `keyward init --undo`"));
    }
    Ok(Ready {
        name,
        shown: card.describe(),
        software: false,
        hardware: Hardware::Card(Box::new(card)),
        new: None,
        pin_file,
    })
}

/// Where the PIN is kept that nobody types.
fn pin_file(init: &Init, places: &Places, name: &str) -> Option<PathBuf> {
    let path = places.config_folder.join(format!("{name}.pin"));
    init.remember_pin_in_file.then_some(path)
}

fn refuse_no_pin(init: &Init) -> Result<(), Error> {
    match init.no_pin {
        false => Ok(()),
        true => Err(
            Error::usage("--no-pin is for a TPM, and this token is none")
                .hint("leave --no-pin out, or name a TPM with --tcti"),
        ),
    }
}

impl Ready {
    fn section<'a>(&'a self, init: &'a Init) -> Section<'a> {
        Section {
            name: &self.name,
            hardware: &self.hardware,
            pin: match &self.pin_file {
                Some(file) => Pin::File(file.clone()),
                None if init.no_pin => Pin::None,
                None => Pin::Ask,
            },
            software: self.software,
        }
    }

    /// The PIN of the token that is to be made, if it gets one.
    fn pin(&self, init: &Init) -> Result<Option<SecretBytes>, Error> {
        match &self.new {
            Some(new) if !init.no_pin => new_pin(init, &self.name, new.kind.pin_owner()).map(Some),
            _ => Ok(None),
        }
    }

    /// The card that is to be set up, with what is asked for.
    fn new_card(&self, init: &Init) -> Result<Option<NewCard<'_>>, Error> {
        let Hardware::Card(card) = &self.hardware else {
            return Ok(None);
        };
        let steps = card.steps();
        let wanted = steps.pin || steps.puk || steps.management_key;
        wanted
            .then(|| {
                Ok(NewCard {
                    card,
                    secrets: card::ask(init, card)?,
                    pin_file: self.pin_file.clone(),
                })
            })
            .transpose()
    }
}

/// The configuration that is there; it is added to only if that was asked for.
fn config_before(init: &Init, places: &Places) -> Result<Option<String>, Error> {
    let path = places.config();
    let shown = path.display();
    match std::fs::read_to_string(&path) {
        Ok(text) if init.add => Ok(Some(text)),
        Ok(_) => Err(Error::new(
            Exit::Refused,
            format!("{shown} is there already, and is left as it is"),
        )
        .hint("keyward init --add --name NAME adds a token to it")),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(Error::usage(format!("can't read {shown}")).cause(e)),
    }
}

/// The PIN of a new token: from a file, made up, or typed twice.
fn new_pin(init: &Init, name: &str, owner: &str) -> Result<SecretBytes, Error> {
    if init.remember_pin_in_file {
        return random::hexadecimal();
    }
    if let Some(file) = &init.pin_file {
        let pin = io::read_secret(file, pin::LONGEST)?;
        return check_pin(&pin, owner).map(|()| pin);
    }
    let hint = match owner == make::TPM {
        true => "--pin-file FILE, or `--pin-file -` for stdin, or --no-pin",
        false => "--pin-file FILE, or `--pin-file -` for stdin, or --remember-pin-in-file",
    };
    for _ in 0..3 {
        let prompt = format!("PIN for the new token {name} (at least {SHORTEST_PIN} characters): ");
        let first = pin::ask(&prompt, hint)?;
        if let Err(error) = check_pin(&first, owner) {
            error.print();
            continue;
        }
        if pin::ask("The same PIN again: ", hint)? == first {
            return Ok(first);
        }
        eprintln!("keyward: the two are not the same");
    }
    Err(Error::usage("there is no PIN; nothing was made"))
}

fn check_pin(pin: &SecretBytes, owner: &str) -> Result<(), Error> {
    if pin.len() < SHORTEST_PIN {
        return Err(Error::usage(format!(
            "a PIN of {owner} has at least {SHORTEST_PIN} bytes"
        )));
    }
    match std::str::from_utf8(pin.expose()) {
        Ok(_) => Ok(()),
        Err(_) => Err(Error::usage("the PIN is not UTF-8 text")),
    }
}

/// Asks whether to go on; what is not a yes is a no.
fn confirm(question: &str) -> Result<bool, Error> {
    pin::agrees(&format!("{question} [y/N] "))
}

/// Makes the system agent's user, as the package's sysusers.d says.
fn agents_user(init: &Init, places: &mut Places) -> Result<(), Error> {
    let hint = "sudo useradd --system --user-group --home-dir /var/lib/keyward --shell /usr/sbin/nologin keyward";
    print(&format!(
        "There is no user {USER} yet, as whom the system's agent runs; it stays after --undo.\n"
    ))?;
    if !init.yes && !confirm("Make it with systemd-sysusers?")? {
        return Err(Error::new(Exit::Negative, "nothing was done").hint(hint));
    }
    let failed = |why: String| {
        Error::new(Exit::Fault, "systemd-sysusers made no user keyward")
            .cause(why)
            .hint(hint)
    };
    let output = Command::new("systemd-sysusers")
        .arg("keyward.conf")
        .output()
        .map_err(|e| failed(e.to_string()))?;
    *places = Places::of(Mode::System)?;
    match places.owner {
        Some(_) => Ok(()),
        None => Err(failed(
            String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        )),
    }
}

/// A program that runs as the agent's user.
fn as_agent(program: &str, owner: Owner) -> Command {
    let mut command = Command::new(program);
    command.uid(owner.uid).gid(owner.gid).current_dir("/");
    command
}
