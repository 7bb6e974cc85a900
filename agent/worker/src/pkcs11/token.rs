//! Which token it is, and how it is.

use std::sync::{Arc, OnceLock, PoisonError};

use cryptoki::session::{Session as RawSession, SessionState};
use cryptoki::slot::{Slot, TokenInfo};
use keyward_backend::token::{PinTries, TokenReport};
use keyward_backend::{BackendError, Result, TokenIdentity};

use super::Token;
use super::error::{Failure, answer, code, describe, is_gone};
use super::mechanism::Mechanisms;
use super::uri::TokenUri;

/// A token that was found.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) slot: Slot,
    pub(super) identity: TokenIdentity,
    pub(super) label: String,
    pub(super) login_required: bool,
    pub(super) mechanisms: Mechanisms,
    /// Whether CKM_AES_KEY_WRAP_PAD is RFC 5649; known after its first use.
    pub(super) pads_by_rfc_5649: OnceLock<bool>,
}

impl Token {
    /// Finds the token, refuses any but the pinned one, and keeps a session with it open.
    pub(super) fn find(&self, pinned: Option<&TokenIdentity>) -> Result<TokenReport> {
        let mut anchor = self.lock_anchor();
        let (slot, info) = self.find_slot()?;
        let identity = identity(&info);
        if let Some(pinned) = pinned
            && *pinned != identity
        {
            return Err(changed(pinned, &identity));
        }
        let mechanisms = Mechanisms::of(&self.module, slot).map_err(|error| answer(&error))?;
        let before = self.found().ok();
        if before.is_some_and(|before| before.slot != slot || before.identity != identity) {
            self.forget_sessions();
            std::mem::forget(anchor.take());
        }
        let found = Arc::new(Found {
            slot,
            identity,
            label: info.label().to_owned(),
            login_required: info.login_required(),
            mechanisms,
            pads_by_rfc_5649: OnceLock::new(),
        });
        *self.found.write().unwrap_or_else(PoisonError::into_inner) = Some(found);
        let session = self.ensure_anchor(&mut anchor)?;
        let logged_in = is_logged_in(session).map_err(|error| answer(&error))?;
        self.report(logged_in)
    }

    /// The token as it is now.
    pub(super) fn report(&self, logged_in: bool) -> Result<TokenReport> {
        let found = self.found()?;
        let info = self.check_identity(&found)?;
        Ok(TokenReport {
            identity: found.identity.clone(),
            label: found.label.clone(),
            login_required: info.login_required(),
            logged_in,
            pin_tries: pin_tries(&info),
            algorithms: found.mechanisms.algorithms(),
            key_types: found.mechanisms.key_types(),
            protections: self.protections.clone(),
            lockout_seconds: None,
            warnings: Vec::new(),
            hides_keys: false,
        })
    }

    /// Asks the slot again: a token can be swapped at any time, and no PIN may go to another.
    pub(super) fn check_identity(&self, found: &Found) -> Result<TokenInfo> {
        let info = self.module.get_token_info(found.slot).map_err(|error| {
            if code(&error).is_some_and(is_gone) {
                self.forget_sessions();
            }
            answer(&error)
        })?;
        let there = identity(&info);
        if there != found.identity {
            self.forget_sessions();
            return Err(changed(&found.identity, &there));
        }
        Ok(info)
    }

