//! `activate-credential`.

use std::rc::Rc;

use keyward_backend::message::{Activate, Outcome, Work};
use keyward_protocol::attestation::Document;
use keyward_protocol::attestation::enrolment::Challenge;
use keyward_protocol::operation::{ActivateCredential, ActivatedCredential};
use keyward_protocol::{ErrorCode, Failure};
use sha2::{Digest, Sha256};

use super::intend;
use crate::request::usage::misbehaved;
use crate::request::{Entry, With};

/// The most that a digest has which a TPM gives out.
const MOST_SECRET: usize = 64;

impl With<'_> {
    pub(in crate::request) async fn activate_credential(
        &self,
        op: &ActivateCredential,
        entry: &mut Entry,
    ) -> Result<ActivatedCredential, Failure> {
        let agent = self.agent;
        let token = agent.token(op.token.as_deref())?;
        entry.token = Some(token.name().to_owned());
        entry.digest = Some(Sha256::digest(&*op.challenge).into());
        let challenge = Challenge::from_document(&op.challenge)
            .map_err(|error| Failure::new(ErrorCode::Invalid, format!("the challenge: {error}")))?;
        token.refuse_unless_found()?;
        intend(agent, self.origin, "activate-credential", entry).await?;
        let work = Rc::new(Work::Activate(Activate {
            credential: challenge.credential,
            secret: challenge.secret,
        }));
        match token.call(self.authorised, work, self.deadline).await {
            Ok(Outcome::Secret(secret)) if secret.len() <= MOST_SECRET => {
                Ok(ActivatedCredential { secret })
            }
            Ok(_) => Err(misbehaved(token)),
            Err(failure) if failure.code == ErrorCode::UnwrapFailed => Err(Failure::new(
                ErrorCode::UnwrapFailed,
                format!(
                    "the challenge is not for token {} and its attestation key",
                    token.name()
                ),
            )),
            Err(failure) => Err(failure),
        }
    }
}
