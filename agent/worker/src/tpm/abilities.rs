//! What a TPM can do.

use keyward_protocol::{Algorithm, KeyType, Purpose};
use tss_esapi::structures::{Public, PublicParameters};
use tss_esapi::{Context, Error};

use super::error::{Next, next};
use super::template::{Origin, Unique, template};

/// What a TPM can do, as it says itself.
#[derive(Clone, Debug, Default)]
pub(super) struct Abilities {
    /// The types of keys that it has, each with a purpose to try it with.
    pub(super) key_types: Vec<KeyType>,
}

impl Abilities {
    /// Asks the TPM about each type of key (TPM2_TestParms).
    pub(super) fn of(context: &mut Context) -> Result<Self, Error> {
        let mut key_types = Vec::new();
        for (key_type, purpose) in [
            (KeyType::P256, Purpose::Sign),
            (KeyType::P384, Purpose::Sign),
            (KeyType::Rsa2048, Purpose::Sign),
            (KeyType::Rsa3072, Purpose::Sign),
            (KeyType::Rsa4096, Purpose::Sign),
            (KeyType::HmacSha256, Purpose::Mac),
            (KeyType::HmacSha384, Purpose::Mac),
            (KeyType::HmacSha512, Purpose::Mac),
            (KeyType::Data, Purpose::Seal),
        ] {
            if has(context, key_type, purpose)? {
                key_types.push(key_type);
            }
        }
        Ok(Self { key_types })
    }

    /// The algorithms that keys of these types do.
    pub(super) fn algorithms(&self) -> Vec<Algorithm> {
        Algorithm::ALL
            .into_iter()
            .filter(|algorithm| {
                self.key_types.iter().any(|key_type| {
                    Purpose::ALL
                        .iter()
                        .any(|purpose| purpose.algorithms(*key_type).contains(algorithm))
                })
            })
            .collect()
    }
}

fn has(context: &mut Context, key_type: KeyType, purpose: Purpose) -> Result<bool, Error> {
    let Ok(public) = template(key_type, purpose, Origin::Tpm, Unique::Empty, None) else {
        return Ok(false);
    };
    let parameters = match public {
        Public::Ecc { parameters, .. } => PublicParameters::Ecc(parameters),
        Public::Rsa { parameters, .. } => PublicParameters::Rsa(parameters),
        Public::KeyedHash { parameters, .. } => PublicParameters::KeyedHash(parameters),
        Public::SymCipher { .. } => return Ok(false),
    };
    match context.test_parms(parameters) {
        Ok(()) => Ok(true),
        Err(error) if next(error) == Next::Refused => Ok(false),
        Err(error) => Err(error),
    }
}
