//! The file of a key as the agent keeps it, and giving it back to a folder that has lost it.
//!
//! A key of a token with a PIN is of no use without what the PIN opens: its copy has that file, too.

use std::sync::Arc;

use keyward_backend::message::Place;
use keyward_backend::{BackendError, KeyReport, Result, VersionId};
use keyward_protocol::Purpose;
use minicbor::bytes::ByteVec;

use super::key_file::{KeyFile, Kind};
use super::session::{Session, load, parse};
use super::store::{Entry, EntryError};
use super::{Failure, Repeat, Tpm, attest, pin};

impl Tpm {
    /// The copy of a key's file for the agent.
    pub(super) fn file_of(&self, id: VersionId) -> Result<Option<ByteVec>> {
        let Some(mut copy) = self.store.text(id)? else {
            return Ok(None);
        };
        let has_auth = Entry::from_text(&copy).is_ok_and(|entry| entry.key.has_auth());
        if has_auth && let Some(pin) = self.store.text(pin::id())? {
            copy.extend(pin);
        }
        Ok(Some(copy.into()))
    }
}

impl Session<'_> {
    /// Writes a file that is not there, if the TPM loads what is in it.
    pub(super) fn place_file(&self, place: &Place) -> Result<KeyReport> {
        let (tpm, id) = (self.tpm, place.id);
        let (entry, sealed) = split(&place.blob).map_err(|why| {
            BackendError::Invalid(format!("the copy of a key's file can't be used: {why}"))
        })?;
        let kind = match entry.purpose {
            Purpose::Seal => Kind::Sealed,
            _ => Kind::Loadable,
        };
        let other = entry.key.file().is_some_and(|file| file.kind != kind);
        if [pin::id(), attest::id()].contains(&id) || other {
            return Err(BackendError::Invalid("it is no key".to_owned()));
        }
        tpm.with(Repeat::Yes, |state, device| {
            tpm.check_login(state)?;
            if tpm.store.text(id)?.is_some() {
                return Err(BackendError::Exists(id.to_string()).into());
            }
            let sealed = match (entry.key.has_auth(), tpm.has_pin(state)?, &sealed) {
                (false, ..) | (_, true, _) => None,
                (true, false, Some(sealed)) => Some(sealed),
                (true, false, None) => {
                    return Err(BackendError::Refused(format!(
                        "the key {id} belongs to a token with a PIN, and the file that the PIN opens is lost"
                    ))
                    .into());
                }
            };
            let blob = Arc::new(parse(id, &entry)?);
            let mut report = blob.report()?;
            load(state, device, id, &blob).map_err(of_this_key)?;
            // What is loaded has no authorization value yet where the PIN comes with it.
            device.loaded.remove(&mut device.context, id);
            if let Some(sealed) = sealed {
                tpm.store.put(pin::id(), sealed)?;
                state.has_pin = None;
            }
            tpm.store.put(id, &entry)?;
            report.blob = tpm.file_of(id)?;
            Ok(report)
        })
    }
}

/// What hinders one key only: others are given back all the same.
fn of_this_key(failure: Failure) -> Failure {
    match failure {
        Failure::Answer(BackendError::KeyNotFound) => {
            BackendError::Refused("what was adopted is not in the TPM any more".to_owned()).into()
        }
        Failure::Answer(BackendError::KeyChanged(why)) => BackendError::Refused(why).into(),
        other => other,
    }
}

/// A key's file, and that of what the PIN opens.
fn split(copy: &[u8]) -> std::result::Result<(Entry, Option<Entry>), EntryError> {
    let (key, rest) = KeyFile::split(copy);
    let entry = Entry::from_text(key)?;
    let sealed = match rest {
        [] => None,
        rest => {
            let is_pin = |file: &KeyFile| file.kind == Kind::Sealed;
            Some(Entry::from_text(rest)?).filter(|entry| entry.key.file().is_some_and(is_pin))
        }
    };
    Ok((entry, sealed))
}
