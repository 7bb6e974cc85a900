//! Files, stdin and stdout: what is signed and opened, and what comes of it.

use std::fs::File;
use std::io::{IsTerminal, Read, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use keyward_protocol::SecretBytes;
use rustix::fs::{CWD, Mode, OFlags, RenameFlags, openat, renameat_with, unlinkat};
use zeroize::Zeroizing;

use crate::error::Error;
use crate::exit::Exit;
use crate::output::lost;

/// All of a file, or of stdin for `-` and for nothing.
pub(crate) fn read(file: Option<&Path>, limit: usize) -> Result<Vec<u8>, Error> {
    let name = name(file);
    let mut bytes = Vec::new();
    let cap = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    open(file)?
        .take(cap)
        .read_to_end(&mut bytes)
        .map_err(|e| Error::usage(format!("can't read {name}")).cause(e))?;
    if bytes.len() > limit {
        return Err(Error::usage(format!("{name} has more than {limit} bytes")));
    }
    Ok(bytes)
}

/// Where bytes come from, without a buffer that nobody wipes: a file, or stdin for `-` and for
/// nothing.
pub(crate) fn open(file: Option<&Path>) -> Result<File, Error> {
    let opened = match named(file) {
        None => std::io::stdin()
            .as_fd()
            .try_clone_to_owned()
            .map(File::from),
        Some(path) => File::open(path),
    };
    opened.map_err(|e| Error::usage(format!("can't read {}", name(file))).cause(e))
}

/// How many bytes there are, if that can be known.
pub(crate) fn size(input: &File) -> Option<u64> {
    let there = input.metadata().ok()?;
    there.is_file().then_some(there.len())
}

/// A secret of one line, without the line's end.
pub(crate) fn read_secret(file: &Path, limit: usize) -> Result<SecretBytes, Error> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(limit.saturating_add(2)));
    let read = |source: &mut dyn Read, bytes: &mut Vec<u8>| {
        let mut byte = Zeroizing::new([0; 1]);
        // One byte at a time, so that no other buffer has it and no later line is eaten.
        while bytes.len() <= limit && source.read(byte.as_mut())? == 1 {
            if byte.contains(&b'\n') {
                break;
            }
            bytes.extend_from_slice(byte.as_ref());
        }
        Ok(())
    };
    let done = read(&mut open(Some(file))?, &mut bytes);
    let name = name(Some(file));
    done.map_err(|e: std::io::Error| Error::usage(format!("can't read {name}")).cause(e))?;
    if bytes.last() == Some(&b'\r') {
        bytes.pop();
    }
    match bytes.len() {
        0 => Err(Error::usage(format!("the first line of {name} is empty"))),
        length if length > limit => Err(Error::usage(format!(
            "the first line of {name} has more than {limit} bytes"
        ))),
        _ => Ok(SecretBytes::copy_from(&bytes)),
    }
}

/// A secret as it is: a file, or stdin for `-` and for nothing.
pub(crate) fn read_secret_bytes(file: Option<&Path>, limit: usize) -> Result<SecretBytes, Error> {
    let name = name(file);
    let unreadable = |e| Error::usage(format!("can't read {name}")).cause(e);
    let mut source = open(file)?;
    // Never grown, so that no copy is left behind.
    let mut bytes = SecretBytes::zeroed(limit.saturating_add(1));
    let mut length: usize = 0;
    loop {
        let room = bytes.expose_mut().get_mut(length..).unwrap_or_default();
        match source.read(room) {
            Ok(0) => break,
            Ok(count) => length = length.saturating_add(count),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(unreadable(error)),
        }
    }
    if length > limit {
        return Err(Error::usage(format!("{name} has more than {limit} bytes")));
    }
    bytes.truncate(length);
    Ok(bytes)
}

/// Whether an input is stdin.
pub(crate) fn is_stdin(file: Option<&Path>) -> bool {
    named(file).is_none()
}

