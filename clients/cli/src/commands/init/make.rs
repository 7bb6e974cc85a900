//! Doing what was said, wholly or not at all.

use std::fs::{DirBuilder, File, Permissions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use keyward_protocol::SecretBytes;
use rustix::fs::{CWD, RenameFlags, renameat_with};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use super::card::Card;
use super::config;
use super::modules::Module;
use super::places::{Mode, Owner, Places};
use super::record::{Config, Made, Record, Thing, digest};
use super::undo::remove;
use super::worker::{CardSecrets, Replaced, Worker};
use crate::error::Error;
use crate::exit::Exit;

/// All that was decided.
#[derive(Debug)]
pub(super) struct Plan<'a> {
    pub(super) places: &'a Places,
    pub(super) name: &'a str,
    /// The whole configuration.
    pub(super) config: String,
    /// What is there before, if something is.
    pub(super) before: Option<String>,
    pub(super) new: Option<&'a NewToken>,
    /// The new token's.
    pub(super) pin: Option<SecretBytes>,
    /// A card that is to be set up.
    pub(super) card: Option<NewCard<'a>>,
}

/// A card that is to be set up.
#[derive(Debug)]
pub(super) struct NewCard<'a> {
    pub(super) card: &'a Card,
    pub(super) secrets: CardSecrets,
    /// Where its PIN is kept, if nobody types it.
    pub(super) pin_file: Option<PathBuf>,
}

/// A token that is to be made.
#[derive(Debug)]
pub(super) struct NewToken {
    /// Its folder.
    pub(super) folder: PathBuf,
    /// Where its PIN is kept, if nobody types it.
    pub(super) pin_file: Option<PathBuf>,
    pub(super) kind: Kind,
}

/// What makes it.
#[derive(Debug)]
pub(super) enum Kind {
    /// SoftHSM.
    SoftHsm {
        module: Module,
        /// Its softhsm2.conf.
        conf: PathBuf,
        tokens: PathBuf,
    },
    /// The TPM behind a TCTI string.
    Tpm(String),
}

/// Whose PIN it is, for a TPM.
pub(super) const TPM: &str = "a TPM's token";

impl Kind {
    /// Whose PIN it is.
    pub(super) fn pin_owner(&self) -> &'static str {
        match self {
            Self::SoftHsm { .. } => "SoftHSM",
            Self::Tpm(_) => TPM,
        }
    }
}

impl NewToken {
    /// What is there already is somebody's.
    pub(super) fn refuse_there(&self) -> Result<(), Error> {
        let conf = match &self.kind {
            Kind::SoftHsm { conf, .. } => Some(conf),
            Kind::Tpm(_) => None,
        };
        let made = [Some(&self.folder), conf, self.pin_file.as_ref()];
        match made.into_iter().flatten().find(|path| path.exists()) {
            None => Ok(()),
            Some(there) => Err(
                Error::usage(format!("{} is there already", there.display()))
                    .hint("--name OTHER, or `keyward init --undo`"),
            ),
        }
    }

    /// The folder with all that is in it, for the record.
    fn thing(&self) -> Thing {
        match self.kind {
            Kind::SoftHsm { .. } => Thing::Token(self.folder.clone()),
            Kind::Tpm(_) => Thing::TpmKeys(self.folder.clone()),
        }
    }
}

/// Makes it; takes all back that was made if something goes wrong.
pub(super) fn make(plan: &Plan<'_>, worker: &Worker) -> Result<Option<Replaced>, Error> {
    let interrupted = Interrupted::watch()?;
    let mut making = Making {
        owner: plan.places.owner,
        things: Vec::new(),
        record: None,
        done: false,
    };
    let system = plan.places.mode == Mode::System;
    let config_mode = if system { 0o755 } else { 0o700 };
    making.folders(&plan.places.config_folder, config_mode, None)?;
    making.folders(&plan.places.state, 0o700, plan.places.owner)?;
    // Before it is made, so that `--undo` finds also what a crash left behind.
    making.record(plan)?;
    if let Some(new) = plan.new {
        making.token(new, plan.pin.as_ref(), worker)?;
    }
    interrupted.check(plan.new)?;
    // What is set on a card is not taken back, so from here on it goes to the end.
    let card = plan.card.as_ref();
    let replaced = card.map(|card| making.card(card, worker)).transpose()?;
    // The configuration is the last to come: with it all is done.
    let path = plan.places.config();
    let beside = making.beside(&path, &plan.config, system)?;
    place(&beside, &path, plan.before.as_deref())?;
    making.done = true;
    Ok(replaced)
}

/// Gives the new file its name: one that appeared or changed meanwhile is left alone.
fn place(beside: &Path, path: &Path, before: Option<&str>) -> Result<(), Error> {
    let failed =
        |e: std::io::Error| Error::usage(format!("can't write {}", path.display())).cause(e);
    let flags = match before {
        None => RenameFlags::NOREPLACE,
        Some(before) => {
            let now = std::fs::read(path).map_err(failed)?;
            if now != before.as_bytes() {
                let what = format!("{} was changed meanwhile", path.display());
                return Err(Error::new(Exit::TryAgain, what));
            }
            RenameFlags::empty()
        }
    };
    renameat_with(CWD, beside, CWD, path, flags).map_err(|e| failed(e.into()))
}

