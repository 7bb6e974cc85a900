//! The registry as a copy of it has it, and a copy taken over again.
//!
//! What comes back never makes anything less strict: what the registry says of a key that it has
//! stands, unless the copy says more. What the registry does not have comes in suspended, and only a
//! key that is out of use gets versions and places. Names stay with who has them, and tokens with what they are
//! pinned to.

mod check;
mod plan;
mod write;

use std::collections::HashMap;

use keyward_backend::TokenIdentity;
use keyward_protocol::backup::{
    BlobCopy, BoundCopy, KeyCopy, PlacementCopy, TagCopy, TokenCopy, VersionCopy,
};

use super::error::{Invalid, RegistryError};
use super::key::{Key, Placement, Version};
use super::{Registry, now, seal_count};

pub use plan::Plan;

impl Registry {
    /// What tokens are pinned to, and all keys.
    ///
    /// # Errors
    /// The registry can't be read.
    pub fn copy(&self) -> Result<(Vec<TokenCopy>, Vec<KeyCopy>), RegistryError> {
        let seals = seal_count::all(&self.connection)?;
        let tokens = self
            .tokens
            .iter()
            .map(|(name, identity)| token(name, identity));
        let keys = self.keys.values().map(|of| key(of, &seals));
        Ok((tokens.collect(), keys.collect()))
    }

    /// The keys' own files.
    #[must_use]
    pub fn blobs(&self) -> Vec<BlobCopy> {
        let mut blobs = Vec::new();
        for version in self.keys.values().flat_map(|key| &key.versions) {
            for place in &version.placements {
                if let Some(bytes) = &place.blob {
                    blobs.push(BlobCopy {
                        version: version.id.uuid().into_bytes().into(),
                        token: place.token.clone(),
                        bytes: bytes.clone().into(),
                    });
                }
            }
        }
        blobs
    }

    /// What taking a copy over would come to.
    ///
    /// # Errors
    /// The copy holds what no registry can.
    pub fn plan(&self, tokens: &[TokenCopy], keys: &[KeyCopy]) -> Result<Plan, Invalid> {
        check::check(tokens, keys)?;
        Ok(plan::plan(self, tokens, keys))
    }

    /// Takes a copy over, all of it or nothing.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn restore(&mut self, plan: &Plan) -> Result<(), RegistryError> {
        if plan.is_empty() {
            // Counting on from more is no change.
            return write::seals(&self.connection, plan);
        }
        self.change(|transaction| write::write(transaction, plan, now()))?;
        for token in &plan.tokens {
            self.tokens.insert(token.name.clone(), identity(token));
        }
        for id in plan.keys() {
            self.reload(id)?;
        }
        Ok(())
    }
}

fn token(name: &str, identity: &TokenIdentity) -> TokenCopy {
    TokenCopy {
        name: name.to_owned(),
        manufacturer: identity.manufacturer.clone(),
        model: identity.model.clone(),
        serial: identity.serial.clone(),
    }
}

fn identity(token: &TokenCopy) -> TokenIdentity {
    TokenIdentity {
        manufacturer: token.manufacturer.clone(),
        model: token.model.clone(),
        serial: token.serial.clone(),
    }
}

fn key(key: &Key, seals: &HashMap<String, u64>) -> KeyCopy {
    let tags = key.tags.iter().map(|(name, value)| TagCopy {
        name: name.clone(),
        value: value.clone(),
    });
    KeyCopy {
        id: key.id.into_bytes().into(),
        purpose: key.purpose,
        key_type: key.key_type,
        state: key.state,
        formats: key.formats.clone(),
        aliases: key.aliases.clone(),
        tags: tags.collect(),
        created: key.created,
        rotation_period: key.rotation_period,
        versions: key.versions.iter().map(|of| version(of, seals)).collect(),
    }
}

fn version(version: &Version, seals: &HashMap<String, u64>) -> VersionCopy {
    VersionCopy {
        id: version.id.uuid().into_bytes().into(),
        number: version.number,
        state: version.state,
        created: version.created,
        public: version.public.clone(),
        placements: version.placements.iter().map(placement).collect(),
        seals: seals.get(&version.id.to_string()).copied(),
    }
}

fn placement(placement: &Placement) -> PlacementCopy {
    PlacementCopy {
        token: placement.token.clone(),
        locator: placement.locator.clone(),
        local: placement.local,
        always_sensitive: placement.always_sensitive,
        never_extractable: placement.never_extractable,
        bound: placement.bound.as_ref().map(|bound| BoundCopy {
            pcrs: bound.pcrs.clone(),
            authority: bound.authority.clone(),
        }),
    }
}
