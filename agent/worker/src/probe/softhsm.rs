//! A new token in SoftHSM's folder.

use cryptoki::context::Pkcs11;
use cryptoki::session::UserType;
use cryptoki::slot::Slot;
use cryptoki::types::AuthPin;
use serde_json::{Value, json};

use super::{Failure, line, plain, token};
use crate::pkcs11::describe;

/// What SoftHSM calls its maker. Initialising a token destroys what is in it, so no other is touched.
const SOFTHSM: &str = "SoftHSM project";

/// The PINs of a new token.
pub(super) struct Pins {
    officer: AuthPin,
    user: AuthPin,
}

impl Pins {
    /// Two lines of stdin.
    pub(super) fn read() -> Result<Self, Failure> {
        Ok(Self {
            officer: pin()?,
            user: pin()?,
        })
    }
}

/// A PIN of one line, which may not be empty.
fn pin() -> Result<AuthPin, Failure> {
    let line = line()?;
    match std::str::from_utf8(line.expose()) {
        Ok("") => Err("a PIN is empty".to_owned()),
        Ok(pin) => Ok(AuthPin::new(pin.into())),
        Err(_) => Err("a PIN is not UTF-8 text".to_owned()),
    }
}

/// Initialises the first token that is not, and gives it its PINs.
pub(super) fn make(module: &Pkcs11, label: &str, pins: &Pins) -> Result<Value, Failure> {
    let failed = |error: cryptoki::error::Error| describe(&error);
    if label.is_empty() || label.len() > 32 {
        return Err("a label has 1 to 32 bytes".to_owned());
    }
    let empty = slots(module)?.into_iter().find(|slot| !slot.initialised);
    let empty = empty.ok_or("the module has no slot for a new token of SoftHSM")?;
    module
        .init_token(empty.slot, &pins.officer, label)
        .map_err(failed)?;
    // SoftHSM gives the token another slot, which shows when the slots are listed anew.
    let made = slots(module)?
        .into_iter()
        .find(|slot| slot.initialised && slot.label == label)
        .ok_or("the new token does not show")?;
    let session = module.open_rw_session(made.slot).map_err(failed)?;
    session
        .login(UserType::So, Some(&pins.officer))
        .map_err(failed)?;
    session.init_pin(&pins.user).map_err(failed)?;
    session.logout().map_err(failed)?;
    drop(session);
    Ok(json!({ "token": token(module, made.slot)? }))
}

struct TokenSlot {
    slot: Slot,
    label: String,
    initialised: bool,
}

/// The slots with a token of SoftHSM.
fn slots(module: &Pkcs11) -> Result<Vec<TokenSlot>, Failure> {
    let failed = |error: cryptoki::error::Error| describe(&error);
    let mut slots = Vec::new();
    for slot in module.get_slots_with_token().map_err(failed)? {
        let info = module.get_token_info(slot).map_err(failed)?;
        if plain(info.manufacturer_id()) == SOFTHSM {
            slots.push(TokenSlot {
                slot,
                label: plain(info.label()).to_owned(),
                initialised: info.token_initialized(),
            });
        }
    }
    Ok(slots)
}
