//! Whether a token that is stuck slows down another.

use std::{
    thread,
    time::{Duration, Instant},
};

use keyward_protocol::{KeyType, Purpose, operation::Create};

use crate::{
    Daemon, Fault, Setup, TokenSetup,
    bench::{
        load::{Load, Measured},
        report::{Bound, Report},
        rig::{quiet, spinning},
        sample::median,
        work::Work,
    },
    request::{create, sign},
};

/// How long the token is stuck.
const STUCK: Duration = Duration::from_secs(10);
/// The p99 is that of so long a time, and the median is taken.
const WINDOW: Duration = Duration::from_secs(1);
/// Windows before, and as many after.
const AROUND: usize = 5;
/// Requests that wait for the stuck token.
const WAITING: usize = 16;
const KEY: &str = "stuck";

pub(super) fn measure(report: &mut Report) {
    let stuck = TokenSetup::new("stuck").fault().line("timeout = \"60s\"");
    let site = quiet(Setup::new().token(spinning("well")).token(stuck));
    let daemon = Daemon::start_on(site);
    let mut client = daemon.client();
    let key = Create {
        token: Some("stuck".to_owned()),
        ..create(KEY, Purpose::Sign, KeyType::P256)
    };
    client.call(key).expect("the token makes a key");
    let well = Measured::new(daemon, "well");
    let mut usual = windows(&well, AROUND);

    let fault = well.daemon.fault("stuck");
    fault.set("C_Sign", &Fault::Hang);
    let during = thread::scope(|scope| {
        let begin = Instant::now();
        let waiting =
            scope.spawn(move || client.pipeline((0..WAITING).map(|_| sign(KEY, b"waits"))));
        let mut during = Vec::new();
        while begin.elapsed() < STUCK {
            during.extend(windows(&well, 1));
        }
        assert!(!waiting.is_finished(), "the stuck token answered");
        fault.clear("C_Sign");
        let answers = waiting.join().expect("a client");
        for answer in answers {
            answer.expect("the token goes on when it is not stuck any more");
        }
        during
    });
    usual.extend(windows(&well, AROUND));
    report.bound(
        "stuck.p99/before-and-after",
        median(during),
        "us",
        median(usual),
        Bound::AtMost(1.5),
    );
}

fn windows(daemon: &Measured, count: usize) -> Vec<f64> {
    let load = Load::one_at_a_time(1);
    (0..count)
        .map(|_| load.run(daemon, Work::SignP256, WINDOW).p99)
        .collect()
}
