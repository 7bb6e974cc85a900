//! Each use of a card is one transaction, and no handle to the card is kept between two.
//!
//! A handle that is kept locks other programs out, or has its state changed by them. So: connect
//! shared, begin, ask which card it is (where PIV is not selected any more, select it first), do it,
//! take the PIN back, end, and leave the card as it is. What failed on the way before anything
//! counted is done again, for a short while.

use std::ffi::CString;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use keyward_backend::{BackendError, Result, TokenIdentity};
use pcsc::{Context, Disposition, Protocols, Scope, ShareMode, Transaction};

use super::Piv;
use super::card::{Asked, Card};
use super::failure::{Failure, Progress, Way, held, way_error};
use super::key::{Cache, Key, Place};
use super::reader::{Reader, reader_now, readers};

/// For how long something is tried again before it has failed.
const PATIENCE: Duration = Duration::from_secs(2);
/// The first pause before it is tried again; each next one is twice as long.
const PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_millis(250);

/// What belongs to the one who has the card.
#[derive(Default)]
pub(super) struct Hold {
    context: Option<Context>,
    /// The reader that had the card last, and what was asked of the card then.
    hint: Option<(Reader, Asked)>,
    pub(super) cache: Cache,
}

impl Hold {
    /// Another pcscd counts from its beginning again, so that nothing it says can be compared.
    fn forget_pcscd(&mut self) {
        self.context = None;
        self.hint = None;
    }
}

/// Where the card was when it was used last, for those who look after it meanwhile.
#[derive(Debug, Default)]
pub(super) struct Seen {
    place: Mutex<Option<(CString, u32)>>,
}

impl Seen {
    /// Notes where the card is; says whether it was there before and has not been taken away since.
    fn is_same(&self, reader: &Reader) -> bool {
        let now = (reader.name.clone(), reader.events);
        let mut place = self.lock();
        let same = place.as_ref().is_none_or(|before| *before == now);
        *place = Some(now);
        same
    }

    /// Whether the card is there, as far as anybody has noticed.
    fn is_at(&self, reader: &Reader) -> bool {
        let place = self.lock();
        (place.as_ref())
            .is_some_and(|(name, events)| *name == reader.name && *events == reader.events)
    }

    /// Forgets where the card was, if it is not there any more; says whether that was so.
    pub(super) fn is_gone(&self, readers: &[Reader]) -> bool {
        let mut place = self.lock();
        let there = |(name, events): &(CString, u32)| {
            readers
                .iter()
                .any(|reader| reader.present && reader.name == *name && reader.events == *events)
        };
        let gone = place.as_ref().is_some_and(|place| !there(place));
        if gone {
            *place = None;
        }
        gone
    }

    /// Whether it was used, and has not been taken away since.
    fn is_anywhere(&self) -> bool {
        self.lock().is_some()
    }

    /// Forgets where the card was; says whether it was anywhere.
    pub(super) fn forget(&self) -> bool {
        self.lock().take().is_some()
    }

