//! Readers, and who notices that a card comes and goes.

use std::ffi::CString;
use std::thread;
use std::time::Duration;

use pcsc::{Context, PNP_NOTIFICATION, ReaderState, Scope, State};

use super::Piv;

/// How long pcscd is left alone after it did not answer.
const RETRY: Duration = Duration::from_millis(300);

/// How often the readers are listed, while they go.
const MOST_LISTS: u32 = 8;

/// A reader as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reader {
    pub(super) name: CString,
    /// Whether it has a card.
    pub(super) present: bool,
    /// How often a card came or went.
    pub(super) events: u32,
}

impl Reader {
    /// The state as pcscd compares it with what comes: who uses the card is of no interest.
    fn state(&self) -> State {
        let card = match self.present {
            true => State::PRESENT,
            false => State::EMPTY,
        };
        State::from_bits_retain(card.bits() | count(self.events).bits())
    }
}

/// A count as it stands in a state: above its flags.
fn count(number: u32) -> State {
    State::from_bits_retain(pcsc::ffi::DWORD::from(number & 0xffff) << 16)
}

/// The readers that there are.
pub(super) fn readers(context: &Context) -> Result<Vec<Reader>, pcsc::Error> {
    for _ in 0..MOST_LISTS {
        let mut states = states(context)?;
        if states.is_empty() {
            return Ok(Vec::new());
        }
        match context.get_status_change(Duration::ZERO, &mut states) {
            Ok(()) | Err(pcsc::Error::Timeout) => return Ok(states.iter().map(of_state).collect()),
            // One of them was taken away in between, and says nothing of the others.
            Err(pcsc::Error::UnknownReader) => {}
            Err(error) => return Err(error),
        }
    }
    Err(pcsc::Error::ReaderUnavailable)
}

/// One reader as it is now; `None` where there is none of that name.
pub(super) fn reader_now(context: &Context, name: &CString) -> Result<Option<Reader>, pcsc::Error> {
    let mut states = [ReaderState::new(name.clone(), State::UNAWARE)];
    match context.get_status_change(Duration::ZERO, &mut states) {
        Ok(()) | Err(pcsc::Error::Timeout) => Ok(states.first().map(of_state)),
        Err(pcsc::Error::UnknownReader) => Ok(None),
        Err(error) => Err(error),
    }
}

fn states(context: &Context) -> Result<Vec<ReaderState>, pcsc::Error> {
    let names = match context.list_readers_owned() {
        Err(pcsc::Error::NoReadersAvailable) => Vec::new(),
        names => names?,
    };
    let states = names.into_iter();
    Ok(states
        .map(|name| ReaderState::new(name, State::UNAWARE))
        .collect())
}

fn of_state(state: &ReaderState) -> Reader {
    Reader {
        name: state.name().to_owned(),
        present: state.event_state().contains(State::PRESENT),
        events: state.event_count(),
    }
}

impl Piv {
    /// Waits for readers and cards to come and go, to the end of the process, and says so.
    ///
    /// This has a context of its own: one that waits serves nobody else.
    pub(super) fn watch_readers(&self, mut changed: impl FnMut()) -> ! {
        let mut before = None;
        loop {
            let failed = match Context::establish(Scope::System) {
                Ok(context) => self.watch_context(&context, &mut before, &mut changed),
                Err(error) => error,
            };
            // Whether the card stayed where it was while nobody looked is not known.
            if self.seen.forget() {
                self.forget_card();
                changed();
            }
            if failed != pcsc::Error::Cancelled {
                thread::sleep(RETRY);
            }
        }
    }

    /// Waits with one context, until it fails.
    fn watch_context(
        &self,
        context: &Context,
        before: &mut Option<Vec<Reader>>,
        changed: &mut impl FnMut(),
    ) -> pcsc::Error {
        loop {
            let now = match readers(context) {
                Ok(now) => now,
                Err(error) => return error,
            };
            if self.seen.is_gone(&now) {
                self.forget_card();
            }
            if before.as_ref() != Some(&now) {
                let first = before.is_none();
                *before = Some(now.clone());
                if !first {
                    changed();
                }
            }
            let mut states: Vec<_> = (now.iter())
                .map(|reader| ReaderState::new(reader.name.clone(), reader.state()))
                .collect();
            // With the number of readers, one that comes before the wait is noticed, too.
            let number = u32::try_from(now.len()).unwrap_or_default();
            states.push(ReaderState::new(PNP_NOTIFICATION(), count(number)));
            match context.get_status_change(None, &mut states) {
                Ok(()) | Err(pcsc::Error::Timeout | pcsc::Error::UnknownReader) => {}
                Err(error) => return error,
            }
        }
    }
}
