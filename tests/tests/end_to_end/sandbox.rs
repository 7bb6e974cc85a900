//! What the processes of a running keywardd can't do.

use std::{fs, path::PathBuf};

use keyward_tests::{
    Daemon, Fault, PATIENCE, Setup, TokenSetup, process::status_field, request::sign, wait_for_some,
};

#[test]
fn a_module_in_a_sealed_worker_reaches_nothing_that_is_not_its_own() {
    let daemon = Daemon::start(Setup::new().token(TokenSetup::new("main").fault()));
    daemon.create_signer("k");
    let fault = daemon.fault("main");
    let out_of_reach: Vec<PathBuf> = vec![
        "/etc/passwd".into(),
        "/proc/self/environ".into(),
        daemon.config(),
        daemon.state(),
        daemon.state().join("registry.db"),
        daemon.socket(),
        daemon.dir().to_owned(),
    ];
    let readable = daemon.hsm("main").conf();
    let mut tried = out_of_reach.clone();
    tried.push(readable.clone());
    fault.set("C_Sign", &Fault::Probe(tried));
    daemon
        .client()
        .call(sign("k", b"message"))
        .expect("a signature");
    let found = wait_for_some(|| fault.probed("C_Sign"), PATIENCE).expect("the results");
    for path in out_of_reach {
        for way in ["open", "write"] {
            let result = &found[&format!("{way} {}", path.display())];
            assert!(
                ["EACCES", "EPERM"].contains(&result.as_str())
                    || (path.is_dir() && result == "EISDIR"),
                "{way} {}: {result}",
                path.display()
            );
        }
    }
    assert_eq!(found[&format!("open {}", readable.display())], "ok");
    assert_ne!(found[&format!("write {}", readable.display())], "ok");
    for way in ["socket inet", "socket unix", "execve"] {
        assert!(
            ["EACCES", "EPERM"].contains(&found[way].as_str()),
            "{way}: {}",
            found[way]
        );
    }
    assert_eq!(
        daemon.token("main").restarts,
        0,
        "being refused is not being killed"
    );
}

#[test]
fn status_shows_that_every_protection_holds() {
    let daemon = Daemon::start(Setup::new());
    daemon.create_signer("k");
    let protections = daemon.status().protections;
    let names: Vec<_> = protections
        .iter()
        .map(|holding| holding.name.as_str())
        .collect();
    for name in [
        "agent files",
        "agent system calls",
        "worker main files",
        "worker main system calls",
    ] {
        assert!(names.contains(&name), "{name} is not in {names:?}");
    }
    let missing: Vec<_> = protections
        .iter()
        .filter(|holding| !holding.holds)
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn agent_and_worker_are_filtered_and_gain_no_privileges() {
    let daemon = Daemon::start(Setup::new());
    daemon.create_signer("k");
    for process in [daemon.pid(), daemon.worker_pid("main")] {
        let field = |name| status_field(process, name).unwrap();
        assert_eq!(field("NoNewPrivs"), "1");
        assert_eq!(field("Seccomp"), "2");
    }
    // The monitor starts workers, so it has no filter; it gains no privileges either.
    assert_eq!(
        status_field(daemon.monitor_pid(), "NoNewPrivs").unwrap(),
        "1"
    );
}

#[test]
fn a_worker_has_the_environment_of_its_configuration_and_nothing_more() {
    if !rustix::process::geteuid().is_root() {
        return; // The environment of a process that can't be dumped is root's to read.
    }
    let site = Setup::new().build();
    let mut command = site.keywardd();
    command.env("KEYWARD_TEST_SECRET", "not for workers");
    let daemon = Daemon::start_with(site, command);
    let worker = daemon.worker_pid("main");
    let environment = fs::read_to_string(format!("/proc/{worker}/environ")).unwrap();
    let names: Vec<_> = environment
        .split_terminator('\0')
        .filter_map(|variable| Some(variable.split_once('=')?.0))
        .collect();
    assert_eq!(names, ["SOFTHSM2_CONF"]);
    let arguments = fs::read_to_string(format!("/proc/{worker}/cmdline")).unwrap();
    assert!(arguments.ends_with("\0pkcs11\0main\0"), "{arguments:?}");
    let open = fs::read_dir(format!("/proc/{worker}/fd")).unwrap();
    let open: Vec<_> = open
        .map(|fd| fs::read_link(fd.unwrap().path()).unwrap_or_default())
        .collect();
    let sockets = open
        .iter()
        .filter(|fd| fd.to_string_lossy().starts_with("socket:"));
    assert_eq!(sockets.count(), 1, "{open:?}");
}
