//! Keys whose destruction was begun and has not ended: nobody uses them meanwhile.

use keyward_protocol::operation::OperationCode;
use keyward_protocol::{ErrorCode, Failure, KeyState};
use uuid::Uuid;

use crate::agent::Agent;
use crate::registry::Key;

/// A key that is being destroyed by a request.
pub(super) struct Destroying<'a> {
    agent: &'a Agent,
    key: Uuid,
}

impl<'a> Destroying<'a> {
    /// Takes a key out of use. Who destroys it has hold of it already, so there is one at a time.
    pub(super) fn begin(agent: &'a Agent, key: Uuid) -> Self {
        agent.destroying.borrow_mut().insert(key);
        Self { agent, key }
    }
}

impl Drop for Destroying<'_> {
    fn drop(&mut self) {
        self.agent.destroying.borrow_mut().remove(&self.key);
    }
}

/// What is said of a key whose destruction was begun and has not ended.
pub(super) fn of(agent: &Agent, key: &Key) -> Option<String> {
    if key.state == KeyState::Destroyed {
        return None;
    }
    if agent.destroying.borrow().contains(&key.id) {
        return Some("it is being destroyed".into());
    }
    let intents = agent.open_intents.borrow();
    let mut waits: Vec<&str> = intents
        .iter()
        .filter(|intent| intent.op == "destroy" && intent.key == Some(key.id))
        .map(|intent| intent.token.as_deref().unwrap_or("the registry"))
        .collect();
    waits.sort_unstable();
    waits.dedup();
    (!waits.is_empty()).then(|| {
        format!(
            "it was begun and has not ended; it waits for {}",
            waits.join(", ")
        )
    })
}

/// Refuses what would use such a key, or let it grow.
pub(super) fn refuse(agent: &Agent, key: &Key, code: OperationCode) -> Result<(), Failure> {
    let refused = match code {
        OperationCode::Sign
        | OperationCode::Unwrap
        | OperationCode::Ecdh
        | OperationCode::Encrypt
        | OperationCode::Decrypt
        | OperationCode::GenerateDataKey
        | OperationCode::ReEncrypt
        | OperationCode::HpkeOpen
        | OperationCode::Wrap
        | OperationCode::Mac
        | OperationCode::VerifyMac
        | OperationCode::RequestCertificate
        | OperationCode::Import
        | OperationCode::Rotate
        | OperationCode::Reseal
        | OperationCode::Enable => of(agent, key),
        // It goes on being described, its public part goes on verifying, and it can be destroyed.
        _ => None,
    };
    let Some(destruction) = refused else {
        return Ok(());
    };
    let name = &key.id_text;
    Err(Failure::new(
        ErrorCode::WrongState,
        format!("the key is out of use, since its destruction was asked for: {destruction}"),
    )
    .hint(format!("keyward key show {name}")))
}
