//! Keys at persistent handles, where other programs have put them.
//!
//! Each use asks the TPM what is there now, and then proves it: the Name of what is used goes into the
//! session's HMAC, so that an exchange in between is refused by the TPM.

use keyward_backend::BackendError;
use tss_esapi::Error;
use tss_esapi::handles::{ObjectHandle, PersistentTpmHandle, TpmHandle};
use tss_esapi::interface_types::session_handles::AuthSession;

use super::Failure;
use super::device::{Device, Secrecy, digits};
use super::error::{Next, next};
use super::loaded::Blob;
use super::storage_root::is_missing;

/// What became of something that was to be done with a key.
pub(super) enum Tried<T> {
    Done(T),
    /// Another key is there, of this Name.
    Other(Vec<u8>),
    /// Nothing is there.
    Nothing,
}

/// Where a key is, for the registry.
pub(super) fn locator(at: u32, by_name: &str) -> String {
    let name = by_name.strip_prefix("tpm:").unwrap_or(by_name);
    format!("tpm:handle={at:#010x};{name}")
}

/// Finds what is at a handle; whoever wants it closes it again.
pub(super) fn find(
    device: &mut Device,
    at: u32,
) -> std::result::Result<Option<(ObjectHandle, Vec<u8>)>, Error> {
    let handle = TpmHandle::Persistent(PersistentTpmHandle::new(at)?);
    match device.plain(|context| context.tr_from_tpm_public(handle)) {
        Ok(object) => {
            let name = device.context.tr_get_name(object)?;
            Ok(Some((object, name.value().to_vec())))
        }
        Err(error) if is_missing(error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Does something with the key of a Name, if it is there.
pub(super) fn attempt<T>(
    device: &mut Device,
    at: u32,
    name: &[u8],
    secrecy: Secrecy,
    act: impl Fn(&mut Device, ObjectHandle, AuthSession) -> std::result::Result<T, Error>,
) -> std::result::Result<Tried<T>, Error> {
    device.run(|device| {
        let Some((mut object, there)) = find(device, at)? else {
            return Ok(Tried::Nothing);
        };
        let done = match there == name {
            true => device
                .session(secrecy)
                .and_then(|session| act(device, object, session))
                .map(Tried::Done),
            false => Ok(Tried::Other(there)),
        };
        // The library's own note of it; the key stays where it is.
        let _ = device.context.tr_close(&mut object);
        done
    })
}

/// Does something with a key that was adopted.
pub(super) fn used<T>(
    device: &mut Device,
    at: u32,
    blob: &Blob,
    secrecy: Secrecy,
    act: impl Fn(&mut Device, ObjectHandle, AuthSession) -> std::result::Result<T, Error>,
) -> std::result::Result<T, Failure> {
    let name = blob.name.as_slice();
    match attempt(device, at, name, secrecy, act) {
        Ok(Tried::Done(done)) => Ok(done),
        Ok(Tried::Nothing) => Err(BackendError::KeyNotFound.into()),
        Ok(Tried::Other(there)) => Err(changed(at, &there).into()),
        Err(error) => Err(match next(error) {
            Next::WrongAuth => BackendError::Refused(format!(
                "the key at {at:#x} has an authorization value of its own by now; {}",
                without(at)
            ))
            .into(),
            Next::Lockout => locked_out(at).into(),
            _ => error.into(),
        }),
    }
}

/// That the key is where it was.
pub(super) fn check(device: &mut Device, at: u32, blob: &Blob) -> std::result::Result<(), Failure> {
    let name = blob.name.as_slice();
    let found = device.run(|device| {
        let found = find(device, at)?;
        Ok(found.map(|(mut object, there)| {
            let _ = device.context.tr_close(&mut object);
            there
        }))
    })?;
    match found {
        Some(there) if there == name => Ok(()),
        Some(there) => Err(changed(at, &there).into()),
        None => Err(BackendError::KeyNotFound.into()),
    }
}

fn changed(at: u32, there: &[u8]) -> BackendError {
    BackendError::KeyChanged(format!(
        "at {at:#x} is a key with the Name {}; put the right one back, or adopt this one under another name",
        digits(there)
    ))
}

/// The lockout counts for a key that is not `noDA`.
pub(super) fn locked_out(at: u32) -> BackendError {
    BackendError::Refused(format!(
        "the TPM is in dictionary attack lockout, for which the key at {at:#x} counts (it is not noda): \
         tpm2_dictionarylockout -c ends it"
    ))
}

/// How a key gets an empty authorization value.
pub(super) fn without(at: u32) -> String {
    format!(
        "keyward asks for none. Take it away: tpm2_changeauth -C PARENT -c {at:#x} -p VALUE -r key.priv; then \
         tpm2_readpublic -c {at:#x} -o key.pub, tpm2_load -C PARENT -u key.pub -r key.priv -c key.ctx, \
         tpm2_evictcontrol -C o -c {at:#x}, tpm2_evictcontrol -C o -c key.ctx {at:#x}"
    )
}
