//! What can go wrong with the log, by what to do next.

use std::path::PathBuf;

/// Why the log can't be opened or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuditError {
    /// Another daemon writes it: stop that one.
    #[error(
        "the log in {} is in use by another keywardd{}; stop that one, or give this one a state folder of its own",
        path.display(), pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default()
    )]
    InUse {
        /// The folder.
        path: PathBuf,
        /// Who holds it, if known.
        pid: Option<u32>,
    },
    /// The folder's mode or owner lets others in: mend it.
    #[error("{} is not this user's alone; type: chown {uid} {0} && chmod go= {0}", path.display())]
    Exposed {
        /// The folder or file.
        path: PathBuf,
        /// Whose it should be.
        uid: u32,
    },
    /// The folder or a file can't be opened, made or read.
    #[error("{}: {error}", path.display())]
    Open {
        /// The folder or file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// What is there is not what was written: a person must look at it.
    #[error(
        "{}, line {line}: {problem}. The log was changed, or the disk lost a part of it. Compare it with a copy or a \
         checkpoint that is kept elsewhere; to begin a new log, move its folder away and keep it",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The line in the file, from 1.
        line: u64,
        /// What is wrong with it.
        problem: String,
    },
    /// There is no room for another record: make room.
    #[error("the disk of {} is full: the log has no room for another record; free some space", .0.display())]
    Full(PathBuf),
    /// Writing failed before; nothing is written until the log is opened again.
    #[error("the log can't be written: {0}")]
    Failed(String),
    /// A record does not fit in a line: a fault of the agent.
    #[error("a record of the log would be too long")]
    TooLong,
}

impl AuditError {
    /// Gives an error of the system the path that it is about.
    pub(super) fn open(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        |error| Self::Open { path, error }
    }
}
