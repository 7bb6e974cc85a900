//! Where a file of any size goes: stdout, something that can't be replaced, or a new file that is
//! there as a whole or not at all.

mod new_file;

use std::fs::File;
use std::io::{self, ErrorKind, IoSlice, IsTerminal, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use keyward_client::age::PayloadError;

use crate::arguments::Target;
use crate::error::Error;
use crate::exit::Exit;
use crate::output::lost;
use new_file::NewFile;

/// What is written, which decides who may read it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Anybody who may read the folder.
    Ciphertext,
    /// Its owner alone.
    Plaintext,
}

/// A destination that can be used as far as can be seen, and that nothing was done to yet.
pub(crate) struct Destination {
    path: Option<PathBuf>,
    force: bool,
    kind: Kind,
    /// It is stdout, and that is a terminal that may show text.
    terminal: bool,
}

impl Destination {
    /// Refuses what can't be, before anything is asked of the agent.
    pub(crate) fn check(target: Target, kind: Kind) -> Result<Self, Error> {
        let said = target.file.is_some();
        let path = target.file.filter(|path| path != Path::new("-"));
        let terminal = !said && io::stdout().is_terminal();
        if terminal && kind == Kind::Ciphertext {
            return Err(binary_for_terminal());
        }
        match &path {
            Some(path) if path.is_dir() => {
                let name = path.display();
                Err(Error::usage(format!("can't write {name}")).cause("it is a folder"))
            }
            Some(path) if path.is_file() && !target.force => Err(exists(path)),
            _ => Ok(Self {
                path,
                force: target.force,
                kind,
                terminal,
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
        let there = std::fs::metadata(&path);
        let opened = if there.is_ok_and(|there| !there.is_file()) {
            let file = File::options().write(true).open(&path);
            file.map(|file| Way::Device(file, path.clone()))
        } else {
            // Behind a symbolic link the file itself is replaced.
            let target = std::fs::canonicalize(&path).unwrap_or_else(|_| path.clone());
            NewFile::create(target, self.force, self.kind).map(Way::File)
        };
        opened.map(Output).map_err(|e| unwritable(&path, e))
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
            PayloadError::Write(error) => {
                return match &self.0 {
                    Way::Terminal(_) if error.kind() == ErrorKind::InvalidData => {
                        binary_for_terminal()
                    }
                    Way::Stdout(_) | Way::Terminal(_) => lost(error),
                    Way::Device(_, path) => unwritable(path, error),
                    Way::File(file) => unwritable(file.path(), error),
                };
            }
            error => Error::new(
                Exit::Negative,
                format!("{input} is not as it was encrypted"),
            )
            .cause(error),
        };
        self.partly(told)
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
