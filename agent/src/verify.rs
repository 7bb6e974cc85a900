//! Checks signatures with public keys: for `verify`, and for each RSA signature before it leaves.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use aws_lc_rs::digest::{self, Digest};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, ParsedPublicKey,
    RSA_PKCS1_2048_8192_SHA256, RSA_PSS_2048_8192_SHA256, VerificationAlgorithm,
};
use keyward_backend::VersionId;
use keyward_protocol::operation::SignInput;
use keyward_protocol::{Algorithm, CoseKey};

/// How many parsed keys are kept.
const KEPT: usize = 1024;

/// Public keys that were parsed once.
#[derive(Default)]
pub struct Verifier {
    keys: RefCell<HashMap<(VersionId, Algorithm), Rc<ParsedPublicKey>>>,
}

impl Verifier {
    /// Whether `signature`, in COSE's form, is one of `input` under the key.
    ///
    /// A digest of the wrong length, an algorithm that does not fit the key, or a key that is not
    /// on its curve verify nothing.
    pub fn verify(
        &self,
        id: VersionId,
        key: &CoseKey,
        algorithm: Algorithm,
        input: &SignInput,
        signature: &[u8],
    ) -> bool {
        let Some(parsed) = self.parsed(id, key, algorithm) else {
            return false;
        };
        match input {
            SignInput::Message(message) => parsed.verify_sig(message, signature).is_ok(),
            SignInput::Absorbed(_) => false,
            SignInput::Digest(bytes) => {
                let hash = match algorithm {
                    Algorithm::Esp384 => &digest::SHA384,
                    Algorithm::Ed25519 => return false,
                    _ => &digest::SHA256,
                };
                Digest::import_less_safe(bytes, hash)
                    .is_ok_and(|digest| parsed.verify_digest_sig(&digest, signature).is_ok())
            }
        }
    }

    fn parsed(
        &self,
        id: VersionId,
        key: &CoseKey,
        algorithm: Algorithm,
    ) -> Option<Rc<ParsedPublicKey>> {
        let mut keys = self.keys.borrow_mut();
        if let Some(parsed) = keys.get(&(id, algorithm)) {
            return Some(parsed.clone());
        }
        let parsed = Rc::new(parse(key, algorithm)?);
        if keys.len() >= KEPT {
            keys.clear();
        }
        keys.insert((id, algorithm), parsed.clone());
        Some(parsed)
    }
}

fn parse(key: &CoseKey, algorithm: Algorithm) -> Option<ParsedPublicKey> {
    let (verification, bytes): (&'static dyn VerificationAlgorithm, _) = match (key, algorithm) {
        (CoseKey::P256 { .. }, Algorithm::Esp256) => (&ECDSA_P256_SHA256_FIXED, key.to_sec1()?),
        (CoseKey::P384 { .. }, Algorithm::Esp384) => (&ECDSA_P384_SHA384_FIXED, key.to_sec1()?),
        (CoseKey::Ed25519 { x }, Algorithm::Ed25519) => (&ED25519, x.to_vec()),
        (CoseKey::Rsa { .. }, Algorithm::Ps256) => (&RSA_PSS_2048_8192_SHA256, key.to_spki().ok()?),
        (CoseKey::Rsa { .. }, Algorithm::Rs256) => {
            (&RSA_PKCS1_2048_8192_SHA256, key.to_spki().ok()?)
        }
        _ => return None,
    };
    ParsedPublicKey::new(verification, bytes).ok()
}
