//! Asking a person on the terminal: for a PIN without echo, for a name with it.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

use keyward_protocol::SecretBytes;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::termios::{
    LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr,
};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use signal_hook::low_level::{emulate_default_handler, pipe, unregister};
use zeroize::Zeroizing;

use crate::error::Error;
use crate::exit::Exit;

/// The longest PIN that is taken, in bytes.
pub(crate) const LONGEST: usize = 255;

/// Asks for a PIN on the terminal, without echo.
pub(crate) fn ask(prompt: &str) -> Result<SecretBytes, Error> {
    let terminal = terminal()
        .map_err(|e| e.hint("keyward unlock --pin-file FILE  (or `--pin-file -` for stdin)"))?;
    let mut line = Zeroizing::new([0; LONGEST + 2]);
    let length = Silence::new(&terminal)
        .and_then(|silence| silence.line(prompt, line.as_mut()))
        .map_err(|e| Error::new(Exit::Fault, "can't ask on the terminal").cause(e))?;
    let typed = line.get(..length).unwrap_or_default();
    match typed.strip_suffix(b"\n").unwrap_or(typed) {
        [] => Err(Error::usage("no PIN was typed")),
        pin if pin.len() > LONGEST => {
            Err(Error::usage(format!("a PIN has at most {LONGEST} bytes")))
        }
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
    /// One for each of [`ENDING`]: readable when that signal came.
    signals: Vec<UnixStream>,
    handlers: Vec<signal_hook::SigId>,
}

/// What ends a program by default, and is what a person or a system sends to end one.
const ENDING: [i32; 4] = [SIGHUP, SIGINT, SIGQUIT, SIGTERM];

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
        let mut silence = Self {
            terminal,
            before,
            signals: Vec::new(),
            handlers: Vec::new(),
        };
        for signal in ENDING {
            let (ours, handlers) = UnixStream::pair()?;
            silence.handlers.push(pipe::register(signal, handlers)?);
            silence.signals.push(ours);
        }
        tcsetattr(terminal, OptionalActions::Flush, &silent)?;
        Ok(silence)
    }

    /// One line, with its end; after a signal the terminal is mended and the program ends by it.
    fn line(self, prompt: &str, line: &mut [u8]) -> std::io::Result<usize> {
        let mut terminal = self.terminal;
        terminal.write_all(prompt.as_bytes())?;
        loop {
            let mut fds: Vec<PollFd<'_>> = (self.signals.iter())
                .map(|signal| PollFd::new(signal, PollFlags::IN))
                .chain([PollFd::new(self.terminal, PollFlags::IN)])
                .collect();
            match poll(&mut fds, None) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            let ready = |fd: &PollFd<'_>| !fd.revents().is_empty();
            let mut came = ENDING.into_iter().zip(&fds).filter(|(_, fd)| ready(fd));
            if let Some(signal) = came.next().map(|(signal, _)| signal) {
                drop(fds);
                drop(self);
                emulate_default_handler(signal)?;
                return Err(Errno::INTR.into());
            }
            if fds.last().is_some_and(ready) {
                // The line feed that was typed did not show.
                terminal.write_all(b"\n")?;
                return Ok(rustix::io::read(terminal.as_fd(), line)?);
            }
        }
    }
}

impl Drop for Silence<'_> {
    fn drop(&mut self) {
        // There is no one left to tell.
        let _ = tcsetattr(self.terminal, OptionalActions::Flush, &self.before);
        for handler in self.handlers.drain(..) {
            unregister(handler);
        }
    }
}
