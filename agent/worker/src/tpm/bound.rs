//! Making bound keys, and approving other values for them.

use keyward_backend::pcr::{Approve, BoundReport, MakeBound, PcrValue, is_selection, selected};
use keyward_backend::{BackendError, KeyReport, Result, VersionId};

use super::policy::Bound;
use super::session::Session;
use super::{Repeat, pcrs};

impl Session<'_> {
    pub(super) fn make_bound_key(&self, make: &MakeBound) -> Result<KeyReport> {
        let id = make.generate.id;
        let bound = Bound::new(id, &make.binding)?;
        self.tpm.with(Repeat::Yes, |state, device| {
            self.tpm.check_login(state)?;
            bound.verify(device, id)
        })?;
        match &make.material {
            Some(material) => self.take_in(&make.generate, material, Some(&bound)),
            None => self.make(&make.generate, Some(&bound)),
        }
    }

    pub(super) fn pcr_values(&self, pcrs: &[u8]) -> Result<Vec<PcrValue>> {
        if !is_selection(pcrs) {
            return Err(BackendError::Invalid(
                "PCRs are given once each, in ascending order".to_owned(),
            ));
        }
        let tpm = self.tpm;
        tpm.with(Repeat::Yes, |_, device| pcrs::values(device, pcrs))
    }

    pub(super) fn bound_report(&self, id: VersionId) -> Result<Option<BoundReport>> {
        let tpm = self.tpm;
        tpm.with(Repeat::Yes, |state, device| {
            let blob = tpm.blob(state, id)?;
            let Some(bound) = &blob.bound else {
                return Ok(None);
            };
            let wanted = bound.newest().map(selected).unwrap_or_default();
            Ok(Some(BoundReport {
                approved: bound.approved(),
                current: pcrs::values(device, &wanted)?,
                authority: bound.authority().cloned(),
            }))
        })
    }

    pub(super) fn approve_values(&self, approve: &Approve) -> Result<()> {
        let tpm = self.tpm;
        let id = approve.id;
        tpm.with(Repeat::Yes, |state, device| {
            tpm.check_login(state)?;
            let mut entry = tpm.store.get(id)?.ok_or(BackendError::KeyNotFound)?;
            let stored = entry
                .bound
                .as_ref()
                .ok_or_else(|| BackendError::Invalid("the key is not bound to PCRs".to_owned()))?;
            let bound = Bound::of(id, stored)?.approve(id, approve)?;
            bound.verify(device, id)?;
            entry.bound = Some(bound.to_stored()?);
            tpm.store.replace(id, &entry).map_err(BackendError::from)?;
            state.blobs.remove(&id);
            Ok(())
        })
    }
}
