//! ECDH (TPM2_ECDH_ZGen): the x coordinate of the shared point.

use keyward_backend::message::Derive;
use keyward_backend::{BackendError, Result};
use keyward_protocol::{CoseKey, Purpose, SecretBytes};
use tss_esapi::structures::{EccParameter, EccPoint};

use super::device::Secrecy;
use super::error::answer;
use super::session::{Session, is_for};
use crate::point::is_on_curve;

impl Session<'_> {
    pub(super) fn derive_z(&self, derive: &Derive) -> Result<SecretBytes> {
        let invalid = |what: &str| BackendError::Invalid(what.to_owned());
        // The TPM checks it too; not all did (CVE-2017-15361 and its like are reasons not to rely on it).
        if !is_on_curve(&derive.peer) {
            return Err(invalid("the peer's key is no point on its curve"));
        }
        let point = point(&derive.peer)?;
        self.with_key(
            derive.id,
            Secrecy::Answer,
            |blob| {
                let key_type = is_for(blob, &[Purpose::Agree, Purpose::Encrypt], "agree")?;
                let width = key_type.coordinate_length().ok_or_else(|| {
                    BackendError::MechanismInvalid(format!(
                        "a key of type {key_type} does not agree"
                    ))
                })?;
                match derive.peer.key_type() == Some(key_type) {
                    true => Ok(width),
                    false => Err(invalid("the peer's key is on another curve")),
                }
            },
            |context, handle, width| {
                let shared = context.ecdh_z_gen(handle, point.clone())?;
                Ok((shared, *width))
            },
        )
        .and_then(|(shared, width)| {
            let x = shared.x().value();
            let mut full = SecretBytes::zeroed(width);
            let zeros = width.checked_sub(x.len()).filter(|_| !x.is_empty());
            match zeros.and_then(|zeros| full.expose_mut().get_mut(zeros..)) {
                Some(place) => place.copy_from_slice(x),
                None => {
                    return Err(BackendError::DeviceFailed(format!(
                        "it gave a secret of {} bytes where {width} are right",
                        x.len()
                    )));
                }
            }
            Ok(full)
        })
    }
}

/// An EC key as the TPM takes it.
pub(super) fn point(key: &CoseKey) -> Result<EccPoint> {
    let sec1 = key
        .to_sec1()
        .ok_or_else(|| BackendError::Invalid("the peer's key is no EC key".to_owned()))?;
    let coordinates = sec1.get(1..).unwrap_or_default();
    let (x, y) = coordinates.split_at(coordinates.len() / 2);
    let parameter = |bytes: &[u8]| EccParameter::try_from(bytes).map_err(answer);
    Ok(EccPoint::new(parameter(x)?, parameter(y)?))
}
