//! Changes of rows, each inside the caller's transaction.

use std::collections::BTreeMap;

use keyward_backend::{TokenIdentity, VersionId};
use keyward_protocol::{Format, KeyState, KeyType, Purpose, Thumbprint, cbor};
use rusqlite::{Connection, ErrorCode, params};
use uuid::Uuid;

use crate::registry::error::RegistryError;
use crate::registry::key::{NewKey, NewVersion, Placement};

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
    let head = KeyRow {
        id: new.id,
        purpose: new.purpose,
        key_type: new.key_type,
        state: new.state,
        formats: &new.formats,
    };
    insert_key(connection, &head, created)?;
    for alias in &new.aliases {
        add_alias(connection, new.id, alias)?;
    }
    set_tags(connection, new.id, &new.tags)?;
    let version = NewVersion {
        id: new.version,
        public: new.public.clone(),
        placements: new.placements.clone(),
    };
    add_version(connection, new.id, 1, &version, created)
}

/// The row of a key, and its formats.
pub(in crate::registry) struct KeyRow<'a> {
    pub(in crate::registry) id: Uuid,
    pub(in crate::registry) purpose: Purpose,
    pub(in crate::registry) key_type: KeyType,
    pub(in crate::registry) state: KeyState,
    pub(in crate::registry) formats: &'a [Format],
}

/// Enters a key without names and versions.
pub(in crate::registry) fn insert_key(
    connection: &Connection,
    row: &KeyRow<'_>,
    created: i64,
) -> Result<(), RegistryError> {
    let key = row.id.to_string();
    connection
        .prepare_cached(
            "INSERT INTO key (id, purpose, key_type, state, created) VALUES (?1, ?2, ?3, ?4, ?5)",
        )?
        .execute(params![
            key,
            row.purpose.name(),
            row.key_type.name(),
            row.state.name(),
            created
        ])
        .map_err(taken(row.id))?;
    let mut statement =
        connection.prepare_cached("INSERT INTO key_format (key, format) VALUES (?1, ?2)")?;
    for format in row.formats {
        statement.execute(params![key, format.name()])?;
    }
    Ok(())
}

