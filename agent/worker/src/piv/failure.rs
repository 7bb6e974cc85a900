//! Why something was not done, and what the way to the card says about it.

use keyward_backend::BackendError;

use super::apdu::ExchangeError;
use super::certificate::CertificateError;
use super::metadata::MetadataError;
use super::note::NoteError;
use super::tlv::TlvError;

/// Why something was not done.
#[derive(Debug)]
pub(super) enum Failure {
    /// The way to the card. It may be gone one moment, and there the next.
    Pcsc(pcsc::Error),
    /// What the agent hears, whatever the way does.
    Answer(BackendError),
}

impl From<pcsc::Error> for Failure {
    fn from(error: pcsc::Error) -> Self {
        Self::Pcsc(error)
    }
}

impl From<BackendError> for Failure {
    fn from(error: BackendError) -> Self {
        Self::Answer(error)
    }
}

impl From<ExchangeError<pcsc::Error>> for Failure {
    fn from(error: ExchangeError<pcsc::Error>) -> Self {
        match error {
            ExchangeError::Transmit(error) => Self::Pcsc(error),
            ExchangeError::Malformed(what) => malformed(what),
        }
    }
}

impl From<TlvError> for Failure {
    fn from(error: TlvError) -> Self {
        malformed(error)
    }
}

impl From<MetadataError> for Failure {
    fn from(error: MetadataError) -> Self {
        malformed(error)
    }
}

impl From<CertificateError> for Failure {
    fn from(error: CertificateError) -> Self {
        malformed(error)
    }
}

impl From<NoteError> for Failure {
    fn from(error: NoteError) -> Self {
        malformed(error)
    }
}

impl From<Failure> for BackendError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Pcsc(error) => way_error(error, Progress::Nothing),
            Failure::Answer(error) => error,
        }
    }
}

/// An answer that no card gives. The next one may be right, so the worker goes on.
pub(super) fn malformed(what: impl std::fmt::Display) -> Failure {
    BackendError::Refused(format!("the card's answer can't be read: {what}")).into()
}

/// How far something got before the way to the card failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Progress {
    /// Nothing was sent that counts: it can be done again.
    Nothing,
    /// A PIN was sent. Whether it was counted is not known, so it is not sent again.
    Pin,
    /// What uses or changes a key was sent. Whether it was done is not known.
    Key,
}

/// What a failure of the way says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// pcscd is not there, or another one than before.
    NoService,
    /// The card is not there, or not any more.
    Gone,
    /// Another program has the card for itself.
    Held,
    /// Somebody has reset the card.
    Reset,
    /// pcscd does not let this user in.
    Forbidden,
    /// Something else.
    Other,
}

impl Way {
    pub(super) fn of(error: pcsc::Error) -> Self {
        use pcsc::Error as E;
        match error {
            E::NoService
            | E::ServiceStopped
            | E::InvalidHandle
            | E::CommError
            | E::Shutdown
            | E::InternalError => Self::NoService,
            E::NoSmartcard
            | E::RemovedCard
            | E::UnknownReader
            | E::ReaderUnavailable
            | E::NoReadersAvailable
            | E::UnpoweredCard
            | E::UnresponsiveCard
            | E::NotTransacted => Self::Gone,
            E::SharingViolation => Self::Held,
            E::ResetCard => Self::Reset,
            E::NoAccess | E::SecurityViolation => Self::Forbidden,
            _ => Self::Other,
        }
    }
}

/// What the agent hears when the way to the card failed for good.
pub(super) fn way_error(error: pcsc::Error, progress: Progress) -> BackendError {
    if progress == Progress::Key {
        return BackendError::Interrupted(format!(
            "the card was taken away while it did this, and whether it was done is not known ({error})"
        ));
    }
    match Way::of(error) {
        Way::NoService => BackendError::TokenAbsent(format!(
            "pcscd does not answer ({error}); `systemctl start pcscd.socket` starts it"
        )),
        Way::Gone => BackendError::TokenAbsent(format!("the card was taken away ({error})")),
        Way::Held => held("its reader"),
        Way::Reset => BackendError::Busy(format!("another program resets the card ({error})")),
        // pcscd hangs up on who is not allowed, and on everybody when it ends.
        Way::Forbidden => BackendError::TokenAbsent(format!(
            "pcscd does not let this user in, or ends just now ({error}); the polkit rule of keyward allows it"
        )),
        Way::Other => BackendError::Refused(format!("the reader failed: {error}")),
    }
}

/// A card that another program has for itself. Which one, pcscd does not say, and what could be seen
/// of other processes is outside the sandbox.
pub(super) fn held(reader: &str) -> BackendError {
    BackendError::Held(format!(
        "another program, such as scdaemon of GnuPG, has the card in {reader} for itself; write \
         `pcsc-shared` into ~/.gnupg/scdaemon.conf and type `gpgconf --kill scdaemon`"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_a_key_was_used_a_lost_card_is_no_absent_one() {
        let error = pcsc::Error::RemovedCard;
        for progress in [Progress::Nothing, Progress::Pin] {
            let absent = way_error(error, progress);
            assert!(matches!(absent, BackendError::TokenAbsent(_)), "{absent}");
        }
        let unknown = way_error(error, Progress::Key);
        assert!(matches!(unknown, BackendError::Interrupted(_)));
    }

    #[test]
    fn a_card_that_is_held_says_what_helps() {
        let held = way_error(pcsc::Error::SharingViolation, Progress::Nothing);
        assert!(matches!(held, BackendError::Held(why) if why.contains("pcsc-shared")));
    }
}
