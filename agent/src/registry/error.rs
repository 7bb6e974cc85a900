//! What can go wrong with the registry, by what to do next.

use std::path::PathBuf;

use uuid::Uuid;

/// A value that the registry does not take, and why, in words for whoever sent it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Invalid(pub String);

impl Invalid {
    pub(super) fn new(words: impl Into<String>) -> Self {
        Self(words.into())
    }
}

/// Why the registry can't be opened or changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RegistryError {
    /// Choose another alias.
    #[error("the alias {0:?} is taken")]
    AliasTaken(String),
    /// There is no such key.
    #[error("there is no key {0}")]
    NotFound(Uuid),
    /// A destroyed key stays destroyed.
    #[error("the key {0} is destroyed")]
    Destroyed(Uuid),
    /// The key or version has an id that is there already.
    #[error("there is already a key or version with the id of {0}")]
    IdTaken(Uuid),
    /// A key is put on a token that was never pinned.
    #[error("the token {0:?} was not enrolled")]
    UnknownToken(String),
    /// Mend the value.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// Another process has it open.
    #[error("{} is in use by another process; stop that one first", .0.display())]
    InUse(PathBuf),
    /// The file's mode or owner lets others in.
    #[error("{} is not this user's alone; type: chown {uid} {0} && chmod go= {0}", path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Whose it should be.
        uid: u32,
    },
    /// A newer keyward wrote it: update this one.
    #[error("{} has the form {found}, this keyward knows {known}; install the newer version again", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// The version of its form.
        found: i64,
        /// The newest version that is known.
        known: i64,
    },
    /// The file is another program's.
    #[error("{} is not a registry of keyward; move it away", .0.display())]
    Foreign(PathBuf),
    /// What is stored can't be.
    #[error("the registry is damaged: {0}; restore it from a backup")]
    Damaged(String),
    /// The disk is full: make room.
    #[error("the disk is full: the registry can't be changed; free some space")]
    Full,
    /// The file can't be opened or made.
    #[error("{}: {error}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// Another fault of the database.
    #[error("the registry can't be read or changed: {0}")]
    Sqlite(rusqlite::Error),
}

impl From<rusqlite::Error> for RegistryError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(rusqlite::ErrorCode::DiskFull) => Self::Full,
            Some(rusqlite::ErrorCode::DatabaseCorrupt) => Self::Damaged(error.to_string()),
            _ => Self::Sqlite(error),
        }
    }
}
