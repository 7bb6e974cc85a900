//! TPM 2.0: a TPM, and a folder with the files of its keys, which only that TPM can load.
//!
//! A TPM keeps no keys: it wraps each with its storage root key and gives it back. So a token of
//! this kind is both, and the worker alone reads and writes the folder. A TPM does one thing at a
//! time, and so does this.

mod abilities;
mod adopt;
mod attest;
mod bound;
mod device;
mod duplicate;
mod endorsement;
mod error;
mod foreign;
mod hmac;
mod import;
pub mod init;
pub use keyward_backend::key_file;
mod loaded;
mod make;
mod pcrs;
mod persistent;
mod pin;
mod place;
mod policy;
pub(crate) mod reach;
mod report;
mod scan;
mod seal;
mod session;
mod sign;
mod storage_root;
pub mod store;
mod template;
mod unwrap;
mod z_gen;

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use keyward_backend::message::{ChangePin, SCAN_PAGE};
use keyward_backend::tcti::Tcti;
use keyward_backend::token::{PinTries, Protection};
use keyward_backend::{Backend, BackendError, Result, TokenIdentity, TokenReport, VersionId};
use keyward_protocol::SecretBytes;

use device::Device;
use error::{Next, answer, describe, next};
use loaded::Blob;
pub use session::Session;
use store::{Store, StoreError};

/// A token: a TPM, and the folder of its keys.
pub struct Tpm {
    tcti: Tcti,
    store: Store,
    protections: Vec<Protection>,
    state: Mutex<State>,
}

/// What is known of the TPM now.
#[derive(Default)]
struct State {
    device: Option<Device>,
    /// The TPM that was found, or that the agent expects. Nothing is sent to another.
    expected: Option<TokenIdentity>,
    /// The authorization value of the keys of a token with a PIN, while a login is in force.
    secret: Option<SecretBytes>,
    /// The files that were read.
    blobs: HashMap<VersionId, Arc<Blob>>,
    /// The dictionary attack lockout, if it was in force when the TPM was asked.
    lockout: Option<pin::Lockout>,
    /// Whether the token has a PIN, once it was looked.
    has_pin: Option<bool>,
}

/// How many files are kept in memory, of about 1 KiB each.
const MOST_BLOBS: usize = 1024;

impl std::fmt::Debug for Tpm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tpm")
            .field("tcti", &self.tcti)
            .finish_non_exhaustive()
    }
}

/// Why something was not done.
enum Failure {
    /// The TPM or the way to it.
    Tpm(tss_esapi::Error),
    /// What the agent hears, whatever the TPM does.
    Answer(BackendError),
}

impl From<tss_esapi::Error> for Failure {
    fn from(error: tss_esapi::Error) -> Self {
        Self::Tpm(error)
    }
}

impl From<BackendError> for Failure {
    fn from(error: BackendError) -> Self {
        Self::Answer(error)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Answer(error.into())
    }
}

impl From<Failure> for BackendError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Tpm(error) => answer(error),
            Failure::Answer(error) => error,
        }
    }
}

/// Whether something can be done twice, where a connection ended before the TPM's answer came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Repeat {
    /// It changes nothing in the TPM.
    Yes,
    /// It may have counted as a try.
    No,
}

