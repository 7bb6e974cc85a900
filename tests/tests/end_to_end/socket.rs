//! Where the socket is to be: nothing of others is touched, and no two agents serve one path.

use std::{
    fs,
    os::unix::{fs::PermissionsExt, net::UnixListener},
};

use keyward_tests::{Daemon, PATIENCE, Setup, Site, process::run_with, wait_for};

#[track_caller]
fn refusal(site: &Site) -> String {
    let output = run_with(&mut site.keywardd(), b"");
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("keywardd: error: "), "{stderr}");
    stderr
}

/// A site whose socket is to be at another path.
fn moved_to(path: &str) -> Site {
    let site = Setup::new().build();
    let folder = site.dir().to_str().unwrap();
    site.edit_config("agent.sock", path);
    assert!(folder.len() < 60);
    site
}

#[test]
fn a_file_in_the_sockets_place_is_left_alone() {
    let site = Setup::new().build();
    fs::write(site.socket(), "mine").unwrap();
    let said = refusal(&site);
    assert!(said.contains("is not a socket"), "{said}");
    assert_eq!(fs::read(site.socket()).unwrap(), b"mine");
}

#[test]
fn a_stale_socket_is_replaced() {
    let site = Setup::new().build();
    drop(UnixListener::bind(site.socket()).unwrap());
    assert!(site.socket().exists());
    let daemon = Daemon::start_on(site);
    let _ = daemon.status();
}

#[test]
fn a_path_that_is_too_long_for_a_socket_is_said_with_its_place() {
    let said = refusal(&moved_to(&"x".repeat(107)));
    assert!(said.contains("107 bytes"), "{said}");
    assert!(said.contains("keyward.toml:1:"), "{said}");
}

#[test]
fn a_folder_that_everybody_can_write_to_is_refused() {
    let site = moved_to("open/agent.sock");
    let open = site.dir().join("open");
    fs::create_dir(&open).unwrap();
    fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).unwrap();
    let said = refusal(&site);
    assert!(said.contains("777"), "{said}");
    assert_eq!(
        fs::read_dir(open).unwrap().count(),
        0,
        "nothing was made there"
    );
}

#[test]
fn a_folder_of_somebody_else_is_refused() {
    let site = moved_to("theirs/agent.sock");
    let theirs = site.dir().join("theirs");
    fs::create_dir(&theirs).unwrap();
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(&theirs, Some(65534), None).unwrap();
    } else {
        // Who is not root owns what it makes; a folder of root's that nobody else writes to is good, so it fails later.
        fs::remove_dir(&theirs).unwrap();
        std::os::unix::fs::symlink("/", &theirs).unwrap();
    }
    let said = refusal(&site);
    assert!(said.contains("65534") || said.contains("denied"), "{said}");
}

#[test]
fn a_second_daemon_on_the_same_socket_is_refused_and_the_first_serves_on() {
    let daemon = Daemon::start(Setup::new());
    daemon.create_signer("k");
    let output = run_with(&mut daemon.keywardd(), b"");
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains(&format!("process {}", daemon.pid())),
        "{said}"
    );
    let first = daemon
        .client()
        .call(keyward_tests::request::sign("k", b"message"));
    first.expect("the first serves on");
}

#[test]
fn a_second_daemon_on_the_same_state_is_refused_and_the_first_serves_on() {
    let daemon = Daemon::start(Setup::new());
    let text = fs::read_to_string(daemon.config()).unwrap();
    let other = daemon.dir().join("other.toml");
    fs::write(&other, text.replacen("agent.sock", "other.sock", 1)).unwrap();
    let mut command = std::process::Command::new(keyward_tests::site::program("keywardd"));
    let output = run_with(command.arg("--config").arg(other), b"");
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        !daemon.dir().join("other.sock").exists(),
        "it took its socket away"
    );
    let _ = daemon.status();
    assert!(wait_for(|| daemon.processes().len() == 3, PATIENCE));
}

#[test]
fn a_folder_that_is_not_there_is_made() {
    let site = moved_to("a/b/agent.sock");
    let socket = site.dir().join("a/b/agent.sock");
    let mut child = site.keywardd().spawn().unwrap();
    let served =
        || keyward_client::Client::connect_to(keyward_client::Endpoint::at(&socket)).is_ok();
    let served = wait_for(served, PATIENCE);
    rustix::process::kill_process(
        keyward_tests::process::pid(child.id()),
        rustix::process::Signal::TERM,
    )
    .unwrap();
    let status = child.wait().unwrap();
    assert!(served && status.success(), "{status}");
}
