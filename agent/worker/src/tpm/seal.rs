//! Data that a person has the TPM seal (TPM2_Unseal gives it back). It came by an import, encrypted on
//! its way, and goes back encrypted.

use keyward_backend::{BackendError, Result, VersionId};
use keyward_protocol::{KeyType, Purpose, SecretBytes};

use super::device::Secrecy;
use super::session::{Session, is_for};

impl Session<'_> {
    pub(super) fn give_back(&self, id: VersionId) -> Result<SecretBytes> {
        self.with_key(
            id,
            Secrecy::Answer,
            |blob| is_for(blob, &[Purpose::Seal], "give anything back"),
            |context, handle, _| context.unseal(handle.into()),
        )
        .and_then(|data| match data.value().len() {
            1..=KeyType::MOST_DATA => Ok(SecretBytes::copy_from(data.value())),
            other => Err(BackendError::DeviceFailed(format!(
                "it gave {other} bytes of sealed data"
            ))),
        })
    }
}
