//! Keys that are bound to PCRs.
//!
//! What authorizes a key is fixed when it is made. So its authPolicy is TPM2_PolicyAuthorize: any
//! policy that the recovery key has signed for this key, and what it signs is TPM2_PolicyPCR with
//! values of the PCRs. Without a recovery key the authPolicy is TPM2_PolicyPCR itself, and nobody can
//! change the values. For a key pair that came from elsewhere TPM2_PolicyCommandCode follows, with the one
//! command that its purpose needs: it is not fixed to the TPM, and no policy may allow its duplication
//! (ADR 0032). With a PIN, TPM2_PolicyAuthValue follows.

use keyward_backend::pcr::{
    self, Approval, Binding, BoundTo, PcrValue, approval_message, selected,
};
use keyward_backend::{BackendError, Result, VersionId};
use keyward_protocol::{CoseKey, KeyType, Purpose};
use sha2::{Digest as _, Sha256};
use tss_esapi::attributes::ObjectAttributesBuilder;
use tss_esapi::constants::CommandCode;
use tss_esapi::interface_types::algorithm::{HashingAlgorithm, PublicAlgorithm};
use tss_esapi::interface_types::ecc::EccCurve;
use tss_esapi::interface_types::resource_handles::Hierarchy;
use tss_esapi::interface_types::session_handles::{AuthSession, PolicySession};
use tss_esapi::structures::{
    Digest, EccParameter, EccScheme, EccSignature, KeyDerivationFunctionScheme, Name, Nonce,
    PcrSelectionList, Public, PublicBuilder, PublicEccParameters, PublicKeyRsa,
    PublicRsaParameters, RsaExponent, RsaScheme, RsaSignature, Signature,
    SymmetricDefinitionObject, VerifiedTicket,
};
use tss_esapi::traits::{Marshall, UnMarshall};
use tss_esapi::tss2_esys::TPMT_TK_VERIFIED;
use tss_esapi::{Error, WrapperErrorKind};

use super::device::{Device, Secrecy};
use super::error::{Next, answer, describe, is_value, next};
use super::import::{Modulus, modulus};
use super::loaded::Blob;
use super::pcrs::{selection, values};
use super::report::{kind, name_of};
use super::template::bits;
use super::z_gen::point;
use super::{Failure, store};

/// TPM_CC_PolicyAuthorize.
const POLICY_AUTHORIZE: u32 = 0x0000_016a;
/// TPM_CC_PolicyCommandCode.
const POLICY_COMMAND_CODE: u32 = 0x0000_016c;
/// TPM_CC_PolicyAuthValue.
const POLICY_AUTH_VALUE: u32 = 0x0000_016b;
/// How many tickets are kept, of about 100 bytes each.
const MOST_TICKETS: usize = 256;

/// What a key is bound to.
#[derive(Debug)]
pub(super) struct Bound {
    authority: Option<Authority>,
    approvals: Vec<Approved>,
}

/// The recovery key.
#[derive(Debug)]
struct Authority {
    public: Public,
    name: Name,
    key: CoseKey,
}

/// A policy that was approved.
#[derive(Debug)]
struct Approved {
    values: Vec<PcrValue>,
    selection: PcrSelectionList,
    composite: Digest,
    policy: Digest,
    /// aHash and its signature.
    signed: Option<(Digest, Signature)>,
    signature: Vec<u8>,
}

/// What the TPM has verified once: it gives a ticket for that.
pub(super) type Tickets = std::collections::HashMap<(VersionId, Vec<u8>), TPMT_TK_VERIFIED>;

impl Bound {
    /// What a new key is to be bound to.
    ///
    /// # Errors
    /// [`BackendError::Invalid`] for what can't be an approval.
    pub(super) fn new(id: VersionId, binding: &Binding) -> Result<Self> {
        let authority = match &binding.approval {
            Some(approval) => Some(Authority::new(authority_of(&approval.authority)?)?),
            None => None,
        };
        let signature = binding.approval.as_ref();
        let signature = signature.map_or(&[][..], |approval: &Approval| &approval.signature);
        let approved = Approved::new(id, &binding.values, authority.as_ref(), signature)?;
        Ok(Self {
            authority,
            approvals: vec![approved],
        })
    }

