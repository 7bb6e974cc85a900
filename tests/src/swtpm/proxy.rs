//! A bus in front of an swtpm, on which a test sees, counts, holds and falsifies commands.
//!
//! Commands of all that are connected go to the TPM one after the other, over one connection. As on
//! a real bus without a resource manager, they see each other's handles.

mod rules;

use std::{
    io::{self, Read as _, Write as _},
    net::{Shutdown, TcpListener, TcpStream},
    os::fd::OwnedFd,
    sync::{
        Arc, Condvar, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use rustix::net::listen;

use super::{Swtpm, ports::Ports, wire};
use crate::wait_for;

pub use rules::Act;
use rules::Rules;

/// More is no command of a TPM.
const MOST: usize = 64 * 1024;
const PATIENCE: Duration = Duration::from_secs(60);

/// A command and what was answered; nothing if the connection ended before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exchange {
    /// The bytes of the command.
    pub command: Vec<u8>,
    /// The bytes of the response.
    pub response: Vec<u8>,
}

impl Exchange {
    /// The command's code.
    #[must_use]
    pub fn code(&self) -> u32 {
        wire::code_of(&self.command)
    }

    /// The response's code, if there was a response.
    #[must_use]
    pub fn rc(&self) -> Option<u32> {
        (self.response.len() >= wire::HEADER).then(|| wire::code_of(&self.response))
    }
}

/// A proxy at ports of its own. Its threads end when it is dropped.
#[derive(Debug)]
pub struct Proxy {
    shared: Arc<Shared>,
    port: u16,
    threads: Vec<JoinHandle<()>>,
}

impl Proxy {
    /// A proxy in front of a TPM, in whose way nothing is done yet.
    ///
    /// # Panics
    /// If there are no ports.
    #[must_use]
    #[track_caller]
    pub fn start(swtpm: &Swtpm) -> Self {
        let ports = Ports::take();
        let port = ports.first();
        let listeners = ports.into_sockets().map(|socket: OwnedFd| {
            listen(&socket, 64).expect("a port to listen on");
            TcpListener::from(socket)
        });
        let shared = Arc::new(Shared {
            listeners,
            upstream: swtpm.port(),
            tpm: Mutex::new(None),
            rules: Mutex::new(Rules::default()),
            released: Condvar::new(),
            exchanges: Mutex::new(Vec::new()),
            clients: Mutex::new(Vec::new()),
            there: Mutex::new(true),
            returned: Condvar::new(),
            ends: AtomicBool::new(false),
        });
        let accept = |channel| {
            let shared = shared.clone();
            thread::spawn(move || shared.accept(channel))
        };
        let threads = vec![accept(Channel::Commands), accept(Channel::Control)];
        Self {
            shared,
            port,
            threads,
        }
    }

    /// What `tcti =` says for it.
    #[must_use]
    pub fn tcti(&self) -> String {
        format!("swtpm:host=127.0.0.1,port={}", self.port)
    }

    /// The commands so far, in their order, with their answers.
    #[must_use]
    pub fn exchanges(&self) -> Vec<Exchange> {
        self.shared.lock(&self.shared.exchanges).clone()
    }

    /// How many commands of a code there were.
    #[must_use]
    pub fn count(&self, code: u32) -> usize {
        let exchanges = self.shared.lock(&self.shared.exchanges);
        exchanges.iter().filter(|one| one.code() == code).count()
    }

    /// Whether bytes passed in the clear.
    #[must_use]
    pub fn saw(&self, secret: &[u8]) -> bool {
        let within = |bytes: &[u8]| bytes.windows(secret.len()).any(|window| window == secret);
        let exchanges = self.shared.lock(&self.shared.exchanges);
        exchanges
            .iter()
            .any(|one| within(&one.command) || within(&one.response))
    }

    /// Does something to the `nth` command of a code that comes from now on, from 0, and to no other.
    pub fn once(&self, code: u32, nth: usize, act: Act) {
        self.shared.rules().add(code, nth, act, false);
    }

    /// Does something to each command of a code that comes from now on.
    pub fn always(&self, code: u32, act: Act) {
        self.shared.rules().add(code, 0, act, true);
    }

    /// Does nothing to any command any more.
    pub fn clear(&self) {
        self.shared.rules().clear();
    }

    /// How many acts were done so far.
    #[must_use]
    pub fn acted(&self) -> usize {
        self.shared.rules().acted()
    }

    /// Holds the commands of these codes back until [`resume`](Self::resume); all, if there are none.
    pub fn stall(&self, codes: &[u32]) {
        self.shared.rules().hold(codes);
    }

    /// Waits until a command is held back.
    ///
    /// # Panics
    /// If none comes.
    #[track_caller]
    pub fn wait_until_stalled(&self) {
        let held = || self.shared.rules().held() > 0;
        assert!(wait_for(held, PATIENCE), "no command was held back");
    }

    /// Lets the commands that were held back go on.
    pub fn resume(&self) {
        self.shared.rules().release();
        self.shared.released.notify_all();
    }

    /// Takes the TPM away: connections end, and new ones are refused.
    pub fn unplug(&self) {
        // A socket that listens no more and is shut down again would have connections that are shut
        // down from the start when it listens again.
        if !std::mem::replace(&mut *self.shared.lock(&self.shared.there), false) {
            return;
        }
        for listener in &self.shared.listeners {
            // It stays bound, and listens no more.
            let _ = rustix::net::shutdown(listener, rustix::net::Shutdown::Both);
        }
        self.disconnect();
    }

    /// Puts it back.
    ///
    /// # Panics
    /// If its ports can't be listened on.
    #[track_caller]
    pub fn plug(&self) {
        for listener in &self.shared.listeners {
            listen(listener, 64).expect("a port to listen on");
        }
        *self.shared.lock(&self.shared.there) = true;
        self.shared.returned.notify_all();
    }

    /// Ends all connections.
    pub fn disconnect(&self) {
        for client in self.shared.lock(&self.shared.clients).drain(..) {
            // It may have ended by itself.
            let _ = client.shutdown(Shutdown::Both);
        }
    }

    /// Sends a command of the test's own, and has the response. It is not among the exchanges.
    ///
    /// # Panics
    /// If the TPM is not there.
    #[must_use]
    #[track_caller]
    pub fn send(&self, command: &[u8]) -> Vec<u8> {
        let mut tpm = self.shared.lock(&self.shared.tpm);
        self.shared
            .transmit(&mut tpm, command)
            .expect("the TPM answers")
    }

    /// A reset of the machine, and the start-up that its firmware does: what was loaded is lost, and
    /// so is what was saved.
    ///
    /// # Panics
    /// If the TPM does not do it.
    #[track_caller]
    pub fn reset(&self, swtpm: &Swtpm) {
        self.power(swtpm, false);
    }

    /// A suspension and the resumption after it: what was loaded is lost, what was saved is not.
    ///
    /// # Panics
    /// If the TPM does not do it.
    #[track_caller]
    pub fn suspend(&self, swtpm: &Swtpm) {
        self.power(swtpm, true);
    }

    #[track_caller]
    fn power(&self, swtpm: &Swtpm, state: bool) {
        // Nobody's command comes between.
        let mut tpm = self.shared.lock(&self.shared.tpm);
        let mut must = |command: &[u8]| {
            let response = self.shared.transmit(&mut tpm, command);
            let response = response.expect("the TPM answers");
            assert_eq!(wire::code_of(&response), wire::rc::SUCCESS, "{command:x?}");
        };
        if state {
            must(&wire::shutdown(true));
        }
        swtpm.init();
        must(&wire::startup(state));
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.ends.store(true, Ordering::SeqCst);
        self.unplug();
        self.shared.returned.notify_all();
        self.clear();
        self.resume();
        // A TPM that is stopped would be waited for.
        if let Ok(tpm) = self.shared.tpm.try_lock()
            && let Some(tpm) = &*tpm
        {
            let _ = tpm.shutdown(Shutdown::Both);
        }
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

#[derive(Debug)]
struct Shared {
    /// Of commands and of the control channel.
    listeners: [TcpListener; 2],
    upstream: u16,
    /// The connection to the TPM, once there is one.
    tpm: Mutex<Option<TcpStream>>,
    rules: Mutex<Rules>,
    released: Condvar,
    exchanges: Mutex<Vec<Exchange>>,
    clients: Mutex<Vec<TcpStream>>,
    there: Mutex<bool>,
    returned: Condvar,
    ends: AtomicBool,
}

#[derive(Clone, Copy, Debug)]
enum Channel {
    Commands,
    Control,
}

impl Shared {
    #[track_caller]
    fn lock<'a, T>(&self, mutex: &'a Mutex<T>) -> MutexGuard<'a, T> {
        mutex
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn rules(&self) -> MutexGuard<'_, Rules> {
        self.lock(&self.rules)
    }

    fn accept(self: Arc<Self>, channel: Channel) {
        let [commands, control] = &self.listeners;
        let listener = match channel {
            Channel::Commands => commands,
            Channel::Control => control,
        };
        while !self.ends.load(Ordering::SeqCst) {
            let Ok((client, _)) = listener.accept() else {
                // It listens no more; until it does again.
                let there = self.lock(&self.there);
                let wait = |there: &mut bool| !*there && !self.ends.load(Ordering::SeqCst);
                drop(self.returned.wait_while(there, wait));
                continue;
            };
            if let Ok(known) = client.try_clone() {
                self.lock(&self.clients).push(known);
            }
            if !*self.lock(&self.there) {
                // It came while the TPM was taken away.
                let _ = client.shutdown(Shutdown::Both);
                continue;
            }
            let _ = client.set_nodelay(true);
            let shared = self.clone();
            // It ends with its connection, and holds nothing that a test waits for.
            thread::spawn(move || {
                // However it ends, the client sees that.
                let _ = match channel {
                    Channel::Commands => shared.serve(&client),
                    Channel::Control => shared.control(&client),
                };
                let _ = client.shutdown(Shutdown::Both);
            });
        }
    }

    /// Takes a client's commands until it goes.
    fn serve(&self, mut client: &TcpStream) -> io::Result<()> {
        loop {
            let command = read_message(client)?;
            let at = {
                let mut exchanges = self.lock(&self.exchanges);
                exchanges.push(Exchange {
                    command: command.clone(),
                    response: Vec::new(),
                });
                exchanges.len().saturating_sub(1)
            };
            let code = wire::code_of(&command);
            let act = self.pass(code);
            let response = match act {
                Some(Act::Answer(rc)) => wire::response(rc),
                Some(Act::Lose) => return Ok(()),
                Some(Act::LoseAnswer) | None => {
                    let mut tpm = self.lock(&self.tpm);
                    self.transmit(&mut tpm, &command)?
                }
            };
            if let Some(exchange) = self.lock(&self.exchanges).get_mut(at) {
                exchange.response.clone_from(&response);
            }
            if act == Some(Act::LoseAnswer) {
                return Ok(());
            }
            client.write_all(&response)?;
        }
    }

    /// Waits while commands of the code are held back; says what is to be done to this one.
    fn pass(&self, code: u32) -> Option<Act> {
        let mut rules = self.rules();
        if rules.holds(code) {
            rules.enter();
            let wait = |rules: &mut Rules| rules.holds(code);
            let waited = self.released.wait_while(rules, wait);
            rules = waited.unwrap_or_else(|poisoned| poisoned.into_inner());
            rules.leave();
        }
        rules.act(code)
    }

    /// Sends a command to the TPM, over the connection that there is or a new one.
    fn transmit(&self, tpm: &mut Option<TcpStream>, command: &[u8]) -> io::Result<Vec<u8>> {
        let sent = self.connection(tpm).and_then(|mut stream| {
            stream.write_all(command)?;
            read_message(stream)
        });
        if sent.is_err() {
            *tpm = None;
        }
        sent
    }

    fn connection<'a>(&self, tpm: &'a mut Option<TcpStream>) -> io::Result<&'a TcpStream> {
        // One that ended while nobody used it, since the TPM was started again, is no news.
        if tpm.as_ref().is_some_and(has_ended) {
            *tpm = None;
        }
        if tpm.is_none() {
            let stream = TcpStream::connect(("127.0.0.1", self.upstream))?;
            stream.set_nodelay(true)?;
            *tpm = Some(stream);
        }
        tpm.as_ref()
            .ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    /// Bytes of the control channel, both ways.
    fn control(&self, client: &TcpStream) -> io::Result<()> {
        let control = TcpStream::connect(("127.0.0.1", self.upstream.saturating_add(1)))?;
        self.lock(&self.clients).push(control.try_clone()?);
        thread::scope(|scope| {
            let copy = |mut from: &TcpStream, mut to: &TcpStream| {
                let _ = io::copy(&mut from, &mut to);
                let _ = to.shutdown(Shutdown::Both);
                let _ = from.shutdown(Shutdown::Both);
            };
            let control = &control;
            scope.spawn(move || copy(control, client));
            copy(client, control);
        });
        Ok(())
    }
}

/// Whether the other side has closed a connection on which nothing is to be read.
fn has_ended(stream: &TcpStream) -> bool {
    let _ = stream.set_nonblocking(true);
    let peeked = stream.peek(&mut [0]);
    let _ = stream.set_nonblocking(false);
    !matches!(peeked, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
}

fn read_message(mut stream: &TcpStream) -> io::Result<Vec<u8>> {
    let mut message = vec![0; wire::HEADER];
    stream.read_exact(&mut message)?;
    let size = wire::size(&message);
    if !(wire::HEADER..=MOST).contains(&size) {
        return Err(io::ErrorKind::InvalidData.into());
    }
    message.resize(size, 0);
    stream.read_exact(message.get_mut(wire::HEADER..).unwrap_or_default())?;
    Ok(message)
}
