//! Rows made into keys; what can't be is damage.

use std::collections::BTreeMap;

use keyward_backend::{TokenIdentity, VersionId};
use keyward_protocol::{CoseKey, Format, KeyState, KeyType, Purpose, Thumbprint, cbor};
use rusqlite::{Connection, OptionalExtension as _, Row};
use uuid::Uuid;

use crate::registry::error::RegistryError;
use crate::registry::key::{Key, Placement, Version};

/// The ids of all keys.
pub(in crate::registry) fn key_ids(connection: &Connection) -> Result<Vec<Uuid>, RegistryError> {
    let ids: Vec<String> = all(connection, "SELECT id FROM key", None, |row| row.get(0))?;
    ids.iter().map(|id| uuid(id)).collect()
}

/// The pinned tokens.
pub(in crate::registry) fn tokens(
    connection: &Connection,
) -> Result<BTreeMap<String, TokenIdentity>, RegistryError> {
    let select = "SELECT name, manufacturer, model, serial FROM token";
    let tokens = all(connection, select, None, |row| {
        let identity = TokenIdentity {
            manufacturer: row.get(1)?,
            model: row.get(2)?,
            serial: row.get(3)?,
        };
        Ok((row.get(0)?, identity))
    })?;
    Ok(tokens.into_iter().collect())
}

/// A key with all that belongs to it.
pub(in crate::registry) fn key(connection: &Connection, id: Uuid) -> Result<Key, RegistryError> {
    let id_text = id.to_string();
    let (purpose, key_type, state, created, rotation): (String, String, String, i64, Option<i64>) =
        connection
            .prepare_cached(
                "SELECT purpose, key_type, state, created, rotation_period FROM key WHERE id = ?1",
            )?
            .query_row([&id_text], |row| row.try_into())
            .optional()?
            .ok_or(RegistryError::NotFound(id))?;
    let key_type = known(KeyType::from_name, &key_type)?;
    let texts = |select| {
        all(connection, select, Some(&id_text), |row| {
            row.get::<_, String>(0)
        })
    };
    let formats = texts("SELECT format FROM key_format WHERE key = ?1")?;
    let mut formats = formats
        .iter()
        .map(|format| known(Format::from_name, format))
        .collect::<Result<Vec<_>, _>>()?;
    formats.sort_unstable();
    let tags = all(
        connection,
        "SELECT name, value FROM tag WHERE key = ?1",
        Some(&id_text),
        |row| row.try_into(),
    )?;
    Ok(Key {
        id,
        purpose: known(Purpose::from_name, &purpose)?,
        key_type,
        state: known(KeyState::from_name, &state)?,
        formats,
        aliases: texts("SELECT name FROM alias WHERE key = ?1 ORDER BY name")?,
        tags: tags.into_iter().collect(),
        created: created.unsigned_abs(),
        rotation_period: rotation.map(i64::unsigned_abs),
        versions: versions(connection, &id_text, key_type)?,
        id_text,
    })
}

fn versions(
    connection: &Connection,
    key: &str,
    key_type: KeyType,
) -> Result<Vec<Version>, RegistryError> {
    type Columns = (String, u32, String, i64, Option<String>, Option<Vec<u8>>);
    let select = "SELECT id, number, state, created, thumbprint, cose_key
                  FROM version WHERE key = ?1 ORDER BY number";
    let rows: Vec<Columns> = all(connection, select, Some(key), |row| row.try_into())?;
    rows.into_iter()
        .map(|(id, number, state, created, thumbprint, cose_key)| {
            let damaged = |what: String| RegistryError::Damaged(format!("version {id}: {what}"));
            let public = cose_key
                .map(|bytes| public(&bytes, thumbprint.as_deref(), key_type))
                .transpose()
                .map_err(damaged)?;
            if public.is_none() && !key_type.is_secret() {
                return Err(damaged("it lacks its public key".to_owned()));
            }
            Ok(Version {
                id: VersionId::from(uuid(&id)?),
                number,
                state: known(KeyState::from_name, &state)?,
                created: created.unsigned_abs(),
                thumbprint: public.as_ref().map(Thumbprint::of),
                spki: public
                    .as_ref()
                    .map_or(Ok(Vec::new()), CoseKey::to_spki)
                    .map_err(|error| damaged(error.to_string()))?,
                public,
                placements: placements(connection, &id)?,
            })
        })
        .collect()
}

/// The public key of a version, if it is the one that was entered.
fn public(bytes: &[u8], thumbprint: Option<&str>, key_type: KeyType) -> Result<CoseKey, String> {
    let public: CoseKey = cbor::decode_exact(bytes).map_err(|error| error.to_string())?;
    let entered = thumbprint.and_then(Thumbprint::from_hex);
    if entered != Some(Thumbprint::of(&public)) || public.key_type() != Some(key_type) {
        return Err("its public key is not the one that was entered".to_owned());
    }
    Ok(public)
}

fn placements(connection: &Connection, version: &str) -> Result<Vec<Placement>, RegistryError> {
    let select = "SELECT token, locator, local, always_sensitive, never_extractable, blob, bound
                  FROM placement WHERE version = ?1 ORDER BY token";
    type Row = (Placement, Option<Vec<u8>>);
    let rows: Vec<Row> = all(connection, select, Some(version), |row| {
        let place = Placement {
            token: row.get(0)?,
            locator: row.get(1)?,
            local: row.get(2)?,
            always_sensitive: row.get(3)?,
            never_extractable: row.get(4)?,
            blob: row.get(5)?,
            bound: None,
        };
        Ok((place, row.get(6)?))
    })?;
    rows.into_iter()
        .map(|(place, bound)| {
            let bound = bound.map(|bytes| cbor::decode_exact(&bytes)).transpose();
            let bound = bound.map_err(|error| {
                RegistryError::Damaged(format!("what version {version} is bound to: {error}"))
            })?;
            Ok(Placement { bound, ..place })
        })
        .collect()
}

/// Every row of a query with at most one parameter.
fn all<T>(
    connection: &Connection,
    select: &str,
    parameter: Option<&str>,
    read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
) -> Result<Vec<T>, RegistryError> {
    let mut statement = connection.prepare_cached(select)?;
    let rows = statement.query_map(rusqlite::params_from_iter(parameter), read)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn uuid(text: &str) -> Result<Uuid, RegistryError> {
    Uuid::try_parse(text).map_err(|_| RegistryError::Damaged(format!("{text:?} is no id")))
}

fn known<T>(from_name: impl Fn(&str) -> Option<T>, name: &str) -> Result<T, RegistryError> {
    from_name(name).ok_or_else(|| RegistryError::Damaged(format!("it has an unknown {name:?}")))
}