/// Enters a version, active, with its placements.
pub(in crate::registry) fn add_version(
    connection: &Connection,
    key: Uuid,
    number: u32,
    version: &NewVersion,
    created: i64,
) -> Result<(), RegistryError> {
    connection
        .prepare_cached(
            "INSERT INTO version (id, key, number, state, created, thumbprint, cose_key)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )?
        .execute(params![
            version.id.to_string(),
            key.to_string(),
            number,
            KeyState::Active.name(),
            created,
            version
                .public
                .as_ref()
                .map(|p| Thumbprint::of(p).to_string()),
            version.public.as_ref().map(cbor::encode),
        ])
        .map_err(taken(version.id.uuid()))?;
    add_placements(connection, version.id, &version.placements)
}

/// Enters where a version lives too.
pub(in crate::registry) fn add_placements(
    connection: &Connection,
    version: VersionId,
    placements: &[Placement],
) -> Result<(), RegistryError> {
    let mut statement = connection.prepare_cached(
        "INSERT INTO placement
             (version, token, locator, local, always_sensitive, never_extractable, blob, bound)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    )?;
    for place in placements {
        statement
            .execute(params![
                version.to_string(),
                place.token,
                place.locator,
                place.local,
                place.always_sensitive,
                place.never_extractable,
                place.blob,
                place.bound.as_ref().map(cbor::encode),
            ])
            .map_err(taken(version.uuid()))?;
    }
    Ok(())
}

/// Enters the file of a key that its token has written anew.
pub(in crate::registry) fn replace_blob(
    connection: &Connection,
    version: VersionId,
    place: &Placement,
) -> Result<(), RegistryError> {
    connection.execute(
        "UPDATE placement SET blob = ?3 WHERE version = ?1 AND token = ?2",
        params![version.to_string(), place.token, place.blob],
    )?;
    Ok(())
}

fn taken(id: Uuid) -> impl FnOnce(rusqlite::Error) -> RegistryError {
    move |error| match error.sqlite_error_code() {
        Some(ErrorCode::ConstraintViolation) => RegistryError::IdTaken(id),
        _ => error.into(),
    }
}

/// Gives a key a name.
pub(in crate::registry) fn add_alias(
    connection: &Connection,
    key: Uuid,
    alias: &str,
) -> Result<(), RegistryError> {
    connection
        .prepare_cached("INSERT INTO alias (name, key) VALUES (?1, ?2)")?
        .execute(params![alias, key.to_string()])
        .map_err(|error| match error.sqlite_error_code() {
            Some(ErrorCode::ConstraintViolation) => RegistryError::AliasTaken(alias.to_owned()),
            _ => error.into(),
        })?;
    Ok(())
}

/// Takes a name from a key.
pub(in crate::registry) fn remove_alias(
    connection: &Connection,
    key: Uuid,
    alias: &str,
) -> Result<(), RegistryError> {
    connection.execute(
        "DELETE FROM alias WHERE name = ?1 AND key = ?2",
        params![alias, key.to_string()],
    )?;
    Ok(())
}

/// Gives a key these tags instead of those that it has.
pub(in crate::registry) fn set_tags(
    connection: &Connection,
    key: Uuid,
    tags: &BTreeMap<String, String>,
) -> Result<(), RegistryError> {
    let key = key.to_string();
    connection.execute("DELETE FROM tag WHERE key = ?1", params![key])?;
    let mut statement =
        connection.prepare_cached("INSERT INTO tag (key, name, value) VALUES (?1, ?2, ?3)")?;
    for (name, value) in tags {
        statement.execute(params![key, name, value])?;
    }
    Ok(())
}

/// Says that active versions of a key make nothing new any more.
pub(in crate::registry) fn deactivate_versions(
    connection: &Connection,
    key: Uuid,
) -> Result<(), RegistryError> {
    connection.execute(
        "UPDATE version SET state = ?3 WHERE key = ?1 AND state = ?2",
        params![
            key.to_string(),
            KeyState::Active.name(),
            KeyState::Deactivated.name()
        ],
    )?;
    Ok(())
}

/// Makes the newest version the active one, and the others deactivated; a version that is neither
/// stays what it is.
pub(in crate::registry) fn activate_newest(
    connection: &Connection,
    key: Uuid,
) -> Result<(), RegistryError> {
    connection.execute(
        "UPDATE version SET state = CASE
             WHEN number = (SELECT max(number) FROM version WHERE key = ?1) THEN ?2 ELSE ?3 END
         WHERE key = ?1 AND state IN (?2, ?3)",
        params![
            key.to_string(),
            KeyState::Active.name(),
            KeyState::Deactivated.name()
        ],
    )?;
    Ok(())
}

/// Changes the state of all versions of a key.
pub(in crate::registry) fn set_version_states(
    connection: &Connection,
    key: Uuid,
    state: KeyState,
) -> Result<(), RegistryError> {
    connection.execute(
        "UPDATE version SET state = ?2 WHERE key = ?1",
        params![key.to_string(), state.name()],
    )?;
    Ok(())
}

/// Destroys a key and its versions, and frees its names.
pub(in crate::registry) fn destroy(connection: &Connection, id: Uuid) -> Result<(), RegistryError> {
    let (key, destroyed) = (id.to_string(), KeyState::Destroyed.name());
    connection.execute(
        "UPDATE key SET state = ?2 WHERE id = ?1",
        params![key, destroyed],
    )?;
    set_version_states(connection, id, KeyState::Destroyed)?;
    connection.execute("DELETE FROM alias WHERE key = ?1", params![key])?;
    connection.execute(
        "DELETE FROM placement WHERE version IN (SELECT id FROM version WHERE key = ?1)",
        params![key],
    )?;
    Ok(())
}

/// Takes the versions of a key up to a number from tokens; those that are on none are destroyed.
pub(in crate::registry) fn destroy_on(
    connection: &Connection,
    id: Uuid,
    tokens: &[&str],
    newest: u32,
) -> Result<(), RegistryError> {
    let key = id.to_string();
    for token in tokens {
        connection.execute(
            "DELETE FROM placement WHERE token = ?2 AND version IN
                 (SELECT id FROM version WHERE key = ?1 AND number <= ?3)",
            params![key, token, newest],
        )?;
    }
    connection.execute(
        "UPDATE version SET state = ?3 WHERE key = ?1 AND number <= ?2
             AND NOT EXISTS (SELECT 1 FROM placement WHERE placement.version = version.id)",
        params![key, newest, KeyState::Destroyed.name()],
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
