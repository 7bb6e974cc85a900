//! Where an output goes: stdout, something that can't be replaced, or a new file that is there as a
//! whole or not at all.

mod new_file;

use std::fs::File;
use std::io::{self, ErrorKind, IoSlice, IsTerminal, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use keyward_client::age::PayloadError;

use crate::error::Error;
use crate::exit::Exit;
use crate::output::lost;
use new_file::NewFile;

/// What is written, which decides where it may go and who may read it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    /// Lines.
    Text,
    /// Bytes that a terminal can't show.
    Binary,
    /// Lines that only their owner may read.
    SecretText,
    /// Bytes that only their owner may read.
    SecretBinary,
    /// What somebody encrypted: only its owner may read it, and a terminal can show it if it is text.
    Plaintext,
}

impl Content {
    fn is_binary(self) -> bool {
        matches!(self, Self::Binary | Self::SecretBinary)
    }

    fn is_secret(self) -> bool {
        matches!(
            self,
            Self::SecretText | Self::SecretBinary | Self::Plaintext
        )
    }
}

/// Refuses what can't be, before anything is asked of the agent.
pub(crate) fn check(output: Option<&Path>, content: Content) -> Result<(), Error> {
    Destination::check(output, true, content).map(drop)
}

/// Writes to stdout, or to a file that is there as a whole or not at all.
pub(crate) fn write(output: Option<&Path>, content: Content, bytes: &[u8]) -> Result<(), Error> {
    let mut output = Destination::check(output, true, content)?.open()?;
    let written = output.write_all(bytes);
    written.map_err(|e| output.unwritten(e))?;
    output.finish()
}

/// A destination that can be used as far as can be seen, and that nothing was done to yet.
pub(crate) struct Destination {
    path: Option<PathBuf>,
    replace: bool,
    content: Content,
    /// It is stdout, and that is a terminal that may show text.
    terminal: bool,
}

impl Destination {
    /// Refuses what can't be, before anything is asked of the agent.
    pub(crate) fn check(
        output: Option<&Path>,
        replace: bool,
        content: Content,
    ) -> Result<Self, Error> {
        let path = output.filter(|path| *path != Path::new("-"));
        let terminal = output.is_none() && io::stdout().is_terminal();
        if terminal && content.is_binary() {
            return Err(binary_for_terminal());
        }
        match path {
            Some(path) if path.is_dir() => {
                let name = path.display();
                Err(Error::usage(format!("can't write {name}")).cause("it is a folder"))
            }
            Some(path) if path.is_file() && !replace => Err(exists(path)),
            _ => Ok(Self {
                path: path.map(Path::to_owned),
                replace,
                content,
                terminal: terminal && content == Content::Plaintext,
            }),
        }
    }

    /// Opens it.
    pub(crate) fn open(self) -> Result<Output, Error> {
        let Some(path) = self.path else {
            // The standard library would keep what it buffers, which can be a secret.
            let stdout = io::stdout().as_fd().try_clone_to_owned().map_err(lost)?;
            let file = File::from(stdout);
            return Ok(Output(match self.terminal {
                true => Way::Terminal(file),
                false => Way::Stdout(file),
            }));
        };
        let opened = match special(&path) {
            Some(file) => file.map(|file| Way::Device(file, path.clone())),
            None => target(&path)
                .and_then(|target| NewFile::create(target, self.replace, self.content.is_secret()))
                .map(Way::File),
        };
        opened.map(Output).map_err(|e| unwritable(&path, e))
    }
}

/// A device or a pipe, which is written to as it is: a new name would replace it.
fn special(path: &Path) -> Option<io::Result<File>> {
    let there = std::fs::metadata(path).ok()?;
    if there.is_file() {
        return None;
    }
    let file = File::options().write(true).open(path);
    Some(file.and_then(|file| match file.metadata()?.is_file() {
        // Somebody put a file there meanwhile: its mode and what is in it are not ours.
        true => Err(io::Error::other("it was replaced by a file")),
        false => Ok(file),
    }))
}

