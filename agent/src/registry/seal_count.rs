//! How often each AES-GCM key was used to seal (SP 800-38D §8.3), in blocks that are reserved
//! before they are used: a crash loses what is left of a block, and never counts too little.
//!
//! These numbers are no change of a key, so they are not in the registry's generation and digest.

use std::collections::HashMap;

use keyward_backend::VersionId;
use keyward_protocol::{KeyType, Purpose};
use rusqlite::{Connection, OptionalExtension as _, params};

use super::Registry;
use super::error::RegistryError;

/// The table; the digest leaves it out.
pub(super) const TABLE: &str = "seal_count";
/// How many uses are reserved at once: one commit for so many.
const BLOCK: u64 = 1 << 16;
/// The most uses of one key with random IVs of 96 bits.
const MOST: u64 = 1 << 32;
/// What is added to a number that is not of now: what may have been reserved since.
const MARGIN: u64 = 2 * BLOCK;

/// The blocks of this life of the agent.
#[derive(Debug, Default)]
pub(super) struct SealCounts(HashMap<VersionId, Block>);

/// Uses that are reserved and not used yet.
#[derive(Clone, Copy, Debug)]
struct Block {
    next: u64,
    end: u64,
}

/// Why nothing may be sealed.
#[derive(Debug, thiserror::Error)]
pub enum SealCountError {
    /// It sealed as often as a key may: rotate it.
    #[error("this version of the key has sealed 2^32 times, which is the most for random IVs")]
    Exhausted,
    /// The number can't be kept.
    #[error(transparent)]
    Registry(#[from] RegistryError),
}

impl Registry {
    /// Counts one use of a version, before it seals. Only every 65,536th waits for the disk.
    ///
    /// # Errors
    /// The version has sealed too often, or the disk refuses.
    pub fn count_seal(&mut self, version: VersionId) -> Result<(), SealCountError> {
        self.seal_counts.count(&self.connection, version)
    }
}

impl SealCounts {
    fn count(&mut self, connection: &Connection, version: VersionId) -> Result<(), SealCountError> {
        let block = self.0.entry(version).or_insert(Block { next: 0, end: 0 });
        if block.next >= block.end {
            *block = reserve(connection, version)?;
        }
        block.next = block.next.saturating_add(1);
        Ok(())
    }
}

/// How many uses each version has reserved, for copies.
pub(super) fn all(connection: &Connection) -> Result<HashMap<String, u64>, RegistryError> {
    let mut statement = connection.prepare("SELECT version, reserved FROM seal_count")?;
    let rows = statement.query_map((), |row| Ok((row.get(0)?, row.get::<_, i64>(1)?)))?;
    rows.map(|row| {
        let (version, reserved) = row?;
        Ok((version, reserved.unsigned_abs()))
    })
    .collect()
}

/// Counts a version from what it had reserved at another time, with a margin; never from less than
/// is known here.
pub(super) fn go_on_from(
    connection: &Connection,
    version: VersionId,
    reserved: u64,
) -> Result<(), RegistryError> {
    let reserved = reserved.saturating_add(MARGIN).min(MOST);
    connection
        .prepare_cached(
            "INSERT INTO seal_count (version, reserved) VALUES (?1, ?2)
             ON CONFLICT (version) DO UPDATE SET reserved = max(reserved, ?2)",
        )?
        .execute(params![version.to_string(), reserved.cast_signed()])?;
    Ok(())
}

/// Whether the uses of such a key are counted.
pub(super) fn is_counted(purpose: Purpose, key_type: KeyType) -> bool {
    purpose == Purpose::Encrypt && key_type.secret_length().is_some()
}

/// Takes the next block, on the disk before it is used.
fn reserve(connection: &Connection, version: VersionId) -> Result<Block, SealCountError> {
    let id = version.to_string();
    let next: Option<i64> = connection
        .prepare_cached("SELECT reserved FROM seal_count WHERE version = ?1")
        .map_err(RegistryError::from)?
        .query_row([&id], |row| row.get(0))
        .optional()
        .map_err(RegistryError::from)?;
    let next = next.unwrap_or(0).unsigned_abs();
    let end = next.saturating_add(BLOCK);
    if end > MOST {
        return Err(SealCountError::Exhausted);
    }
    connection
        .prepare_cached(
            "INSERT INTO seal_count (version, reserved) VALUES (?1, ?2)
             ON CONFLICT (version) DO UPDATE SET reserved = ?2",
        )
        .map_err(RegistryError::from)?
        .execute(params![id, end.cast_signed()])
        .map_err(RegistryError::from)?;
    Ok(Block { next, end })
}
