//! A reader for virtual cards: a pcscd of the test's own, that no other test and no hardware gets
//! into.
//!
//! ```no_run
//! use keyward_virtual_piv::{Card, Model, Rig};
//!
//! let rig = Rig::start(1);
//! let card = Card::new(Model::YubiKey57, 12_345_678);
//! rig.insert(0, &card);
//! let output = rig.command("yubico-piv-tool").args(["-a", "status"]).output();
//! ```

#![allow(clippy::expect_used, reason = "a harness fails by panicking")]

mod host;
mod pcscd;
mod ports;
mod status;
mod wait;

use std::{
    env,
    fmt::Write as _,
    fs,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tempfile::TempDir;

use crate::{Card, Model, link::Link};
use host::Host;
use pcscd::{Files, Pcscd};
use ports::Ports;
pub use wait::wait_for_some;

/// How long may take what takes less than a second.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often ports are taken anew, when somebody else was quicker.
const TRIES: usize = 10;

/// As many as pcscd has room for: vpcd has a second slot for each reader.
const MOST: usize = 8;

/// What a YubiKey's reader is named, with all its interfaces enabled.
pub const YUBIKEY: &str = "Yubico YubiKey OTP+FIDO+CCID";

/// A reader for cards of whatever make.
pub const GENERIC: &str = "Generic Smart Card Reader";

/// The name of a reader that such a card is found in.
#[must_use]
pub fn reader_for(card: &Card) -> &'static str {
    match card.model() {
        Model::Generic => GENERIC,
        _ => YUBIKEY,
    }
}

/// A private pcscd with readers for virtual cards. It ends when this is dropped, and all that it
/// made goes with it.
///
/// A reader is named by its place, from 0. A YubiKey that is pulled takes its reader away; this one
/// stays, empty.
#[derive(Debug)]
pub struct Rig {
    socket: PathBuf,
    inner: Mutex<Inner>,
    // Fields are dropped in their order: this one after what runs in it.
    folder: TempDir,
}

#[derive(Debug)]
struct Inner {
    files: Files,
    readers: Vec<Reader>,
    /// None while it is killed.
    pcscd: Option<Pcscd>,
}

#[derive(Debug)]
struct Reader {
    ports: Ports,
    /// What is in it, or will be when pcscd runs again.
    card: Option<Card>,
    link: Option<Link>,
}

impl Rig {
    /// Starts a pcscd with so many readers of YubiKeys, all empty.
    ///
    /// # Panics
    /// If pcscd and vpcd are not installed, or don't start.
    #[must_use]
    #[track_caller]
    pub fn start(readers: usize) -> Self {
        Self::with_readers(&vec![YUBIKEY; readers])
    }

    /// Starts one with a card in its only reader, which is named as suits the card.
    ///
    /// # Panics
    /// As [`start`](Self::start).
    #[must_use]
    #[track_caller]
    pub fn with(card: &Card) -> Self {
        let rig = Self::with_readers(&[reader_for(card)]);
        rig.insert(0, card);
        rig
    }

    /// Starts one with readers of these names, all empty.
    ///
    /// # Panics
    /// As [`start`](Self::start), and if there are more than 8.
    #[must_use]
    #[track_caller]
    pub fn with_readers(names: &[&str]) -> Self {
        assert!(names.len() <= MOST, "pcscd has room for {MOST} readers");
        let folder = folder();
        let files = Files::new(folder.path());
        fs::create_dir(files.configuration()).expect("a folder in an own folder");
        let mut failure = String::new();
        for _ in 0..TRIES {
            let readers = configure(&files, names);
            match Pcscd::start(&files) {
                Ok(mut pcscd) => {
                    let found = slots(&mut pcscd).len();
                    if found == names.len() {
                        return Self {
                            socket: files.socket(),
                            inner: Mutex::new(Inner {
                                files,
                                readers,
                                pcscd: Some(pcscd),
                            }),
                            folder,
                        };
                    }
                    drop(pcscd);
                    failure = fs::read_to_string(files.log()).unwrap_or_default();
                }
                Err(said) => failure = said,
            }
        }
        panic!(
            "pcscd does not start with {names:?} (vsmartcard-vpcd is installed by `make test`): {failure}"
        );
    }

