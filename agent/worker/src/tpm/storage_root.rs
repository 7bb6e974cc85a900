//! The storage root key: the parent of every key of a token.

use keyward_backend::{BackendError, Result};
use tss_esapi::attributes::ObjectAttributesBuilder;
use tss_esapi::handles::{KeyHandle, PersistentTpmHandle, TpmHandle};
use tss_esapi::interface_types::algorithm::{HashingAlgorithm, PublicAlgorithm};
use tss_esapi::interface_types::dynamic_handles::Persistent;
use tss_esapi::interface_types::ecc::EccCurve;
use tss_esapi::interface_types::resource_handles::{Hierarchy, Provision};
use tss_esapi::interface_types::session_handles::AuthSession;
use tss_esapi::structures::{
    EccParameter, EccPoint, EccScheme, KeyDerivationFunctionScheme, Public, PublicBuilder,
    PublicEccParameters, SymmetricDefinitionObject,
};
use tss_esapi::{Context, Error};

use super::error::{Next, answer, base, describe, next, number};
use super::reach::silent;

/// Where it is (TCG TPM v2.0 Provisioning Guidance §7.8).
pub(super) const HANDLE: u32 = 0x8100_0001;

/// How an administrator makes one that fits.
const ANEW: &str = "tpm2_evictcontrol -C o -c 0x81000001, then `keyward init`; what was made below the old one is lost";

/// TPM_RH_OWNER: stands for an ECC primary of the owner hierarchy that is made each time, which is the
/// parent that tpm2-openssl takes unless told otherwise.
pub(super) const OWNER: u32 = 0x4000_0001;

/// Finds it, and checks that it is one.
///
/// # Errors
/// [`BackendError::TokenAbsent`] if there is none, with how to make it.
pub(super) fn find(context: &mut Context) -> Result<KeyHandle> {
    let handle = PersistentTpmHandle::new(HANDLE).map_err(answer)?;
    let object = match context.tr_from_tpm_public(TpmHandle::Persistent(handle)) {
        Ok(object) => object,
        Err(error) if is_missing(error) => {
            return Err(BackendError::TokenAbsent(format!(
                "the TPM has no storage root key at {HANDLE:#x}; `keyward init` makes it"
            )));
        }
        Err(error) => return Err(silent(error)),
    };
    let srk = KeyHandle::from(object);
    let (public, _, _) = context.read_public(srk).map_err(silent)?;
    let attributes = public.object_attributes();
    let is_storage = attributes.restricted()
        && attributes.decrypt()
        && attributes.fixed_tpm()
        && attributes.fixed_parent()
        && attributes.user_with_auth();
    if !is_storage {
        return Err(BackendError::DeviceFailed(format!(
            "what the TPM has at {HANDLE:#x} is no storage key of this TPM alone; \
             `tpm2_readpublic -c {HANDLE:#x}` shows it"
        )));
    }
    // Else each load of a key would be a try at it, and no key could be loaded during a lockout.
    if !attributes.no_da() {
        return Err(BackendError::DeviceFailed(format!(
            "the storage root key at {HANDLE:#x} counts for the dictionary attack lockout (it is not \
             noda), which every use of a key would be exposed to; make it anew: {ANEW}"
        )));
    }
    Ok(srk)
}

/// Makes it, with the template that everybody uses (TCG EK Credential Profile §B.4.4 applied to the
/// storage hierarchy), so that it is the same key again if it is evicted. Done if there is one.
///
/// # Errors
/// The owner hierarchy has an authorization value, or there is no room.
pub(super) fn make(context: &mut Context) -> Result<()> {
    match find(context) {
        Err(BackendError::TokenAbsent(_)) => {}
        found => return found.map(drop),
    }
    let persistent = Persistent::Persistent(PersistentTpmHandle::new(HANDLE).map_err(answer)?);
    context
        .execute_with_session(Some(AuthSession::Password), |context| {
            let primary = context.create_primary(
                Hierarchy::Owner,
                template(32)?,
                None,
                None,
                None,
                None,
            )?;
            let kept =
                context.evict_control(Provision::Owner, primary.key_handle.into(), persistent);
            context.clear_sessions();
            context.flush_context(primary.key_handle.into())?;
            kept.map(drop)
        })
        .map_err(|error| match next(error) {
            Next::WrongAuth => BackendError::Refused(
                "the TPM's owner hierarchy has an authorization value, which keyward does not ask for; \
                 make the storage root key with its -P: tpm2_createprimary -C o -P AUTH -G ecc -a \
                 'fixedtpm|fixedparent|sensitivedataorigin|userwithauth|noda|restricted|decrypt' -c root.ctx \
                 && tpm2_evictcontrol -C o -P AUTH -c root.ctx 0x81000001"
                    .to_owned(),
            ),
            _ => BackendError::Refused(format!(
                "the storage root key can't be made: {}",
                describe(error)
            )),
        })
}

/// Whether nothing is at a handle.
pub(super) fn is_missing(error: Error) -> bool {
    number(error).is_some_and(|number| base(number) == 0x08b)
}

/// Makes the primary that [`OWNER`] stands for; whoever wants it puts it away again.
///
/// # Errors
/// The owner hierarchy has an authorization value, or there is no room.
pub(super) fn primary(context: &mut Context) -> std::result::Result<KeyHandle, Error> {
    let made = context.execute_with_session(Some(AuthSession::Password), |context| {
        context.create_primary(Hierarchy::Owner, template(0)?, None, None, None, None)
    })?;
    Ok(made.key_handle)
}

/// A storage key of P-256, with so many zeros for each coordinate: 32 are those of the storage root
/// key.
fn template(zeros: usize) -> std::result::Result<Public, Error> {
    let attributes = ObjectAttributesBuilder::new()
        .with_fixed_tpm(true)
        .with_fixed_parent(true)
        .with_sensitive_data_origin(true)
        .with_user_with_auth(true)
        .with_no_da(true)
        .with_restricted(true)
        .with_decrypt(true)
        .build()?;
    let zeros = || EccParameter::try_from(vec![0; zeros]);
    PublicBuilder::new()
        .with_public_algorithm(PublicAlgorithm::Ecc)
        .with_name_hashing_algorithm(HashingAlgorithm::Sha256)
        .with_object_attributes(attributes)
        .with_ecc_parameters(PublicEccParameters::new(
            SymmetricDefinitionObject::AES_128_CFB,
            EccScheme::Null,
            EccCurve::NistP256,
            KeyDerivationFunctionScheme::Null,
        ))
        .with_ecc_unique_identifier(EccPoint::new(zeros()?, zeros()?))
        .build()
}
