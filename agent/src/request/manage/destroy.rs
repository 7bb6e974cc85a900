//! `destroy`.

use keyward_backend::message::{Outcome, Work};
use keyward_protocol::operation::{Destroy, Done};
use keyward_protocol::{ErrorCode, Failure, KeyState};

use super::{intend, is_unknown, leave_open, mark, registry_failed, unexpected};
use crate::registry::Key;
use crate::request::{Entry, With};

impl With<'_> {
    pub(in crate::request) async fn destroy(
        &self,
        key: &Key,
        op: &Destroy,
        entry: &mut Entry,
    ) -> Result<Done, Failure> {
        let agent = self.agent;
        let origin = self.origin;
        let authorised = self.authorised;
        let deadline = self.deadline;
        if !op.now {
            return Err(Failure::new(
                ErrorCode::Unsupported,
                "this agent does not schedule destructions; it destroys at once or not at all",
            )
            .hint(format!("keyward key destroy {} --now", op.key)));
        }
        if key.state == KeyState::Destroyed {
            return Err(Failure::new(
                ErrorCode::WrongState,
                "the key is destroyed already",
            ));
        }
        let objects: Vec<_> = key
            .versions
            .iter()
            .flat_map(|version| version.placements.iter().map(|p| (version.id, &p.token)))
            .collect();
        for (_, token) in &objects {
            agent.token(Some(token))?.refuse_unless_ready()?;
        }
        entry.version = key.current().map(|version| version.id);
        entry.token = objects.last().map(|(_, token)| (*token).clone());
        let intent = intend(agent, origin, "destroy", entry).await?;
        for (nth, (version, token)) in objects.into_iter().enumerate() {
            let token = agent.token(Some(token))?;
            let done = token
                .call(authorised, Work::Destroy(version), deadline)
                .await;
            match done {
                Ok(Outcome::Done) => {}
                Ok(_) => return Err(leave_open(agent, intent, entry, unexpected(token))),
                // Nothing was destroyed, and the caller is told so: nothing may be later.
                Err(failure) if nth == 0 && !is_unknown(&failure) => return Err(failure),
                Err(failure) => return Err(leave_open(agent, intent, entry, failure)),
            }
        }
        let destroyed = agent.registry.borrow_mut().destroy(key.id);
        if let Err(error) = destroyed {
            return Err(leave_open(agent, intent, entry, registry_failed(&error)));
        }
        entry.registry = Some(mark(agent));
        Ok(Done {})
    }
}
