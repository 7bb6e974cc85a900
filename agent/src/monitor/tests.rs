//! The monitor on a thread, with a worker that sends back what it is sent.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use keyward_backend::start::{Hardware, SocketKinds, Start};
use keyward_protocol::SecretBytes;
use keyward_sys::process::Signal;
use rustix::event::{PollFd, PollFlags};
use rustix::net::sockopt::{Timeout, set_socket_timeout};

use super::message::*;
use super::workers::Workers;
use super::*;
use crate::caller::stat;

/// Three tokens: `main` forgets its PIN, `kept` does not, and `chip` is a TPM.
fn config(folder: &Path) -> Config {
    let text = r#"
mode = "system"
state = "/dev/stdout"
[token.main]
kind = "pkcs11"
module = "/dev/stdin"
uri = "pkcs11:token=demo"
threads = 3
spin = "5us"
environment = { SOFTHSM2_CONF = "/x/y.conf" }
read = ["/etc/x"]
write = ["/var/x"]
pin = { file = "/etc/pin" }
[token.kept]
kind = "pkcs11"
module = "/dev/stdin"
uri = "pkcs11:token=kept"
remember_pin = true
sockets = "inet"
[token.chip]
kind = "tpm"
tcti = "device:/dev/null"
write = ["/var/x"]
"#;
    let module = folder.join("module.so");
    std::fs::write(&module, b"").unwrap();
    let path = folder.join("keyward.toml");
    let text = text.replace("/dev/stdin", module.to_str().unwrap());
    let text = text.replace("/dev/stdout", folder.join("state").to_str().unwrap());
    std::fs::write(&path, text).unwrap();
    Config::load(&path).unwrap()
}

fn echo_worker() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/echo-worker")
}

/// A monitor on a thread of its own.
pub(crate) struct Running {
    thread: Option<JoinHandle<End>>,
    folder: tempfile::TempDir,
    pub(crate) socket: Option<OwnedFd>,
}

impl Running {
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = config(folder.path());
        let (own, theirs) = keyward_sys::fd::seqpacket_pair().unwrap();
        let monitor = move || serve::Monitor::new(theirs, config, echo_worker()).run();
        Self {
            thread: Some(std::thread::spawn(monitor)),
            folder,
            socket: Some(own),
        }
    }

    /// To be called inside a runtime.
    pub(crate) fn client(&mut self) -> Client {
        Client::over(self.socket.take().unwrap(), std::process::id()).unwrap()
    }

    /// How it ended, once the agent's end is closed.
    fn end(mut self) -> End {
        drop(self.socket.take());
        self.thread.take().unwrap().join().unwrap()
    }
}

fn with_client<F: Future<Output = ()>>(test: impl FnOnce(Client) -> F) {
    with_client_in(|client, _| test(client));
}

/// With the folder in which the state folder is, too.
fn with_client_in<F: Future<Output = ()>>(test: impl FnOnce(Client, PathBuf) -> F) {
    let mut running = Running::start();
    let folder = running.folder.path().to_owned();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async { test(running.client(), folder).await });
    // The client and its reader are gone now.
    drop(runtime);
    assert!(matches!(running.end(), End::AgentGone));
}

fn receive(worker: &Worker) -> Vec<u8> {
    set_socket_timeout(&worker.socket, Timeout::Recv, Some(Duration::from_secs(20))).unwrap();
    let mut buffer = vec![0; 65_536];
    let length = keyward_sys::fd::receive_blocking(worker.socket.as_fd(), &mut buffer).unwrap();
    buffer.truncate(length);
    buffer
}

fn receive_start(worker: &Worker) -> Start {
    minicbor::decode(&receive(worker)).unwrap()
}

fn wait_for_end(pidfd: &OwnedFd) {
    let patience = rustix::event::Timespec {
        tv_sec: 20,
        tv_nsec: 0,
    };
    let mut polled = [PollFd::new(pidfd, PollFlags::IN)];
    assert_eq!(
        rustix::event::poll(&mut polled, Some(&patience)).unwrap(),
        1
    );
}

