//! The keys that have a file.

use keyward_backend::message::{SCAN_PAGE, ScanPage, ScannedKey};
use keyward_backend::{Result, VersionId};

use super::session::Session;
use super::{Repeat, attest, pin};

impl Session<'_> {
    pub(super) fn scan_keys(&self, after: Option<VersionId>) -> Result<ScanPage> {
        let tpm = self.tpm;
        // The files of a TPM that is not there are not shown as its keys.
        tpm.check_same()?;
        let page = tpm.with(Repeat::Yes, |state, _| {
            tpm.check_login(state)?;
            Ok(tpm.store.page(after, SCAN_PAGE)?)
        })?;
        let own = [pin::id(), attest::id()];
        let keys = page.entries.into_iter().filter(|(id, _)| !own.contains(id));
        let keys = keys.map(|(id, entry)| ScannedKey {
            id,
            // A file that can't be read has a key all the same: using it says what is wrong.
            label: entry.map_or_else(|_| String::new(), |entry| entry.label),
        });
        Ok(ScanPage {
            keys: keys.collect(),
            more: page.more,
            foreign: page.foreign,
        })
    }
}
