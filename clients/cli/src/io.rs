//! Files and stdin: what is signed and opened.

use std::fs::File;
use std::io::{IsTerminal, Read, Write};
use std::os::fd::AsFd;
use std::path::Path;

use keyward_protocol::SecretBytes;
use zeroize::Zeroizing;

use crate::error::Error;

/// All of a file, or of stdin for `-` and for nothing. It can be empty, but not where a person was to
/// type it.
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
    typed(file, bytes.len())?;
    Ok(bytes)
}

/// Where bytes come from, without a buffer that nobody wipes: a file, or stdin for `-` and for
/// nothing. A person who is to type them is told so.
pub(crate) fn open(file: Option<&Path>) -> Result<File, Error> {
    if is_typed(file) && std::io::stderr().is_terminal() {
        let line = "keyward: what is typed here is read, until Ctrl-D on a line of its own\n";
        // It is a courtesy.
        let _ = std::io::stderr().write_all(line.as_bytes());
    }
    source(file)
}

/// Refuses that a person typed nothing: who gave no FILE seldom means an empty one.
pub(crate) fn typed(file: Option<&Path>, length: usize) -> Result<(), Error> {
    if length == 0 && is_typed(file) {
        let hint = "a FILE, or /dev/null if it is to be empty";
        return Err(Error::usage("nothing was typed").hint(hint));
    }
    Ok(())
}

/// Whether an input is stdin, and that is a terminal.
fn is_typed(file: Option<&Path>) -> bool {
    is_stdin(file) && std::io::stdin().is_terminal()
}

fn source(file: Option<&Path>) -> Result<File, Error> {
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
    let done = read(&mut source(Some(file))?, &mut bytes);
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

/// A secret as it is: a file, or stdin for `-` and for nothing. See [`read`] for an empty one.
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
    typed(file, length)?;
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
