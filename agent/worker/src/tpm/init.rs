//! What `keyward init` asks before there is a token: which TPM there is, and to make a token of it.

use std::path::Path;

use keyward_backend::tcti::Tcti;
use keyward_backend::{BackendError, Result, TokenIdentity};
use keyward_protocol::SecretBytes;

use super::device::Device;
use super::error::answer;
use super::store::Store;
use super::{pin, reach, storage_root};

/// A TPM as it is found.
#[derive(Debug)]
pub struct Found {
    /// Which one it is; `None` as long as it has no storage root key, whose name is its serial number.
    pub identity: Option<TokenIdentity>,
    /// Whether the dictionary attack lockout is in force.
    pub lockout: bool,
}

/// Looks which TPM there is. Changes nothing in it.
///
/// # Errors
/// [`BackendError::TokenAbsent`] with what hinders.
pub fn look(tcti: &Tcti) -> Result<Found> {
    let (mut context, _) = reach::context(tcti)?;
    let tries = pin::tries(&mut context).map_err(answer)?;
    drop(context);
    let identity = match Device::connect(tcti) {
        Ok(device) => Some(device.identity),
        Err(BackendError::TokenAbsent(_)) => None,
        Err(error) => return Err(error),
    };
    Ok(Found {
        identity,
        lockout: tries == keyward_backend::token::PinTries::Blocked,
    })
}

/// Makes a token: the storage root key, where the TPM has none, and the folder, with a PIN if one is
/// given.
///
/// # Errors
/// The folder has a token already; the TPM refuses.
pub fn init(tcti: &Tcti, keys: &Path, new_pin: Option<&SecretBytes>) -> Result<TokenIdentity> {
    let store = Store::open(keys)
        .map_err(|error| BackendError::Refused(format!("{}: {error}", keys.display())))?;
    let empty = store.page(None, 1)?.entries.is_empty();
    if !empty {
        return Err(BackendError::Refused(format!(
            "{} has keys already; they belong to a token that was there before",
            keys.display()
        )));
    }
    let (mut context, _) = reach::context(tcti)?;
    storage_root::make(&mut context)?;
    drop(context);
    let mut device = Device::connect(tcti)?;
    if let Some(new_pin) = new_pin {
        let entry = pin::create(&mut device, new_pin)?;
        store.put(pin::id(), &entry)?;
    }
    Ok(device.identity.clone())
}
