//! `enable`, `disable` and `mark-compromised` (SP 800-57 Part 1 §7).

use keyward_protocol::operation::KeyDescription;
use keyward_protocol::{ErrorCode, Failure, KeyState};

use super::{intend, mark, registry_failed};
use crate::registry::Key;
use crate::request::{Entry, With, read};

impl With<'_> {
    /// Lets a key be used that is suspended or was never active.
    pub(in crate::request) async fn enable(
        &self,
        key: &Key,
        entry: &mut Entry,
    ) -> Result<KeyDescription, Failure> {
        let from = [KeyState::Suspended, KeyState::PreActivation];
        self.change_state(key, "enable", &from, KeyState::Active, entry)
            .await
    }

    /// Suspends a key.
    pub(in crate::request) async fn disable(
        &self,
        key: &Key,
        entry: &mut Entry,
    ) -> Result<KeyDescription, Failure> {
        let from = [KeyState::Active];
        self.change_state(key, "disable", &from, KeyState::Suspended, entry)
            .await
    }

    /// Says that somebody else may have the key.
    pub(in crate::request) async fn mark_compromised(
        &self,
        key: &Key,
        entry: &mut Entry,
    ) -> Result<KeyDescription, Failure> {
        let from = [
            KeyState::PreActivation,
            KeyState::Active,
            KeyState::Suspended,
            KeyState::Deactivated,
        ];
        let op = "mark-compromised";
        self.change_state(key, op, &from, KeyState::Compromised, entry)
            .await
    }

    async fn change_state(
        &self,
        key: &Key,
        op: &'static str,
        from: &[KeyState],
        to: KeyState,
        entry: &mut Entry,
    ) -> Result<KeyDescription, Failure> {
        // It is so already: whoever asked twice has what it wanted.
        if key.state == to {
            return Ok(read::describe(self.agent, key));
        }
        check_transition(key, op, from)?;
        entry.version = key.current().map(|version| version.id);
        entry.detail = Some(format!("{} to {to}", key.state));
        intend(self.agent, self.origin, op, entry).await?;
        let mut registry = self.agent.registry.borrow_mut();
        // It may have changed while the intent was written.
        let now = registry.key(&key.id_text);
        let now = now.ok_or_else(|| Failure::new(ErrorCode::Internal, "the key is gone"))?;
        if now.state != to {
            check_transition(&now, op, from)?;
        }
        let changed = registry
            .set_state(key.id, to)
            .map_err(|error| registry_failed(&error))?;
        drop(registry);
        entry.registry = Some(mark(self.agent));
        Ok(read::describe(self.agent, &changed))
    }
}

fn check_transition(key: &Key, op: &str, from: &[KeyState]) -> Result<(), Failure> {
    if from.contains(&key.state) {
        return Ok(());
    }
    let names: Vec<_> = from.iter().map(|state| state.name()).collect();
    Err(Failure::new(
        ErrorCode::WrongState,
        format!(
            "the key is {}; {op} is for one that is {}",
            key.state,
            names.join(" or ")
        ),
    )
    .hint(format!("keyward key show {}", key.id_text)))
}
