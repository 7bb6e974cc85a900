//! What one thread works with: a session of its own, or the anchor's where the token has no more,
//! and the handles that it looked up.

use std::collections::HashMap;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use cryptoki::error::{Error, RvError};
use cryptoki::object::{Attribute, AttributeType, ObjectHandle};
use cryptoki::session::Session as RawSession;
use keyward_backend::message::{
    Derive, Generate, Import, Mac, ScanPage, Seal, Sealed, Sign, Unseal, Unwrap, Wrap,
};
use keyward_backend::{BackendError, Destroyed, KeyReport, Result, VersionId};
use keyward_protocol::{Algorithm, KeyType, SecretBytes};

use super::Token;
use super::error::{
    Attempt, Failure, answer, code, describe, is_alive, is_doubtful, is_gone, is_stale,
};
use super::read_back::Objects;

/// The most handles that a thread keeps.
const MOST_KEYS: usize = 10_000;

/// What one thread works with.
#[derive(Debug)]
pub struct Session<'a> {
    pub(super) token: &'a Token,
    /// `None`: the token has no session left, and the anchor's is used.
    own: Option<RawSession>,
    keys: HashMap<VersionId, Key>,
    epoch: u64,
    removals: u64,
}

/// A private or secret key that was looked up.
#[derive(Clone, Debug)]
pub(super) struct Key {
    pub(super) handle: ObjectHandle,
    pub(super) kind: KeyType,
    /// The modulus, big-endian without leading zeros; empty for other keys.
    pub(super) modulus: Vec<u8>,
}

impl<'a> Session<'a> {
    pub(super) fn open(token: &'a Token) -> Result<Self> {
        let epoch = token.epoch.load(Ordering::SeqCst);
        let removals = token.removals.load(Ordering::SeqCst);
        let found = token.found()?;
        token.check_identity(&found)?;
        let own = match token.module.open_ro_session(found.slot) {
            Ok(session) => Some(session),
            Err(error) if code(&error) == Some(RvError::SessionCount) => {
                token.ensure_anchor(&mut token.lock_anchor())?;
                None
            }
            Err(error) => return Err(answer(&error)),
        };
        Ok(Self {
            token,
            own,
            keys: HashMap::new(),
            epoch,
            removals,
        })
    }

    /// Does something with a key. Where that fails because the session or a handle has become
    /// invalid, nothing was done: both are had anew, and it is tried once more.
    pub(super) fn with_key<T>(
        &mut self,
        id: VersionId,
        act: impl Fn(&RawSession, &Key) -> Attempt<T>,
    ) -> Result<T> {
        match self.try_with_key(id, &act) {
            Err(failure) if failure.code().is_some_and(is_stale) => {
                self.renew(is_alive(&failure))?;
                self.try_with_key(id, &act)
            }
            done => done,
        }
        .map_err(BackendError::from)
    }

    /// Does something that needs no key, and tries once more if the session was no longer valid.
    pub(super) fn with_session<T>(
        &mut self,
        mut act: impl FnMut(&RawSession) -> Attempt<T>,
    ) -> Result<T> {
        let token = self.token;
        self.refresh()?;
        let first = self.on_session(&mut act);
        let done = match first {
            Err(failure) if failure.code().is_some_and(is_stale) => {
                self.renew(is_alive(&failure))?;
                self.on_session(&mut act)
            }
            done => done,
        };
        done.map_err(|failure| {
            note(token, &failure);
            failure.into()
        })
    }

    /// Does something that writes to the token: on the anchor's session, one at a time.
    pub(super) fn writing<T>(
        &mut self,
        mut act: impl FnMut(&RawSession) -> Attempt<T>,
    ) -> Result<T> {
        let token = self.token;
        let mut anchor = token.lock_anchor();
        let session = token.ensure_anchor(&mut anchor)?;
        act(session).map_err(|failure| {
            note(token, &failure);
            failure.into()
        })
    }