    /// The anchor session, opened if there is none that works.
    pub(super) fn ensure_anchor<'a>(
        &self,
        anchor: &'a mut Option<RawSession>,
    ) -> Result<&'a RawSession> {
        let found = self.found()?;
        if let Some(session) = anchor.take() {
            match session.get_session_info() {
                Ok(_) => return Ok(anchor.insert(session)),
                // Closing it could close a newer one that has got the same number.
                Err(_) => std::mem::forget(session),
            }
            self.forget_sessions();
        }
        self.check_identity(&found)?;
        let session = match self.module.open_rw_session(found.slot) {
            Err(error) if code(&error) == Some(cryptoki::error::RvError::TokenWriteProtected) => {
                self.module.open_ro_session(found.slot)
            }
            opened => opened,
        };
        Ok(anchor.insert(session.map_err(|error| answer(&error))?))
    }

    /// The one slot that holds what the URI describes.
    fn find_slot(&self) -> Result<(Slot, TokenInfo)> {
        let slots = self
            .module
            .get_slots_with_token()
            .map_err(|error| answer(&error))?;
        let library = self
            .module
            .get_library_info()
            .map_err(|error| answer(&error))?;
        let version = library.library_version();
        let uri = &self.uri;
        let library_fits = fits(&uri.library_manufacturer, library.manufacturer_id())
            && fits(&uri.library_description, library.library_description())
            && uri
                .library_version
                .is_none_or(|wanted| wanted == (version.major(), version.minor()));
        let mut matching = Vec::new();
        let mut others = Vec::new();
        for slot in slots {
            let info = match self.module.get_token_info(slot) {
                Ok(info) => info,
                // It went between the two calls, or is no token at all.
                Err(error) if code(&error).is_some_and(is_gone) => continue,
                Err(error) => {
                    others.push(format!("slot {slot}: {}", describe(&error)));
                    continue;
                }
            };
            if !info.token_initialized() {
                continue;
            }
            if library_fits && self.slot_fits(slot)? && token_fits(uri, slot, &info) {
                matching.push((slot, info));
            } else {
                others.push(format!("\"{}\" ({})", info.label(), identity(&info)));
            }
        }
        if let [_, _, ..] = matching.as_slice() {
            let serials: Vec<_> = matching
                .iter()
                .map(|(_, info)| info.serial_number())
                .collect();
            return Err(BackendError::TokenAbsent(format!(
                "the URI fits several tokens; add `serial=` with one of {} to `uri` in keyward.toml",
                serials.join(", ")
            )));
        }
        matching.pop().ok_or_else(|| {
            BackendError::TokenAbsent(match others.as_slice() {
                [] => "the module shows no token at all; is the device plugged in?".to_owned(),
                others => format!("the module shows only {}", others.join(", ")),
            })
        })
    }

    fn slot_fits(&self, slot: Slot) -> Result<bool> {
        let uri = &self.uri;
        if uri.slot_manufacturer.is_none() && uri.slot_description.is_none() {
            return Ok(true);
        }
        let info = self
            .module
            .get_slot_info(slot)
            .map_err(|error| answer(&error))?;
        Ok(fits(&uri.slot_manufacturer, info.manufacturer_id())
            && fits(&uri.slot_description, info.slot_description()))
    }
}

fn token_fits(uri: &TokenUri, slot: Slot, info: &TokenInfo) -> bool {
    fits(&uri.token, info.label())
        && fits(&uri.manufacturer, info.manufacturer_id())
        && fits(&uri.model, info.model())
        && fits(&uri.serial, info.serial_number())
        && uri.slot_id.is_none_or(|id| id == slot.id())
}

/// Whether a value is the wanted one; blanks at the end are padding.
fn fits(wanted: &Option<String>, value: &str) -> bool {
    wanted
        .as_deref()
        .is_none_or(|wanted| wanted.trim_end_matches(' ') == value.trim_end_matches([' ', '\0']))
}

fn identity(info: &TokenInfo) -> TokenIdentity {
    let plain = |text: &str| text.trim_end_matches([' ', '\0']).to_owned();
    TokenIdentity {
        manufacturer: plain(info.manufacturer_id()),
        model: plain(info.model()),
        serial: plain(info.serial_number()),
    }
}

fn changed(wanted: &TokenIdentity, there: &TokenIdentity) -> BackendError {
    BackendError::TokenChanged(format!("{there} is there, and {wanted} is expected"))
}

pub(super) fn pin_tries(info: &TokenInfo) -> PinTries {
    if info.user_pin_locked() {
        PinTries::Blocked
    } else if info.user_pin_final_try() {
        PinTries::Final
    } else if info.user_pin_count_low() {
        PinTries::Low
    } else {
        PinTries::Unknown
    }
}

/// Whether the application is logged in; the sessions of an application all are or none is.
pub(super) fn is_logged_in(session: &RawSession) -> cryptoki::error::Result<bool> {
    let state = session.get_session_info()?.session_state();
    Ok(matches!(state, SessionState::RoUser | SessionState::RwUser))
}

impl Found {
    /// A failure to find an object: it is not there, or it can't be seen without a login.
    pub(super) fn not_found(&self, session: &RawSession) -> Failure {
        match is_logged_in(session) {
            Ok(false) if self.login_required => BackendError::LoginRequired.into(),
            Ok(_) => BackendError::KeyNotFound.into(),
            Err(error) => error.into(),
        }
    }
}