    /// The socket of its pcscd, for `PCSCLITE_CSOCK_NAME`.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// What a client must have in its environment to see these readers and no others.
    #[must_use]
    pub fn environment(&self) -> Vec<(String, String)> {
        let socket = self.socket.to_string_lossy().into_owned();
        vec![("PCSCLITE_CSOCK_NAME".to_owned(), socket)]
    }

    /// A program that is a client: with that environment, nothing on stdin, and an empty home.
    #[must_use]
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .envs(self.environment())
            .env("HOME", self.folder.path())
            .env_remove("XDG_CACHE_HOME")
            .env_remove("XDG_CONFIG_HOME")
            .env("LC_ALL", "C.UTF-8")
            .stdin(Stdio::null());
        command
    }

    /// A folder that goes with the rig, for files of its clients.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// What pcscd calls that reader.
    ///
    /// # Panics
    /// If there is none, or pcscd was killed.
    #[must_use]
    #[track_caller]
    pub fn reader_name(&self, reader: usize) -> String {
        let mut inner = self.inner();
        let pcscd = inner.pcscd.as_mut().expect("pcscd runs");
        slots(pcscd).get(reader).expect("that reader").name.clone()
    }

    /// Whether pcscd sees a card there.
    ///
    /// # Panics
    /// If there is no such reader.
    #[must_use]
    #[track_caller]
    pub fn is_present(&self, reader: usize) -> bool {
        self.inner().is_present(reader)
    }

    /// Puts a card into a reader, and returns when pcscd has seen it. What was there is pulled
    /// first. While pcscd is killed, it is put there for when it runs again.
    ///
    /// # Panics
    /// If there is no such reader, or pcscd does not see it.
    #[track_caller]
    pub fn insert(&self, reader: usize, card: &Card) {
        let mut inner = self.inner();
        inner.pull(reader);
        inner.wait_for(reader, false);
        inner.reader(reader).card = Some(card.clone());
        inner.dial(reader);
        inner.wait_for(reader, true);
    }

    /// Pulls the card, and returns when pcscd has seen that it is gone.
    ///
    /// # Panics
    /// If there is no such reader, or pcscd does not see it.
    #[track_caller]
    pub fn remove(&self, reader: usize) {
        let mut inner = self.inner();
        inner.pull(reader);
        inner.wait_for(reader, false);
    }

    /// Pulls the card, and does not wait until pcscd has seen it.
    ///
    /// # Panics
    /// If there is no such reader.
    #[track_caller]
    pub fn pull(&self, reader: usize) {
        self.inner().pull(reader);
    }

    /// Kills pcscd: its clients are refused from now on. The cards lose their power.
    pub fn kill(&self) {
        self.inner().kill();
    }

    /// Kills pcscd if it runs, and starts it again at the same socket, with the cards that were in
    /// its readers. Returns when it has seen them.
    ///
    /// # Panics
    /// If it doesn't start.
    #[track_caller]
    pub fn restart(&self) {
        let mut inner = self.inner();
        inner.kill();
        // Nobody else can have the ports: they were held all the time.
        inner.pcscd = Some(Pcscd::start(&inner.files).expect("pcscd starts again"));
        for reader in 0..inner.readers.len() {
            inner.dial(reader);
        }
        for reader in 0..inner.readers.len() {
            let there = inner.reader(reader).link.is_some();
            inner.wait_for(reader, there);
        }
    }

    /// Makes pcscd answer nothing until [`cont`](Self::cont).
    ///
    /// # Panics
    /// If it was killed.
    #[track_caller]
    pub fn stop(&self) {
        self.inner().pcscd.as_ref().expect("pcscd runs").stop();
    }

    /// Ends a [`stop`](Self::stop).
    ///
    /// # Panics
    /// If it was killed.
    #[track_caller]
    pub fn cont(&self) {
        self.inner().pcscd.as_ref().expect("pcscd runs").cont();
    }

    /// The process of pcscd, while it runs.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.inner().pcscd.as_ref().map(Pcscd::id)
    }

    /// What pcscd has written since it was started last.
    #[must_use]
    pub fn log(&self) -> String {
        let log = fs::read(self.inner().files.log()).unwrap_or_default();
        String::from_utf8_lossy(&log).into_owned()
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        // A test that failed has nothing to hide from the clean-up.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    #[track_caller]
    fn reader(&mut self, reader: usize) -> &mut Reader {
        let count = self.readers.len();
        let found = self.readers.get_mut(reader);
        found.unwrap_or_else(|| panic!("there is no reader {reader}, but {count} from 0"))
    }

    #[track_caller]
    fn pull(&mut self, reader: usize) {
        let reader = self.reader(reader);
        reader.card = None;
        reader.link = None;
    }

    /// Puts the reader's card in, if it has one and pcscd runs.
    #[track_caller]
    fn dial(&mut self, reader: usize) {
        if self.pcscd.is_none() {
            return;
        }
        let reader = self.reader(reader);
        let port = reader.ports.first();
        // An old one is gone before the same card is put in again.
        reader.link = None;
        reader.link = (reader.card.as_ref())
            .map(|card| Link::dial(card, port).expect("the driver listens while pcscd runs"));
    }

    #[track_caller]
    fn is_present(&mut self, reader: usize) -> bool {
        let _ = self.reader(reader);
        let slots = self.pcscd.as_mut().map(slots).unwrap_or_default();
        slots.get(reader).is_some_and(|slot| slot.is_present)
    }

    /// Waits until pcscd says so; not at all while it is killed.
    #[track_caller]
    fn wait_for(&mut self, reader: usize, there: bool) {
        if self.pcscd.is_none() {
            return;
        }
        let seen = wait_for_some(
            || (self.is_present(reader) == there).then_some(()),
            PATIENCE,
        );
        if seen.is_none() {
            let log = fs::read_to_string(self.files.log()).unwrap_or_default();
            let what = if there { "inserted" } else { "removed" };
            panic!("pcscd does not see that the card of reader {reader} was {what}: {log}");
        }
    }

    fn kill(&mut self) {
        for reader in &mut self.readers {
            reader.link = None;
        }
        self.pcscd = None;
    }
}

