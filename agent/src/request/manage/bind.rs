//! What a new key is bound to, and the recovery key's word on values of PCRs.

use std::rc::Rc;

use keyward_backend::VersionId;
use keyward_backend::message::{Generate, Outcome, Work};
use keyward_backend::pcr::{
    Approval, Binding, MakeBound, PcrValue, approval_message, is_selection, selected,
};
use keyward_protocol::operation::{BindPcrs, KeyMaterial, OperationCode, SignInput};
use keyward_protocol::{
    Algorithm, CoseKey, ErrorCode, Failure, Format, KeyState, KeyType, Purpose,
};
use minicbor::bytes::ByteVec;
use zeroize::Zeroizing;

use crate::policy::Action;
use crate::registry::{Key, Version};
use crate::request::answer::audit_unavailable;
use crate::request::usage::{Use, check_state, digested, misbehaved, protecting};
use crate::request::{Entry, With, append, decide, denied, destruction, not_found, reserve};
use crate::worker::Token;

const LOST: &str = "a key that is bound to PCRs is lost once they change for good, as they do with new firmware, unless another key can approve the new values, or it is in another place too where it is not bound";
const RECOVERIES: &str = "--recovery-key NAME of a sign key; or the same key in two places: keyward key import … --token TPM --token OTHER --pcr PCRS; or --no-recovery";

/// What a new version is to be bound to.
#[derive(Clone, Debug)]
pub(super) struct Wish {
    pcrs: Vec<u8>,
    /// Who approves other values.
    recovery: Option<(Rc<Key>, Version)>,
    /// Where nobody does: whether another place of the key serves, which is not bound.
    elsewhere: bool,
}

