//! What is remembered about tries at a token's PIN, over crashes of anything.
//!
//! The marker is on the disk before a PIN is sent and is taken away when the token has accepted
//! it. Found at start, it means that the outcome of a try is not known. It never holds the PIN or
//! anything made from it.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use keyward_backend::message::SourceIdentity;
use keyward_backend::token::PinTries;
use serde::{Deserialize, Serialize};

/// After so many refusals keyward stops, where the token does not say how many tries are left.
pub(super) const MOST_REFUSALS: u32 = 2;

/// A try at a token's PIN that did not succeed, or whose outcome is not known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Marker {
    /// The serial number of the token that the PIN went to.
    pub(crate) serial: String,
    /// Where the PIN came from.
    pub(crate) source: Source,
    /// Whether the token has answered.
    pub(crate) outcome: TryOutcome,
    /// How often a PIN was refused since the last success.
    pub(crate) refusals: u32,
    /// What held the PIN before it was changed: it is not sent again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) outdated: Option<Source>,
}

impl Marker {
    /// A try that is about to be made, after what was there before.
    pub(crate) fn of_try(serial: &str, source: Source, before: Option<&Self>) -> Self {
        Self {
            serial: serial.to_owned(),
            source,
            outcome: TryOutcome::Unknown,
            refusals: before.map_or(0, |marker| marker.refusals),
            outdated: before.and_then(|marker| marker.outdated),
        }
    }

    /// The token has refused it.
    pub(crate) fn refuse(&mut self) {
        self.outcome = TryOutcome::Refused;
        self.refusals = self.refusals.saturating_add(1);
    }
}

/// Where a PIN came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Source {
    /// A person typed it.
    Person,
    /// The monitor kept it.
    Remembered,
    /// A file, in this state.
    File {
        /// st_dev.
        device: u64,
        /// st_ino.
        inode: u64,
        /// st_size.
        size: u64,
        /// st_mtim in nanoseconds.
        modified: i64,
        /// st_ctim in nanoseconds.
        changed: i64,
    },
}

impl From<SourceIdentity> for Source {
    fn from(file: SourceIdentity) -> Self {
        let SourceIdentity {
            device,
            inode,
            size,
            modified,
            changed,
        } = file;
        Self::File {
            device,
            inode,
            size,
            modified,
            changed,
        }
    }
}

/// What became of a try.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum TryOutcome {
    /// It was about to be sent; nobody knows whether the token counted it.
    Unknown,
    /// The token refused it.
    Refused,
    /// The token took it; the marker stays for what is outdated.
    Accepted,
}

/// Why a PIN is not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Withheld {
    /// The token has one try left.
    LastTry,
    /// The outcome of the try before is not known.
    OutcomeUnknown,
    /// The token refused what this source holds.
    RefusedBefore,
    /// The PIN was changed since this source was written.
    Outdated,
    /// Two were refused, and the token does not say how many are left.
    TooManyRefusals,
}

/// Whether a PIN of this source may be sent; `spend` is a person's word that it may.
pub(crate) fn judge(
    marker: Option<&Marker>,
    tries: PinTries,
    source: Source,
    spend: bool,
) -> Result<(), Withheld> {
    if spend {
        return Ok(());
    }
    if tries == PinTries::Final {
        return Err(Withheld::LastTry);
    }
    let Some(marker) = marker else {
        return Ok(());
    };
    if marker.outdated == Some(source) {
        return Err(Withheld::Outdated);
    }
    // A person who types it knows whether it is the same, and the token says that there are others.
    let known = tries == PinTries::Several && source == Source::Person;
    if marker.outcome == TryOutcome::Unknown && !known {
        return Err(Withheld::OutcomeUnknown);
    }
    let refused = marker.outcome == TryOutcome::Refused;
    if refused && source != Source::Person && marker.source == source {
        return Err(Withheld::RefusedBefore);
    }
    // A person sees what was refused; what nobody types is not sent on and on.
    let counts = tries == PinTries::Several && source == Source::Person;
    if !counts && marker.refusals >= MOST_REFUSALS {
        return Err(Withheld::TooManyRefusals);
    }
    Ok(())
}

/// The file of a token's marker.
pub(crate) struct MarkerFile {
    folder: PathBuf,
    file: PathBuf,
}

impl MarkerFile {
    /// The file for a token of this name and serial number: what one token refused says nothing
    /// about another.
    pub(crate) fn new(folder: &Path, token: &str, serial: &str) -> Self {
        let serial: String = serial.bytes().map(|byte| format!("{byte:02x}")).collect();
        Self {
            folder: folder.to_owned(),
            file: folder.join(format!("{token}-{serial}.json")),
        }
    }

    /// The marker, if there is one. One that can't be read counts as an unknown outcome.
    pub(crate) fn read(&self) -> io::Result<Option<Marker>> {
        match fs::read(&self.file) {
            Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes).unwrap_or(Marker {
                serial: String::new(),
                source: Source::Person,
                outcome: TryOutcome::Unknown,
                refusals: 0,
                outdated: None,
            }))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Puts the marker onto the disk before returning.
    pub(crate) fn write(&self, marker: &Marker) -> io::Result<()> {
        let new = self.file.with_extension("new");
        let mut file = File::create(&new)?;
        file.write_all(&serde_json::to_vec(marker)?)?;
        file.sync_all()?;
        fs::rename(&new, &self.file)?;
        File::open(&self.folder)?.sync_all()
    }