    fn try_with_key<T>(
        &mut self,
        id: VersionId,
        act: impl Fn(&RawSession, &Key) -> Attempt<T>,
    ) -> Attempt<T> {
        let token = self.token;
        let _handles = token.handles.read().unwrap_or_else(PoisonError::into_inner);
        self.refresh()?;
        if !self.keys.contains_key(&id) {
            let found = token.found()?;
            let key = self.on_session(
                &mut |session: &RawSession| match Objects::find(session, id)? {
                    Some(objects) => look_up(session, objects),
                    None => Err(found.not_found(session)),
                },
            );
            let key = key.inspect_err(|failure| note(token, failure))?;
            if self.keys.len() >= MOST_KEYS {
                self.keys.clear();
            }
            self.keys.insert(id, key);
        }
        let key = self.keys.get(&id).ok_or(BackendError::KeyNotFound)?;
        let done = match &self.own {
            Some(session) => act(session, key),
            None => {
                let mut anchor = token.lock_anchor();
                act(token.ensure_anchor(&mut anchor)?, key)
            }
        };
        done.inspect_err(|failure| note(token, failure))
    }

    fn on_session<T>(&self, act: &mut impl FnMut(&RawSession) -> Attempt<T>) -> Attempt<T> {
        match &self.own {
            Some(session) => act(session),
            None => {
                let mut anchor = self.token.lock_anchor();
                act(self.token.ensure_anchor(&mut anchor)?)
            }
        }
    }

    /// Forgets what other threads found to be no longer right.
    fn refresh(&mut self) -> Result<()> {
        if self.removals != self.token.removals.load(Ordering::SeqCst) {
            return self.renew(false);
        }
        let epoch = self.token.epoch.load(Ordering::SeqCst);
        if self.epoch != epoch {
            self.epoch = epoch;
            self.keys.clear();
        }
        Ok(())
    }

    /// Has a new session, and nothing looked up.
    fn renew(&mut self, alive: bool) -> Result<()> {
        match self.own.take() {
            // Closing it could close a newer one with the same number.
            old if !alive => std::mem::forget(old),
            old => drop(old),
        }
        self.keys.clear();
        *self = Self::open(self.token)?;
        Ok(())
    }
}

/// Notes what a failure says about handles and sessions.
fn note(token: &Token, failure: &Failure) {
    match failure.code() {
        Some(code) if is_gone(code) => token.forget_sessions(),
        Some(code) if is_doubtful(code) => token.forget_handles(),
        _ => {}
    }
}

/// An attribute, asked for alone: some tokens refuse a whole list for one that they don't know.
pub(super) fn attribute(
    session: &RawSession,
    object: ObjectHandle,
    kind: AttributeType,
) -> Attempt<Option<Attribute>> {
    use cryptoki::object::AttributeInfo;
    match session.get_attribute_info(object, &[kind])?.first() {
        Some(AttributeInfo::Available(_)) => {}
        _ => return Ok(None),
    }
    Ok(session.get_attributes(object, &[kind])?.pop())
}

fn look_up(session: &RawSession, objects: Objects) -> Attempt<Key> {
    if let Some(Attribute::AlwaysAuthenticate(true)) =
        attribute(session, objects.key, AttributeType::AlwaysAuthenticate)?
    {
        return Err(BackendError::MechanismInvalid(
            "the key asks for its PIN before each use (CKA_ALWAYS_AUTHENTICATE), which keyward can't give"
                .to_owned(),
        )
        .into());
    }
    let (kind, public) = objects.kind(session)?;
    let kind = kind.ok_or_else(|| {
        BackendError::MechanismInvalid(
            "the key is of a kind or size that keyward does not use".to_owned(),
        )
    })?;
    let modulus = match public {
        Some(keyward_protocol::CoseKey::Rsa { n, .. }) => n,
        _ => Vec::new(),
    };
    Ok(Key {
        handle: objects.key,
        kind,
        modulus,
    })
}