    fn lock(&self) -> MutexGuard<'_, Option<(CString, u32)>> {
        self.place.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What one attempt came to.
enum Attempt<T> {
    Done(T),
    /// No reader has the card. These have others, and these are held by other programs.
    NotThere {
        others: Vec<TokenIdentity>,
        held: Vec<CString>,
    },
    Failed(Failure, Progress),
}

impl<T> From<pcsc::Error> for Attempt<T> {
    fn from(error: pcsc::Error) -> Self {
        Self::Failed(error.into(), Progress::Nothing)
    }
}

/// A connection that leaves the card as it is when it ends, however it ends.
struct Connection {
    card: Option<pcsc::Card>,
    disposition: Disposition,
}

impl Drop for Connection {
    fn drop(&mut self) {
        // A panic may have left a PIN verified.
        if thread::panicking() {
            self.disposition = Disposition::ResetCard;
        }
        if let Some(card) = self.card.take() {
            // Without a card there is nothing to leave.
            let _ = card.disconnect(self.disposition);
        }
    }
}

impl Piv {
    /// Does something with the expected card in one transaction. What it does may be done from its
    /// beginning again.
    pub(super) fn with_card<T>(
        &self,
        mut act: impl FnMut(&mut Card<'_>, &mut Cache) -> std::result::Result<T, Failure>,
    ) -> Result<T> {
        let mut hold = self.hold();
        let expected = self
            .expected()
            .ok_or_else(|| BackendError::TokenAbsent("it was not looked for yet".to_owned()))?;
        let until = Instant::now().checked_add(PATIENCE);
        let mut pause = PAUSE;
        loop {
            let over = until.is_none_or(|until| until <= Instant::now());
            match self.attempt(&mut hold, &expected, &mut act) {
                Attempt::Done(done) => return Ok(done),
                Attempt::Failed(Failure::Answer(error), _) => return Err(error),
                Attempt::NotThere { others, held } if over || held.is_empty() => {
                    return Err(self.not_there(&expected, &others, &held));
                }
                Attempt::NotThere { .. } => {}
                Attempt::Failed(Failure::Pcsc(error), progress) => {
                    if Way::of(error) == Way::NoService {
                        hold.forget_pcscd();
                    }
                    let final_way = Way::of(error) == Way::Other;
                    if over || final_way || progress != Progress::Nothing {
                        return Err(way_error(error, progress));
                    }
                }
            }
            thread::sleep(pause);
            pause = pause.saturating_mul(2).min(LONGEST_PAUSE);
        }
    }

    /// The cards that are there now, whoever's they are, and the readers that others hold.
    pub(super) fn look(&self) -> Result<(Vec<TokenIdentity>, Vec<CString>)> {
        let mut hold = self.hold();
        let until = Instant::now().checked_add(PATIENCE);
        loop {
            let over = until.is_none_or(|until| until <= Instant::now());
            match look(&mut hold) {
                Ok((cards, held)) if over || held.is_empty() => return Ok((cards, held)),
                Ok(_) => {}
                Err(Failure::Answer(error)) => return Err(error),
                Err(Failure::Pcsc(error)) => {
                    if Way::of(error) == Way::NoService {
                        hold.forget_pcscd();
                    }
                    if over || Way::of(error) == Way::Other {
                        return Err(way_error(error, Progress::Nothing));
                    }
                }
            }
            thread::sleep(LONGEST_PAUSE);
        }
    }

    /// A key as it was read since the card was inserted, if it was and the card is still there as far
    /// as anybody knows.
    pub(super) fn known_key(&self, place: &Place) -> Option<Arc<Key>> {
        let hold = self.hold();
        self.seen.is_anywhere().then(|| hold.cache.known(place))?
    }

    /// The one who may use the card: it does one thing at a time.
    fn hold(&self) -> MutexGuard<'_, Hold> {
        self.hold.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn attempt<T>(
        &self,
        hold: &mut Hold,
        expected: &TokenIdentity,
        act: &mut impl FnMut(&mut Card<'_>, &mut Cache) -> std::result::Result<T, Failure>,
    ) -> Attempt<T> {
        // Where nobody has seen the card go it is looked for first, and the other readers only where it
        // is not. Whether it has stayed there, it says itself.
        let last = hold.hint.as_ref().map(|(last, _)| last);
        if let Some(last) = last.filter(|last| self.seen.is_at(last)).cloned()
            && let Some(context) = hold.context.clone()
        {
            match self.attempt_on(&context, &[last], hold, expected, act) {
                Attempt::NotThere { .. } | Attempt::Failed(Failure::Pcsc(_), Progress::Nothing) => {
                }
                attempt => return attempt,
            }
        }
        match context_and_readers(hold) {
            Ok((context, list)) => self.attempt_on(&context, &list, hold, expected, act),
            Err(error) => error.into(),
        }
    }

    fn attempt_on<T>(
        &self,
        context: &Context,
        list: &[Reader],
        hold: &mut Hold,
        expected: &TokenIdentity,
        act: &mut impl FnMut(&mut Card<'_>, &mut Cache) -> std::result::Result<T, Failure>,
    ) -> Attempt<T> {
        let (mut others, mut held) = (Vec::new(), Vec::new());
        let mut failed = None;
        for reader in list {
            let connected = context.connect(&reader.name, ShareMode::Shared, Protocols::ANY);
            let mut connection = match connected {
                Ok(card) => Connection {
                    card: Some(card),
                    disposition: Disposition::LeaveCard,
                },
                Err(pcsc::Error::SharingViolation) => {
                    held.push(reader.name.clone());
                    continue;
                }
                // Another reader may have the card.
                Err(error) => {
                    failed = failed.or(Some(error));
                    continue;
                }
            };
            match self.with_connection(&mut connection, context, reader, expected, hold, act) {
                Some(Attempt::NotThere { others: more, .. }) => others.extend(more),
                Some(Attempt::Failed(Failure::Pcsc(error), Progress::Nothing)) => {
                    failed = failed.or(Some(error));
                }
                Some(done) => return done,
                None => {}
            }
        }
        match failed {
            // A held card may be ours; what another reader did says nothing of it.
            Some(error) if held.is_empty() => error.into(),
            _ => Attempt::NotThere { others, held },
        }
    }

    /// One reader's card; `None` where it is no PIV card.
    fn with_connection<T>(
        &self,
        connection: &mut Connection,
        context: &Context,
        reader: &Reader,
        expected: &TokenIdentity,
        hold: &mut Hold,
        act: &mut impl FnMut(&mut Card<'_>, &mut Cache) -> std::result::Result<T, Failure>,
    ) -> Option<Attempt<T>> {
        let transaction = match connection.card.as_mut()?.transaction() {
            Ok(transaction) => transaction,
            Err(error) => return Some(error.into()),
        };
        // It is the same card for as long as it stays there.
        let asked = hold.hint.as_ref().filter(|(last, _)| last == reader);
        // One that was unplugged takes its reader with it, which counts from its beginning again.
        let (mut reader, mut has_stayed) =
            (reader.clone(), asked.is_some() && self.seen.is_at(reader));
        let mut card = match select(context, &mut reader, &mut has_stayed, transaction, asked) {
            Ok(Some(card)) => card,
            Ok(None) => return None,
            // What can't be told from others is none of ours; another reader may have ours.
            Err(Failure::Answer(error)) => {
                say_unread(&reader, &error);
                return None;
            }
            Err(failure) => return Some(Attempt::Failed(failure, Progress::Nothing)),
        };
        if card.identity != *expected {
            let others = vec![card.identity.clone()];
            let held = Vec::new();
            return Some(Attempt::NotThere { others, held });
        }
        if !self.seen.is_same(&reader) {
            // It was away, or somewhere else: whoever had it then is not the one who typed the PIN.
            self.forget_card();
        }
        if !has_stayed {
            // Another program may have changed what is in it meanwhile, and another machine's.
            hold.cache.clear();
        }
        hold.hint = Some((reader, card.asked()));
        let done = act(&mut card, &mut hold.cache);
        let progress = card.progress;
        if done.is_err() {
            hold.cache.clear();
        }
        card.leave();
        Some(match done {
            Ok(done) => Attempt::Done(done),
            Err(failure) => Attempt::Failed(failure, progress),
        })
    }

    /// What is said where the expected card is nowhere.
    fn not_there(
        &self,
        expected: &TokenIdentity,
        others: &[TokenIdentity],
        held_by_others: &[CString],
    ) -> BackendError {
        // It may be one of those: then it is where it was.
        if let Some(reader) = held_by_others.first() {
            return held(&reader.to_string_lossy());
        }
        if self.seen.forget() {
            self.forget_card();
        }
        match others {
            // One of several cards that are told apart by their serial numbers is just not there.
            [other, ..] if self.serial.is_none() => {
                BackendError::TokenChanged(format!("{other} is there, and {expected} is expected"))
            }
            _ => BackendError::TokenAbsent(format!(
                "insert the card with the serial number {}",
                expected.serial
            )),
        }
    }
}

/// The context and the readers that have a card, the one that had ours last first.
fn context_and_readers(
    hold: &mut Hold,
) -> std::result::Result<(Context, Vec<Reader>), pcsc::Error> {
    let context = match &hold.context {
        Some(context) => context.clone(),
        None => Context::establish(Scope::System)?,
    };
    hold.context = Some(context.clone());
    let last = hold.hint.as_ref().map(|(last, _)| last);
    let mut list = readers(&context)?;
    list.retain(|reader| reader.present);
    list.sort_by_key(|reader| last.map(|last| &last.name) != Some(&reader.name));
    Ok((context, list))
}

/// Has the PIV application selected. One that is still selected is on a card that has not been away; else
/// the reader is asked whether it was.
fn select<'t>(
    context: &Context,
    reader: &mut Reader,
    has_stayed: &mut bool,
    transaction: Transaction<'t>,
    asked: Option<&(Reader, Asked)>,
) -> std::result::Result<Option<Card<'t>>, Failure> {
    let Some((_, asked)) = asked.filter(|_| *has_stayed) else {
        return Card::select(transaction, None);
    };
    let transaction = match Card::selected(transaction, asked)? {
        Ok(card) => return Ok(Some(card)),
        Err(transaction) => transaction,
    };
    let now = reader_now(context, &reader.name)?.ok_or(pcsc::Error::UnknownReader)?;
    *has_stayed = now == *reader;
    *reader = now;
    Card::select(transaction, Some(asked).filter(|_| *has_stayed))
}

fn look(hold: &mut Hold) -> std::result::Result<(Vec<TokenIdentity>, Vec<CString>), Failure> {
    let (context, list) = context_and_readers(hold)?;
    let (mut cards, mut held) = (Vec::new(), Vec::new());
    for reader in list {
        let mut connection = match context.connect(&reader.name, ShareMode::Shared, Protocols::ANY)
        {
            Ok(card) => Connection {
                card: Some(card),
                disposition: Disposition::LeaveCard,
            },
            Err(pcsc::Error::SharingViolation) => {
                held.push(reader.name);
                continue;
            }
            // It is not there any more, or mute. Whose it is can't be known.
            Err(error) if matches!(Way::of(error), Way::Gone | Way::Other) => {
                say_unread(&reader, &error);
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        let Some(card) = connection.card.as_mut() else {
            continue;
        };
        match Card::select(card.transaction()?, None) {
            Ok(Some(card)) => cards.push(card.identity.clone()),
            Ok(None) => {}
            // What can't be told from others is none of ours.
            Err(Failure::Answer(error)) => say_unread(&reader, &error),
            Err(failure) => return Err(failure),
        }
    }
    Ok((cards, held))
}

/// A card that can't be asked which one it is.
fn say_unread(reader: &Reader, error: &dyn std::fmt::Display) {
    eprintln!(
        "keyward-worker: the card in {}: {error}",
        reader.name.to_string_lossy()
    );
}
