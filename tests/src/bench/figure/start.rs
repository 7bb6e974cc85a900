//! From starting keywardd to the first signature: it opens its state, starts its monitor and a worker, which loads
//! SoftHSM and logs in with the PIN of a file.

use std::{
    process::{Child, Stdio},
    thread,
    time::{Duration, Instant},
};

use keyward_client::{Client, Endpoint};
use rustix::process::{Signal, kill_process};

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
/// How often the client looks whether there is a daemon.
const LOOK: Duration = Duration::from_micros(200);

pub(super) fn measure(report: &mut Report) {
    let daemon = Daemon::start_on(quiet(Setup::new().token(spinning(TOKEN))));
    daemon.create_signer(KEY);
    let site = daemon.stop();
    let times = (0..ROUNDS).map(|_| first_answer(&site).as_secs_f64() * 1e3);
    report.limit("start.first-answer", median(times), "ms", 100.0);
}

fn first_answer(site: &Site) -> Duration {
    let begin = Instant::now();
    let process = site
        .keywardd()
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let mut process = Running(process.expect("keywardd can be started"));
    while !signs(site) {
        assert!(begin.elapsed() < PATIENCE, "keywardd does not sign");
        thread::sleep(LOOK);
    }
    let time = begin.elapsed();
    process.terminate();
    time
}

fn signs(site: &Site) -> bool {
    let client = Client::connect_to(Endpoint::at(site.socket()));
    client.is_ok_and(|mut client| client.call(sign(KEY, b"the first")).is_ok())
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
