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

/// Where bytes come from: a file, or stdin for `-` and for nothing.
pub(crate) fn read(file: Option<&Path>, limit: usize) -> Result<Vec<u8>, ReadError> {
    let name = name(file);
    let mut bytes = Vec::new();
    let cap = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    let read = match named(file) {
        None => std::io::stdin().lock().take(cap).read_to_end(&mut bytes),
        Some(path) => File::open(path).and_then(|file| file.take(cap).read_to_end(&mut bytes)),
    };
    match read {
        Err(error) => Err(ReadError::Io(
            Error::usage(format!("can't read {name}")).cause(error),
        )),
        Ok(_) if bytes.len() > limit => Err(ReadError::TooLarge(Error::usage(format!(
            "{name} has more than {limit} bytes"
        )))),
        Ok(_) => Ok(bytes),
    }
}

/// Why there is no input.
#[derive(Debug)]
pub(crate) enum ReadError {
    /// There is more than can be sent.
    TooLarge(Error),
    /// It can't be read.
    Io(Error),
}

impl From<ReadError> for Error {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::TooLarge(error) | ReadError::Io(error) => error,
        }
    }
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
    let done = if file == Path::new("-") {
        // The standard library buffers its stdin, and does not wipe the buffer.
        let stdin = std::io::stdin().as_fd().try_clone_to_owned();
        stdin.and_then(|stdin| read(&mut File::from(stdin), &mut bytes))
    } else {
        File::open(file).and_then(|mut file| read(&mut file, &mut bytes))
    };
    let name = name(Some(file));
    done.map_err(|e| Error::usage(format!("can't read {name}")).cause(e))?;
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
    match named(output) {
        None => {
            // The standard library would keep what it buffers, which can be a secret.
            let stdout = std::io::stdout().as_fd().try_clone_to_owned();
            stdout
                .and_then(|stdout| File::from(stdout).write_all(bytes))
                .map_err(lost)
        }
        Some(path) => replace(path, content, bytes).map_err(|e| {
            Error::new(Exit::Usage, format!("can't write {}", path.display())).cause(e)
        }),
    }
}

/// Writes a file beside `path` and gives it that name. A device, a pipe or a symbolic link is
/// written to as it is: renaming would replace it.
fn replace(path: &Path, content: Content, bytes: &[u8]) -> std::io::Result<()> {
    if std::fs::symlink_metadata(path).is_ok_and(|there| !there.is_file()) {
        return File::options()
            .write(true)
            .truncate(true)
            .open(path)?
            .write_all(bytes);
    }
    let secret = matches!(content, Content::SecretText | Content::SecretBinary);
    let mode = Mode::from_raw_mode(if secret { 0o600 } else { 0o666 });
    let beside = beside(path);
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut file = File::from(openat(CWD, &beside, flags, mode)?);
    let written = file
        .write_all(bytes)
        .and_then(|()| file.sync_all())
        .and_then(|()| {
            Ok(renameat_with(
                CWD,
                &beside,
                CWD,
                path,
                RenameFlags::empty(),
            )?)
        });
    if written.is_err() {
        let _ = unlinkat(CWD, &beside, rustix::fs::AtFlags::empty());
    }
    written
}

/// A name in the same folder that nobody else uses at the time.
fn beside(path: &Path) -> PathBuf {
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".{}.new", std::process::id()));
    path.with_file_name(name)
}