/// What is there so far. When this is dropped before it is done, it is removed.
#[derive(Debug)]
struct Making {
    owner: Option<Owner>,
    things: Vec<Thing>,
    /// The record's place, and what it said before.
    record: Option<(PathBuf, Record)>,
    done: bool,
}

impl Making {
    /// Writes down what is made and what is going to be.
    fn record(&mut self, plan: &Plan<'_>) -> Result<(), Error> {
        let path = plan.places.record();
        let before = Record::read(&path)?;
        let mut things = self.things.clone();
        if let Some(new) = plan.new {
            let above = new.folder.parent().filter(|above| !above.is_dir());
            things.extend(above.map(|above| Thing::Folder(above.to_owned())));
            things.push(new.thing());
            if let Kind::SoftHsm { conf, .. } = &new.kind {
                things.push(Thing::File(conf.clone()));
            }
            things.extend(new.pin_file.clone().map(Thing::File));
        }
        if let Some(new) = &plan.card {
            things.push(Thing::Card(new.card.describe()));
            things.extend(new.pin_file.clone().map(Thing::File));
        }
        let mut now = before.clone();
        now.made.push(Made {
            token: plan.name.to_owned(),
            config: Config {
                path: plan.places.config(),
                sha256: digest(plan.config.as_bytes()),
                kept: plan.before.as_ref().map(String::len),
                before: plan.before.as_ref().map(|text| digest(text.as_bytes())),
            },
            things,
        });
        self.record = Some((path.clone(), before));
        now.write(&path)
    }

    /// A folder with all above it that are not there.
    fn folders(&mut self, path: &Path, mode: u32, owner: Option<Owner>) -> Result<(), Error> {
        if path.is_dir() {
            return Ok(());
        }
        if let Some(above) = path.parent() {
            self.folders(above, mode, None)?;
        }
        self.folder(path, mode, owner)
    }

    fn folder(&mut self, path: &Path, mode: u32, owner: Option<Owner>) -> Result<(), Error> {
        let failed = |e| Error::usage(format!("can't make {}", path.display())).cause(e);
        DirBuilder::new().mode(mode).create(path).map_err(failed)?;
        self.things.push(Thing::Folder(path.to_owned()));
        // Whatever the umask is.
        std::fs::set_permissions(path, Permissions::from_mode(mode)).map_err(failed)?;
        match owner {
            Some(owner) => chown(path, Some(owner.uid), Some(owner.gid)).map_err(failed),
            None => Ok(()),
        }
    }

    /// A new file.
    fn file(&mut self, path: &Path, mode: u32, bytes: &[u8]) -> Result<File, Error> {
        let failed = |e| Error::usage(format!("can't make {}", path.display())).cause(e);
        let mut file = File::options()
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(path)
            .map_err(failed)?;
        self.things.push(Thing::File(path.to_owned()));
        // Whatever the umask is.
        file.set_permissions(Permissions::from_mode(mode))
            .and_then(|()| file.write_all(bytes))
            .and_then(|()| file.sync_all())
            .map_err(failed)?;
        Ok(file)
    }

    /// The token's folder, its configuration, the token itself and the file of its PIN.
    fn token(
        &mut self,
        new: &NewToken,
        pin: Option<&SecretBytes>,
        worker: &Worker,
    ) -> Result<(), Error> {
        let above = new.folder.parent().unwrap_or(Path::new("/"));
        if !above.is_dir() {
            self.agents_folder(above)?;
            self.things.push(Thing::Folder(above.to_owned()));
        }
        self.agents_folder(&new.folder)?;
        self.things.push(new.thing());
        match (&new.kind, pin) {
            (
                Kind::SoftHsm {
                    module,
                    conf,
                    tokens,
                },
                Some(pin),
            ) => {
                self.agents_folder(tokens)?;
                let mode = if self.owner.is_some() { 0o644 } else { 0o600 };
                self.file(conf, mode, softhsm_conf(tokens).as_bytes())?;
                let officer = super::random::hexadecimal()?;
                worker
                    .init_token(module, &new.label(), &officer, pin)
                    .map_err(|why| Error::new(Exit::Fault, "SoftHSM made no token").cause(why))?;
            }
            (Kind::SoftHsm { .. }, None) => {
                return Err(Error::new(Exit::Fault, "a token of SoftHSM needs a PIN"));
            }
            (Kind::Tpm(tcti), pin) => worker
                .init_tpm(tcti, &new.folder, pin)
                .map_err(|why| Error::new(Exit::Token, "the TPM made no token").cause(why))?,
        }
        match (&new.pin_file, pin) {
            (Some(path), Some(pin)) => self.pin_file(path, pin),
            _ => Ok(()),
        }
    }

