//! The keys that are in the TPM now. It has room for two or three: the one that was used longest ago
//! goes, and comes back from what TPM2_ContextSave kept, which is quicker than from its file.

use std::collections::HashMap;
use std::sync::Arc;

use keyward_backend::{KeyReport, Result as BackendResult, VersionId};
use keyward_protocol::{CoseKey, KeyType, Purpose, SecretBytes};
use tss_esapi::constants::{CommandCode, PropertyTag};
use tss_esapi::handles::{KeyHandle, ObjectHandle};
use tss_esapi::interface_types::session_handles::AuthSession;
use tss_esapi::structures::{Auth, Private, Public};
use tss_esapi::utils::TpmsContext;
use tss_esapi::{Context, Error, WrapperErrorKind};

use super::error::{Next, next};
use super::policy::Bound;
use super::{persistent, report, storage_root};

/// TPM_PT_HR_TRANSIENT_MIN where the TPM does not say it (TCG PC Client Platform TPM Profile §5.4).
const LEAST_SLOTS: u32 = 3;
/// How many saved contexts are kept, of about 2 KiB each.
const MOST_SAVED: usize = 256;

/// A key as its file has it.
#[derive(Debug)]
pub(super) struct Blob {
    pub(super) public: Public,
    /// Its Name.
    pub(super) name: Vec<u8>,
    pub(super) source: Source,
    /// Whether its authorization value is the token's secret; else it is empty.
    pub(super) has_auth: bool,
    /// The values of PCRs that it can be used with, if it is bound to some.
    pub(super) bound: Option<Bound>,
    /// The one command that its policy is good for, if it is bound and was made elsewhere.
    pub(super) command: Option<CommandCode>,
    pub(super) key_type: KeyType,
    pub(super) purpose: Purpose,
    /// Its public part; a secret key has none.
    pub(super) key: Option<CoseKey>,
}

/// Where a key comes from.
#[derive(Debug)]
pub(super) enum Source {
    /// Its file has it, encrypted to the key at the handle of its parent.
    File { private: Private, parent: u32 },
    /// The TPM has it, at a persistent handle.
    Handle(u32),
}

impl Blob {
    /// What the agent is told of it; its file alone is missing.
    pub(super) fn report(&self) -> BackendResult<KeyReport> {
        let mut report = report::report(&self.public)?;
        report.bound = self.bound.as_ref().map(Bound::to_report);
        if let Source::Handle(at) = self.source {
            report.locator = persistent::locator(at, &report.locator);
        }
        Ok(report)
    }
}

/// A key that is to be in the TPM.
pub(super) struct Wanted<'a> {
    pub(super) id: VersionId,
    pub(super) blob: &'a Arc<Blob>,
    pub(super) secret: Option<&'a SecretBytes>,
}

/// The keys that are in the TPM.
pub(super) struct Loaded {
    slots: usize,
    /// The one that was used last is the last.
    live: Vec<(VersionId, KeyHandle)>,
    saved: HashMap<VersionId, TpmsContext>,
}

impl Loaded {
    /// As many slots as the TPM says that it has at least, but for that of the parent: a persistent
    /// one takes a slot in each command that names it.
    pub(super) fn new(context: &mut Context) -> Result<Self, Error> {
        let slots = context.get_tpm_property(PropertyTag::HrTransientMin)?;
        let slots = slots.unwrap_or(LEAST_SLOTS).clamp(2, 64).saturating_sub(1);
        Ok(Self {
            slots: usize::try_from(slots).unwrap_or(1),
            live: Vec::new(),
            saved: HashMap::new(),
        })
    }

    /// The handle of a key; it is loaded first if it is not there.
    pub(super) fn handle(
        &mut self,
        context: &mut Context,
        srk: KeyHandle,
        id: VersionId,
        blob: &Arc<Blob>,
        secret: Option<&SecretBytes>,
    ) -> Result<KeyHandle, Error> {
        if let Some(at) = self.live.iter().position(|(live, _)| *live == id) {
            let found = self.live.remove(at);
            self.live.push(found);
            return Ok(found.1);
        }
        while self.live.len() >= self.slots {
            self.put_away(context);
        }
        let handle = match self.restore(context, id)? {
            Some(handle) => handle,
            None => self.load(context, srk, id, blob)?,
        };
        self.live.push((id, handle));
        if let Some(secret) = secret.filter(|_| blob.has_auth) {
            context.tr_set_auth(handle.into(), Auth::try_from(secret.expose())?)?;
        }
        Ok(handle)
    }