/// The name that a new file gets: behind a symbolic link the file itself is replaced, so that what
/// had it open, and whoever may read it, has the old one.
fn target(path: &Path) -> io::Result<PathBuf> {
    match std::fs::canonicalize(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            match std::fs::symlink_metadata(path) {
                Ok(link) if link.is_symlink() => {
                    Err(io::Error::other("it is a symbolic link to nothing"))
                }
                _ => Ok(path.to_owned()),
            }
        }
        resolved => resolved,
    }
}

/// Something that is written to.
pub(crate) struct Output(Way);

enum Way {
    Stdout(File),
    /// Takes text only: other bytes can move its cursor, or worse.
    Terminal(File),
    /// A device or a pipe, which is written to as it is.
    Device(File, PathBuf),
    File(NewFile),
}

impl Output {
    /// All was written: a new file gets its name.
    pub(crate) fn finish(self) -> Result<(), Error> {
        match self.0 {
            Way::File(file) => {
                let path = file.path().to_owned();
                file.keep().map_err(|e| unwritable(&path, e))
            }
            Way::Stdout(_) | Way::Terminal(_) | Way::Device(..) => Ok(()),
        }
    }

    /// Why not all was written; a new file is not there then.
    pub(crate) fn explain(&self, error: PayloadError, input: &str) -> Error {
        let told = match error {
            PayloadError::Read(error) => {
                return self.partly(Error::usage(format!("can't read {input}")).cause(error));
            }
            PayloadError::Write(error) => return self.unwritten(error),
            error => Error::new(
                Exit::Negative,
                format!("{input} is not as it was encrypted"),
            )
            .cause(error),
        };
        self.partly(told)
    }

    fn unwritten(&self, error: io::Error) -> Error {
        match &self.0 {
            Way::Terminal(_) if error.kind() == ErrorKind::InvalidData => binary_for_terminal(),
            Way::Stdout(_) | Way::Terminal(_) => lost(error),
            Way::Device(_, path) => unwritable(path, error),
            Way::File(file) => unwritable(file.path(), error),
        }
    }

    fn partly(&self, error: Error) -> Error {
        match &self.0 {
            Way::File(_) => error,
            _ => error.cause("what was written so far is not all of it"),
        }
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.0 {
            Way::Stdout(file) | Way::Device(file, _) => file.write(bytes),
            Way::File(file) => file.write(bytes),
            Way::Terminal(_) if !is_text(bytes) => Err(ErrorKind::InvalidData.into()),
            Way::Terminal(file) => file.write(bytes),
        }
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match &mut self.0 {
            Way::Stdout(file) | Way::Device(file, _) => file.write_vectored(slices),
            Way::File(file) => file.write_vectored(slices),
            Way::Terminal(_) => {
                let first = slices.iter().find(|slice| !slice.is_empty());
                first.map_or(Ok(0), |slice| self.write(slice))
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// No control characters but those of lines and tables, of either kind (C0, and C1 in UTF-8).
fn is_text(bytes: &[u8]) -> bool {
    let control = |byte: &u8| matches!(byte, 0..=8 | 0x0b..=0x1f | 0x7f);
    let c1 = |two: &[u8]| matches!(two, [0xc2, 0x80..=0x9f]);
    !bytes.iter().any(control) && !bytes.windows(2).any(c1)
}

fn binary_for_terminal() -> Error {
    Error::usage("the output is binary, and stdout is a terminal")
        .hint("-o FILE, or a pipe; -o - writes to the terminal all the same")
}

fn exists(path: &Path) -> Error {
    Error::usage(format!("{} is there already", path.display()))
        .hint("another name, or --force to replace it")
}

fn unwritable(path: &Path, error: io::Error) -> Error {
    match error.kind() {
        ErrorKind::AlreadyExists => exists(path),
        _ => Error::usage(format!("can't write {}", path.display())).cause(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_gets_text_only() {
        for text in ["", "a\n\tb", "naïve ünïcode €"] {
            assert!(is_text(text.as_bytes()), "{text}");
        }
        for other in [&b"\x1b[2J"[..], b"a\rb", b"\0", b"\x7f", b"\xc2\x9b2J"] {
            assert!(!is_text(other), "{other:?}");
        }
    }
}
