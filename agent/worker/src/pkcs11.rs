//! A token behind a PKCS#11 module.

mod change_pin;
mod derive;
mod error;
mod gcm;
mod generate;
mod hmac;
mod import;
mod key_wrap;
mod locator;
mod login;
mod mechanism;
mod opening;
pub mod public_key;
mod read_back;
mod scan;
mod secret_key;
mod session;
mod sign;
mod template;
mod token;
mod unwrap;
pub mod uri;

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::session::Session as RawSession;
use keyward_backend::message::ChangePin;
use keyward_backend::token::Protection;
use keyward_backend::{Backend, BackendError, Result, TokenIdentity, TokenReport};
use keyward_protocol::SecretBytes;

pub use session::Session;

pub(crate) use error::describe;
use token::Found;
use unwrap::OaepSupport;
use uri::TokenUri;

/// The one token of this process.
#[derive(Debug)]
pub struct Token {
    module: Pkcs11,
    uri: TokenUri,
    protections: Vec<Protection>,
    /// The token as `open` found it.
    found: RwLock<Option<Arc<Found>>>,
    /// The session that is never closed, since closing an application's last one logs it out. All
    /// that writes to the token runs on it, one at a time (SoftHSMv2#573); so does the work of
    /// threads for which the token has no session left.
    anchor: Mutex<Option<RawSession>>,
    /// Held for reading by whoever uses a handle, for writing while handles become invalid.
    handles: RwLock<()>,
    /// Counts what makes handles invalid.
    epoch: AtomicU64,
    /// Counts what ends every session.
    removals: AtomicU64,
    oaep: OaepSupport,
    der_points: std::sync::atomic::AtomicBool,
}

impl Token {
    /// Loads and initialises a module, once in the life of a process and before it has threads:
    /// concurrent initialisation crashes SoftHSM, and two contexts of a module are undefined.
    ///
    /// # Errors
    /// The URI is wrong, or the module can't be loaded or initialised.
    pub fn load(module: &Path, uri: &str, protections: Vec<Protection>) -> Result<Self> {
        let failed =
            |what: String| BackendError::DeviceFailed(format!("{}: {what}", module.display()));
        let uri = TokenUri::parse(uri)
            .map_err(|error| failed(format!("{error}; correct `uri` in keyward.toml")))?;
        if !module.is_absolute() {
            return Err(failed(
                "the module must be named by its whole path; correct `module` in keyward.toml"
                    .to_owned(),
            ));
        }
        let pkcs11 = Pkcs11::new(module).map_err(|error| {
            failed(format!(
                "it can't be loaded: {}; check `module` in keyward.toml, that the package is installed, \
                 and that `read` lists the folders that the module needs",
                describe(&error)
            ))
        })?;
        pkcs11
            .initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK))
            .map_err(|error| {
                failed(format!(
                    "it can't be initialised: {}; check its own configuration, and that `read` and `write` \
                     list the files that it needs",
                    describe(&error)
                ))
            })?;
        Ok(Self {
            module: pkcs11,
            uri,
            protections,
            found: RwLock::default(),
            anchor: Mutex::default(),
            handles: RwLock::default(),
            epoch: AtomicU64::new(0),
            removals: AtomicU64::new(0),
            oaep: OaepSupport::default(),
            der_points: false.into(),
        })
    }

    /// Finalizes the module. To be called once, when no thread is inside it.
    pub fn finalize(&self) {
        if let Some(anchor) = self.lock_anchor().take() {
            drop(anchor);
        }
        if let Err(error) = self.module.clone().finalize() {
            eprintln!(
                "keyward-worker: the module did not end well: {}",
                describe(&error)
            );
        }
    }

    fn lock_anchor(&self) -> std::sync::MutexGuard<'_, Option<RawSession>> {
        self.anchor.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn found(&self) -> Result<Arc<Found>> {
        self.found
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
            .ok_or_else(|| BackendError::TokenAbsent("it was not looked for yet".to_owned()))
    }

    /// Makes every thread look its keys up again.
    fn forget_handles(&self) {
        self.epoch.fetch_add(1, Ordering::SeqCst);
    }

    /// Makes every thread open a new session: the token has been away.
    fn forget_sessions(&self) {
        self.removals.fetch_add(1, Ordering::SeqCst);
        self.forget_handles();
    }
}

impl Backend for Token {
    type Session<'a> = Session<'a>;

    fn open(&self, pinned: Option<&TokenIdentity>) -> Result<TokenReport> {
        self.find(pinned)
    }

    fn login(&self, pin: &SecretBytes) -> Result<TokenReport> {
        self.log_in(pin)
    }

    fn logout(&self) -> Result<()> {
        self.log_out()
    }

    fn change_pin(&self, change: &ChangePin) -> Result<TokenReport> {
        self.set_pin(change)
    }

    fn session(&self) -> Result<Session<'_>> {
        Session::open(self)
    }
}