    /// Takes the marker away.
    pub(crate) fn clear(&self) -> io::Result<()> {
        match fs::remove_file(&self.file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        File::open(&self.folder)?.sync_all()
    }

    /// Puts back what was there before a try that certainly did not reach the token.
    pub(crate) fn restore(&self, before: Option<&Marker>) -> io::Result<()> {
        before.map_or_else(|| self.clear(), |marker| self.write(marker))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const FILE: Source = Source::File {
        device: 1,
        inode: 2,
        size: 3,
        modified: 4,
        changed: 5,
    };
    const MENDED_FILE: Source = Source::File {
        device: 1,
        inode: 2,
        size: 3,
        modified: 9,
        changed: 9,
    };

    fn marker(source: Source, outcome: TryOutcome, refusals: u32) -> Marker {
        Marker {
            serial: "1".into(),
            source,
            outcome,
            refusals,
            outdated: None,
        }
    }

    #[test]
    fn a_pin_is_sent_where_nothing_speaks_against_it() {
        assert_eq!(judge(None, PinTries::Unknown, FILE, false), Ok(()));
        assert_eq!(judge(None, PinTries::Low, Source::Person, false), Ok(()));
    }

    #[test]
    fn the_last_try_is_kept_until_a_person_says_otherwise() {
        let last = PinTries::Final;
        assert_eq!(
            judge(None, last, Source::Person, false),
            Err(Withheld::LastTry)
        );
        assert_eq!(judge(None, last, Source::Person, true), Ok(()));
    }

    #[test]
    fn after_a_try_of_unknown_outcome_nothing_is_sent() {
        let marker = marker(FILE, TryOutcome::Unknown, 0);
        for source in [FILE, MENDED_FILE, Source::Person, Source::Remembered] {
            assert_eq!(
                judge(Some(&marker), PinTries::Unknown, source, false),
                Err(Withheld::OutcomeUnknown)
            );
        }
        assert_eq!(
            judge(Some(&marker), PinTries::Unknown, Source::Person, true),
            Ok(())
        );
        // A token that says that more than one try is left has counted it or not.
        let several = |source| judge(Some(&marker), PinTries::Several, source, false);
        assert_eq!(several(Source::Person), Ok(()));
        assert_eq!(several(FILE), Err(Withheld::OutcomeUnknown));
    }

    #[test]
    fn refusals_are_counted_for_a_token_that_does_not_count_them_itself() {
        let marker = marker(Source::Person, TryOutcome::Refused, MOST_REFUSALS);
        let judge = |tries, source| judge(Some(&marker), tries, source, false);
        for tries in [PinTries::Unknown, PinTries::Low] {
            assert_eq!(judge(tries, Source::Person), Err(Withheld::TooManyRefusals));
        }
        assert_eq!(judge(PinTries::Several, Source::Person), Ok(()));
        assert_eq!(
            judge(PinTries::Several, FILE),
            Err(Withheld::TooManyRefusals)
        );
        assert_eq!(
            judge(PinTries::Final, Source::Person),
            Err(Withheld::LastTry)
        );
    }

    #[test]
    fn a_refused_file_is_not_tried_again_until_it_changes() {
        let marker = marker(FILE, TryOutcome::Refused, 1);
        let judge = |source| judge(Some(&marker), PinTries::Low, source, false);
        assert_eq!(judge(FILE), Err(Withheld::RefusedBefore));
        assert_eq!(judge(MENDED_FILE), Ok(()));
        assert_eq!(judge(Source::Person), Ok(()));
    }

    #[test]
    fn a_file_with_the_pin_of_before_is_not_tried_until_it_changes() {
        let mut changed = marker(Source::Person, TryOutcome::Accepted, 0);
        changed.outdated = Some(FILE);
        let tried = Marker::of_try("1", Source::Person, Some(&changed));
        let mut refused = Marker::of_try("1", Source::Person, Some(&changed));
        refused.refuse();
        for marker in [&changed, &tried, &refused] {
            assert_eq!(
                judge(Some(marker), PinTries::Unknown, FILE, false),
                Err(Withheld::Outdated)
            );
        }
        for source in [MENDED_FILE, Source::Person, Source::Remembered] {
            assert_eq!(
                judge(Some(&changed), PinTries::Unknown, source, false),
                Ok(())
            );
        }
        let last = judge(Some(&changed), PinTries::Final, MENDED_FILE, false);
        assert_eq!(last, Err(Withheld::LastTry));
    }

    #[test]
    fn two_refusals_are_enough() {
        let marker = marker(Source::Person, TryOutcome::Refused, 2);
        assert_eq!(
            judge(Some(&marker), PinTries::Low, Source::Person, false),
            Err(Withheld::TooManyRefusals)
        );
    }

    #[test]
    fn a_marker_survives_and_a_broken_one_counts_as_unknown() {
        let folder = tempfile::tempdir().unwrap();
        let file = MarkerFile::new(folder.path(), "main", "1");
        assert_eq!(file.read().unwrap(), None);
        let refused = marker(FILE, TryOutcome::Refused, 1);
        file.write(&refused).unwrap();
        assert_eq!(file.read().unwrap(), Some(refused));
        let other = MarkerFile::new(folder.path(), "main", "2");
        assert_eq!(other.read().unwrap(), None, "another token");
        fs::write(folder.path().join("main-31.json"), b"{").unwrap();
        assert_eq!(file.read().unwrap().unwrap().outcome, TryOutcome::Unknown);
        file.clear().unwrap();
        file.clear().unwrap();
        assert_eq!(file.read().unwrap(), None);
    }
}
