//! Values that can't be had before their record is written.

use std::fmt;

use super::denials::Suppressed;

/// The number of a record: its leaf's index. It says that the record was handed in, not that it
/// is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seq {
    pub(super) index: u64,
    pub(super) epoch: u32,
}

impl Seq {
    /// The leaf index.
    #[must_use]
    pub const fn index(self) -> u64 {
        self.index
    }
}

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.index.fmt(f)
    }
}

/// Says that all records below a number are written. Only the log makes one.
#[derive(Clone, Copy, Debug)]
pub struct Watermark {
    pub(super) written: u64,
    pub(super) epoch: u32,
}

/// A value, a reply mostly, that comes out only when its record is written.
#[derive(Debug)]
#[must_use = "open it with the watermark of a flush"]
pub struct Sealed<T> {
    seq: Option<Seq>,
    value: T,
}

impl<T> Sealed<T> {
    pub(super) const fn new(seq: Seq, value: T) -> Self {
        Self {
            seq: Some(seq),
            value,
        }
    }

    /// Seals a reply to a denial that is counted instead of recorded. It needs a watermark too, so
    /// that nothing is answered while the log can't be written.
    pub const fn counted(_: Suppressed, value: T) -> Self {
        Self { seq: None, value }
    }

    /// The value, if its record is written.
    ///
    /// # Errors
    /// It is not; the seal comes back. A record that was lost in a failed write is never written.
    pub fn open(self, watermark: &Watermark) -> Result<T, NotWritten<T>> {
        let written = self
            .seq
            .is_none_or(|seq| seq.epoch == watermark.epoch && seq.index < watermark.written);
        if written {
            Ok(self.value)
        } else {
            Err(NotWritten(self))
        }
    }

    /// Turns the value into another under the same seal.
    pub fn map<U>(self, f: impl FnOnce(T) -> U) -> Sealed<U> {
        Sealed {
            seq: self.seq,
            value: f(self.value),
        }
    }
}

/// The record of a sealed value is not written yet.
#[derive(Debug, thiserror::Error)]
#[error("the record of this reply is not written")]
pub struct NotWritten<T>(pub Sealed<T>);