    /// What the file of a key says.
    ///
    /// # Errors
    /// [`BackendError::Invalid`] for what can't be an approval.
    pub(super) fn of(id: VersionId, stored: &store::Bound) -> Result<Self> {
        let authority = match &stored.authority {
            Some(bytes) => Some(Authority::new(Public::unmarshall(bytes).map_err(answer)?)?),
            None => None,
        };
        let approvals = stored.approvals.iter().map(|approval| {
            Approved::new(
                id,
                &approval.values,
                authority.as_ref(),
                &approval.signature,
            )
        });
        Ok(Self {
            approvals: approvals.collect::<Result<_>>()?,
            authority,
        })
    }

    /// The same for the file.
    ///
    /// # Errors
    /// The library can't write the recovery key's public area.
    pub(super) fn to_stored(&self) -> Result<store::Bound> {
        let authority = self.authority.as_ref();
        let authority = authority.map(|authority| authority.public.marshall());
        let approvals = self.approvals.iter().map(|approval| store::Approved {
            values: approval.values.clone(),
            signature: approval.signature.clone(),
        });
        Ok(store::Bound {
            authority: authority.transpose().map_err(answer)?,
            approvals: approvals.collect(),
        })
    }

    /// What the agent is told of it.
    pub(super) fn to_report(&self) -> BoundTo {
        BoundTo {
            pcrs: self.newest().map(selected).unwrap_or_default(),
            authority: self.authority().cloned(),
        }
    }

    /// Whose signature approves other values.
    pub(super) fn authority(&self) -> Option<&CoseKey> {
        self.authority.as_ref().map(|authority| &authority.key)
    }

    /// All that was approved, the newest last.
    pub(super) fn approved(&self) -> Vec<Vec<PcrValue>> {
        let values = self.approvals.iter().map(|approval| &approval.values);
        values.cloned().collect()
    }

    /// What was approved last.
    pub(super) fn newest(&self) -> Option<&[PcrValue]> {
        self.approvals.last().map(|last| last.values.as_slice())
    }

    /// The authPolicy of the key (TPM 2.0 Library Part 3 §23.7, §23.11, §23.16, §23.17).
    pub(super) fn auth_policy(
        &self,
        id: VersionId,
        command: Option<CommandCode>,
        has_auth: bool,
    ) -> [u8; 32] {
        let digest = match (&self.authority, self.approvals.first()) {
            (Some(authority), _) => {
                let head = Sha256::new()
                    .chain_update([0; 32])
                    .chain_update(POLICY_AUTHORIZE.to_be_bytes())
                    .chain_update(authority.name.value())
                    .finalize();
                Sha256::new()
                    .chain_update(head)
                    .chain_update(id.as_bytes())
                    .finalize()
                    .into()
            }
            (None, Some(approval)) => pcr::policy(&approval.values),
            (None, None) => [0; 32],
        };
        let digest = match command {
            Some(command) => Sha256::new()
                .chain_update(digest)
                .chain_update(POLICY_COMMAND_CODE.to_be_bytes())
                .chain_update(u32::from(command).to_be_bytes())
                .finalize()
                .into(),
            None => digest,
        };
        match has_auth {
            true => Sha256::new()
                .chain_update(digest)
                .chain_update(POLICY_AUTH_VALUE.to_be_bytes())
                .finalize()
                .into(),
            false => digest,
        }
    }

    /// That the recovery key has signed what was approved last, as the TPM finds.
    pub(super) fn verify(
        &self,
        device: &mut Device,
        id: VersionId,
    ) -> std::result::Result<(), Failure> {
        let (Some(authority), Some(approval)) = (&self.authority, self.approvals.last()) else {
            return Ok(());
        };
        let verified = device.run(|device| approval.ticket(device, id, authority).map(drop));
        verified.map_err(|error| match next(error) {
            Next::Refused => BackendError::Invalid(format!(
                "the approval is not signed by the recovery key: {}",
                describe(error)
            ))
            .into(),
            _ => error.into(),
        })
    }

    /// Adds an approval, and drops what was there before if that is wanted.
    ///
    /// # Errors
    /// [`BackendError::Invalid`]: nobody can approve anything, or not this.
    pub(super) fn approve(mut self, id: VersionId, approve: &pcr::Approve) -> Result<Self> {
        let invalid = |words: &str| BackendError::Invalid(words.to_owned());
        if self.authority.is_none() {
            return Err(invalid(
                "the key was made without a recovery key: what it is bound to can't change",
            ));
        }
        let new = Approved::new(
            id,
            &approve.values,
            self.authority.as_ref(),
            &approve.signature,
        )?;
        if self.newest().map(selected) != Some(selected(&new.values)) {
            return Err(invalid("the key is bound to other PCRs"));
        }
        self.approvals
            .retain(|old| !approve.drop_old && old.values != new.values);
        self.approvals.push(new);
        match self.approvals.len() <= store::Bound::MOST_APPROVALS {
            true => Ok(self),
            false => Err(invalid(
                "as many approvals as a key can have are there; drop the old ones",
            )),
        }
    }

