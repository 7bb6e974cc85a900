//! What can be wrong with a file, by what the caller does next.

use std::io;

/// Why a header can't be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HeaderError {
    /// Something else than an age file.
    #[error("it does not begin as an age file does")]
    NotAge,
    /// An age file in PEM-like text: decode it first.
    #[error("it is an age file in ASCII armor")]
    Armored,
    /// An age file of a version that is not known.
    #[error("it is an age file of the version {0:?}, and only v1 is known")]
    Version(String),
    /// Against the grammar.
    #[error("line {line} of the header: {problem}")]
    Malformed {
        /// Which line, counted from 1.
        line: usize,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The input ends in the header.
    #[error("it ends in the middle of its header")]
    Truncated,
    /// More than is taken.
    #[error("the header has more than {limit} {unit}")]
    TooLarge {
        /// How many are taken.
        limit: usize,
        /// Of what.
        unit: &'static str,
    },
    /// The file key is the right one, and the header is not what was written with it.
    #[error("the header was changed after it was written")]
    Changed,
    /// It can't be read.
    #[error("can't read it")]
    Io(#[source] io::Error),
}

/// Why a payload is not there as a whole.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PayloadError {
    /// The input failed.
    #[error("can't read the input")]
    Read(#[source] io::Error),
    /// The output failed.
    #[error("can't write the output")]
    Write(#[source] io::Error),
    /// The input ends where no chunk can end. What was written before is authentic, and not all.
    #[error("the file was cut: it ends in chunk {chunk}")]
    Truncated {
        /// Which chunk, counted from 1.
        chunk: u64,
    },
    /// A chunk does not open. What was written before is authentic, and not all.
    #[error(
        "chunk {chunk} is not as it was written: the file was changed, or cut, or something was added"
    )]
    Changed {
        /// Which chunk, counted from 1.
        chunk: u64,
    },
    /// The payload is there as a whole, and something that does not belong to it comes after it.
    #[error("something was added after the end of the file")]
    Trailing,
}

/// The system gave no random bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the system gives no random bytes")]
pub struct NoRandomness;
