//! Keys that were made elsewhere.

use keyward_backend::message::Generate;
use keyward_backend::{BackendError, KeyReport, Result};
use keyward_protocol::operation::KeyMaterial;
use keyward_protocol::{CoseKey, KeyType, SecretBytes};
use sha2::{Digest, Sha256};
use tss_esapi::constants::tss::{TPM2_ALG_ECC, TPM2_ALG_RSA};
use tss_esapi::structures::{
    Private, Public, PublicKeyRsa, SensitiveData, SymmetricDefinitionObject,
};
use tss_esapi::traits::Marshall;
use zeroize::Zeroizing;

use super::device::{Device, Secrecy};
use super::duplicate::{self, sized};
use super::error::answer;
use super::make::{create, is_possible, key_file};
use super::policy::{Bound, command_of};
use super::session::Session;
use super::store::Made;
use super::template::{Origin, Unique, template};
use super::z_gen::point;
use super::{Failure, Repeat, State};
use crate::private_key::{PrivateKey, Secret};

impl Session<'_> {
    /// Gives a key to the TPM. A pair comes wrapped for it (TPM2_Import); it is not `fixedTPM`, but nothing
    /// can authorize its duplication: it has no policy, or one for another command. A secret key, or data,
    /// comes with TPM2_Create, encrypted on the way.
    pub(super) fn take_in(
        &self,
        generate: &Generate,
        material: &KeyMaterial,
        bound: Option<&Bound>,
    ) -> Result<KeyReport> {
        if let KeyMaterial::Tss2(pem) = material {
            return match bound {
                None => self.take_file(generate, pem.expose()),
                Some(_) => Err(not_bound()),
            };
        }
        let tpm = self.tpm;
        tpm.with(Repeat::Yes, |state, device| {
            tpm.check_login(state)?;
            is_possible(device, generate)?;
            tpm.is_free(generate)?;
            // A pair is not fixed to the TPM, so its policy is good for one command: who signs approvals
            // could approve its duplication else.
            let command = match material {
                KeyMaterial::Pkcs8(_) if bound.is_some() => {
                    Some(command_of(generate.purpose, generate.key_type)?)
                }
                _ => None,
            };
            let has_auth = state.secret.is_some();
            let policy = bound.map(|bound| bound.auth_policy(generate.id, command, has_auth));
            let (public, private) = match material {
                KeyMaterial::Secret(key_type, bytes) => {
                    let right = match (generate.key_type, bytes.len()) {
                        (KeyType::Data, 1..=KeyType::MOST_DATA) => true,
                        (wanted, length) => wanted.secret_length() == Some(length),
                    };
                    if *key_type != generate.key_type || !right {
                        return Err(other_type(generate).into());
                    }
                    secret(state, device, generate, bytes, policy)?
                }
                KeyMaterial::Pkcs8(der) => {
                    let key = PrivateKey::from_pkcs8(der.expose())?;
                    if key.public.key_type() != Some(generate.key_type) {
                        return Err(other_type(generate).into());
                    }
                    pair(state, device, generate, &key, policy)?
                }
                KeyMaterial::Tss2(_) => return Err(not_bound().into()),
            };
            let file = key_file(&public, &private, state.secret.is_none())?;
            tpm.keep(device, generate, Made::Imported, &public, file, bound)
        })
    }
}

fn not_bound() -> BackendError {
    BackendError::MechanismInvalid(
        "a key that is in a file already can't be bound to PCRs any more".to_owned(),
    )
}

fn other_type(generate: &Generate) -> BackendError {
    BackendError::Invalid(format!("it is no key of type {}", generate.key_type))
}

fn secret(
    state: &State,
    device: &mut Device,
    generate: &Generate,
    bytes: &SecretBytes,
    policy: Option<[u8; 32]>,
) -> std::result::Result<(Public, Private), Failure> {
    let public = template(
        generate.key_type,
        generate.purpose,
        Origin::Given,
        Unique::Empty,
        policy,
    )?;
    let data = SensitiveData::try_from(bytes.expose())?;
    Ok(create(state, device, &public, Some(&data))?)
}

fn pair(
    state: &State,
    device: &mut Device,
    generate: &Generate,
    key: &PrivateKey<'_>,
    policy: Option<[u8; 32]>,
) -> std::result::Result<(Public, Private), Failure> {
    let unique = unique(&key.public)?;
    let public = template(
        generate.key_type,
        generate.purpose,
        Origin::Elsewhere,
        unique,
        policy,
    )?;
    let name = [[0x00, 0x0b].as_slice(), &Sha256::digest(public.marshall()?)].concat();
    let auth = state
        .secret
        .as_ref()
        .map_or(&[][..], |secret| secret.expose());
    let sensitive = sensitive(key, auth)?;
    let (wrapped, seed) = duplicate::wrap(device, &sensitive, &name)?;
    let private = device.run(|device| {
        let srk = device.srk;
        // Everything that passes is encrypted already, and the parent has no authorization value.
        let session = device.session(Secrecy::None)?;
        device
            .context
            .execute_with_session(Some(session), |context| {
                context.import(
                    srk.into(),
                    None,
                    public.clone(),
                    wrapped.clone(),
                    seed.clone(),
                    SymmetricDefinitionObject::Null,
                )
            })
    })?;
    Ok((public, private))
}

fn unique(key: &CoseKey) -> Result<Unique> {
    let CoseKey::Rsa { n, e } = key else {
        return Ok(Unique::Point(point(key)?));
    };
    let Modulus { unique, exponent } = modulus(n, e)?;
    Ok(Unique::Modulus(unique, exponent))
}

/// An RSA key as the TPM takes it.
pub(super) struct Modulus {
    pub(super) unique: PublicKeyRsa,
    /// 0 stands for 65,537.
    pub(super) exponent: u32,
}

/// The numbers of an RSA key.
pub(super) fn modulus(n: &[u8], e: &[u8]) -> Result<Modulus> {
    let exponent = e
        .iter()
        .try_fold(0u32, |value, byte| {
            value.checked_mul(256)?.checked_add(u32::from(*byte))
        })
        .ok_or_else(|| BackendError::Invalid("its exponent is too long for a TPM".to_owned()))?;
    Ok(Modulus {
        unique: PublicKeyRsa::try_from(n).map_err(answer)?,
        exponent: if exponent == 65_537 { 0 } else { exponent },
    })
}

/// TPMT_SENSITIVE (TPM 2.0 Library Part 2 §12.3.2.4): type, authorization value, no seed, and the
/// scalar or one of the primes.
fn sensitive(key: &PrivateKey<'_>, auth: &[u8]) -> Result<Zeroizing<Vec<u8>>> {
    let (kind, number) = match &key.secret {
        Secret::Scalar(scalar) => (TPM2_ALG_ECC, scalar.as_slice()),
        Secret::Rsa(numbers) => (TPM2_ALG_RSA, numbers.p),
        Secret::Seed(_) => {
            return Err(BackendError::MechanismInvalid(
                "a TPM has no Ed25519 keys".to_owned(),
            ));
        }
    };
    Ok(Zeroizing::new(
        [
            kind.to_be_bytes().as_slice(),
            &sized(auth)?,
            &sized(&[])?,
            &sized(number)?,
        ]
        .concat(),
    ))
}
