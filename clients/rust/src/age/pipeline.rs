//! Reading, AEAD and writing at the same time, in constant memory.
//!
//! A few threads do the same: take a batch of chunks from the input, seal or open it, wait for
//! their turn, write it. So the order is kept, each buffer is used again, and while one thread
//! reads or writes the others encrypt.

use std::io::{ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use aws_lc_rs::aead::LessSafeKey;
use keyward_protocol::SecretBytes;

use super::error::PayloadError;
use super::payload::{self, CHUNK, Direction, Place, SLOT, TAG};

/// How many chunks are read at once: few enough for the processor's own cache.
const CHUNKS: usize = 4;
/// How many threads there are at the most.
const THREADS: usize = 3;

/// Passes all of `input` to `output`: how many bytes of plaintext that was.
pub(super) fn run(
    direction: Direction,
    key: &LessSafeKey,
    input: impl Read + Send,
    output: impl Write + Send,
    progress: impl FnMut(u64) + Send,
) -> Result<u64, PayloadError> {
    let mut first = Batch::new(direction);
    let mut source = Source {
        input,
        ahead: None,
        next: 0,
        ended: false,
    };
    source.fill(&mut first);
    let more = !source.ended;
    let line = Line {
        key,
        source: Mutex::new(source),
        sink: Mutex::new(Sink {
            output,
            progress,
            next: 0,
            plaintext: 0,
            end: None,
        }),
        turn: Condvar::new(),
    };
    std::thread::scope(|scope| {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        for _ in 1..processors.min(THREADS) {
            if more {
                // Without it the work takes longer, that is all.
                let _ =
                    std::thread::Builder::new().spawn_scoped(scope, || line.work(None, direction));
            }
        }
        line.work(Some(first), direction);
    });
    let sink = line
        .sink
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner);
    match sink.end {
        Some(Ok(())) => Ok(sink.plaintext),
        Some(Err(error)) => Err(error),
        None => unreachable!("every batch is written, and one is the last"),
    }
}

/// What the threads share.
struct Line<'a, R, W, P> {
    key: &'a LessSafeKey,
    source: Mutex<Source<R>>,
    sink: Mutex<Sink<W, P>>,
    /// Somebody wrote, or there is nothing more to write.
    turn: Condvar,
}

impl<R: Read, W: Write, P: FnMut(u64)> Line<'_, R, W, P> {
    /// What each thread does.
    fn work(&self, first: Option<Batch>, direction: Direction) {
        let _leaving = Leaving(self);
        let mut batch = match first {
            Some(batch) => batch,
            None => {
                let mut batch = Batch::new(direction);
                if !lock(&self.source).fill(&mut batch) {
                    return;
                }
                batch
            }
        };
        loop {
            batch.transform(self.key);
            let more = self.write(&mut batch);
            if !more || !lock(&self.source).fill(&mut batch) {
                return;
            }
        }
    }

    /// Waits for its turn and writes: whether there is a reason to go on.
    fn write(&self, batch: &mut Batch) -> bool {
        let mut sink = lock(&self.sink);
        while sink.end.is_none() && sink.next != batch.number {
            sink = self.turn.wait(sink).unwrap_or_else(PoisonError::into_inner);
        }
        if sink.end.is_none() {
            sink.take(batch);
            self.turn.notify_all();
        }
        sink.end.is_none()
    }
}

/// A thread that panics must not leave others waiting for its turn.
struct Leaving<'a, 'b, R, W, P>(&'a Line<'b, R, W, P>);

impl<R, W, P> Drop for Leaving<'_, '_, R, W, P> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let mut sink = lock(&self.0.sink);
            let error = std::io::Error::other("a thread panicked");
            sink.end.get_or_insert(Err(PayloadError::Write(error)));
            self.0.turn.notify_all();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Where batches come from.
struct Source<R> {
    input: R,
    /// The byte after the last batch: it says that the batch was not the last.
    ahead: Option<u8>,
    next: u64,
    ended: bool,
}

impl<R: Read> Source<R> {
    /// Reads the next batch: whether there was one.
    fn fill(&mut self, batch: &mut Batch) -> bool {
        if self.ended {
            return false;
        }
        batch.number = self.next;
        self.next = self.next.saturating_add(1);
        batch.error = self.read(batch).err().map(PayloadError::Read);
        batch.last = self.ahead.is_none();
        self.ended = batch.last || batch.error.is_some();
        true
    }