impl Tpm {
    /// A token whose TPM is not asked for yet.
    ///
    /// # Errors
    /// [`BackendError::DeviceFailed`] for a folder that can't be used.
    pub fn new(tcti: Tcti, keys: &Path, protections: Vec<Protection>) -> Result<Self> {
        let store = Store::open(keys)
            .map_err(|error| BackendError::DeviceFailed(format!("{}: {error}", keys.display())))?;
        Ok(Self {
            tcti,
            store,
            protections,
            state: Mutex::default(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something with the TPM that is expected, over a new connection where there is none or
    /// where the one that is there turns out to be dead.
    fn with<T>(
        &self,
        repeat: Repeat,
        mut act: impl FnMut(&mut State, &mut Device) -> std::result::Result<T, Failure>,
    ) -> Result<T> {
        let mut state = self.lock();
        let mut first = true;
        loop {
            let mut device = match state.device.take() {
                Some(device) => device,
                None => {
                    first = false;
                    self.connect(&state)?
                }
            };
            match act(&mut state, &mut device) {
                Err(Failure::Tpm(error)) if next(error) == Next::Connect => {
                    if !first || repeat == Repeat::No {
                        return Err(answer(error));
                    }
                }
                done => {
                    state.device = Some(device);
                    return Ok(done?);
                }
            }
        }
    }

    /// That the expected TPM is there, asked of it now.
    fn check_same(&self) -> Result<()> {
        let same = self.with(Repeat::Yes, |_, device| Ok(device.is_same()?))?;
        if !same {
            self.lock().device = None;
        }
        // Over a new connection it is compared with the expected one.
        self.with(Repeat::Yes, |_, _| Ok(()))
    }

    /// Connects, and takes no TPM but the expected one.
    fn connect(&self, state: &State) -> Result<Device> {
        let device = Device::connect(&self.tcti)?;
        match &state.expected {
            Some(expected) if *expected != device.identity => Err(BackendError::TokenChanged(
                format!("{} is there, and {expected} is expected", device.identity),
            )),
            _ => Ok(device),
        }
    }

    fn report(
        &self,
        state: &mut State,
        device: &mut Device,
    ) -> std::result::Result<TokenReport, Failure> {
        let login_required = self.has_pin(state)?;
        let pin_tries = match login_required {
            true => device.run(|device| pin::tries(&mut device.context))?,
            false => PinTries::Unknown,
        };
        let known = state.lockout.take();
        state.lockout =
            device.run(|device| pin::Lockout::look(known, pin_tries, &mut device.context))?;
        Ok(TokenReport {
            identity: device.identity.clone(),
            label: String::new(),
            login_required,
            logged_in: login_required && state.secret.is_some(),
            pin_tries,
            algorithms: device.abilities.algorithms(),
            key_types: device.abilities.key_types.clone(),
            protections: self.protections.clone(),
            lockout_seconds: state.lockout.and_then(|lockout| lockout.seconds_left()),
            warnings: Vec::new(),
            hides_keys: false,
        })
    }

    /// Whether keys can be used: a token without a PIN has no login.
    fn check_login(&self, state: &mut State) -> Result<()> {
        match state.secret.is_none() && self.has_pin(state)? {
            true => Err(BackendError::LoginRequired),
            false => Ok(()),
        }
    }

    fn has_pin(&self, state: &mut State) -> Result<bool> {
        if let Some(known) = state.has_pin {
            return Ok(known);
        }
        let has = self.store.get(pin::id())?.is_some();
        if !has && self.wants_pin()? {
            return Err(BackendError::DeviceFailed(format!(
                "the keys of this token need what the PIN opens, and its file is missing: put back a copy of {}",
                self.store.path(pin::id()).display()
            )));
        }
        state.has_pin = Some(has);
        Ok(has)
    }

    /// Whether a key of the folder has an authorization value. Without that, a lost file would make a
    /// token without a PIN, and new keys that everybody could use.
    fn wants_pin(&self) -> Result<bool> {
        let mut last = None;
        loop {
            let page = self.store.page(last, SCAN_PAGE)?;
            let has_auth = |entry: &store::Entry| entry.key.has_auth();
            if page
                .entries
                .iter()
                .any(|(_, entry)| entry.as_ref().is_ok_and(has_auth))
            {
                return Ok(true);
            }
            last = page.entries.last().map(|(id, _)| *id);
            if !page.more || last.is_none() {
                return Ok(false);
            }
        }
    }
}

impl Backend for Tpm {
    type Session<'a> = Session<'a>;

    fn open(&self, pinned: Option<&TokenIdentity>) -> Result<TokenReport> {
        {
            let mut state = self.lock();
            state.has_pin = None;
            if state.expected.as_ref() != pinned {
                // What was unlocked belongs to the TPM of before.
                *state = State::default();
                state.expected = pinned.cloned();
            }
        }
        self.check_same()?;
        let report = self.with(Repeat::Yes, |state, device| self.report(state, device))?;
        self.lock()
            .expected
            .get_or_insert_with(|| report.identity.clone());
        Ok(report)
    }

    fn login(&self, pin: &SecretBytes) -> Result<TokenReport> {
        self.check_same()?;
        self.with(Repeat::No, |state, device| {
            if state.secret.is_none()
                && let Some(entry) = self.store.get(pin::id())?
            {
                state.secret = Some(pin::unseal(device, pin::file(&entry)?, pin)?);
            }
            self.report(state, device)
        })
    }

    fn logout(&self) -> Result<()> {
        let mut state = self.lock();
        state.secret = None;
        if let Some(device) = &mut state.device {
            // What is loaded has been given its authorization value.
            device.loaded.forget(&mut device.context);
            device.end_session();
        }
        Ok(())
    }

    fn change_pin(&self, change: &ChangePin) -> Result<TokenReport> {
        self.set_pin(change)
    }

    fn session(&self) -> Result<Session<'_>> {
        Ok(Session {
            tpm: self,
            expected: None,
        })
    }
}

impl Tpm {
    /// Takes out of the TPM what this process has loaded: where nobody manages its few slots, they
    /// would stay taken.
    pub fn close(&self) {
        self.lock().device = None;
    }
}

/// What hinders the use of a key's file, with the key named.
fn about_file(id: VersionId, error: tss_esapi::Error) -> BackendError {
    BackendError::Refused(format!(
        "this TPM does not load the file of {id}: {}",
        describe(error)
    ))
}
