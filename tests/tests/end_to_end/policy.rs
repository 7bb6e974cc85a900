//! Who may: the owner in user mode, whom the list names in system mode, and root is nobody special.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Output,
    thread,
};

use keyward_client::{
    Client, Endpoint, Error,
    protocol::{
        ErrorCode, Failure, KeyType, Purpose,
        operation::{Describe, Destroy, GetPublicKey, List, Lock, Status},
    },
};
use keyward_tests::{
    Daemon, PATIENCE, Setup,
    process::run_with,
    request::{create, refused, sign},
    wait_for,
};
use rustix::{
    process::{Gid, Uid, geteuid},
    thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid},
};

const NOBODY: u32 = 65534;

/// Lets everybody reach the socket, so that the policy alone decides.
fn open_to_all(daemon: &Daemon) {
    for (path, mode) in [(daemon.dir(), 0o711), (&*daemon.socket(), 0o666)] {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }
}

/// Does something as another user. The system calls change this one thread only, which then ends.
#[track_caller]
fn as_user<T: Send>(uid: u32, then: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| {
        let other = scope.spawn(|| {
            let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(uid));
            set_thread_groups(&[]).unwrap();
            set_thread_res_gid(gid, gid, gid).unwrap();
            set_thread_res_uid(uid, uid, uid).unwrap();
            then()
        });
        other.join().unwrap()
    })
}

/// Connects as whoever this thread is; the socket is root's.
fn connect(socket: &Path) -> Result<Client, Error> {
    Client::connect_to(Endpoint::at(socket).trust(0))
}

/// What a client that may nothing is told: the same about a key that is there and one that is not.
#[track_caller]
fn assert_may_nothing(client: &mut Client) {
    let words = |failure: Failure, key: &str| (failure.code, failure.message.replace(key, "KEY"));
    for (there, not_there) in [("secret", "nothing")] {
        let sign =
            |key: &str, client: &mut Client| words(refused(client.call(sign(key, b"m"))), key);
        let describe = |key: &str, client: &mut Client| {
            words(refused(client.call(Describe { key: key.into() })), key)
        };
        let public = |key: &str, client: &mut Client| {
            let request = GetPublicKey {
                key: key.into(),
                version: None,
            };
            words(refused(client.call(request)), key)
        };
        let destroy = |key: &str, client: &mut Client| {
            let request = Destroy {
                key: key.into(),
                now: true,
            };
            words(refused(client.call(request)), key)
        };
        for ask in [
            &sign as &dyn Fn(&str, &mut Client) -> (ErrorCode, String),
            &describe,
            &public,
            &destroy,
        ] {
            let answer = ask(there, client);
            assert_eq!(answer.0, ErrorCode::NotFound);
            assert_eq!(answer, ask(not_there, client), "it can't be told apart");
        }
    }
    let failures = [
        refused(client.call(create("mine", Purpose::Sign, KeyType::P256))),
        refused(client.call(List { after: None })),
        refused(client.call(Status {})),
        refused(client.call(Lock { token: None })),
    ];
    for failure in failures {
        assert_eq!(failure.code, ErrorCode::Denied, "{failure}");
    }
}

/// System mode, in which these may.
fn system(allow: &str) -> Setup {
    let mode = Setup::new().line("mode = \"system\"");
    mode.section(&format!("[policy]\nallow = [{allow}]"))
}

#[test]
fn in_system_mode_whoever_is_not_named_may_nothing_even_who_runs_it() {
    let daemon = Daemon::start(system("{ uid = 4711 }"));
    assert_may_nothing(&mut daemon.client());
}

#[test]
fn in_system_mode_whom_the_list_names_may() {
    let own = geteuid().as_raw();
    let daemon = Daemon::start(system(&format!("{{ uid = 4711 }}, {{ uid = {own} }}")));
    daemon.create_signer("k");
    daemon
        .client()
        .call(sign("k", b"message"))
        .expect("a signature");
    let mode = fs::metadata(daemon.socket()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o660);
    assert_eq!(daemon.status().mode, "system");
}

#[test]
fn in_user_mode_another_user_may_nothing() {
    if !geteuid().is_root() {
        return; // Only root can be somebody else; the tests of system mode hold for all.
    }
    let daemon = Daemon::start(Setup::new());
    daemon.create_signer("secret");
    let socket = daemon.socket();
    fs::set_permissions(daemon.dir(), fs::Permissions::from_mode(0o711)).unwrap();
    let refused = as_user(NOBODY, || connect(&socket).is_err());
    assert!(refused, "the socket is its owner's alone");
    open_to_all(&daemon);
    as_user(NOBODY, || {
        assert_may_nothing(&mut connect(&socket).unwrap())
    });
    daemon
        .client()
        .call(sign("secret", b"message"))
        .expect("the owner may");
}