#[test]
fn a_worker_gets_its_name_its_environment_its_start_and_nothing_else() {
    with_client(async |client| {
        let worker = client.start_worker("main").await.unwrap();
        let greeting = String::from_utf8(receive(&worker)).unwrap();
        let mut lines = greeting.lines();
        assert_eq!(lines.next(), Some("pkcs11 main"));
        assert_eq!(lines.next(), Some("/"));
        // The shell adds some of its own.
        let mut variables: Vec<&str> = lines
            .filter(|line| {
                !["PWD=", "OLDPWD=", "SHLVL=", "_="]
                    .iter()
                    .any(|own| line.starts_with(own))
            })
            .collect();
        variables.sort_unstable();
        assert_eq!(variables, ["SOFTHSM2_CONF=/x/y.conf"]);
        let start = receive_start(&worker);
        assert_eq!(start.token, "main");
        let Hardware::Pkcs11 { module, uri } = start.hardware else {
            panic!("another kind")
        };
        assert!(module.ends_with("/module.so"));
        assert_eq!(uri, "pkcs11:token=demo");
        assert_eq!((start.threads, start.spin_us), (3, 5));
        assert_eq!(start.sandbox.read, ["/etc/x"]);
        assert_eq!(start.sandbox.write, ["/var/x"]);
        assert_eq!(start.sandbox.sockets, SocketKinds::None);
        assert!(start.sandbox.enforce);
        assert_eq!(start.pin_file.as_deref(), Some("/etc/pin"));
        assert_eq!(start.remembered_pin, None);
        keyward_sys::fd::send_blocking(worker.socket.as_fd(), b"ping").unwrap();
        assert_eq!(receive(&worker), b"ping");
        assert_eq!(stat::of(worker.pid).unwrap().parent, std::process::id());
    });
}

#[test]
fn a_tpm_gets_its_device_and_a_folder_that_nobody_else_can_open() {
    with_client_in(async |client, folder| {
        let worker = client.start_worker("chip").await.unwrap();
        let greeting = String::from_utf8(receive(&worker)).unwrap();
        assert_eq!(greeting.lines().next(), Some("tpm chip"));
        let start = receive_start(&worker);
        let Hardware::Tpm { tcti, keys } = start.hardware else {
            panic!("another kind")
        };
        assert_eq!(tcti, "device:/dev/null");
        assert_eq!(Path::new(&keys), folder.join("state/tpm/chip"));
        let write = ["/var/x", &keys, "/dev/null"];
        assert_eq!(start.sandbox.write, write);
        assert_eq!(start.sandbox.sockets, SocketKinds::None);
        assert_eq!(start.threads, 1);
        for made in ["state/tpm", "state/tpm/chip"] {
            let mode = std::fs::metadata(folder.join(made)).unwrap();
            assert_eq!(mode.permissions().mode() & 0o7777, 0o700, "{made}");
        }
        // The folder may be there already.
        let _again = client.start_worker("chip").await.unwrap();
    });
}

#[test]
fn a_name_that_is_not_configured_starts_nothing() {
    let names = [
        "",
        "Main",
        "main ",
        "main\0",
        "other",
        "../main",
        "/bin/sh",
        "pkcs11",
        &"m".repeat(1000),
    ];
    with_client(async |client| {
        for name in names {
            let error = client.start_worker(name).await.unwrap_err();
            assert!(matches!(error, MonitorError::Refused(_)), "{name}: {error}");
            let pin = SecretBytes::copy_from(b"1234");
            assert!(matches!(
                client.remember(name, pin).await,
                Err(MonitorError::Refused(_))
            ));
            assert!(matches!(
                client.forget(name).await,
                Err(MonitorError::Refused(_))
            ));
        }
    });
    let folder = tempfile::tempdir().unwrap();
    let mut workers = Workers::new(config(folder.path()), echo_worker());
    for name in names {
        assert!(workers.start(name).unwrap().is_none());
        assert_eq!(workers.pidfds().count(), 0);
    }
}