    /// A session in which the policy of the key holds now; `None` if it does not.
    ///
    /// # Errors
    /// The TPM refuses, or takes an approval for a forged one.
    pub(super) fn session(
        &self,
        device: &mut Device,
        id: VersionId,
        blob: &Blob,
        secrecy: Secrecy,
    ) -> std::result::Result<Option<AuthSession>, Error> {
        let session = device.policy_session(secrecy)?;
        let policy = PolicySession::try_from(session)?;
        let restarted = device.plain(|context| context.policy_restart(policy));
        if restarted.is_err() {
            // The TPM says that a handle is not there, which is the session's here.
            device.end_session();
        }
        restarted?;
        let mut found = None;
        // The newest is the likeliest.
        for approval in self.approvals.iter().rev() {
            let done = device.plain(|context| {
                let selection = approval.selection.clone();
                context.policy_pcr(policy, approval.composite.clone(), selection)
            });
            match done {
                Ok(()) => {
                    found = Some(approval);
                    break;
                }
                Err(error) if is_value(error) => {}
                Err(error) => return Err(error),
            }
        }
        let Some(approval) = found else {
            return Ok(None);
        };
        if let Some(authority) = &self.authority {
            let ticket = approval.ticket(device, id, authority)?;
            let reference = Nonce::try_from(id.as_bytes().as_slice())?;
            let done = device.plain(|context| {
                let approved = approval.policy.clone();
                context.policy_authorize(policy, approved, reference, &authority.name, ticket)
            });
            if done.is_err() {
                // A ticket of before TPM2_Clear, say: then it is verified again.
                device.tickets.clear();
            }
            done?;
        }
        if let Some(command) = blob.command {
            device.plain(|context| context.policy_command_code(policy, command))?;
        }
        if blob.has_auth {
            device.plain(|context| context.policy_auth_value(policy))?;
        }
        Ok(Some(session))
    }

    /// Why the policy does not hold: which PCRs are not as in the newest approval.
    pub(super) fn mismatch(&self, device: &mut Device) -> Failure {
        let wanted = self.newest().unwrap_or_default();
        let now = match values(device, &selected(wanted)) {
            Ok(now) => now,
            Err(failure) => return failure,
        };
        let others = wanted.iter().zip(&now).filter(|(old, new)| old != new);
        let others: Vec<_> = others.map(|(old, _)| old.pcr.to_string()).collect();
        let words = match others.as_slice() {
            [] => "PCRs changed meanwhile, and before were".to_owned(),
            [one] => format!("PCR {one} is"),
            several => format!("PCRs {} are", several.join(", ")),
        };
        BackendError::PcrMismatch(words).into()
    }
}

impl Authority {
    fn new(public: Public) -> Result<Self> {
        let (_, key) = kind(&public)?;
        let name = Name::try_from(name_of(&public).map_err(answer)?).map_err(answer)?;
        Ok(Self {
            public,
            name,
            key: key.ok_or_else(no_authority)?,
        })
    }
}

impl Approved {
    fn new(
        id: VersionId,
        values: &[PcrValue],
        authority: Option<&Authority>,
        signature: &[u8],
    ) -> Result<Self> {
        if !pcr::is_selection(&selected(values)) {
            return Err(BackendError::Invalid(
                "PCRs are given once each, in ascending order".to_owned(),
            ));
        }
        let digest = |bytes: &[u8]| Digest::try_from(bytes).map_err(answer);
        let signed = match authority {
            Some(authority) => Some((
                digest(&Sha256::digest(approval_message(id, values)))?,
                signature_of(&authority.key, signature)?,
            )),
            None => None,
        };
        Ok(Self {
            values: values.to_vec(),
            selection: selection(&selected(values))?,
            composite: digest(&pcr::composite(values))?,
            policy: digest(&pcr::policy(values))?,
            signed,
            signature: signature.to_vec(),
        })
    }