#[test]
fn in_system_mode_another_user_may_what_root_may_not() {
    if !geteuid().is_root() {
        return;
    }
    let daemon = Daemon::start(system("{ uid = 65534 }"));
    open_to_all(&daemon);
    let socket = daemon.socket();
    as_user(NOBODY, || {
        let mut client = connect(&socket).unwrap();
        client
            .call(create("secret", Purpose::Sign, KeyType::P256))
            .expect("a key");
        client
            .call(sign("secret", b"message"))
            .expect("a signature");
    });
    assert_may_nothing(&mut daemon.client());
}

#[test]
fn a_group_is_as_good_as_a_user() {
    if !geteuid().is_root() {
        return;
    }
    let daemon = Daemon::start(system("{ gid = 4712 }"));
    open_to_all(&daemon);
    let socket = daemon.socket();
    let list = |uid: u32| {
        as_user(uid, || {
            connect(&socket).unwrap().call(List { after: None }).is_ok()
        })
    };
    assert!(list(4712), "by the primary group");
    assert!(!list(4711));
}

/// A cgroup of a system unit, as systemd makes them. Its processes must have ended when it is dropped.
struct Unit {
    slice: PathBuf,
    service: PathBuf,
}

impl Unit {
    /// None where only systemd, or nobody, can make cgroups.
    fn new(name: &str) -> Option<Self> {
        let mounts = fs::read_to_string("/proc/mounts").unwrap();
        let mut mounts = mounts
            .lines()
            .map(|line| line.split(' ').collect::<Vec<_>>());
        let root = mounts.find(|mount| mount[2] == "cgroup2")?[1].to_owned();
        let slice = format!("keyward{}.slice", std::process::id());
        let slice = PathBuf::from(root).join(slice);
        let service = slice.join(name);
        fs::create_dir_all(&service).ok()?;
        let unit = Self { slice, service };
        // It can be seen only where the cgroup namespace has it.
        let inside = unit.run(std::process::Command::new("cat").arg("/proc/self/cgroup"));
        let inside = String::from_utf8(inside.stdout).unwrap();
        inside
            .lines()
            .any(|line| line.ends_with(name))
            .then_some(unit)
    }

    /// Runs a command in the unit.
    fn run(&self, command: &std::process::Command) -> Output {
        let mut shell = std::process::Command::new("sh");
        shell.args(["-c", "echo $$ >\"$1\" && shift && exec \"$@\"", "sh"]);
        shell.arg(self.service.join("cgroup.procs"));
        shell.arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            if let Some(value) = value {
                shell.env(name, value);
            }
        }
        run_with(&mut shell, b"")
    }
}

impl Drop for Unit {
    fn drop(&mut self) {
        // An ended process can be in it for another moment.
        let removed =
            || fs::remove_dir(&self.service).is_ok() && fs::remove_dir(&self.slice).is_ok();
        let _ = wait_for(removed, PATIENCE);
    }
}

#[test]
fn a_system_unit_may_what_others_of_its_user_may_not() {
    let Some(unit) = Unit::new("web.service") else {
        return; // The same is proven of made-up cgroup paths in the agent's own tests.
    };
    let daemon = Daemon::start(system("{ unit = \"web.service\" }"));
    let mut list = daemon.keyward();
    list.args(["key", "list"]);
    let outside = run_with(&mut list, b"");
    assert_eq!(outside.status.code(), Some(4), "{outside:?}");
    let inside = unit.run(&list);
    assert!(inside.status.success(), "{inside:?}");
}

#[test]
fn denials_are_recorded_at_a_bounded_rate_and_counted_above_it() {
    let daemon = Daemon::start(system("{ uid = 4711 }"));
    let mut client = daemon.client();
    for _ in 0..50 {
        assert_eq!(
            refused(client.call(Lock { token: None })).code,
            ErrorCode::Denied
        );
    }
    let site = daemon.stop();
    let records = site.audit();
    let denied: Vec<_> = records
        .iter()
        .filter(|record| record["kind"] == "denied")
        .collect();
    assert!((1..=20).contains(&denied.len()), "{}", denied.len());
    assert!(
        denied
            .iter()
            .all(|record| record["caller"]["uid"] == geteuid().as_raw())
    );
}
