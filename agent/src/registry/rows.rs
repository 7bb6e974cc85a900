//! The rows of the registry, read and written.

mod read;
mod write;

use rusqlite::Connection;
use rusqlite::types::ValueRef;
use sha2::{Digest, Sha256};

use super::error::RegistryError;
use crate::audit::RegistryMark;

pub(super) use read::{key, key_ids, tokens};
pub(super) use write::{
    KeyRow, activate_newest, add_alias, add_placements, add_version, count_up, deactivate_versions,
    destroy, destroy_on, insert, insert_key, pin_token, remove_alias, replace_blob, set_state,
    set_tags, set_version_states,
};

/// Generation and digest of what is there now.
///
/// The digest is over the schema and every row of every table, in the order of the tables' names
/// and of the rows' columns, so that it holds for any form of the registry. Only how often keys
/// were used is left out: that is no change.
pub(super) fn mark(connection: &Connection) -> Result<RegistryMark, RegistryError> {
    let generation: i64 =
        connection.query_one("SELECT generation FROM meta", (), |row| row.get(0))?;
    let mut hash = Sha256::new();
    let schema = "SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY 1, 2, 3, 4";
    digest(connection, &mut hash, schema)?;
    let mut tables = connection
        .prepare_cached("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name")?;
    let tables: Vec<String> = tables
        .query_map((), |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    for table in tables {
        if table == super::seal_count::TABLE {
            continue;
        }
        let table = table.replace('"', "\"\"");
        let select = format!("SELECT * FROM \"{table}\"");
        let columns = connection.prepare_cached(&select)?.column_count();
        let order: Vec<String> = (1..=columns).map(|n| n.to_string()).collect();
        let select = format!("{select} ORDER BY {}", order.join(", "));
        digest(connection, &mut hash, &select)?;
    }
    Ok(RegistryMark {
        generation: generation.unsigned_abs(),
        digest: hash.finalize().into(),
    })
}

/// Adds what a query gives: each value with its kind and length, each row with its number of
/// columns, and the end.
fn digest(connection: &Connection, hash: &mut Sha256, select: &str) -> Result<(), RegistryError> {
    let mut statement = connection.prepare_cached(select)?;
    let columns = statement.column_count();
    let mut rows = statement.query(())?;
    while let Some(row) = rows.next()? {
        hash.update((columns as u64).to_be_bytes());
        for column in 0..columns {
            let number;
            let (kind, bytes): (u8, &[u8]) = match row.get_ref(column)? {
                ValueRef::Null => (0, &[]),
                ValueRef::Integer(value) => {
                    number = value.to_be_bytes();
                    (1, &number)
                }
                ValueRef::Real(value) => {
                    number = value.to_be_bytes();
                    (2, &number)
                }
                ValueRef::Text(text) => (3, text),
                ValueRef::Blob(blob) => (4, blob),
            };
            hash.update([kind]);
            hash.update((bytes.len() as u64).to_be_bytes());
            hash.update(bytes);
        }
    }
    hash.update(0_u64.to_be_bytes());
    Ok(())
}
