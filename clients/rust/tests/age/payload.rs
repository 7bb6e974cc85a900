//! Payloads: the borders of chunks, and everything that is not as it was written.

use std::io::{self, Read, Write};

use keyward_client::age::{Decryptor, Encryptor, PayloadError};
use proptest::prelude::*;

use crate::{decrypted, encrypted, file_key, payload_start, stanza};

const CHUNK: usize = 65536;
const SEALED: usize = CHUNK + 16;
/// More than one thread takes at once, twice.
const MANY: usize = 9 * CHUNK;

fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|i| (i / 7 + i / CHUNK) as u8).collect()
}

#[test]
fn every_border_of_a_chunk_is_kept() {
    for middle in [0, CHUNK, 2 * CHUNK, 4 * CHUNK, 8 * CHUNK, MANY] {
        for length in [middle.saturating_sub(1), middle, middle + 1] {
            let plaintext = pattern(length);
            let file = encrypted(&plaintext);
            let chunks = length.div_ceil(CHUNK).max(1);
            assert_eq!(file.len(), payload_start(&file) + length + 16 * chunks);
            let (came, result) = decrypted(&file);
            assert_eq!(result.unwrap(), length as u64);
            assert!(came == plaintext, "{length}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn what_is_decrypted_is_what_was_encrypted(length in 0..MANY, pieces in 1..100_000usize) {
        let plaintext = pattern(length);
        let mut file = Vec::new();
        let encryptor = Encryptor::new(&file_key(), vec![stanza()]).unwrap();
        encryptor.encrypt(Pieces(&plaintext, pieces), PiecesOut(&mut file, pieces), |_| {}).unwrap();
        let mut came = Vec::new();
        let input = io::BufReader::new(Pieces(&file, pieces));
        let payload = Decryptor::read(input).unwrap().open(&file_key()).unwrap();
        payload.write_to(PiecesOut(&mut came, pieces), |_| {}).unwrap();
        prop_assert!(came == plaintext);
    }

    #[test]
    fn what_was_changed_gives_only_whole_chunks_from_before(
        length in 0..MANY,
        at in any::<prop::sample::Index>(),
        bit in 0..8u32,
    ) {
        let plaintext = pattern(length);
        let mut file = encrypted(&plaintext);
        let start = payload_start(&file);
        let at = at.index(file.len() - start);
        file[start + at] ^= 1 << bit;
        let (came, result) = decrypted(&file);
        let chunk = at / SEALED;
        let Err(PayloadError::Changed { chunk: named }) = result else {
            panic!("{result:?}");
        };
        prop_assert_eq!(named, chunk as u64 + 1);
        prop_assert!(came == plaintext[..chunk * CHUNK]);
    }

    #[test]
    fn what_was_cut_is_an_error_wherever_it_was_cut(length in 0..MANY, at in any::<prop::sample::Index>()) {
        let plaintext = pattern(length);
        let file = encrypted(&plaintext);
        let start = payload_start(&file);
        let (came, result) = decrypted(&file[..start + at.index(file.len() - start)]);
        prop_assert!(result.is_err());
        prop_assert!(plaintext.starts_with(&came) && came.len() % CHUNK == 0);
    }
}

#[test]
fn what_was_cut_at_the_end_of_a_chunk_is_refused() {
    let file = encrypted(&pattern(MANY));
    let start = payload_start(&file);
    for chunks in 0..9 {
        let (came, result) = decrypted(&file[..start + chunks * SEALED]);
        let Err(PayloadError::Truncated { chunk }) = result else {
            panic!("{result:?}");
        };
        assert_eq!(chunk, chunks as u64 + 1);
        assert_eq!(came.len(), chunks * CHUNK);
    }
}

#[test]
fn whatever_comes_after_the_end_is_refused() {
    for length in [0, 1, CHUNK, 4 * CHUNK, MANY] {
        let file = encrypted(&pattern(length));
        for after in [1, 15, 16, 17, SEALED, 5 * SEALED] {
            let longer = [&file[..], &vec![0; after]].concat();
            let (came, result) = decrypted(&longer);
            // A full chunk shows that it is the last; of a shorter one it is part then.
            if length > 0 && length % CHUNK == 0 {
                assert!(matches!(result, Err(PayloadError::Trailing)));
                assert_eq!(came.len(), length);
            } else {
                assert!(matches!(result, Err(PayloadError::Changed { .. })));
                assert!(came.is_empty());
            }
        }
    }
}

#[test]
fn chunks_that_changed_places_are_refused() {
    let file = encrypted(&pattern(MANY));
    let start = payload_start(&file);
    for (one, other) in [(0, 1), (3, 4), (7, 8)] {
        let mut swapped = file.clone();
        let chunk = |n: usize| start + n * SEALED..start + (n + 1) * SEALED;
        swapped[chunk(one)].copy_from_slice(&file[chunk(other)]);
        swapped[chunk(other)].copy_from_slice(&file[chunk(one)]);
        let (came, result) = decrypted(&swapped);
        assert!(matches!(result, Err(PayloadError::Changed { chunk }) if chunk == one as u64 + 1));
        assert_eq!(came.len(), one * CHUNK);
    }
}

#[test]
fn two_files_of_the_same_have_nothing_in_common() {
    let (one, other) = (encrypted(b"the same"), encrypted(b"the same"));
    let start = payload_start(&one);
    assert_eq!(one[..start - 16], other[..start - 16]);
    assert_ne!(one[start - 16..start], other[start - 16..start]);
    assert_ne!(one[start..], other[start..]);
}

#[test]
fn progress_is_told_in_order_up_to_the_end() {
    let mut told = Vec::new();
    let encryptor = Encryptor::new(&file_key(), vec![stanza()]).unwrap();
    encryptor
        .encrypt(&*pattern(MANY), io::sink(), |done| told.push(done))
        .unwrap();
    assert!(told.is_sorted());
    assert_eq!(told.last(), Some(&(MANY as u64)));
}

#[test]
fn an_input_that_fails_is_told_from_one_that_ends() {
    struct Failing(usize);
    impl Read for Failing {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.0 = self
                .0
                .checked_sub(1)
                .ok_or(io::ErrorKind::ConnectionReset)?;
            Ok(buffer.len())
        }
    }
    for reads in [0, 1, 20] {
        let encryptor = Encryptor::new(&file_key(), vec![stanza()]).unwrap();
        let error = encryptor
            .encrypt(Failing(reads), io::sink(), |_| {})
            .unwrap_err();
        assert!(matches!(error, PayloadError::Read(_)));
    }
}

#[test]
fn an_output_that_fails_ends_it_all() {
    struct Full(usize);
    impl Write for Full {
        fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
            self.0 = self.0.checked_sub(1).ok_or(io::ErrorKind::StorageFull)?;
            Ok(buffer.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    for writes in [0, 1, 7] {
        let encryptor = Encryptor::new(&file_key(), vec![stanza()]).unwrap();
        let error = encryptor
            .encrypt(io::repeat(7), Full(writes), |_| {})
            .unwrap_err();
        assert!(matches!(error, PayloadError::Write(_)));
    }
}

#[test]
fn a_panic_in_one_thread_keeps_no_other_waiting() {
    struct Panicking(usize);
    impl Write for Panicking {
        fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
            self.0 = self.0.checked_sub(1).unwrap();
            Ok(buffer.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    struct Never;
    impl Read for Never {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            Ok(buffer.len())
        }
    }
    let encryptor = Encryptor::new(&file_key(), vec![stanza()]).unwrap();
    let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        encryptor.encrypt(Never, Panicking(30), |_| {})
    }));
    assert!(ended.is_err());
}

/// An input that gives so many bytes at a time at the most.
struct Pieces<'a>(&'a [u8], usize);

impl Read for Pieces<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = buffer.len().min(self.1);
        self.0.read(&mut buffer[..length])
    }
}

/// An output that takes so many bytes at a time at the most.
struct PiecesOut<'a>(&'a mut Vec<u8>, usize);

impl Write for PiecesOut<'_> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.0.write(&buffer[..buffer.len().min(self.1)])
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
