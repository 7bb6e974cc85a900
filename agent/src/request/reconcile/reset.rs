//! What a reset of a card has taken from it, where nobody heard whether it was done.

use keyward_backend::VersionId;
use keyward_backend::message::{Outcome as Found, Work};
use keyward_protocol::ErrorCode;
use uuid::Uuid;

use super::{Enroller, UNKNOWN};
use crate::audit::Outcome;
use crate::registry::{RegistryError, Version};
use crate::worker::Token;

impl Enroller {
    /// Enters what a reset of a card, whose outcome was not known, has taken from it: nothing that is
    /// there. `None` if the card could not be asked.
    pub(super) async fn lose_rest(
        &self,
        token: &Token,
        id: Uuid,
        newest: VersionId,
    ) -> Option<(Outcome, &'static str)> {
        let Some(key) = self.0.registry.borrow().key(&id.to_string()) else {
            return Some(UNKNOWN);
        };
        let Some(newest) = key.versions.iter().find(|version| version.id == newest) else {
            return Some(UNKNOWN);
        };
        let on_token =
            |version: &&Version| version.placements.iter().any(|p| p.token == token.name());
        for version in key.versions.iter().filter(on_token) {
            match token.ask(&Work::Inspect(version.id)).await {
                Some(Found::Key(None)) => {}
                Some(Found::Key(Some(_))) => {
                    let failed = Outcome::Failed(ErrorCode::TokenFailed);
                    return Some((failed, "undone: the card was not reset, and has the key"));
                }
                _ => return None,
            }
        }
        let mut registry = self.0.registry.borrow_mut();
        match registry.destroy_on(key.id, &[token.name()], newest.number) {
            Ok(_) | Err(RegistryError::Destroyed(_)) => Some((
                Outcome::Ok,
                "finished: the card was reset, and has the key no more",
            )),
            Err(error) => {
                tracing::error!(%error, "the registry can't be changed");
                None
            }
        }
    }
}
