//! Resident memory of keywardd, without its monitor and workers.

use std::time::Duration;

use keyward_client::Client;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::{
    Daemon, Setup,
    bench::{
        load::{Load, Measured},
        process::resident,
        report::Report,
        rig::{TOKEN, quiet, spinning},
        work::Work,
    },
};

const CONNECTIONS: usize = 1000;

pub(super) fn measure(report: &mut Report) {
    raise_limit();
    let site = quiet(Setup::new().token(spinning(TOKEN)));
    let measured = Measured::new(Daemon::start_on(site), TOKEN);
    // What a daemon holds that has worked.
    Load::pipelined(8).run(&measured, Work::SignP256, Duration::from_millis(500));
    let pid = measured.daemon.pid();
    report.limit("memory.idle", resident(pid), "MiB", 15.0);
    let clients: Vec<Client> = (0..CONNECTIONS).map(|_| measured.daemon.client()).collect();
    report.limit("memory.1000-connections", resident(pid), "MiB", 40.0);
    drop(clients);
}

/// The soft limit of open files is often 1,024.
fn raise_limit() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let raised = setrlimit(
        Resource::Nofile,
        Rlimit {
            current: maximum,
            maximum,
        },
    );
    raised.expect("a process may raise its limit to the maximum");
}
