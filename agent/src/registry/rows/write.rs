//! Changes of rows, each inside the caller's transaction.

use keyward_backend::TokenIdentity;
use keyward_protocol::{KeyState, Thumbprint, cbor};
use rusqlite::{Connection, ErrorCode, params};
use uuid::Uuid;

use crate::registry::error::RegistryError;
use crate::registry::key::NewKey;

/// Counts the generation up.
pub(in crate::registry) fn count_up(connection: &Connection) -> Result<(), RegistryError> {
    connection.execute("UPDATE meta SET generation = generation + 1", ())?;
    Ok(())
}

/// Enters a key and its first version.
pub(in crate::registry) fn insert(
    connection: &Connection,
    new: &NewKey,
    created: i64,
) -> Result<(), RegistryError> {
    let key = new.id.to_string();
    let version = new.version.to_string();
    let taken = |id: Uuid| {
        move |error: rusqlite::Error| match error.sqlite_error_code() {
            Some(ErrorCode::ConstraintViolation) => RegistryError::IdTaken(id),
            _ => error.into(),
        }
    };
    connection
        .prepare_cached(
            "INSERT INTO key (id, purpose, key_type, state, created) VALUES (?1, ?2, ?3, ?4, ?5)",
        )?
        .execute(params![
            key,
            new.purpose.name(),
            new.key_type.name(),
            new.state.name(),
            created
        ])
        .map_err(taken(new.id))?;
    let mut statement =
        connection.prepare_cached("INSERT INTO key_format (key, format) VALUES (?1, ?2)")?;
    for format in &new.formats {
        statement.execute(params![key, format.name()])?;
    }
    let mut statement =
        connection.prepare_cached("INSERT INTO alias (name, key) VALUES (?1, ?2)")?;
    for alias in &new.aliases {
        statement.execute(params![alias, key]).map_err(|error| {
            match error.sqlite_error_code() {
                Some(ErrorCode::ConstraintViolation) => RegistryError::AliasTaken(alias.clone()),
                _ => error.into(),
            }
        })?;
    }
    let mut statement =
        connection.prepare_cached("INSERT INTO tag (key, name, value) VALUES (?1, ?2, ?3)")?;
    for (name, value) in &new.tags {
        statement.execute(params![key, name, value])?;
    }
    connection
        .prepare_cached(
            "INSERT INTO version (id, key, number, state, created, thumbprint, cose_key)
             VALUES (?1, ?2, 1, ?3, ?4, ?5, ?6)",
        )?
        .execute(params![
            version,
            key,
            KeyState::Active.name(),
            created,
            new.public.as_ref().map(|p| Thumbprint::of(p).to_string()),
            new.public.as_ref().map(cbor::encode),
        ])
        .map_err(taken(new.version.uuid()))?;
    let mut statement = connection.prepare_cached(
        "INSERT INTO placement (version, token, locator, local, always_sensitive, never_extractable)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?;
    for place in &new.placements {
        statement.execute(params![
            version,
            place.token,
            place.locator,
            place.local,
            place.always_sensitive,
            place.never_extractable,
        ])?;
    }
    Ok(())
}

/// Destroys a key and its versions, and frees its names.
pub(in crate::registry) fn destroy(connection: &Connection, id: Uuid) -> Result<(), RegistryError> {
    let (key, destroyed) = (id.to_string(), KeyState::Destroyed.name());
    connection.execute(
        "UPDATE key SET state = ?2 WHERE id = ?1",
        params![key, destroyed],
    )?;
    connection.execute(
        "UPDATE version SET state = ?2 WHERE key = ?1",
        params![key, destroyed],
    )?;
    connection.execute("DELETE FROM alias WHERE key = ?1", params![key])?;
    connection.execute(
        "DELETE FROM placement WHERE version IN (SELECT id FROM version WHERE key = ?1)",
        params![key],
    )?;
    Ok(())
}

/// Changes the state of a key.
pub(in crate::registry) fn set_state(
    connection: &Connection,
    id: Uuid,
    state: KeyState,
) -> Result<(), RegistryError> {
    connection.execute(
        "UPDATE key SET state = ?2 WHERE id = ?1",
        params![id.to_string(), state.name()],
    )?;
    Ok(())
}

/// Pins a token's name.
pub(in crate::registry) fn pin_token(
    connection: &Connection,
    name: &str,
    identity: &TokenIdentity,
    at: i64,
) -> Result<(), RegistryError> {
    connection.execute(
        "INSERT INTO token (name, manufacturer, model, serial, pinned_at) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT (name) DO UPDATE SET manufacturer = ?2, model = ?3, serial = ?4, pinned_at = ?5",
        params![name, identity.manufacturer, identity.model, identity.serial, at],
    )?;
    Ok(())
}