/// Destroys all objects with an id. A failure says that nothing was done only as long as that is so:
/// once one is gone, or may be, it is the device that failed.
fn destroy_objects(session: &RawSession, id: VersionId) -> Attempt<()> {
    let find = || {
        session.find_objects(&[
            Attribute::Token(true),
            Attribute::Id(id.as_bytes().to_vec()),
        ])
    };
    let halfway = |error: &Error| {
        let text = format!("{}, with the key destroyed in part", describe(error));
        Failure::from(BackendError::DeviceFailed(text))
    };
    let mut objects = find()?;
    let all = objects.len();
    let mut destroyed = false;
    // The second time over what a token that renumbers its objects has left.
    for _ in 0..2 {
        for object in objects {
            match session.destroy_object(object) {
                Ok(()) => destroyed = true,
                // It went with the one before it, or has another handle since.
                Err(Error::Pkcs11(RvError::ObjectHandleInvalid, _)) if destroyed => {}
                Err(error) if destroyed => return Err(halfway(&error)),
                Err(error) => {
                    let refused = matches!(answer(&error), BackendError::Refused(_));
                    return Err(match find() {
                        Ok(left) if refused && left.len() < all => halfway(&error),
                        Err(_) if refused => halfway(&error),
                        _ => error.into(),
                    });
                }
            }
        }
        objects = match find() {
            Ok(left) if left.is_empty() => return Ok(()),
            Ok(left) => left,
            Err(error) if destroyed => return Err(halfway(&error)),
            Err(error) => return Err(error.into()),
        };
    }
    let text = "the token has objects of the key that it does not destroy";
    Err(BackendError::DeviceFailed(text.to_owned()).into())
}

impl keyward_backend::Session for Session<'_> {
    fn generate(&mut self, generate: &Generate) -> Result<KeyReport> {
        self.generate_key(generate)
    }

    fn inspect(&mut self, id: VersionId) -> Result<Option<KeyReport>> {
        let found = self.token.found()?;
        self.with_session(|session| match Objects::find(session, id)? {
            Some(objects) => objects.report(session, &found, id).map(Some),
            None => match found.not_found(session) {
                Failure::Answer(BackendError::KeyNotFound) => Ok(None),
                failure => Err(failure),
            },
        })
    }

    fn destroy(&mut self, id: VersionId) -> Result<Destroyed> {
        let token = self.token;
        let found = token.found()?;
        // The number of a destroyed object can be given to a new one.
        let _handles = token
            .handles
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        token.forget_handles();
        self.writing(|session| {
            if let Failure::Answer(BackendError::LoginRequired) = found.not_found(session) {
                return Err(BackendError::LoginRequired.into());
            }
            destroy_objects(session, id)
        })?;
        Ok(Destroyed::Removed)
    }

    fn sign(&mut self, sign: &Sign) -> Result<Vec<u8>> {
        self.sign_input(sign)
    }

    fn unwrap(&mut self, unwrap: &Unwrap) -> Result<SecretBytes> {
        match unwrap.algorithm {
            Algorithm::A128Kw | Algorithm::A256Kw | Algorithm::A128Kwp | Algorithm::A256Kwp => {
                self.unwrap_bytes(unwrap)
            }
            _ => self.unwrap_oaep(unwrap),
        }
    }

    fn import(&mut self, import: &Import) -> Result<KeyReport> {
        self.import_key(import)
    }

    fn seal(&mut self, seal: &Seal) -> Result<Sealed> {
        self.seal_gcm(seal)
    }

    fn unseal(&mut self, unseal: &Unseal) -> Result<SecretBytes> {
        self.unseal_gcm(unseal)
    }

    fn wrap(&mut self, wrap: &Wrap) -> Result<Vec<u8>> {
        self.wrap_bytes(wrap)
    }

    fn mac(&mut self, mac: &Mac) -> Result<Vec<u8>> {
        self.make_mac(mac)
    }

    fn scan(&mut self, after: Option<VersionId>) -> Result<ScanPage> {
        self.scan_keys(after)
    }

    fn derive(&mut self, derive: &Derive) -> Result<SecretBytes> {
        self.derive_ecdh(derive)
    }

    fn random(&mut self, length: u32) -> Result<SecretBytes> {
        let length = usize::try_from(length)
            .ok()
            .filter(|length| (1..=65_536).contains(length))
            .ok_or_else(|| {
                BackendError::Invalid("1 to 65,536 random bytes can be had".to_owned())
            })?;
        self.with_session(|session| {
            let mut bytes = SecretBytes::zeroed(length);
            session.generate_random_slice(bytes.expose_mut())?;
            Ok(bytes)
        })
    }
}
