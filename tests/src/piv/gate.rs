//! A socket before that of pcscd, through which its clients go, and that can be closed.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// The gate. Clients see nothing of it while it is open.
#[derive(Debug)]
pub struct Gate {
    socket: PathBuf,
    state: Arc<State>,
}

#[derive(Debug, Default)]
struct State {
    inner: Mutex<Inner>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Inner {
    is_closed: bool,
    waiting: usize,
}

impl Gate {
    /// A gate in a folder, before a socket.
    ///
    /// # Panics
    /// If the socket can't be made.
    #[must_use]
    #[track_caller]
    pub fn open(folder: &Path, before: &Path) -> Self {
        let socket = folder.join("gate");
        let listener = UnixListener::bind(&socket).expect("a socket");
        let state = Arc::new(State::default());
        let (shared, before) = (state.clone(), before.to_owned());
        // It ends with the process: it waits for clients that don't come any more.
        thread::spawn(move || {
            for client in listener.incoming() {
                let (Ok(client), state, before) = (client, shared.clone(), before.clone()) else {
                    return;
                };
                thread::spawn(move || state.connect(client, &before));
            }
        });
        Self { socket, state }
    }

    /// Where clients connect.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Holds back what clients send from now on.
    pub fn close(&self) {
        self.state.lock().is_closed = true;
    }

    /// Waits until a client has sent something that is held back.
    ///
    /// # Panics
    /// If none does.
    #[track_caller]
    pub fn wait_until_held(&self) {
        let limit = Duration::from_secs(60);
        let held = self.state.lock();
        let waited = self
            .state
            .changed
            .wait_timeout_while(held, limit, |inner| inner.waiting == 0);
        let (inner, _) = waited.unwrap_or_else(PoisonError::into_inner);
        assert!(inner.waiting > 0, "nobody has sent anything");
    }

    /// Lets everything through again.
    pub fn reopen(&self) {
        self.state.lock().is_closed = false;
        self.state.changed.notify_all();
    }
}

impl State {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Serves one client. Without pcscd it is hung up on, as by pcscd itself.
    fn connect(&self, client: UnixStream, before: &Path) {
        let Ok(server) = UnixStream::connect(before) else {
            return;
        };
        let (Ok(client_again), Ok(server_again)) = (client.try_clone(), server.try_clone()) else {
            return;
        };
        let back = thread::spawn(move || copy(&server_again, &client_again, || {}));
        copy(&client, &server, || self.pass());
        // Whatever the copying ended by, both sides have ended.
        let _ = back.join();
    }

    fn pass(&self) {
        let mut inner = self.lock();
        if !inner.is_closed {
            return;
        }
        inner.waiting = inner.waiting.saturating_add(1);
        self.changed.notify_all();
        let opened = self.changed.wait_while(inner, |inner| inner.is_closed);
        let mut inner = opened.unwrap_or_else(PoisonError::into_inner);
        inner.waiting = inner.waiting.saturating_sub(1);
    }
}

/// Copies until one side ends, and ends the other.
fn copy(mut from: &UnixStream, mut to: &UnixStream, pass: impl Fn()) {
    let mut buffer = vec![0; 8192];
    loop {
        let read = match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(_) => break,
        };
        pass();
        if to
            .write_all(buffer.get(..read).unwrap_or_default())
            .is_err()
        {
            break;
        }
    }
    // It may have ended already.
    let _ = to.shutdown(Shutdown::Both);
    let _ = from.shutdown(Shutdown::Both);
}