    /// The TPM's word that the recovery key has signed this.
    fn ticket(
        &self,
        device: &mut Device,
        id: VersionId,
        authority: &Authority,
    ) -> std::result::Result<VerifiedTicket, Error> {
        let place = (id, self.signature.clone());
        if let Some(ticket) = device.tickets.get(&place) {
            return (*ticket).try_into();
        }
        let Some((digest, signature)) = self.signed.clone() else {
            return Err(Error::WrapperError(WrapperErrorKind::InconsistentParams));
        };
        let ticket = device.plain(|context| {
            // A ticket of the null hierarchy would be none.
            let key = context.load_external_public(authority.public.clone(), Hierarchy::Owner)?;
            let verified = context.verify_signature(key, digest, signature);
            let _ = context.flush_context(key.into());
            verified
        })?;
        if device.tickets.len() >= MOST_TICKETS {
            device.tickets.clear();
        }
        let ticket = TPMT_TK_VERIFIED::try_from(ticket)?;
        device.tickets.insert(place, ticket);
        ticket.try_into()
    }
}

/// The command that a key pair is used with.
///
/// # Errors
/// [`BackendError::MechanismInvalid`] for a purpose that no pair has.
pub(super) fn command_of(purpose: Purpose, key_type: KeyType) -> Result<CommandCode> {
    match (purpose, key_type.rsa_bits()) {
        (Purpose::Sign, _) => Ok(CommandCode::Sign),
        (Purpose::Agree | Purpose::Encrypt, None) => Ok(CommandCode::EcdhZGen),
        (Purpose::Unwrap | Purpose::Encrypt, Some(_)) => Ok(CommandCode::RsaDecrypt),
        _ => Err(BackendError::MechanismInvalid(format!(
            "a key pair of type {key_type} can't have the purpose {purpose}"
        ))),
    }
}

/// The public area of a recovery key. Its name is in the policy of the keys that it recovers: it is
/// made in one way only.
fn authority_of(key: &CoseKey) -> Result<Public> {
    let attributes = ObjectAttributesBuilder::new()
        .with_user_with_auth(true)
        .with_sign_encrypt(true)
        .build()
        .map_err(answer)?;
    let builder = PublicBuilder::new()
        .with_name_hashing_algorithm(HashingAlgorithm::Sha256)
        .with_object_attributes(attributes);
    let public = match key {
        CoseKey::P256 { .. } => builder
            .with_public_algorithm(PublicAlgorithm::Ecc)
            .with_ecc_parameters(PublicEccParameters::new(
                SymmetricDefinitionObject::Null,
                EccScheme::Null,
                EccCurve::NistP256,
                KeyDerivationFunctionScheme::Null,
            ))
            .with_ecc_unique_identifier(point(key)?),
        CoseKey::Rsa { n, e } => {
            let Modulus { unique, exponent } = modulus(n, e)?;
            let key_type = key.key_type().ok_or_else(no_authority)?;
            builder
                .with_public_algorithm(PublicAlgorithm::Rsa)
                .with_rsa_parameters(PublicRsaParameters::new(
                    SymmetricDefinitionObject::Null,
                    RsaScheme::Null,
                    bits(key_type)?,
                    RsaExponent::create(exponent).map_err(answer)?,
                ))
                .with_rsa_unique_identifier(unique)
        }
        _ => return Err(no_authority()),
    };
    public.build().map_err(answer)
}

/// A signature as the TPM takes it.
fn signature_of(key: &CoseKey, bytes: &[u8]) -> Result<Signature> {
    let wrong = |_| BackendError::Invalid("the approval's signature is none".to_owned());
    let hash = HashingAlgorithm::Sha256;
    match key {
        CoseKey::P256 { .. } if bytes.len() == 64 => {
            let (r, s) = bytes.split_at(32);
            let r = EccParameter::try_from(r).map_err(wrong)?;
            let s = EccParameter::try_from(s).map_err(wrong)?;
            let signature = EccSignature::create(hash, r, s).map_err(wrong)?;
            Ok(Signature::EcDsa(signature))
        }
        CoseKey::Rsa { n, .. } if bytes.len() == n.len() => {
            let number = PublicKeyRsa::try_from(bytes).map_err(wrong)?;
            let signature = RsaSignature::create(hash, number).map_err(wrong)?;
            Ok(Signature::RsaSsa(signature))
        }
        _ => Err(BackendError::Invalid(
            "the approval's signature has another length".to_owned(),
        )),
    }
}

fn no_authority() -> BackendError {
    BackendError::Invalid("a recovery key is of type P-256 or RSA".to_owned())
}
