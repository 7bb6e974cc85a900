//! What pcscd says of its readers, asked as its own library asks it.
//!
//! The library finds pcscd by an environment variable, which a process has once; a process has many
//! rigs. So the two messages that are needed are spoken here: the version, and the state of all
//! readers. They are the same in all of pcsc-lite 1.9 and 2.

use std::{
    io::{self, Read as _, Write as _},
    mem::size_of,
    os::unix::net::UnixStream,
    path::Path,
    time::Duration,
};

const VERSION: u32 = 0x11;
const READERS_STATE: u32 = 0x12;
/// Major and minor version of the protocol, and room for the result.
const OURS: [u32; 3] = [4, 4, 0];

/// As many readers as pcscd has room for.
const READERS: usize = 16;
const NAME: usize = 128;
/// Name, count of events, state, sharing, answer to reset (33 bytes and padding), its length.
const READER: usize = NAME + 3 * 4 + 36 + size_of::<usize>();

const PRESENT: u32 = 4;

/// pcscd answers at once, unless it is stopped or has died.
const PATIENCE: Duration = Duration::from_secs(60);

/// A reader, as pcscd sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reader {
    pub(super) name: String,
    pub(super) is_present: bool,
}

/// A connection to a pcscd.
#[derive(Debug)]
pub(super) struct Status(UnixStream);

impl Status {
    /// Returns when pcscd serves: its readers are there by then.
    pub(super) fn connect(socket: &Path) -> io::Result<Self> {
        let stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut status = Self(stream);
        let body = OURS.map(u32::to_ne_bytes).concat();
        status.send(VERSION, &body)?;
        let mut answer = [0; 12];
        status.0.read_exact(&mut answer)?;
        match answer.last_chunk() {
            Some(&[0, 0, 0, 0]) => Ok(status),
            _ => Err(io::Error::other(
                "pcscd has another version of its protocol",
            )),
        }
    }

    /// The readers, in the order of its configuration.
    pub(super) fn readers(&mut self) -> io::Result<Vec<Reader>> {
        self.send(READERS_STATE, &[])?;
        let mut answer = vec![0; READERS * READER];
        self.0.read_exact(&mut answer)?;
        Ok(answer.chunks_exact(READER).filter_map(reader).collect())
    }

    fn send(&mut self, command: u32, body: &[u8]) -> io::Result<()> {
        let length = u32::try_from(body.len()).map_err(io::Error::other)?;
        let head = [length.to_ne_bytes(), command.to_ne_bytes()].concat();
        self.0.write_all(&[&head, body].concat())
    }
}

/// An entry of the list, unless nothing is in it.
fn reader(entry: &[u8]) -> Option<Reader> {
    let (name, rest) = entry.split_at_checked(NAME)?;
    let name = name.split(|byte| *byte == 0).next()?;
    let (_events, rest) = rest.split_at_checked(4)?;
    let state = u32::from_ne_bytes(*rest.first_chunk()?);
    (!name.is_empty()).then(|| Reader {
        name: String::from_utf8_lossy(name).into_owned(),
        is_present: state & PRESENT != 0,
    })
}
