//! Operations that read what there is.

use keyward_backend::pcr::BoundTo;
use keyward_protocol::operation::{
    BoundDescription, Done, GetPublicKey, Holding, KeyDescription, KeyList, KeySummary, List,
    PlacementDescription, PublicKey, StatusReport, TokenStatus, VersionDescription,
};
use keyward_protocol::{ErrorCode, Failure, KeyState, Thumbprint};
use uuid::Uuid;

use super::usage::numbered;
use super::{Entry, Origin, destruction};
use crate::agent::{Agent, SOFTWARE};
use crate::registry::Key;
use crate::worker::Token;

/// How many keys a page has: each takes 2 KiB at the very most.
const PAGE: usize = 24;

pub(super) fn public_key(
    key: &Key,
    op: &GetPublicKey,
    entry: &mut Entry,
) -> Result<PublicKey, Failure> {
    let version = numbered(key, op.version)?;
    entry.version = Some(version.id);
    let (Some(public), Some(thumbprint)) = (&version.public, version.thumbprint) else {
        return Err(Failure::new(
            ErrorCode::WrongPurpose,
            format!(
                "a key of type {} is secret; it has no public part",
                key.key_type
            ),
        ));
    };
    Ok(PublicKey {
        cose_key: public.clone(),
        spki: version.spki.clone().into(),
        thumbprint,
        key: key.id_text.clone(),
        version: version.number,
    })
}

pub(super) fn list(agent: &Agent, op: &List) -> Result<KeyList, Failure> {
    let after = match &op.after {
        None => None,
        Some(text) => Some(Uuid::try_parse(text).map_err(|_| {
            Failure::new(ErrorCode::Invalid, "the place to go on from is no key's id")
        })?),
    };
    let registry = agent.registry.borrow();
    let mut keys = registry.page(after, PAGE.saturating_add(1));
    let more = keys.len() > PAGE;
    keys.truncate(PAGE);
    let next = keys.last().filter(|_| more).map(|key| key.id_text.clone());
    Ok(KeyList {
        keys: keys.iter().map(|key| summary(key)).collect(),
        next,
    })
}

/// Tells the connection what happens from now on.
pub(super) fn subscribe(agent: &Agent, origin: &Origin) -> Result<Done, Failure> {
    if !origin.events_agreed.get() {
        return Err(Failure::new(
            ErrorCode::Unsupported,
            "the hello of this connection does not name the feature events",
        ));
    }
    if origin.inbox.get().is_none() {
        let inbox = agent.events.subscribe(&origin.caller)?;
        // Nothing was awaited since it was looked at.
        let _ = origin.inbox.set(inbox);
    }
    Ok(Done {})
}

fn summary(key: &Key) -> KeySummary {
    let placements = key.current().map(|version| &version.placements);
    let tokens = placements.into_iter().flatten().map(|p| p.token.clone());
    KeySummary {
        id: key.id_text.clone(),
        // A page must fit into a frame: a key with very many names shows the first ones here.
        aliases: key.aliases.iter().take(4).cloned().collect(),
        purpose: key.purpose,
        key_type: key.key_type,
        state: key.state,
        tokens: tokens.collect(),
    }
}

pub(super) fn describe(agent: &Agent, key: &Key) -> KeyDescription {
    let versions = key.versions.iter().map(|version| VersionDescription {
        version: version.number,
        state: version.state,
        created: version.created,
        thumbprint: version.thumbprint,
        id: version.id.to_string(),
        placements: version
            .placements
            .iter()
            .map(|placement| PlacementDescription {
                token: placement.token.clone(),
                locator: placement.locator.clone(),
                local: placement.local,
                always_sensitive: placement.always_sensitive,
                never_extractable: placement.never_extractable,
                bound: placement.bound.as_ref().map(|bound| bound_to(agent, bound)),
            })
            .collect(),
    });
    KeyDescription {
        id: key.id_text.clone(),
        aliases: key.aliases.clone(),
        purpose: key.purpose,
        key_type: key.key_type,
        state: key.state,
        algorithms: if key.state == KeyState::Destroyed {
            Vec::new()
        } else {
            key.purpose.algorithms(key.key_type).to_vec()
        },
        formats: key.formats.clone(),
        tags: key.tags.clone(),
        created: key.created,
        versions: versions.collect(),
        destruction: destruction::of(agent, key),
    }
}

fn bound_to(agent: &Agent, bound: &BoundTo) -> BoundDescription {
    let authority = bound.authority.as_ref();
    let registry = agent.registry.borrow();
    let holder = authority.and_then(|public| registry.holder(public));
    BoundDescription {
        pcrs: bound.pcrs.clone(),
        recovery: authority.map(Thumbprint::of),
        recovery_key: holder.map(|(key, _)| key.id_text.clone()),
    }
}

pub(super) async fn status(agent: &Agent) -> StatusReport {
    for token in agent.tokens.values() {
        token.look_at_lockout().await;
    }
    let mut protections = agent.protections.clone();
    for token in agent.tokens.values() {
        let report = token.report();
        for protection in report.iter().flat_map(|report| &report.protections) {
            protections.push(Holding {
                name: format!("worker {} {}", token.name(), protection.name),
                holds: protection.holds,
                detail: protection.detail.clone(),
            });
        }
    }
    StatusReport {
        software: SOFTWARE.into(),
        mode: agent.mode().into(),
        started: agent.started,
        tokens: agent
            .tokens
            .values()
            .map(|t| token_status(agent, t))
            .collect(),
        protections,
        keys: agent.registry.borrow().count() as u64,
        audit_records: agent.audit.root().0,
        management_refused: agent.management_refused.borrow().clone(),
        connections: agent.connections.get() as u64,
    }
}

fn token_status(agent: &Agent, token: &Token) -> TokenStatus {
    let (login, problem) = token.login_state();
    let registry = agent.registry.borrow();
    let pinned = registry.token_identity(token.name());
    TokenStatus {
        name: token.name().into(),
        kind: token.kind().into(),
        login,
        identity: pinned.map(|identity| identity.to_string()),
        problem,
        pending: token.pending() as u64,
        restarts: token.restarts(),
        worker_pid: token.worker_pid(),
        lockout_seconds: token.report().and_then(|report| report.lockout_seconds),
    }
}
