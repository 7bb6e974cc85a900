//! SHA-256 of executables, each read once.

use std::collections::HashMap;
use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;

use sha2::{Digest, Sha256};

use super::message::FileId;

/// The longest file that is read: the monitor has one thread.
const MOST_BYTES: u64 = 256 * 1024 * 1024;
/// How many hashes are kept.
const MOST_ENTRIES: usize = 1024;

/// Hashes that are known.
#[derive(Debug, Default)]
pub(super) struct Hashes {
    known: HashMap<Key, Entry>,
    clock: u64,
}

/// A file's content changes with its ctime, which no program can set.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    file: FileId,
    size: u64,
    ctime: (i64, i64),
}

#[derive(Debug)]
struct Entry {
    sha256: [u8; 32],
    used: u64,
}

impl Hashes {
    /// The hash of an open file. `None`: it is too long, no regular file, or changes.
    pub(super) fn of(&mut self, file: &mut File) -> io::Result<Option<[u8; 32]>> {
        let metadata = file.metadata()?;
        let key = Key::of(&metadata);
        self.clock = self.clock.saturating_add(1);
        if let Some(entry) = self.known.get_mut(&key) {
            entry.used = self.clock;
            return Ok(Some(entry.sha256));
        }
        if !metadata.is_file() || metadata.len() > MOST_BYTES {
            return Ok(None);
        }
        let sha256 = read(file)?;
        if Key::of(&file.metadata()?) != key {
            return Ok(None);
        }
        self.keep(key, sha256);
        Ok(Some(sha256))
    }

    fn keep(&mut self, key: Key, sha256: [u8; 32]) {
        if self.known.len() >= MOST_ENTRIES {
            let oldest = self.known.iter().min_by_key(|(_, entry)| entry.used);
            if let Some(oldest) = oldest.map(|(key, _)| key.clone()) {
                self.known.remove(&oldest);
            }
        }
        let used = self.clock;
        self.known.insert(key, Entry { sha256, used });
    }
}

impl Key {
    fn of(metadata: &Metadata) -> Self {
        Self {
            file: FileId {
                device: metadata.dev(),
                inode: metadata.ino(),
            },
            size: metadata.len(),
            ctime: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

fn read(file: &mut File) -> io::Result<[u8; 32]> {
    let mut digest = Sha256::new();
    let mut buffer = vec![0; 256 * 1024];
    let mut file = file.take(MOST_BYTES.saturating_add(1));
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(digest.finalize().into()),
            Ok(length) => digest.update(buffer.get(..length).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::io::Write;

    use super::*;

    fn hash_of(hashes: &mut Hashes, path: &std::path::Path) -> [u8; 32] {
        hashes.of(&mut File::open(path).unwrap()).unwrap().unwrap()
    }

    #[test]
    fn a_file_that_is_replaced_or_changed_gets_a_new_hash() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("program");
        let mut hashes = Hashes::default();
        std::fs::write(&path, b"abc").unwrap();
        let abc = hash_of(&mut hashes, &path);
        assert_eq!(abc[..4], [0xba, 0x78, 0x16, 0xbf]);
        assert_eq!(hash_of(&mut hashes, &path), abc);
        assert_eq!(hashes.known.len(), 1);
        let mut file = File::options().append(true).open(&path).unwrap();
        file.write_all(b"d").unwrap();
        assert_ne!(hash_of(&mut hashes, &path), abc);
        let other = folder.path().join("other");
        std::fs::write(&other, b"abc").unwrap();
        std::fs::rename(&other, &path).unwrap();
        assert_eq!(hash_of(&mut hashes, &path), abc);
    }

    #[test]
    fn a_file_that_is_too_long_is_not_read() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(MOST_BYTES + 1).unwrap();
        let mut file = file;
        assert_eq!(Hashes::default().of(&mut file).unwrap(), None);
    }

    #[test]
    fn the_cache_is_bounded_and_forgets_what_was_not_used() {
        let mut hashes = Hashes::default();
        let key = |inode| Key {
            file: FileId { device: 1, inode },
            size: 1,
            ctime: (0, 0),
        };
        for inode in 0..3000 {
            hashes.clock += 1;
            hashes.keep(key(inode), [0; 32]);
        }
        assert_eq!(hashes.known.len(), MOST_ENTRIES);
        assert!(hashes.known.contains_key(&key(2999)));
        assert!(!hashes.known.contains_key(&key(0)));
    }
}
