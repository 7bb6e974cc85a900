//! Asking a person on the terminal: for a PIN or a passphrase without echo, for a name with it.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsFd;

use keyward_protocol::SecretBytes;
use rustix::io::Errno;
use rustix::termios::{
    LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr,
};
use zeroize::Zeroizing;

use crate::error::Error;
use crate::exit::Exit;
use crate::signals::{Held, Woken, end_by};

/// The longest PIN or passphrase that is taken, in bytes.
pub(crate) const LONGEST: usize = 255;

/// Asks for a PIN or a passphrase on the terminal, without echo.
///
/// `hint` is what to type where there is no terminal.
pub(crate) fn ask(prompt: &str, hint: &str) -> Result<SecretBytes, Error> {
    let terminal = terminal().map_err(|e| e.hint(hint))?;
    let mut line = Zeroizing::new([0; LONGEST + 2]);
    let length = Silence::new(&terminal)
        .and_then(|silence| silence.line(prompt, line.as_mut()))
        .map_err(|e| Error::new(Exit::Fault, "can't ask on the terminal").cause(e))?;
    let typed = line.get(..length).unwrap_or_default();
    match typed.strip_suffix(b"\n").unwrap_or(typed) {
        [] => Err(Error::usage("nothing was typed")),
        pin if pin.len() > LONGEST => Err(Error::usage(format!(
            "what was typed has more than {LONGEST} bytes"
        ))),
        pin => Ok(SecretBytes::copy_from(pin)),
    }
}

/// Asks for a line on the terminal.
pub(crate) fn ask_line(prompt: &str) -> Result<String, Error> {
    let mut terminal = terminal().map_err(|e| e.hint("add --yes if you are sure"))?;
    let mut bytes = [0; 1024];
    let read = terminal
        .write_all(prompt.as_bytes())
        .and_then(|()| terminal.read(&mut bytes))
        .map_err(|e| Error::new(Exit::Fault, "can't ask on the terminal").cause(e))?;
    let typed = bytes.get(..read).unwrap_or_default();
    Ok(String::from_utf8_lossy(typed).trim().to_owned())
}

/// Asks for a yes on the terminal; anything else is a no.
pub(crate) fn agrees(prompt: &str) -> Result<bool, Error> {
    let typed = ask_line(prompt)?;
    Ok(typed.eq_ignore_ascii_case("y") || typed.eq_ignore_ascii_case("yes"))
}

/// Shows something on the terminal alone, whatever stdout is.
pub(crate) fn show(text: &str) -> Result<(), Error> {
    terminal()?
        .write_all(text.as_bytes())
        .map_err(|e| Error::new(Exit::Fault, "can't write to the terminal").cause(e))
}

/// Whether there is a terminal.
pub(crate) fn has_terminal() -> bool {
    terminal().is_ok()
}

fn terminal() -> Result<File, Error> {
    File::options()
        .read(true)
        .write(true)
        .open("/dev/tty")
        .map_err(|e| Error::usage("there is no terminal to ask on").cause(e))
}

/// A terminal that does not echo, until this is dropped or a signal ends the program.
struct Silence<'a> {
    terminal: &'a File,
    before: Termios,
    held: Held,
}

impl<'a> Silence<'a> {
    fn new(terminal: &'a File) -> std::io::Result<Self> {
        let before = tcgetattr(terminal)?;
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        silent
            .local_modes
            .insert(LocalModes::ICANON | LocalModes::ISIG);
        // A shell would come back to a terminal that does not echo.
        silent.special_codes[SpecialCodeIndex::VSUSP] = 0;
        let silence = Self {
            terminal,
            before,
            held: Held::new()?,
        };
        tcsetattr(terminal, OptionalActions::Flush, &silent)?;
        Ok(silence)
    }

    /// One line, with its end; after a signal the terminal is mended and the program ends by it.
    fn line(self, prompt: &str, line: &mut [u8]) -> std::io::Result<usize> {
        let mut terminal = self.terminal;
        terminal.write_all(prompt.as_bytes())?;
        match self.held.wait(self.terminal, None)? {
            Woken::Signal(signal) => {
                drop(self);
                end_by(signal);
                Err(Errno::INTR.into())
            }
            Woken::Readable | Woken::Time => {
                // The line feed that was typed did not show.
                terminal.write_all(b"\n")?;
                Ok(rustix::io::read(terminal.as_fd(), line)?)
            }
        }
    }
}

impl Drop for Silence<'_> {
    fn drop(&mut self) {
        // There is no one left to tell.
        let _ = tcsetattr(self.terminal, OptionalActions::Flush, &self.before);
    }
}
