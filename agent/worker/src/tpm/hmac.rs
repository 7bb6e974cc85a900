//! HMAC (TPM2_HMAC), whole, and random bytes.

use keyward_backend::message::Mac;
use keyward_backend::{BackendError, Result};
use keyward_protocol::{Algorithm, KeyType, Purpose, SecretBytes};
use tss_esapi::interface_types::algorithm::HashingAlgorithm;
use tss_esapi::structures::MaxBuffer;

use super::Repeat;
use super::device::Secrecy;
use super::session::{Session, is_for};

/// The longest input of TPM2_HMAC that every TPM takes (TPM_PT_INPUT_BUFFER is at least that).
const MOST_INPUT: usize = 1024;

impl Session<'_> {
    pub(super) fn make_mac(&self, mac: &Mac) -> Result<Vec<u8>> {
        if mac.message.len() > MOST_INPUT {
            return Err(BackendError::Invalid(format!(
                "this is {} bytes, and a TPM makes the HMAC of {MOST_INPUT} at the most; make that of its digest",
                mac.message.len()
            )));
        }
        let (tag, length) = self.with_key(
            mac.id,
            Secrecy::Both,
            |blob| hash(mac.algorithm, is_for(blob, &[Purpose::Mac], "make a code")?),
            |context, handle, (hash, length)| {
                let message = MaxBuffer::try_from(mac.message.expose())?;
                Ok((context.hmac(handle.into(), message, *hash)?, *length))
            },
        )?;
        match tag.value().len() == length {
            true => Ok(tag.value().to_vec()),
            false => Err(BackendError::DeviceFailed(format!(
                "it made an HMAC of {} bytes where {length} are right",
                tag.value().len()
            ))),
        }
    }

    pub(super) fn random_bytes(&self, length: u32) -> Result<SecretBytes> {
        let length = usize::try_from(length)
            .ok()
            .filter(|length| (1..=65_536).contains(length))
            .ok_or_else(|| {
                BackendError::Invalid("1 to 65,536 random bytes can be had".to_owned())
            })?;
        self.tpm.with(Repeat::Yes, |_, device| {
            let mut bytes = SecretBytes::zeroed(length);
            let mut done = 0;
            while let Some(rest @ [_, ..]) = bytes.expose_mut().get_mut(done..) {
                let wanted = rest.len().min(32);
                let more = device.run(|device| {
                    let session = device.session(Secrecy::Answer)?;
                    device
                        .context
                        .execute_with_session(Some(session), |context| context.get_random(wanted))
                })?;
                let more = more.value();
                match rest.get_mut(..more.len()).filter(|_| !more.is_empty()) {
                    Some(place) => place.copy_from_slice(more),
                    None => {
                        return Err(BackendError::DeviceFailed(format!(
                            "it gave {} random bytes where {wanted} were asked for",
                            more.len()
                        ))
                        .into());
                    }
                }
                done = done.saturating_add(more.len());
            }
            Ok(bytes)
        })
    }
}

fn hash(algorithm: Algorithm, key_type: KeyType) -> Result<(HashingAlgorithm, usize)> {
    match (algorithm, key_type) {
        (Algorithm::HmacSha256, KeyType::HmacSha256) => Ok((HashingAlgorithm::Sha256, 32)),
        (Algorithm::HmacSha384, KeyType::HmacSha384) => Ok((HashingAlgorithm::Sha384, 48)),
        (Algorithm::HmacSha512, KeyType::HmacSha512) => Ok((HashingAlgorithm::Sha512, 64)),
        (algorithm, kind) => Err(BackendError::MechanismInvalid(format!(
            "a key of type {kind} makes no {algorithm}"
        ))),
    }
}