    /// The handles of two keys that are there at the same time.
    pub(super) fn pair(
        &mut self,
        context: &mut Context,
        srk: KeyHandle,
        first: &Wanted<'_>,
        second: &Wanted<'_>,
    ) -> Result<(KeyHandle, KeyHandle), Error> {
        self.slots = self.slots.max(2);
        let one = self.handle(context, srk, first.id, first.blob, first.secret)?;
        let other = self.handle(context, srk, second.id, second.blob, second.secret)?;
        Ok((one, other))
    }

    fn restore(
        &mut self,
        context: &mut Context,
        id: VersionId,
    ) -> Result<Option<KeyHandle>, Error> {
        let Some(saved) = self.saved.get(&id) else {
            return Ok(None);
        };
        match context.context_load(saved.clone()) {
            Ok(handle) => Ok(Some(handle.into())),
            // It is of before a reset: the file is still good.
            Err(error) if matches!(next(error), Next::LoadAgain | Next::Refused) => {
                self.saved.clear();
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    fn load(
        &mut self,
        context: &mut Context,
        srk: KeyHandle,
        id: VersionId,
        blob: &Arc<Blob>,
    ) -> Result<KeyHandle, Error> {
        // What is in the TPM already is not loaded.
        let Source::File { private, parent } = &blob.source else {
            return Err(Error::WrapperError(WrapperErrorKind::InconsistentParams));
        };
        let below = |context: &mut Context, parent: KeyHandle| {
            context.execute_with_session(Some(AuthSession::Password), |context| {
                context.load(parent, private.clone(), blob.public.clone())
            })
        };
        let handle = match *parent {
            storage_root::OWNER => {
                let primary = storage_root::primary(context)?;
                let handle = below(context, primary);
                flush(context, primary.into());
                handle?
            }
            _ => below(context, srk)?,
        };
        if self.saved.len() >= MOST_SAVED {
            self.saved.clear();
        }
        match context.context_save(handle.into()) {
            Ok(saved) => {
                self.saved.insert(id, saved);
            }
            // Then it is loaded from its file each time.
            Err(error) if next(error) == Next::Refused => {}
            Err(error) => {
                let _ = context.flush_context(handle.into());
                return Err(error);
            }
        }
        Ok(handle)
    }

    /// Sees to it that there is a slot for something that is not kept.
    pub(super) fn leave_room(&mut self, context: &mut Context) {
        if self.live.len() >= self.slots {
            self.put_away(context);
        }
    }

    /// Puts the key away that was used longest ago.
    pub(super) fn make_room(&mut self, context: &mut Context) {
        // The TPM has fewer slots than it said, or others use some.
        self.slots = self.live.len().clamp(1, self.slots);
        self.put_away(context);
    }

    fn put_away(&mut self, context: &mut Context) {
        if !self.live.is_empty() {
            let (_, handle) = self.live.remove(0);
            flush(context, handle.into());
        }
    }

    /// Forgets a key that was destroyed.
    pub(super) fn remove(&mut self, context: &mut Context, id: VersionId) {
        self.saved.remove(&id);
        if let Some(at) = self.live.iter().position(|(live, _)| *live == id) {
            let (_, handle) = self.live.remove(at);
            flush(context, handle.into());
        }
    }

    /// Forgets everything: it is not in the TPM any more, or must not be.
    pub(super) fn forget(&mut self, context: &mut Context) {
        for (_, handle) in self.live.drain(..) {
            flush(context, handle.into());
        }
        self.saved.clear();
    }
}

/// Takes an object out of the TPM; that it is not there any more is what is wanted.
fn flush(context: &mut Context, handle: ObjectHandle) {
    let _ = context.flush_context(handle);
}
