//! The monitor as a process of its own: it and its workers end with the agent, however that ends.
//!
//! `keywardd` starts itself again as its monitor; so does this program, which is why it has no test
//! harness. It first moves to a folder with a `keyward-worker` beside it.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::io::{BufRead, BufReader};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use keyward_agent::monitor::{self, Client, End, MonitorError};
use keyward_sys::process::{Signal, kill, pidfd_open};
use rustix::event::{PollFd, PollFlags, Timespec};

/// A test, given the configuration's path.
type Test = fn(&Path);

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["monitor", "--config", config] => match monitor::run(Path::new(config)) {
            End::AgentGone => ExitCode::SUCCESS,
            End::Failed(_) => ExitCode::FAILURE,
        },
        ["agent", config] => agent(Path::new(config)),
        ["moved", folder] => moved(Path::new(folder)),
        _ => move_and_test(),
    }
}

/// Puts this program beside a worker, as an installation does, and runs the tests there.
fn move_and_test() -> ExitCode {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let program = folder.path().join("keywardd");
    std::fs::hard_link(std::env::current_exe().unwrap(), &program).unwrap();
    let worker = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/echo-worker");
    symlink(worker, folder.path().join("keyward-worker")).unwrap();
    let module = folder.path().join("module.so");
    std::fs::write(&module, b"").unwrap();
    let config = format!(
        "mode = \"system\"\n[token.main]\nkind = \"pkcs11\"\nmodule = \"{}\"\nuri = \"pkcs11:token=x\"\n",
        module.display()
    );
    std::fs::write(folder.path().join("keyward.toml"), config).unwrap();
    let status = Command::new(program)
        .arg("moved")
        .arg(folder.path())
        .status()
        .unwrap();
    if status.success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn moved(folder: &Path) -> ExitCode {
    let tests: [(&str, Test); 4] = [
        (
            "the_monitor_and_its_workers_end_when_the_agent_lets_go",
            ends_when_let_go,
        ),
        (
            "the_monitor_and_its_workers_end_when_the_agent_is_killed",
            ends_when_killed,
        ),
        (
            "a_monitor_without_a_configuration_ends_and_the_agent_learns_it",
            ends_without_configuration,
        ),
        (
            "the_monitor_gains_no_privileges_and_is_told_apart",
            is_hardened,
        ),
    ];
    for (name, test) in tests {
        test(&folder.join("keyward.toml"));
        println!("test {name} ... ok");
    }
    ExitCode::SUCCESS
}

/// An agent that starts a worker, says its pids, and waits to be killed.
fn agent(config: &Path) -> ExitCode {
    let link = monitor::spawn(config).unwrap();
    runtime().block_on(async {
        let client = Client::new(link).unwrap();
        let worker = client.start_worker("main").await.unwrap();
        println!("{} {}", client.pid(), worker.pid);
        client.closed().await;
    });
    ExitCode::FAILURE
}

fn ends_when_let_go(config: &Path) {
    let link = monitor::spawn(config).unwrap();
    let monitor = pidfd_open(link.pid()).unwrap();
    let worker = runtime().block_on(async {
        let client = Client::new(link).unwrap();
        let worker = client.start_worker("main").await.unwrap();
        assert!(matches!(
            client.start_worker("other").await,
            Err(MonitorError::Refused(_))
        ));
        assert!(!has_ended(&worker.pidfd, 0));
        worker.pidfd
    });
    assert!(has_ended(&worker, 20) && has_ended(&monitor, 20));
}

fn ends_when_killed(config: &Path) {
    let mut agent = Command::new("/proc/self/exe")
        .arg("agent")
        .arg(config)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(agent.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    let pids: Vec<OwnedFd> = line
        .split_whitespace()
        .map(|pid| pidfd_open(pid.parse().unwrap()).unwrap())
        .collect();
    assert_eq!(pids.len(), 2);
    let pidfd = pidfd_open(agent.id()).unwrap();
    kill(pidfd.as_fd(), Signal::KILL).unwrap();
    agent.wait().unwrap();
    assert!(pids.iter().all(|pid| has_ended(pid, 20)));
}

fn ends_without_configuration(config: &Path) {
    let link = monitor::spawn(&config.with_extension("missing")).unwrap();
    let monitor = pidfd_open(link.pid()).unwrap();
    runtime().block_on(async {
        let client = Client::new(link).unwrap();
        client.closed().await;
        let started = client.start_worker("main").await;
        assert!(matches!(started, Err(MonitorError::Gone)));
    });
    assert!(has_ended(&monitor, 20));
}

fn is_hardened(config: &Path) {
    let link = monitor::spawn(config).unwrap();
    let monitor = link.pid();
    runtime().block_on(async {
        let client = Client::new(link).unwrap();
        let worker = client.start_worker("main").await.unwrap();
        // It has answered, so it has prepared itself; the worker inherits it.
        for pid in [monitor, worker.pid] {
            let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
            assert!(status.contains("\nNoNewPrivs:\t1\n"), "{status}");
        }
        let worker = loop {
            match client
                .identify(worker.pid, Some(worker.pidfd.as_fd()))
                .await
            {
                // It was started just now, and becomes its own program in a moment.
                Err(MonitorError::Failed(why)) if why.contains("just now") => {}
                identified => break identified.unwrap(),
            }
        };
        assert!(worker.descends_from_monitor);
        assert!(worker.sha256.is_some());
        let own = client.identify(std::process::id(), None).await.unwrap();
        assert!(!own.descends_from_monitor);
        assert_eq!(
            own.exe.as_deref(),
            std::env::current_exe().unwrap().to_str()
        );
        assert!(
            client
                .identify(monitor, None)
                .await
                .unwrap()
                .descends_from_monitor
        );
    });
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

fn has_ended(pidfd: &OwnedFd, seconds: i64) -> bool {
    let patience = Timespec {
        tv_sec: seconds,
        tv_nsec: 0,
    };
    let mut polled = [PollFd::new(pidfd, PollFlags::IN)];
    rustix::event::poll(&mut polled, Some(&patience)).unwrap() == 1
}