    /// The card's new PIN, PUK and management key, and the file of the PIN before them.
    fn card(&mut self, new: &NewCard<'_>, worker: &Worker) -> Result<Replaced, Error> {
        if let (Some(path), Some(pin)) = (&new.pin_file, &new.secrets.new_pin) {
            self.pin_file(path, pin)?;
            // From here on the card may have that PIN, and nobody else has it: it stays, whatever comes.
            self.things
                .retain(|thing| !matches!(thing, Thing::File(other) if other == path));
        }
        let card = new.card;
        let done = worker.init_card(
            &card.found.serial,
            card.from_factory,
            &new.secrets,
            &card.environment,
        );
        done.map_err(|why| {
            Error::new(Exit::Token, "the card was not set up wholly")
                .cause(why)
                .hint(
                    "keyward init again: what is the factory's no more is left as it is, and if that is \
                     the PIN or the PUK, it is the new one",
                )
        })
    }

    fn pin_file(&mut self, path: &Path, pin: &SecretBytes) -> Result<(), Error> {
        let file = self.file(path, 0o600, pin.expose())?;
        let Some(owner) = self.owner else {
            return Ok(());
        };
        rustix::fs::fchown(
            &file,
            Some(rustix::fs::Uid::from_raw(owner.uid)),
            Some(rustix::fs::Gid::from_raw(owner.gid)),
        )
        .map_err(|e| Error::usage(format!("can't give {} away", path.display())).cause(e))
    }

    /// A folder inside the agent's, made by the agent's user: root follows none of its links.
    fn agents_folder(&self, path: &Path) -> Result<(), Error> {
        let failed = |e: String| Error::usage(format!("can't make {}", path.display())).cause(e);
        let Some(owner) = self.owner else {
            return DirBuilder::new()
                .mode(0o700)
                .create(path)
                .map_err(|e| failed(e.to_string()));
        };
        super::as_agent("mkdir", owner)
            .args(["-m", "0700", "--"])
            .arg(path)
            .output()
            .map_err(|e| e.to_string())
            .and_then(|output| match output.status.success() {
                true => Ok(()),
                false => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
            })
            .map_err(failed)
    }

    /// The new configuration under another name, checked by keywardd.
    fn beside(&mut self, path: &Path, text: &str, system: bool) -> Result<Beside, Error> {
        let beside = path.with_extension(format!("toml.{}.new", std::process::id()));
        let mode = if system { 0o644 } else { 0o600 };
        self.file(&beside, mode, text.as_bytes())?;
        // It is named for as long as this lives, and was no part of the record.
        self.things.pop();
        let beside = Beside(beside);
        // What was refused before is not the new section's fault, such as a credential of the unit.
        if !path.exists() || config::check(path).is_ok() {
            config::check(&beside.0)?;
        }
        Ok(beside)
    }
}

impl Drop for Making {
    fn drop(&mut self) {
        if !self.done {
            if let Some((path, before)) = &self.record {
                let _ = match before.made.is_empty() {
                    true => std::fs::remove_file(path).map_err(|e| e.to_string()),
                    false => before.write(path).map_err(|_| String::new()),
                };
            }
            for thing in self.things.iter().rev() {
                // What can't be removed was perhaps never made.
                let _ = remove(thing, self.owner);
            }
        }
    }
}

/// A file that goes unless it gets its right name.
#[derive(Debug)]
struct Beside(PathBuf);

impl std::ops::Deref for Beside {
    type Target = Path;

    fn deref(&self) -> &Path {
        &self.0
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// What SoftHSM is to read.
fn softhsm_conf(tokens: &Path) -> String {
    format!(
        "# Made by `keyward init`: {}\ndirectories.tokendir = {}\nobjectstore.backend = file\n\
         log.level = ERROR\nslots.removable = false\n",
        config::SOFTWARE,
        tokens.display()
    )
}

impl NewToken {
    /// What SoftHSM calls the token: the name of its folder.
    fn label(&self) -> String {
        let name = self.folder.file_name().unwrap_or_default();
        name.to_string_lossy().into_owned()
    }
}

/// A signal that asks to end, which waits until what was made can be taken back.
struct Interrupted {
    came: Arc<AtomicBool>,
    handlers: Vec<signal_hook::SigId>,
}

impl Interrupted {
    fn watch() -> Result<Self, Error> {
        let mut watch = Self {
            came: Arc::default(),
            handlers: Vec::new(),
        };
        for signal in [SIGHUP, SIGINT, SIGTERM] {
            let handler = signal_hook::flag::register(signal, Arc::clone(&watch.came))
                .map_err(|e| Error::new(Exit::Fault, "can't watch for signals").cause(e))?;
            watch.handlers.push(handler);
        }
        Ok(watch)
    }

    fn check(&self, new: Option<&NewToken>) -> Result<(), Error> {
        let is_tpm = new.is_some_and(|new| matches!(new.kind, Kind::Tpm(_)));
        let what = match is_tpm {
            true => "interrupted; nothing was left behind, but the TPM keeps its storage root key",
            false => "interrupted; nothing was left behind",
        };
        match self.came.load(Ordering::SeqCst) {
            true => Err(Error::new(Exit::TryAgain, what)),
            false => Ok(()),
        }
    }
}

impl Drop for Interrupted {
    fn drop(&mut self) {
        for handler in self.handlers.drain(..) {
            signal_hook::low_level::unregister(handler);
        }
    }
}
