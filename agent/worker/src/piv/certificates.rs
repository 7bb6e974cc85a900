//! The certificates that a card keeps beside its keys.

use keyward_backend::message::WriteCertificate;
use keyward_backend::{BackendError, Result, VersionId};

use super::certificate::{CertificateError, pack, public_key, unpack};
use super::failure::Progress;
use super::session::Session;

impl Session<'_> {
    pub(super) fn certificate_of(&self, id: VersionId) -> Result<Option<Vec<u8>>> {
        self.piv.with_card(|card, cache| {
            let key = self.find(card, cache, id)?;
            let Some(object) = card.object(key.slot.certificate())? else {
                return Ok(None);
            };
            match unpack(&object) {
                Ok(der) => Ok(Some(der.to_vec())),
                Err(error @ CertificateError::Compressed) => {
                    Err(BackendError::Refused(error.to_string()).into())
                }
                Err(error) => Err(error.into()),
            }
        })
    }

    pub(super) fn keep_certificate(&self, write: &WriteCertificate) -> Result<()> {
        let piv = self.piv;
        piv.pins.get()?;
        let der = write.certificate.as_slice();
        let certified = match der {
            [] => None,
            der => Some(public_key(der).map_err(|error| {
                BackendError::Invalid(format!("it is no certificate for a card: {error}"))
            })?),
        };
        piv.with_card(|card, cache| {
            let key = self.find(card, cache, write.id)?;
            let tag = key.slot.certificate();
            if certified
                .as_ref()
                .is_some_and(|public| *public != key.public)
            {
                return Err(
                    BackendError::Invalid("the certificate is of another key".to_owned()).into(),
                );
            }
            piv.manage(card)?;
            card.progress = Progress::Key;
            // A card that does not show its keys is told by it what is in the slot.
            cache.forget(key.slot);
            match der {
                [] => card.remove_object(tag),
                der => card.put_object(tag, &pack(der)),
            }
        })
    }
}