#[test]
fn a_token_has_one_worker_and_the_old_one_ends_before_the_new_one_starts() {
    with_client(async |client| {
        let first = client.start_worker("main").await.unwrap();
        let other = client.start_worker("kept").await.unwrap();
        let second = client.start_worker("main").await.unwrap();
        assert!(crate::caller::descent::has_ended(first.pidfd.as_fd()).unwrap());
        assert!(!crate::caller::descent::has_ended(second.pidfd.as_fd()).unwrap());
        assert!(!crate::caller::descent::has_ended(other.pidfd.as_fd()).unwrap());
    });
}

#[test]
fn a_worker_that_was_killed_is_reaped_and_starts_again() {
    with_client(async |client| {
        let worker = client.start_worker("main").await.unwrap();
        keyward_sys::process::kill(worker.pidfd.as_fd(), Signal::KILL).unwrap();
        wait_for_end(&worker.pidfd);
        // A zombie still has a stat file; who was reaped has none.
        while stat::of(worker.pid).is_ok_and(|stat| stat.parent == std::process::id()) {
            client.forget("main").await.unwrap();
        }
        let again = client.start_worker("main").await.unwrap();
        assert_ne!(receive(&again), b"");
        assert_eq!(receive_start(&again).token, "main");
    });
}

#[test]
fn workers_end_with_the_agent() {
    let mut workers = Vec::new();
    with_client(async |client| {
        workers.push(client.start_worker("main").await.unwrap());
        workers.push(client.start_worker("kept").await.unwrap());
    });
    for worker in &workers {
        assert!(crate::caller::descent::has_ended(worker.pidfd.as_fd()).unwrap());
    }
}

#[test]
fn a_pin_is_kept_only_where_the_configuration_says_so() {
    with_client(async |client| {
        let pin = || SecretBytes::copy_from(b"1234");
        let refused = client.remember("main", pin()).await.unwrap_err();
        assert!(matches!(&refused, MonitorError::Refused(why) if why.contains("remember_pin")));
        client.remember("kept", pin()).await.unwrap();
        // The worker of each start needs it, not the first alone.
        for _ in 0..2 {
            let worker = client.start_worker("kept").await.unwrap();
            receive(&worker);
            assert_eq!(receive_start(&worker).remembered_pin, Some(pin()));
        }
        client.forget("kept").await.unwrap();
        let worker = client.start_worker("kept").await.unwrap();
        receive(&worker);
        assert_eq!(receive_start(&worker).remembered_pin, None);
        let long = SecretBytes::zeroed(MAX_PIN + 1);
        assert!(matches!(
            client.remember("kept", long).await,
            Err(MonitorError::Failed(_))
        ));
        client
            .remember("kept", SecretBytes::zeroed(MAX_PIN))
            .await
            .unwrap();
    });
}

#[test]
fn a_worker_program_that_is_not_there_is_an_error_with_its_path() {
    let folder = tempfile::tempdir().unwrap();
    let mut workers = Workers::new(config(folder.path()), folder.path().join("keyward-worker"));
    let error = workers.start("main").unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::NotFound);
    assert!(error.to_string().contains("/keyward-worker: "), "{error}");
}

#[test]
fn a_process_is_told_by_its_executable_its_hash_and_its_parents() {
    with_client(async |client| {
        let pid = std::process::id();
        let pidfd = keyward_sys::process::pidfd_open(pid).unwrap();
        let program = client.identify(pid, Some(pidfd.as_fd())).await.unwrap();
        let exe = std::env::current_exe().unwrap();
        assert_eq!(program.exe.as_deref(), exe.to_str());
        assert!(program.file.is_some() && program.sha256.is_some());
        assert_eq!(program.start_time, stat::of(pid).unwrap().start_time);
        assert_eq!(
            program.parents.first().unwrap().pid,
            std::os::unix::process::parent_id()
        );
        // On a thread of this process, the monitor is this process.
        assert!(program.descends_from_monitor);
        assert_eq!(client.identify(pid, None).await.unwrap(), program);
        let parent = std::os::unix::process::parent_id();
        if parent > 0 {
            assert!(
                !client
                    .identify(parent, None)
                    .await
                    .unwrap()
                    .descends_from_monitor
            );
        }
    });
}

