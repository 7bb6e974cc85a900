//! A connection to a TPM: which one it is, its storage root key, and a session for secrets.

use std::sync::Arc;
use std::time::Duration;

use keyward_backend::tcti::Tcti;
use keyward_backend::{Result, TokenIdentity};
use tss_esapi::attributes::SessionAttributesBuilder;
use tss_esapi::constants::{PropertyTag, SessionType, StartupType};
use tss_esapi::handles::{KeyHandle, SessionHandle};
use tss_esapi::interface_types::algorithm::HashingAlgorithm;
use tss_esapi::interface_types::session_handles::AuthSession;
use tss_esapi::structures::SymmetricDefinition;
use tss_esapi::{Context, Error, WrapperErrorKind};

use super::abilities::Abilities;
use super::endorsement::Endorsement;
use super::error::{Next, next};
use super::loaded::Loaded;
use super::policy::Tickets;
use super::{reach, storage_root};

/// How often something is tried again that the TPM put off.
const MOST_TRIES: usize = 8;
/// How long it is waited before what the TPM put off is tried again; then twice as long each time.
const FIRST_PAUSE: Duration = Duration::from_millis(5);

/// A TPM that answers, and whose storage root key is known.
pub(super) struct Device {
    pub(super) context: Context,
    pub(super) identity: TokenIdentity,
    pub(super) srk: KeyHandle,
    pub(super) abilities: Abilities,
    pub(super) loaded: Loaded,
    /// Its endorsement key, once it was looked for.
    pub(super) endorsement: Option<Arc<Endorsement>>,
    /// Salted to the storage root key; made when something secret is to pass first.
    secure: Option<AuthSession>,
    /// The same for keys that a policy authorizes.
    policy: Option<AuthSession>,
    /// What the TPM has verified for these.
    pub(super) tickets: Tickets,
    /// Nobody but this process starts a TPM of swtpm; the kernel starts a real one.
    starts: bool,
}

/// How the parameters of a command are protected on their way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Secrecy {
    /// Nothing that passes is secret.
    None,
    /// What the TPM answers is.
    Answer,
    /// What it is sent is.
    Question,
    /// Both are.
    Both,
}

impl Device {
    /// Connects, and finds out which TPM it is.
    ///
    /// # Errors
    /// [`BackendError::TokenAbsent`] with what hinders.
    pub(super) fn connect(tcti: &Tcti) -> Result<Self> {
        let (mut context, starts) = reach::context(tcti)?;
        let srk = storage_root::find(&mut context)?;
        let identity = identify(&mut context, srk).map_err(reach::silent)?;
        let abilities = Abilities::of(&mut context).map_err(reach::silent)?;
        let loaded = Loaded::new(&mut context).map_err(reach::silent)?;
        Ok(Self {
            context,
            identity,
            srk,
            abilities,
            loaded,
            endorsement: None,
            secure: None,
            policy: None,
            tickets: Tickets::new(),
            starts,
        })
    }

