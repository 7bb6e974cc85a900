//! Callers of all kinds: this process, children that end or change, and made-up ones.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};

use super::*;
use crate::monitor::tests::Running;

/// A child that is killed and waited for at the end.
struct Process(Child);

impl Process {
    /// Runs `cat` once a line was written to it, a shell until then.
    fn changing() -> Self {
        let child = Command::new("/bin/sh")
            .args(["-c", "read line; exec cat"])
            .stdin(Stdio::piped())
            .spawn();
        Self(child.unwrap())
    }

    fn caller(&self, hold_by: HoldBy) -> Caller {
        let pidfd = keyward_sys::process::pidfd_open(self.0.id()).unwrap();
        let credentials = PeerCredentials {
            uid: 1000,
            gid: 100,
            pid: self.0.id(),
            groups: vec![4, 24],
            pidfd: (hold_by == HoldBy::Pidfd).then_some(pidfd),
            security_label: None,
        };
        Caller::of(credentials, "native").unwrap()
    }

    fn end(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn with_monitor<F: Future<Output = ()>>(test: impl FnOnce(Client) -> F) {
    let mut running = Running::start();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async { test(running.client()).await });
}

fn audit_of(caller: &Caller) -> String {
    serde_json::to_string(&*caller.audit_json()).unwrap()
}

const ALWAYS: Duration = Duration::ZERO;
const BOTH: [HoldBy; 2] = [HoldBy::Pidfd, HoldBy::StartTime];

#[test]
fn the_peer_of_a_socket_is_known_by_the_kernels_word() {
    let (own, _other) = UnixStream::pair().unwrap();
    for hold_by in BOTH {
        let caller = Caller::accept(own.as_fd(), "native", hold_by).unwrap();
        assert_eq!(caller.pid, std::process::id());
        assert_eq!(caller.uid, rustix::process::geteuid().as_raw());
        assert_eq!(caller.gid, rustix::process::getegid().as_raw());
        assert_eq!(
            caller.start_time,
            Some(stat::of(caller.pid).unwrap().start_time)
        );
        assert_eq!(
            caller.pidfd.is_some(),
            hold_by == HoldBy::Pidfd && has_peer_pidfd()
        );
        assert!(caller.facts().is_none());
        caller.check_lives().unwrap();
    }
}

#[test]
fn an_audit_record_holds_what_is_known_and_leaves_out_the_rest() {
    let process = Process::changing();
    let mut caller = process.caller(HoldBy::Pidfd);
    caller.unit = UnitPath::default();
    caller.known().audit = caller.write_audit(None);
    let pid = caller.pid;
    let expected = format!(r#"{{"uid":1000,"gid":100,"pid":{pid},"front":"native"}}"#);
    assert_eq!(audit_of(&caller), expected);
    caller.unit.unit = Some("web.service".to_owned());
    let program = Program {
        start_time: 1,
        exe: Some("/a \"b\"".to_owned()),
        file: None,
        sha256: Some([0xab; 32]),
        parents: Vec::new(),
        descends_from_monitor: false,
    };
    caller.note(program, Instant::now()).unwrap();
    let expected = format!(
        r#"{{"uid":1000,"gid":100,"pid":{pid},"unit":"web.service","exe":"/a \"b\"","exe_sha256":"{}","front":"native"}}"#,
        "ab".repeat(32)
    );
    assert_eq!(audit_of(&caller), expected);
}

#[test]
fn a_caller_that_becomes_another_program_is_noticed() {
    with_monitor(async |monitor| {
        for hold_by in BOTH {
            let mut process = Process::changing();
            let caller = process.caller(hold_by);
            // The child may still be between fork and exec.
            let exe = format!("/proc/{}/exe", caller.pid);
            while std::fs::read_link(&exe).unwrap() == std::env::current_exe().unwrap() {
                std::thread::yield_now();
            }
            caller.refresh_program(&monitor, ALWAYS).await.unwrap();
            let shell = caller.facts().unwrap().program.exe.clone().unwrap();
            assert!(audit_of(&caller).contains(&shell));
            caller.refresh_program(&monitor, ALWAYS).await.unwrap();
            process.0.stdin.as_mut().unwrap().write_all(b"\n").unwrap();
            while std::fs::read_link(&exe).unwrap().to_str() == Some(&shell) {
                std::thread::yield_now();
            }
            // What is young enough is not asked for again.
            caller
                .refresh_program(&monitor, Duration::from_secs(3600))
                .await
                .unwrap();
            let error = caller.refresh_program(&monitor, ALWAYS).await.unwrap_err();
            let CallerError::Changed { was, is } = error else {
                panic!("{error}")
            };
            assert_eq!(was, shell);
            assert!(is.ends_with("cat"), "{is}");
        }
    });
}

#[test]
fn a_caller_that_has_ended_is_gone_at_once() {
    with_monitor(async |monitor| {
        for hold_by in BOTH {
            let mut process = Process::changing();
            let caller = process.caller(hold_by);
            caller.check_lives().unwrap();
            process.end();
            assert!(matches!(caller.check_lives(), Err(CallerError::Gone)));
            for age in [ALWAYS, Duration::from_secs(3600)] {
                let refreshed = caller.refresh_program(&monitor, age).await;
                assert!(matches!(refreshed, Err(CallerError::Gone)));
            }
        }
    });
}

#[test]
fn a_recycled_pid_is_told_by_its_start_time() {
    with_monitor(async |monitor| {
        let process = Process::changing();
        let mut caller = process.caller(HoldBy::StartTime);
        caller.start_time = caller.start_time.map(|time| time.wrapping_sub(1));
        assert!(matches!(caller.check_lives(), Err(CallerError::Gone)));
        let refreshed = caller.refresh_program(&monitor, ALWAYS).await;
        assert!(matches!(refreshed, Err(CallerError::Gone)));
    });
}

#[test]
fn a_peer_that_was_gone_before_it_was_looked_at_is_refused() {
    let mut process = Process::changing();
    let pid = process.0.id();
    let pidfd = keyward_sys::process::pidfd_open(pid).unwrap();
    process.end();
    for pidfd in [Some(pidfd), None] {
        let credentials = PeerCredentials {
            uid: 0,
            gid: 0,
            pid,
            groups: Vec::new(),
            pidfd,
            security_label: None,
        };
        assert!(matches!(
            Caller::of(credentials, "native"),
            Err(CallerError::Gone)
        ));
    }
}

#[test]
fn a_peer_of_another_pid_namespace_has_no_program() {
    with_monitor(async |monitor| {
        let credentials = PeerCredentials {
            uid: 5,
            gid: 5,
            pid: 0,
            groups: Vec::new(),
            pidfd: None,
            security_label: None,
        };
        let caller = Caller::of(credentials, "native").unwrap();
        caller.refresh_program(&monitor, ALWAYS).await.unwrap();
        assert!(caller.facts().is_none());
        assert_eq!(caller.refuse_reason(&Own::of(1, UnitPath::default())), None);
    });
}

#[test]
fn what_the_monitor_started_is_refused() {
    let process = Process::changing();
    let caller = process.caller(HoldBy::Pidfd);
    let own = |monitor| Own::of(monitor, UnitPath::default());
    let reason = caller.refuse_reason(&own(std::process::id())).unwrap();
    assert!(reason.contains("a worker may not use keys"));
    assert!(caller.refuse_reason(&own(caller.pid)).is_some());
    assert!(
        caller
            .refuse_reason(&own(std::os::unix::process::parent_id()))
            .is_some()
    );
    let other = Process::changing();
    assert_eq!(caller.refuse_reason(&own(other.0.id())), None);
}

#[test]
fn who_sits_in_the_agents_own_unit_is_refused() {
    let process = Process::changing();
    let mut caller = process.caller(HoldBy::Pidfd);
    let nobody = u32::MAX;
    let of = |path: &str| unit::parse(format!("0::{path}\n").as_bytes());
    let own = Own::of(nobody, of("/system.slice/keywardd.service"));
    caller.unit = of("/system.slice/keywardd.service/sub");
    assert!(
        caller
            .refuse_reason(&own)
            .unwrap()
            .contains("unit of keywardd itself")
    );
    caller.unit = of("/system.slice/web.service");
    assert_eq!(caller.refuse_reason(&own), None);
    // Outside of a unit there is nothing to share.
    caller.unit = UnitPath::default();
    assert_eq!(
        caller.refuse_reason(&Own::of(nobody, UnitPath::default())),
        None
    );
}

#[test]
fn a_program_that_only_gets_another_name_is_the_same() {
    let program = |exe: &str, inode, hash| Program {
        start_time: 1,
        exe: Some(exe.to_owned()),
        file: Some(crate::monitor::FileId { device: 1, inode }),
        sha256: Some([hash; 32]),
        parents: Vec::new(),
        descends_from_monitor: false,
    };
    let before = program("/usr/bin/git", 5, 7);
    assert!(is_same_program(
        &before,
        &program("/usr/bin/git (deleted)", 5, 7)
    ));
    assert!(!is_same_program(&before, &program("/usr/bin/git", 6, 7)));
    assert!(!is_same_program(&before, &program("/usr/bin/git", 5, 8)));
    let hidden = Program {
        exe: None,
        file: None,
        sha256: None,
        ..before.clone()
    };
    assert!(!is_same_program(&before, &hidden));
    assert!(is_same_program(&hidden, &hidden.clone()));
}
