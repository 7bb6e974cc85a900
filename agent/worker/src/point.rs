//! Points of the NIST curves.

use keyward_protocol::CoseKey;

/// Whether an EC key is a point on its curve (SP 800-56A §5.6.2.3.4: enough for curves of prime
/// order). Other keys are.
#[must_use]
pub fn is_on_curve(key: &CoseKey) -> bool {
    let Some(point) = key.to_sec1() else {
        return true;
    };
    match key {
        CoseKey::P256 { .. } => p256::PublicKey::from_sec1_bytes(&point).is_ok(),
        CoseKey::P384 { .. } => p384::PublicKey::from_sec1_bytes(&point).is_ok(),
        _ => false,
    }
}
