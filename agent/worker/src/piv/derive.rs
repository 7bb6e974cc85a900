//! ECDH: the x coordinate of the shared point (SP 800-73-4 Part 2 §A.5).

use keyward_backend::message::Derive;
use keyward_backend::{BackendError, Result};
use keyward_protocol::{Purpose, SecretBytes};

use super::session::{Input, Session, full_width, is_for};
use crate::point::is_on_curve;

impl Session<'_> {
    pub(super) fn derive_z(&self, derive: &Derive) -> Result<SecretBytes> {
        let invalid = |what: &str| BackendError::Invalid(what.to_owned());
        // A card may not check it, and would then give its key away bit by bit.
        if !is_on_curve(&derive.peer) {
            return Err(invalid("the peer's key is no point on its curve"));
        }
        let point =
            (derive.peer.to_sec1()).ok_or_else(|| invalid("the peer's key is no EC key"))?;
        let (output, key) = self.use_key(derive.id, |key| {
            is_for(key, &[Purpose::Agree, Purpose::Encrypt], "agree")?;
            if key.key_type.coordinate_length().is_none() {
                return Err(BackendError::MechanismInvalid(format!(
                    "a key of type {} does not agree",
                    key.key_type
                )));
            }
            match derive.peer.key_type() == Some(key.key_type) {
                true => Ok(Input::Point(point.clone())),
                false => Err(invalid("the peer's key is on another curve")),
            }
        })?;
        let width = key.key_type.coordinate_length().unwrap_or_default();
        let shared = full_width(&output, width).map_err(BackendError::from)?;
        Ok(SecretBytes::copy_from(&shared))
    }
}
