//! From starting keywardd to the first signature: it opens its state, starts its monitor and a worker, which loads
//! SoftHSM and logs in with the PIN of a file.

use std::{
    ffi::{CStr, OsStr},
    mem::MaybeUninit,
    os::fd::OwnedFd,
    path::PathBuf,
    process::{Child, Stdio},
    thread,
    time::{Duration, Instant},
};

use keyward_client::{Client, Endpoint};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::inotify::{self, CreateFlags, WatchFlags},
    process::{Signal, kill_process},
};

use crate::{
    Daemon, PATIENCE, Setup, Site,
    bench::{
        report::Report,
        rig::{TOKEN, quiet, spinning},
        sample::median,
    },
    process::pid,
    request::sign,
};

const ROUNDS: usize = 9;
const KEY: &str = "first";

pub(super) fn measure(report: &mut Report) {
    let daemon = Daemon::start_on(quiet(Setup::new().token(spinning(TOKEN))));
    daemon.create_signer(KEY);
    let site = daemon.stop();
    let times = (0..ROUNDS).map(|_| first_answer(&site).as_secs_f64() * 1e3);
    report.limit("start.first-answer", median(times), "ms", 100.0);
}

fn first_answer(site: &Site) -> Duration {
    let comes = SocketComes::watch(site);
    let begin = Instant::now();
    let process = site
        .keywardd()
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let mut process = Running(process.expect("keywardd can be started"));
    comes.wait();
    let mut client = connect(site, begin);
    // It waits in the queue of the token until that is there.
    client.call(sign(KEY, b"the first")).expect("a signature");
    let time = begin.elapsed();
    process.terminate();
    time
}

/// A connection; between the name of a socket and its first `listen` there are microseconds.
fn connect(site: &Site, begin: Instant) -> Client {
    loop {
        match Client::connect_to(Endpoint::at(site.socket())) {
            Ok(client) => return client,
            Err(error) => assert!(begin.elapsed() < PATIENCE, "{error}"),
        }
        thread::yield_now();
    }
}

/// The folder of the socket, watched from before there is one: whoever looks again and again takes
/// time from what is measured, and sees it late.
struct SocketComes {
    socket: PathBuf,
    watched: OwnedFd,
}

impl SocketComes {
    fn watch(site: &Site) -> Self {
        let socket = site.socket();
        let folder = socket.parent().expect("a folder");
        let watched = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK);
        let watched = watched.expect("inotify");
        let flags = WatchFlags::CREATE | WatchFlags::MOVED_TO;
        inotify::add_watch(&watched, folder, flags).expect("the folder of the socket");
        assert!(!socket.exists(), "the one before has ended");
        Self { socket, watched }
    }

    fn wait(&self) {
        let name = self.socket.file_name();
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut events = inotify::Reader::new(&self.watched, &mut buffer);
        let patience = Timespec::try_from(PATIENCE).expect("some seconds");
        loop {
            match events.next() {
                Ok(event) if is(event.file_name(), name) => return,
                Ok(_) => {}
                Err(rustix::io::Errno::AGAIN) => {
                    let mut fds = [PollFd::new(&self.watched, PollFlags::IN)];
                    let ready = poll(&mut fds, Some(&patience)).expect("poll");
                    assert!(ready > 0, "keywardd makes no socket");
                }
                Err(error) => panic!("inotify: {error}"),
            }
        }
    }
}

fn is(name: Option<&CStr>, wanted: Option<&OsStr>) -> bool {
    name.map(CStr::to_bytes) == wanted.map(OsStr::as_encoded_bytes)
}

/// Ended in any case.
struct Running(Child);

impl Running {
    fn terminate(&mut self) {
        // Nothing to do if it has ended already.
        let _ = kill_process(pid(self.0.id()), Signal::TERM);
        let _ = self.0.wait();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