impl Drop for Inner {
    /// The cards first: pcscd has no command under way when it ends.
    fn drop(&mut self) {
        self.kill();
    }
}

/// The readers of the configuration, without the second slots that vpcd adds.
fn slots(pcscd: &mut Pcscd) -> Vec<status::Reader> {
    let mut readers = pcscd.readers();
    readers.retain(|reader| reader.name.ends_with(" 00"));
    readers
}

/// Takes ports and writes the configuration of pcscd.
#[track_caller]
fn configure(files: &Files, names: &[&str]) -> Vec<Reader> {
    let mut text = String::new();
    let mut readers = Vec::new();
    for (number, name) in names.iter().enumerate() {
        // A driver of its own for each: vpcd has its connections in one table, and pcscd uses all
        // readers of one driver in turn, so that a card that blinks would hold up the others.
        let driver = files.folder().join(format!("vpcd-{number}.so"));
        let from = Host::get().vpcd();
        if let Err(error) = fs::copy(&from, &driver) {
            panic!(
                "{}: {error}; type `make test`, which installs vsmartcard-vpcd",
                from.display()
            );
        }
        let ports = Ports::take();
        // pcscd numbers readers of one driver only, and others must not have one name.
        let name = match names
            .iter()
            .take(number)
            .filter(|other| other == &name)
            .count()
        {
            0 => (*name).to_owned(),
            others => format!("{name} {others:02}"),
        };
        writeln!(text, "FRIENDLYNAME \"{name}\"").expect("a string");
        writeln!(text, "DEVICENAME /dev/null:{}", ports.first()).expect("a string");
        writeln!(text, "LIBPATH {}", driver.display()).expect("a string");
        writeln!(text, "CHANNELID {number}\n").expect("a string");
        readers.push(Reader {
            ports,
            card: None,
            link: None,
        });
    }
    fs::write(files.configuration().join("readers"), text).expect("a file in an own folder");
    readers
}

/// A short one: the name of a socket has 107 bytes at the most, and pcscd's configuration takes no
/// spaces.
#[track_caller]
fn folder() -> TempDir {
    let usual = env::temp_dir();
    let bytes = usual.as_os_str().as_bytes();
    // And below /run it might be hidden from pcscd (`host`).
    let is_good = bytes.len() <= 60
        && !bytes.iter().any(u8::is_ascii_whitespace)
        && !usual.starts_with("/run");
    let parent = if is_good { usual } else { "/tmp".into() };
    tempfile::Builder::new()
        .prefix("keyward-piv-")
        .tempdir_in(parent)
        .expect("a temporary folder")
}