#[test]
fn a_process_that_has_ended_is_gone_and_its_pid_tells_nothing() {
    with_client(async |client| {
        let worker = client.start_worker("main").await.unwrap();
        // Once it has sent something back it is the program that it is going to be.
        receive(&worker);
        keyward_sys::fd::send_blocking(worker.socket.as_fd(), b"x").unwrap();
        receive(&worker);
        let program = client
            .identify(worker.pid, Some(worker.pidfd.as_fd()))
            .await
            .unwrap();
        assert!(program.descends_from_monitor);
        keyward_sys::process::kill(worker.pidfd.as_fd(), Signal::KILL).unwrap();
        wait_for_end(&worker.pidfd);
        // Another process has the pid now, as far as the monitor can see.
        let recycled = client
            .identify(std::process::id(), Some(worker.pidfd.as_fd()))
            .await;
        assert_eq!(recycled, Err(MonitorError::ProcessGone));
        for pid in [0, u32::MAX] {
            assert_eq!(
                client.identify(pid, None).await,
                Err(MonitorError::ProcessGone)
            );
        }
    });
}

#[test]
fn many_requests_are_under_way_at_a_time() {
    with_client(async |client| {
        let client = Arc::new(client);
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..500 {
            let client = Arc::clone(&client);
            tasks.spawn(async move {
                client
                    .identify(std::process::id(), None)
                    .await
                    .unwrap()
                    .start_time
            });
        }
        let start_time = stat::of(std::process::id()).unwrap().start_time;
        assert!(
            tasks
                .join_all()
                .await
                .into_iter()
                .all(|found| found == start_time)
        );
    });
}

#[test]
fn who_waits_when_the_monitor_ends_is_told() {
    let (own, theirs) = keyward_sys::fd::seqpacket_pair().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let client = Client::over(own, 1).unwrap();
        let end = async {
            tokio::task::yield_now().await;
            drop(theirs);
            client.closed().await;
        };
        let (answer, ()) = tokio::join!(client.start_worker("main"), end);
        assert!(matches!(answer, Err(MonitorError::Gone)));
        assert!(matches!(
            client.start_worker("main").await,
            Err(MonitorError::Gone)
        ));
        client.closed().await;
    });
}

#[test]
fn a_request_that_makes_no_sense_ends_the_monitor_and_its_workers() {
    let good = encode_secret(&Request {
        id: 7,
        task: Task::Forget {
            token: "main".to_owned(),
        },
    });
    let mut trailing = good.expose().to_vec();
    trailing.push(0);
    let fd = std::fs::File::open("/dev/null").unwrap();
    let too_many: &[_] = &[fd.as_fd(), fd.as_fd()];
    let packets: [(&[u8], &[_]); 5] = [
        (b"\xff", &[]),
        (&trailing, &[]),
        (good.expose(), too_many),
        (good.expose(), &too_many[..1]),
        (&[0; MAX_REQUEST + 1], &[]),
    ];
    for (packet, fds) in packets {
        let running = Running::start();
        let socket = running.socket.as_ref().unwrap();
        let start = Request {
            id: 1,
            task: Task::StartWorker {
                token: "main".to_owned(),
            },
        };
        keyward_sys::fd::send_packet(socket.as_fd(), encode_secret(&start).expose(), &[]).unwrap();
        let mut buffer = vec![0; MAX_REPLY];
        let (length, worker) =
            keyward_sys::fd::receive_packet(socket.as_fd(), &mut buffer).unwrap();
        assert!(matches!(
            Reply::decode(&buffer[..length]).unwrap().outcome,
            Outcome::Worker { .. }
        ));
        keyward_sys::fd::send_packet(socket.as_fd(), packet, fds).unwrap();
        wait_for_end(&worker[1]);
        // It does not wait for the agent to close its end.
        let closed = keyward_sys::fd::receive_packet(socket.as_fd(), &mut buffer);
        assert!(closed.is_err() || closed.unwrap().0 == 0);
        assert!(matches!(running.end(), End::Failed(_)));
    }
}
