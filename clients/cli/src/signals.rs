//! Signals that end a program, held back while there is something to put in order first.

use std::io::Read;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use signal_hook::flag::register_conditional_default;
use signal_hook::low_level::{emulate_default_handler, pipe};

/// What ends a program by default, and is what a person or a system sends to end one.
const ENDING: [i32; 4] = [SIGHUP, SIGINT, SIGQUIT, SIGTERM];

/// The handlers, which once set stay: taken away they would leave the signals ignored.
struct Handlers {
    /// Whether a signal does what it does by default.
    by_default: Arc<AtomicBool>,
    /// One for each signal that is not ignored: readable when it came.
    came: Vec<(i32, UnixStream)>,
}

static HANDLERS: OnceLock<std::io::Result<Handlers>> = OnceLock::new();

/// While this lives the signals don't end the program: they make [`Held::wait`] return.
pub(crate) struct Held(&'static Handlers);

impl Held {
    pub(crate) fn new() -> std::io::Result<Self> {
        let handlers = match HANDLERS.get_or_init(install) {
            Ok(handlers) => handlers,
            Err(error) => return Err(std::io::Error::new(error.kind(), error.to_string())),
        };
        handlers.by_default.store(false, Ordering::SeqCst);
        Ok(Self(handlers))
    }

    /// Waits until a descriptor is readable, a signal came, or the time is over.
    pub(crate) fn wait(
        &self,
        source: &impl std::os::fd::AsFd,
        timeout: Option<Timespec>,
    ) -> std::io::Result<Woken> {
        loop {
            let mut fds: Vec<PollFd<'_>> = (self.0.came.iter())
                .map(|(_, pipe)| PollFd::new(pipe, PollFlags::IN))
                .chain([PollFd::new(source, PollFlags::IN)])
                .collect();
            match poll(&mut fds, timeout.as_ref()) {
                Ok(0) => return Ok(Woken::Time),
                Ok(_) => {}
                Err(Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
            }
            let ready = |fd: &PollFd<'_>| !fd.revents().is_empty();
            for ((signal, pipe), _) in self.0.came.iter().zip(&fds).filter(|(_, fd)| ready(fd)) {
                let mut pipe: &UnixStream = pipe;
                if pipe.read(&mut [0]).is_ok() {
                    return Ok(Woken::Signal(*signal));
                }
            }
            return Ok(Woken::Readable);
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.by_default.store(true, Ordering::SeqCst);
    }
}

/// What ended a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Woken {
    /// There is something to read.
    Readable,
    /// A signal came.
    Signal(i32),
    /// Nothing came in time.
    Time,
}

/// Ends the program as a signal does, so that a shell knows.
pub(crate) fn end_by(signal: i32) {
    // If it can't, the exit code says it.
    let _ = emulate_default_handler(signal);
}

fn install() -> std::io::Result<Handlers> {
    let by_default = Arc::new(AtomicBool::new(true));
    let mut came = Vec::new();
    let ignored = ignored();
    for signal in ENDING {
        // Whoever started this program may have had it ignored, as `nohup` does.
        if ignored & 1_u64.wrapping_shl(signal.unsigned_abs().wrapping_sub(1)) != 0 {
            continue;
        }
        let (ours, handlers) = UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        register_conditional_default(signal, by_default.clone())?;
        pipe::register(signal, handlers)?;
        came.push((signal, ours));
    }
    Ok(Handlers { by_default, came })
}

/// The signals that this process ignores, the first in the lowest bit.
fn ignored() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    status
        .lines()
        .find_map(|line| line.strip_prefix("SigIgn:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .unwrap_or(0)
}
