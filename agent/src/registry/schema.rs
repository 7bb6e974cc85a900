//! The file: opened for one process, and brought up to date.

use std::fs::OpenOptions;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior};

use super::error::RegistryError;

/// "keyw", so that `file` and other programs know whose it is.
const APPLICATION_ID: i64 = 0x6b65_7977;
/// What brings an older form up to the next, in order.
const MIGRATIONS: [&str; 1] = [include_str!("migrations/0001.sql")];

/// Opens the file, or makes it.
pub(super) fn open(path: &Path) -> Result<Connection, RegistryError> {
    make_private(path)?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    let mut connection = Connection::open_with_flags(path, flags)?;
    prepare(&mut connection, path).map_err(|error| match error {
        RegistryError::Sqlite(error) => match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
                RegistryError::InUse(path.to_owned())
            }
            Some(ErrorCode::NotADatabase) => RegistryError::Foreign(path.to_owned()),
            _ => RegistryError::Sqlite(error),
        },
        error => error,
    })?;
    Ok(connection)
}

/// SQLite gives its own files the mode of this one.
fn make_private(path: &Path) -> Result<(), RegistryError> {
    let failed = |error| RegistryError::Open {
        path: path.to_owned(),
        error,
    };
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed())
        .open(path)
        .map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    let uid = rustix::process::geteuid().as_raw();
    if metadata.mode() & 0o077 != 0 || metadata.uid() != uid {
        return Err(RegistryError::Exposed {
            path: path.to_owned(),
            uid,
        });
    }
    Ok(())
}

fn prepare(connection: &mut Connection, path: &Path) -> Result<(), RegistryError> {
    connection.busy_timeout(std::time::Duration::ZERO)?;
    // One process, so no shared memory; and what others hold shows here, not in the first change.
    connection.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
    let application: i64 =
        connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
    let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let tables: i64 =
        connection.query_one("SELECT count(*) FROM sqlite_schema", (), |row| row.get(0))?;
    if application != APPLICATION_ID && (application != 0 || version != 0 || tables != 0) {
        return Err(RegistryError::Foreign(path.to_owned()));
    }
    let known = MIGRATIONS.len() as i64;
    if !(0..=known).contains(&version) {
        return Err(RegistryError::Newer {
            path: path.to_owned(),
            found: version,
            known,
        });
    }
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "trusted_schema", false)?;
    // The sealed agent has no folder for temporary files.
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    migrate(connection, version)
}

fn migrate(connection: &mut Connection, version: i64) -> Result<(), RegistryError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Exclusive)?;
    for (number, sql) in (1_i64..).zip(MIGRATIONS).filter(|(n, _)| *n > version) {
        transaction.execute_batch(sql)?;
        transaction.pragma_update(None, "user_version", number)?;
    }
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.commit()?;
    Ok(())
}