/// How an error calls an input.
pub(crate) fn name(file: Option<&Path>) -> String {
    named(file).map_or_else(|| "stdin".into(), |path| path.display().to_string())
}

fn named(file: Option<&Path>) -> Option<&Path> {
    file.filter(|path| *path != Path::new("-"))
}

/// What is written, which decides where it may go.
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
}

/// Refuses a terminal for bytes, before anything is asked of the agent.
pub(crate) fn check_output(output: Option<&Path>, content: Content) -> Result<(), Error> {
    let binary = matches!(content, Content::Binary | Content::SecretBinary);
    if binary && named(output).is_none() && output.is_none() && std::io::stdout().is_terminal() {
        return Err(
            Error::usage("the output is binary, and stdout is a terminal")
                .hint("-o FILE, or a pipe; -o - writes to the terminal all the same"),
        );
    }
    Ok(())
}

/// Writes to stdout, or to a file that is there as a whole or not at all.
pub(crate) fn write(output: Option<&Path>, content: Content, bytes: &[u8]) -> Result<(), Error> {
    let mut output = Output::create(output, content)?;
    output.write(bytes)?;
    output.finish()
}

/// An output that is written in parts, and is there as a whole or not at all.
///
/// A device, a pipe or a symbolic link is written to as it is: renaming would replace it.
pub(crate) struct Output {
    file: File,
    /// Absent for stdout.
    path: Option<PathBuf>,
    /// The name of the file until it is finished.
    beside: Option<PathBuf>,
}

impl Output {
    pub(crate) fn create(output: Option<&Path>, content: Content) -> Result<Self, Error> {
        let Some(path) = named(output) else {
            // The standard library would keep what it buffers, which can be a secret.
            let stdout = std::io::stdout().as_fd().try_clone_to_owned();
            return Ok(Self {
                file: stdout.map_err(lost)?.into(),
                path: None,
                beside: None,
            });
        };
        let unwritable = |e| unwritable(path, e);
        let (file, beside) = if std::fs::symlink_metadata(path).is_ok_and(|there| !there.is_file())
        {
            let file = File::options().write(true).truncate(true).open(path);
            (file.map_err(unwritable)?, None)
        } else {
            let secret = matches!(content, Content::SecretText | Content::SecretBinary);
            let mode = Mode::from_raw_mode(if secret { 0o600 } else { 0o666 });
            let beside = beside(path);
            let new = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
            let flags = new | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let file = openat(CWD, &beside, flags, mode).map_err(|e| unwritable(e.into()))?;
            (file.into(), Some(beside))
        };
        Ok(Self {
            file,
            path: Some(path.to_owned()),
            beside,
        })
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let written = self.file.write_all(bytes);
        written.map_err(|e| self.failed(e))
    }

    /// Gives the file its name.
    pub(crate) fn finish(mut self) -> Result<(), Error> {
        let (Some(path), Some(beside)) = (&self.path, &self.beside) else {
            return Ok(());
        };
        let named = self.file.sync_all().and_then(|()| {
            let none = RenameFlags::empty();
            Ok(renameat_with(CWD, beside, CWD, path, none)?)
        });
        named.map_err(|e| self.failed(e))?;
        self.beside = None;
        Ok(())
    }

    fn failed(&self, error: std::io::Error) -> Error {
        match &self.path {
            None => lost(error),
            Some(path) => unwritable(path, error),
        }
    }
}

impl Drop for Output {
    /// What was not finished is not left behind.
    fn drop(&mut self) {
        if let Some(beside) = &self.beside {
            let _ = unlinkat(CWD, beside, rustix::fs::AtFlags::empty());
        }
    }
}

fn unwritable(path: &Path, error: std::io::Error) -> Error {
    Error::new(Exit::Usage, format!("can't write {}", path.display())).cause(error)
}

/// A name in the same folder that nobody else uses at the time.
fn beside(path: &Path) -> PathBuf {
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".{}.new", std::process::id()));
    path.with_file_name(name)
}