    /// Fills the slots of a batch, and takes one byte more.
    fn read(&mut self, batch: &mut Batch) -> std::io::Result<()> {
        let unit = batch.direction.unit();
        let mut after = [0; 1];
        batch.filled = 0;
        if let (Some(byte), Some(start)) =
            (self.ahead.take(), batch.buffer.expose_mut().first_mut())
        {
            *start = byte;
            batch.filled = 1;
        }
        let mut slices: Vec<IoSliceMut<'_>> = batch
            .buffer
            .expose_mut()
            .chunks_exact_mut(SLOT)
            .filter_map(|slot| slot.get_mut(..unit))
            .chain([after.as_mut_slice()])
            .map(IoSliceMut::new)
            .collect();
        let mut slices = slices.as_mut_slice();
        IoSliceMut::advance_slices(&mut slices, batch.filled);
        while !slices.is_empty() {
            match self.input.read_vectored(slices) {
                Ok(0) => return Ok(()),
                Ok(count) => {
                    batch.filled = batch.filled.saturating_add(count);
                    IoSliceMut::advance_slices(&mut slices, count);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        batch.filled = batch.filled.saturating_sub(1);
        self.ahead = Some(after[0]);
        Ok(())
    }
}

/// Where batches go, in their order.
struct Sink<W, P> {
    output: W,
    progress: P,
    next: u64,
    plaintext: u64,
    /// How it ended, if it did.
    end: Option<Result<(), PayloadError>>,
}

impl<W: Write, P: FnMut(u64)> Sink<W, P> {
    fn take(&mut self, batch: &mut Batch) {
        self.next = self.next.saturating_add(1);
        if let Err(error) = self.write(batch) {
            self.end = Some(Err(PayloadError::Write(error)));
            return;
        }
        self.plaintext = self.plaintext.saturating_add(batch.plaintext());
        (self.progress)(self.plaintext);
        if let Some(error) = batch.error.take() {
            self.end = Some(Err(error));
        } else if batch.last {
            self.end = Some(self.output.flush().map_err(PayloadError::Write));
        }
    }

    fn write(&mut self, batch: &Batch) -> std::io::Result<()> {
        let slots = match batch.direction {
            Direction::Seal => batch.buffer.expose().chunks_exact(SLOT),
            Direction::Open => batch.opened.expose().chunks_exact(CHUNK),
        };
        let mut slices: Vec<IoSlice<'_>> = slots
            .zip(&batch.made)
            .filter_map(|(slot, length)| slot.get(..*length))
            .filter(|made| !made.is_empty())
            .map(IoSlice::new)
            .collect();
        let mut slices = slices.as_mut_slice();
        while !slices.is_empty() {
            match self.output.write_vectored(slices) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(count) => IoSlice::advance_slices(&mut slices, count),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Some chunks that are read, sealed or opened, and written together.
struct Batch {
    direction: Direction,
    /// A slot for each chunk, where it is read and sealed in place; wiped at the end.
    buffer: SecretBytes,
    /// Where chunks are opened to: one that fails must still be there to be tried as the last.
    opened: SecretBytes,
    number: u64,
    /// How much was read.
    filled: usize,
    last: bool,
    /// How long each chunk is after the AEAD.
    made: Vec<usize>,
    /// What comes after the chunks that were made.
    error: Option<PayloadError>,
}

impl Batch {
    fn new(direction: Direction) -> Self {
        let opened = match direction {
            Direction::Seal => 0,
            Direction::Open => CHUNKS.saturating_mul(CHUNK),
        };
        Self {
            direction,
            buffer: SecretBytes::zeroed(CHUNKS.saturating_mul(SLOT)),
            opened: SecretBytes::zeroed(opened),
            number: 0,
            filled: 0,
            last: false,
            made: Vec::with_capacity(CHUNKS),
            error: None,
        }
    }

    /// Seals or opens the chunks, up to the first that fails.
    fn transform(&mut self, key: &LessSafeKey) {
        self.made.clear();
        if self.error.is_some() {
            return;
        }
        let unit = self.direction.unit();
        let count = self.filled.div_ceil(unit).max(1);
        let before = self.number.saturating_mul(CHUNKS as u64);
        let mut rest = self.filled;
        let slots = self.buffer.expose_mut().chunks_exact_mut(SLOT);
        let mut opened = self.opened.expose_mut().chunks_exact_mut(CHUNK);
        for ((slot, number), index) in slots.zip(before..).zip(1..=count) {
            let length = rest.min(unit);
            rest = rest.saturating_sub(length);
            let last = self.last && index == count;
            let place = Place { number, last };
            let made = match self.direction {
                Direction::Seal => payload::seal(key, place, slot, length).ok_or_else(|| {
                    PayloadError::Write(std::io::Error::other("a chunk can't be sealed"))
                }),
                Direction::Open => {
                    let chunk = slot.get(..length).unwrap_or_default();
                    let plaintext = opened.next().unwrap_or_default();
                    open(key, place, chunk, plaintext, &mut self.error)
                }
            };
            match made {
                Ok(length) => self.made.push(length),
                Err(error) => self.error = Some(error),
            }
            if self.error.is_some() {
                return;
            }
        }
    }

    /// How much plaintext there was in what was made.
    fn plaintext(&self) -> u64 {
        let per_chunk = |length: &usize| match self.direction {
            Direction::Seal => length.saturating_sub(TAG),
            Direction::Open => (*length).min(CHUNK),
        };
        let sum: usize = self.made.iter().map(per_chunk).sum();
        u64::try_from(sum).unwrap_or(u64::MAX)
    }
}

/// Opens a chunk, or says why it does not open; `after` is what is wrong behind it.
fn open(
    key: &LessSafeKey,
    place: Place,
    chunk: &[u8],
    plaintext: &mut [u8],
    after: &mut Option<PayloadError>,
) -> Result<usize, PayloadError> {
    if let Some(length) = payload::open(key, place, chunk, plaintext) {
        return Ok(length);
    }
    let number = place.number.saturating_add(1);
    if chunk.len() < TAG {
        return Err(PayloadError::Truncated { chunk: number });
    }
    // A full chunk can be the last or not, and which it is tells what happened behind it.
    let otherwise = Place {
        last: !place.last,
        ..place
    };
    match payload::open(key, otherwise, chunk, plaintext) {
        Some(length) if chunk.len() == SLOT => {
            *after = Some(if place.last {
                let chunk = number.saturating_add(1);
                PayloadError::Truncated { chunk }
            } else {
                PayloadError::Trailing
            });
            Ok(length)
        }
        _ => Err(PayloadError::Changed { chunk: number }),
    }
}