impl With<'_> {
    /// Refuses what a key can't be bound to, before anything is written.
    pub(super) fn wish(&self, token: &Token, bind: &BindPcrs) -> Result<Wish, Failure> {
        if token.kind() != "tpm" {
            return Err(Failure::new(
                ErrorCode::MechanismInvalid,
                format!(
                    "token {} is no TPM: only a TPM has PCRs that a key can be bound to",
                    token.name()
                ),
            ));
        }
        self.wish_with(bind, false)
    }

    /// The same for a key that is imported: those of the tokens that are TPMs bind it. A place where it
    /// is not bound, here or where it is already, serves when the PCRs have changed for good, and
    /// nobody need approve anything then.
    pub(super) fn wish_of_import(
        &self,
        tokens: &[&Token],
        existing: Option<&Version>,
        bind: &BindPcrs,
    ) -> Result<Wish, Failure> {
        if tokens.iter().all(|token| token.kind() != "tpm") {
            return Err(Failure::new(
                ErrorCode::MechanismInvalid,
                "none of the tokens is a TPM: only a TPM has PCRs that a key can be bound to",
            ));
        }
        let mut places = existing.iter().flat_map(|version| &version.placements);
        let elsewhere = tokens.iter().any(|token| token.kind() != "tpm")
            || places.any(|place| place.bound.is_none());
        self.wish_with(bind, elsewhere)
    }

    fn wish_with(&self, bind: &BindPcrs, elsewhere: bool) -> Result<Wish, Failure> {
        let invalid = |words: &str| Failure::new(ErrorCode::Invalid, words);
        if !is_selection(&bind.pcrs) {
            return Err(invalid(
                "PCRs are numbers from 0 to 23, each given once and in ascending order",
            ));
        }
        let recovery = match (&bind.recovery_key, bind.no_recovery) {
            (Some(name), false) => Some(self.recovery_key(name)?),
            (None, true) => None,
            (None, false) if elsewhere => None,
            (None, false) => return Err(invalid(LOST).hint(RECOVERIES)),
            (Some(_), true) => {
                return Err(invalid("it has a recovery key, or it has none"));
            }
        };
        Ok(Wish {
            pcrs: bind.pcrs.clone(),
            elsewhere: elsewhere && recovery.is_none(),
            recovery,
        })
    }

    /// The same as another version is bound to. The token is asked: a registry that was restored or
    /// made anew by a rescan does not know.
    pub(super) async fn wish_like(
        &self,
        token: &Token,
        version: &Version,
    ) -> Result<Option<Wish>, Failure> {
        if token.kind() != "tpm" {
            return Ok(None);
        }
        let inspect = Work::Inspect(version.id);
        let bound = match token.call(self.authorised, inspect, self.deadline).await? {
            Outcome::Key(Some(report)) => report.bound,
            Outcome::Key(None) => {
                return Err(Failure::new(
                    ErrorCode::NotFound,
                    format!(
                        "token {} does not have the current version, so what a new one is to be bound to is not known",
                        token.name()
                    ),
                ));
            }
            _ => return Err(misbehaved(token)),
        };
        let Some(bound) = bound else {
            return Ok(None);
        };
        let recovery = match &bound.authority {
            Some(authority) => Some(self.holder(authority)?),
            None => None,
        };
        Ok(Some(Wish {
            pcrs: bound.pcrs.clone(),
            recovery,
            elsewhere: false,
        }))
    }

    /// Asks for a key, or for one to be taken in, that is bound to the values of now.
    pub(super) async fn make_bound(
        &self,
        token: &Token,
        wish: &Wish,
        generate: Generate,
        material: Option<KeyMaterial>,
    ) -> Result<Work, Failure> {
        let read = Work::ReadPcrs(wish.pcrs.clone());
        let values = match token.call(self.authorised, read, self.deadline).await? {
            Outcome::Pcrs(values) if selected(&values) == wish.pcrs => values,
            _ => return Err(misbehaved(token)),
        };
        let approval = match &wish.recovery {
            Some((key, version)) => Some(Approval {
                authority: public(version)?.clone(),
                signature: self.approval(key, version, generate.id, &values).await?,
            }),
            None => None,
        };
        Ok(Work::MakeBound(MakeBound {
            generate,
            binding: Binding { values, approval },
            material,
        }))
    }

    /// Has the recovery key sign that a version may be used with these values. It is a use of that
    /// key by the caller, who must be allowed to, and the log has it.
    pub(super) async fn approval(
        &self,
        key: &Key,
        version: &Version,
        id: VersionId,
        values: &[PcrValue],
    ) -> Result<ByteVec, Failure> {
        let (agent, origin) = (self.agent, self.origin);
        let action = Action::Operation(OperationCode::Sign);
        let authorised = decide(&agent.policy, &origin.caller, action);
        let authorised = authorised.ok_or_else(|| denied(action))?;
        let reservation = reserve(agent, OperationCode::Sign, true);
        let reservation = reservation.map_err(|error| audit_unavailable(&error))?;
        let algorithm = match public(version)? {
            CoseKey::P256 { .. } => Algorithm::Esp256,
            _ => Algorithm::Rs256,
        };
        let mut entry = Entry {
            key: Some(key.id),
            algorithm: Some(algorithm),
            ..Entry::default()
        };
        let pcrs: Vec<_> = values.iter().map(|value| value.pcr.to_string()).collect();
        entry.note(&format!("approves PCRs {} for {id}", pcrs.join(", ")));
        let message = SignInput::Message(approval_message(id, values));
        let input = digested(algorithm, message, &mut entry);
        let with = With {
            agent,
            origin,
            authorised: &authorised,
            deadline: self.deadline,
            waits: false,
        };
        let signed = with
            .signature(key, version, algorithm, input, &mut entry)
            .await;
        let shown = match &signed {
            Ok(_) => Ok(Zeroizing::default()),
            Err(failure) => Err(failure.clone()),
        };
        append(agent, origin, action, reservation, &entry, &shown)
            .map_err(|error| audit_unavailable(&error))?;
        signed.map_err(|mut failure| {
            failure.message = format!("the recovery key {}: {}", key.id_text, failure.message);
            failure
        })
    }

    /// The key of a name, as one that approves.
    fn recovery_key(&self, name: &str) -> Result<(Rc<Key>, Version), Failure> {
        let action = Action::Operation(OperationCode::Sign);
        if decide(&self.agent.policy, &self.origin.caller, action).is_none() {
            return Err(denied(action));
        }
        let key = self.agent.registry.borrow().key(name);
        let key = key.ok_or_else(|| not_found(name))?;
        let version = protecting(&key)?.clone();
        self.check_recovery(&key, &version)?;
        Ok((key, version))
    }

    /// The key that has a public part, as one that approves.
    pub(super) fn holder(&self, public: &CoseKey) -> Result<(Rc<Key>, Version), Failure> {
        let found = self.agent.registry.borrow().holder(public);
        let (key, version) = found.ok_or_else(|| {
            Failure::new(
                ErrorCode::NotFound,
                "the recovery key of this key is not one that keyward has: nothing can be approved",
            )
            .hint("keyward token rescan  # if a token has it")
        })?;
        self.check_recovery(&key, &version)?;
        Ok((key, version))
    }

    fn check_recovery(&self, key: &Key, version: &Version) -> Result<(), Failure> {
        destruction::refuse(self.agent, key, OperationCode::Sign)?;
        check_state(key, key.state, Use::Protect)?;
        if !matches!(version.state, KeyState::Active | KeyState::Deactivated) {
            return Err(Failure::new(
                ErrorCode::WrongState,
                format!("that version of the recovery key is {}", version.state),
            ));
        }
        let rsa = key.key_type.rsa_bits().is_some();
        let fits = key.purpose == Purpose::Sign
            && key.formats.contains(&Format::Raw)
            && (key.key_type == KeyType::P256 || rsa);
        if !fits {
            return Err(Failure::new(
                ErrorCode::Invalid,
                "a recovery key has the purpose sign, the format raw, and the type P-256 or RSA",
            )
            .hint("keyward key create NAME --purpose sign"));
        }
        if version.placements.iter().all(|place| place.bound.is_some()) {
            return Err(Failure::new(
                ErrorCode::Invalid,
                "the recovery key is bound to PCRs itself: it could not be used when it is needed",
            ));
        }
        Ok(())
    }
}

fn public(version: &Version) -> Result<&CoseKey, Failure> {
    version
        .public
        .as_ref()
        .ok_or_else(|| Failure::new(ErrorCode::Internal, "a recovery key without a public part"))
}

impl Wish {
    /// Whether a token has bound a key to what was asked for.
    pub(super) fn is(&self, bound: Option<&keyward_backend::pcr::BoundTo>) -> bool {
        let authority = self.recovery.as_ref().map(|(_, version)| &version.public);
        bound.is_some_and(|bound| {
            bound.pcrs == self.pcrs && Some(&bound.authority) == authority.or(Some(&None))
        })
    }

    /// The PCRs, for the log.
    pub(super) fn words(&self) -> String {
        let pcrs: Vec<_> = self.pcrs.iter().map(u8::to_string).collect();
        let recovery = match &self.recovery {
            Some((key, _)) => format!("recovery key {}", key.id_text),
            None if self.elsewhere => "another place is its recovery".to_owned(),
            None => "no recovery".to_owned(),
        };
        format!("bound to PCRs {}, {recovery}", pcrs.join(", "))
    }
}