    /// Whether it still is the TPM that was found: a connection may have ended without a sign of it,
    /// and another TPM may be behind one that has not.
    ///
    /// # Errors
    /// It does not answer.
    pub(super) fn is_same(&mut self) -> std::result::Result<bool, Error> {
        let srk = self.srk;
        let read = self.run(|device| device.context.read_public(srk));
        match read {
            Ok((_, name, _)) => Ok(digits(name.value()) == self.identity.serial),
            // It has no storage root key.
            Err(error) if matches!(next(error), Next::LoadAgain | Next::Refused) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Does something with the TPM; again where it put that off or has lost what was in it.
    ///
    /// What fails in such a way has changed nothing.
    ///
    /// # Errors
    /// The last failure.
    pub(super) fn run<T>(
        &mut self,
        mut act: impl FnMut(&mut Self) -> std::result::Result<T, Error>,
    ) -> std::result::Result<T, Error> {
        let mut tries = 0usize;
        let mut pause = FIRST_PAUSE;
        loop {
            let error = match act(self) {
                Ok(done) => return Ok(done),
                Err(error) => error,
            };
            tries = tries.saturating_add(1);
            if tries >= MOST_TRIES {
                return Err(error);
            }
            match next(error) {
                Next::Evict => self.loaded.make_room(&mut self.context),
                Next::LoadAgain => self.loaded.forget(&mut self.context),
                Next::SessionAgain => self.end_session(),
                Next::Startup if self.starts => {
                    self.context.startup(StartupType::Clear)?;
                    self.loaded.forget(&mut self.context);
                    self.secure = None;
                    self.policy = None;
                    self.tickets.clear();
                }
                // It tests itself, or lets its memory rest (TPM 2.0 Library Part 2 §6.6.3).
                Next::Again => std::thread::sleep(pause),
                _ => return Err(error),
            }
            pause = pause.saturating_mul(2);
        }
    }

    /// The session in which a command's secrets pass, or in which an authorization value is proved.
    ///
    /// It is salted to the storage root key, whose name was compared with the pinned one: whoever
    /// sits on the way does not know the salt.
    pub(super) fn session(&mut self, secrecy: Secrecy) -> std::result::Result<AuthSession, Error> {
        let session = match self.secure {
            Some(session) => session,
            None => self.start_session(SessionType::Hmac)?,
        };
        self.secure = Some(session);
        self.cover(session, secrecy)
    }

    /// The session in which the policy of a key is satisfied, and then its command's secrets pass.
    pub(super) fn policy_session(
        &mut self,
        secrecy: Secrecy,
    ) -> std::result::Result<AuthSession, Error> {
        let session = match self.policy {
            Some(session) => session,
            None => self.start_session(SessionType::Policy)?,
        };
        self.policy = Some(session);
        self.cover(session, secrecy)
    }

    /// Does something in which no session is needed.
    pub(super) fn plain<T>(
        &mut self,
        act: impl FnOnce(&mut Context) -> std::result::Result<T, Error>,
    ) -> std::result::Result<T, Error> {
        self.context.execute_without_session(act)
    }

    fn cover(
        &mut self,
        session: AuthSession,
        secrecy: Secrecy,
    ) -> std::result::Result<AuthSession, Error> {
        let (attributes, mask) = SessionAttributesBuilder::new()
            .with_continue_session(true)
            .with_decrypt(matches!(secrecy, Secrecy::Question | Secrecy::Both))
            .with_encrypt(matches!(secrecy, Secrecy::Answer | Secrecy::Both))
            .build();
        self.context
            .tr_sess_set_attributes(session, attributes, mask)?;
        Ok(session)
    }

    fn start_session(&mut self, kind: SessionType) -> std::result::Result<AuthSession, Error> {
        self.context
            .start_auth_session(
                Some(self.srk),
                None,
                None,
                kind,
                SymmetricDefinition::AES_128_CFB,
                HashingAlgorithm::Sha256,
            )?
            .ok_or(Error::WrapperError(WrapperErrorKind::WrongValueFromTpm))
    }

    /// Ends the sessions; the next secret has a new one.
    pub(super) fn end_session(&mut self) {
        for session in [self.secure.take(), self.policy.take()]
            .into_iter()
            .flatten()
        {
            // It may be gone already, which is what is wanted.
            let _ = self
                .context
                .flush_context(SessionHandle::from(session).into());
        }
    }
}

/// Which TPM it is. The storage root key's name stands for the serial number, which TPMs don't have.
fn identify(context: &mut Context, srk: KeyHandle) -> std::result::Result<TokenIdentity, Error> {
    let name = context.tr_get_name(srk.into())?;
    let manufacturer = context
        .get_tpm_property(PropertyTag::Manufacturer)?
        .unwrap_or_default();
    let vendor = [
        PropertyTag::VendorString1,
        PropertyTag::VendorString2,
        PropertyTag::VendorString3,
        PropertyTag::VendorString4,
    ];
    let mut model = String::new();
    for property in vendor {
        let value = context.get_tpm_property(property)?.unwrap_or_default();
        model.push_str(&letters(value));
    }
    Ok(TokenIdentity {
        manufacturer: letters(manufacturer).trim().to_owned(),
        model: model.trim().to_owned(),
        serial: digits(name.value()),
    })
}

pub(super) fn digits(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Four letters in a number, as the TPM gives its vendor's name.
fn letters(number: u32) -> String {
    number
        .to_be_bytes()
        .iter()
        .filter(|byte| byte.is_ascii_graphic() || **byte == b' ')
        .map(|byte| char::from(*byte))
        .collect()
}
