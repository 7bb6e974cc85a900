//! A plan made into rows, inside the caller's transaction.

use keyward_backend::pcr::BoundTo;
use keyward_protocol::backup::{BoundCopy, KeyCopy, PlacementCopy, TagCopy, VersionCopy};
use keyward_protocol::{KeyState, Thumbprint, cbor};
use rusqlite::{Connection, params};
use uuid::Uuid;

use super::plan::{Merge, Plan};
use crate::registry::error::RegistryError;
use crate::registry::seal_count;

pub(super) fn write(connection: &Connection, plan: &Plan, now: i64) -> Result<(), RegistryError> {
    for token in &plan.tokens {
        connection.execute(
            "INSERT INTO token (name, manufacturer, model, serial, pinned_at) VALUES (?1, ?2, ?3, ?4, ?5)",
            params![token.name, token.manufacturer, token.model, token.serial, now],
        )?;
    }
    for key in &plan.added {
        add(connection, key)?;
    }
    for merge in &plan.merged {
        complete(connection, merge)?;
    }
    for blob in &plan.blobs {
        connection.execute(
            "UPDATE placement SET blob = ?3 WHERE version = ?1 AND token = ?2",
            params![text(&blob.version), blob.token, blob.bytes.as_slice()],
        )?;
    }
    seals(connection, plan)
}

/// Has the uses of AES-GCM keys counted on.
pub(super) fn seals(connection: &Connection, plan: &Plan) -> Result<(), RegistryError> {
    for (version, reserved) in &plan.seals {
        seal_count::go_on_from(connection, *version, *reserved)?;
    }
    Ok(())
}

fn add(connection: &Connection, key: &KeyCopy) -> Result<(), RegistryError> {
    let id = text(&key.id);
    connection
        .prepare_cached(
            "INSERT INTO key (id, purpose, key_type, state, created, rotation_period)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?
        .execute(params![
            id,
            key.purpose.name(),
            key.key_type.name(),
            key.state.name(),
            key.created.cast_signed(),
            key.rotation_period.map(u64::cast_signed),
        ])?;
    let mut statement =
        connection.prepare_cached("INSERT INTO key_format (key, format) VALUES (?1, ?2)")?;
    for format in &key.formats {
        statement.execute(params![id, format.name()])?;
    }
    names(connection, &id, &key.aliases, &key.tags)?;
    for version in &key.versions {
        add_version(connection, &id, version)?;
    }
    Ok(())
}

fn complete(connection: &Connection, merge: &Merge) -> Result<(), RegistryError> {
    let id = merge.key.to_string();
    if let Some(state) = merge.state {
        set_state(
            connection,
            "UPDATE key SET state = ?2 WHERE id = ?1",
            merge.key,
            state,
        )?;
    }
    for (version, state) in &merge.states {
        let update = "UPDATE version SET state = ?2 WHERE id = ?1";
        set_state(connection, update, *version, *state)?;
    }
    names(connection, &id, &merge.aliases, &merge.tags)?;
    for version in &merge.versions {
        add_version(connection, &id, version)?;
    }
    for (version, place) in &merge.placements {
        add_placement(connection, &version.to_string(), place)?;
    }
    Ok(())
}

fn set_state(
    connection: &Connection,
    update: &str,
    id: Uuid,
    state: KeyState,
) -> Result<(), RegistryError> {
    connection.execute(update, params![id.to_string(), state.name()])?;
    Ok(())
}

fn names(
    connection: &Connection,
    key: &str,
    aliases: &[String],
    tags: &[TagCopy],
) -> Result<(), RegistryError> {
    let mut statement =
        connection.prepare_cached("INSERT INTO alias (name, key) VALUES (?1, ?2)")?;
    for alias in aliases {
        statement.execute(params![alias, key])?;
    }
    let mut statement =
        connection.prepare_cached("INSERT INTO tag (key, name, value) VALUES (?1, ?2, ?3)")?;
    for tag in tags {
        statement.execute(params![key, tag.name, tag.value])?;
    }
    Ok(())
}

fn add_version(
    connection: &Connection,
    key: &str,
    version: &VersionCopy,
) -> Result<(), RegistryError> {
    let id = text(&version.id);
    connection
        .prepare_cached(
            "INSERT INTO version (id, key, number, state, created, thumbprint, cose_key)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )?
        .execute(params![
            id,
            key,
            version.number,
            version.state.name(),
            version.created.cast_signed(),
            version
                .public
                .as_ref()
                .map(|p| Thumbprint::of(p).to_string()),
            version.public.as_ref().map(cbor::encode),
        ])?;
    for place in &version.placements {
        add_placement(connection, &id, place)?;
    }
    Ok(())
}

fn add_placement(
    connection: &Connection,
    version: &str,
    place: &PlacementCopy,
) -> Result<(), RegistryError> {
    connection
        .prepare_cached(
            "INSERT INTO placement
             (version, token, locator, local, always_sensitive, never_extractable, bound)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )?
        .execute(params![
            version,
            place.token,
            place.locator,
            place.local,
            place.always_sensitive,
            place.never_extractable,
            place
                .bound
                .as_ref()
                .map(|bound| cbor::encode(&bound_to(bound))),
        ])?;
    Ok(())
}

/// As the registry keeps it.
fn bound_to(bound: &BoundCopy) -> BoundTo {
    BoundTo {
        pcrs: bound.pcrs.clone(),
        authority: bound.authority.clone(),
    }
}

fn text(id: &[u8; 16]) -> String {
    Uuid::from_bytes(*id).to_string()
}
