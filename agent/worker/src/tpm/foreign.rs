//! Key files that other programs have written.

use std::sync::Arc;

use keyward_backend::key_file::{KeyFile, KeyFileError, Kind};
use keyward_backend::message::Generate;
use keyward_backend::{BackendError, KeyReport, Result};
use keyward_protocol::{KeyType, Purpose};
use tss_esapi::interface_types::algorithm::HashingAlgorithm;
use tss_esapi::structures::{EccScheme, HashScheme, Public, RsaScheme, SymmetricDefinitionObject};

use super::device::Device;
use super::make::{auth_policy, is_possible, public_of};
use super::report::report;
use super::session::{Session, load, parse};
use super::store::{Entry, Held, Made};
use super::{Repeat, about_file, storage_root};

impl Session<'_> {
    /// Takes a file in as it is: nothing in it is changed, and whoever has a copy can use the key on
    /// this TPM. Its authorization value stays empty, also where the token has a PIN.
    pub(super) fn take_file(&self, generate: &Generate, pem: &[u8]) -> Result<KeyReport> {
        let key =
            KeyFile::from_pem(pem).map_err(|error: KeyFileError| invalid(&error.to_string()))?;
        let (tpm, id) = (self.tpm, generate.id);
        tpm.with(Repeat::Yes, |state, device: &mut Device| {
            tpm.check_login(state)?;
            is_possible(device, generate)?;
            tpm.is_free(generate)?;
            check_file(&key)?;
            let public = public_of(&key).map_err(|error| about_file(id, error))?;
            check_public(generate, &public).map_err(|why| invalid(&why))?;
            let entry = Entry {
                label: generate.label.clone(),
                made: Made::Imported,
                purpose: generate.purpose,
                bound: None,
                key: Held::File(key.clone()),
            };
            let mut report = report(&public)?;
            if report.key_type != Some(generate.key_type) {
                return Err(invalid(&format!("it is no key of type {}", generate.key_type)).into());
            }
            // That the TPM loads it below its parent proves whose it is.
            load(state, device, id, &Arc::new(parse(id, &entry)?))?;
            tpm.store.put(id, &entry)?;
            report.blob = tpm.file_of(id)?;
            Ok(report)
        })
    }
}

fn check_file(key: &KeyFile) -> Result<()> {
    if key.kind != Kind::Loadable {
        return Err(invalid("it is sealed data, and no key"));
    }
    if !key.policy.is_empty() {
        return Err(invalid("it has a policy"));
    }
    if !key.empty_auth {
        return Err(invalid("it has a password, which keyward would not know"));
    }
    match key.parent {
        storage_root::HANDLE | storage_root::OWNER => Ok(()),
        other => Err(invalid(&format!(
            "its parent is {other:#x}, and keyward knows {:#x} and {:#x}",
            storage_root::HANDLE,
            storage_root::OWNER
        ))),
    }
}

/// That it is a key of the type, and can be used for the purpose. One that can do more is taken, since
/// others make no other: keyward does with it what the purpose says.
pub(super) fn check_public(
    generate: &Generate,
    public: &Public,
) -> std::result::Result<(), String> {
    let attributes = public.object_attributes();
    let does = match generate.purpose {
        Purpose::Sign | Purpose::Mac => attributes.sign_encrypt(),
        _ => attributes.decrypt(),
    };
    if !does || attributes.restricted() || attributes.x509_sign() {
        return Err(format!(
            "its attributes do not let it be used for {}",
            generate.purpose
        ));
    }
    if !attributes.user_with_auth() || attributes.admin_with_policy() || attributes.st_clear() {
        return Err("its attributes want more than an empty authorization value".to_owned());
    }
    if !auth_policy(public).is_empty() {
        return Err("it has a policy".to_owned());
    }
    if public.name_hashing_algorithm() != HashingAlgorithm::Sha256 {
        return Err("its name is not made by SHA-256".to_owned());
    }
    match has_scheme(generate, public) {
        true => Ok(()),
        false => Err("it is fixed to a scheme that its purpose does not have".to_owned()),
    }
}

/// Whether its scheme is open, or the one that it is used with.
fn has_scheme(generate: &Generate, public: &Public) -> bool {
    let no_cipher = |symmetric| symmetric == SymmetricDefinitionObject::Null;
    match public {
        Public::Ecc { parameters, .. } => {
            let hash = match generate.key_type {
                KeyType::P384 => HashingAlgorithm::Sha384,
                _ => HashingAlgorithm::Sha256,
            };
            let scheme = parameters.ecc_scheme();
            let own = EccScheme::EcDsa(HashScheme::new(hash));
            let signs = generate.purpose == Purpose::Sign;
            no_cipher(parameters.symmetric_definition_object())
                && (scheme == EccScheme::Null || signs && scheme == own)
        }
        Public::Rsa { parameters, .. } => {
            no_cipher(parameters.symmetric_definition_object())
                && parameters.rsa_scheme() == RsaScheme::Null
        }
        _ => false,
    }
}

fn invalid(what: &str) -> BackendError {
    BackendError::Invalid(format!("the key file can't be used: {what}"))
}
