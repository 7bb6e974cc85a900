//! What systemd gives and wants, without systemd.

use std::{
    os::{
        fd::OwnedFd,
        unix::net::{UnixDatagram, UnixListener},
    },
    path::Path,
    process::{Command, Stdio},
};

use keyward_client::Client;
use keyward_tests::{
    Daemon, Setup, Site,
    site::{program, write_private},
};

/// `keywardd` that finds these listening sockets as descriptors 3, 4, …, as systemd passes them.
fn activated(site: &Site, sockets: usize, listener: UnixListener) -> Command {
    // The shell keeps its process id when it becomes keywardd.
    let passed: String = (0..sockets).map(|n| format!(" {}<&0", n + 3)).collect();
    let script =
        format!("export LISTEN_PID=$$ LISTEN_FDS={sockets}; exec \"$@\"{passed} 0</dev/null");
    let mut command = Command::new("/bin/sh");
    command.args(["-c", &script, "sh"]).arg(program("keywardd"));
    command.arg("--config").arg(site.config());
    command
        .stdin(Stdio::from(OwnedFd::from(listener)))
        .stderr(Stdio::piped());
    command
}

#[test]
fn a_socket_of_systemd_is_taken_over_and_left_behind() {
    let site = Setup::new().build();
    let listener = UnixListener::bind(site.socket()).unwrap();
    let ours = listener.try_clone().unwrap();
    let command = activated(&site, 1, listener);
    let mut daemon = Daemon::start_with(site, command);
    daemon.create_signer("k");
    daemon.signal(rustix::process::Signal::TERM);
    assert!(daemon.wait().success(), "{}", daemon.stderr());
    assert!(daemon.socket().exists(), "it is systemd's");
    // What comes now waits for the next start, as it does in systemd's hands.
    let waiting = std::os::unix::net::UnixStream::connect(daemon.socket());
    assert!(waiting.is_ok());
    drop(ours);
}

#[test]
fn a_client_that_came_before_the_daemon_is_served() {
    let site = Setup::new().build();
    let listener = UnixListener::bind(site.socket()).unwrap();
    let endpoint = keyward_client::Endpoint::at(site.socket());
    let early = std::thread::spawn(move || {
        let mut client = Client::connect_to(endpoint)?;
        client.call(keyward_client::protocol::operation::Status {})
    });
    let command = activated(&site, 1, listener);
    let _daemon = Daemon::start_with(site, command);
    early.join().unwrap().expect("it was served");
}

#[test]
fn several_sockets_of_systemd_are_refused() {
    let site = Setup::new().build();
    let listener = UnixListener::bind(site.socket()).unwrap();
    let output = activated(&site, 2, listener).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("ListenStream"), "{said}");
}

#[test]
fn systemd_is_told_when_it_is_ready_and_when_it_stops() {
    let site = Setup::new().build();
    let path = site.dir().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket
        .set_read_timeout(Some(keyward_tests::PATIENCE))
        .unwrap();
    let next = || {
        let mut message = [0; 256];
        let length = socket.recv(&mut message).unwrap();
        String::from_utf8(message[..length].to_vec()).unwrap()
    };
    let mut command = site.keywardd();
    command.env("NOTIFY_SOCKET", &path);
    let daemon = Daemon::start_with(site, command);
    assert!(next().contains("READY=1"));
    let _site = daemon.stop();
    assert!(next().contains("STOPPING=1"));
}

#[test]
fn a_pin_comes_from_a_systemd_credential() {
    let site = Setup::new().build();
    let credentials = site.dir().join("credentials");
    std::fs::create_dir(&credentials).unwrap();
    write_private(&credentials.join("hsm-pin"), site.hsm("main").pin());
    let file = format!("pin = {{ file = {:?} }}", site.pin_file("main"));
    site.edit_config(&file, "pin = { credential = \"hsm-pin\" }");
    std::fs::remove_file(site.pin_file("main")).unwrap();
    let mut command = site.keywardd();
    command.env("CREDENTIALS_DIRECTORY", &credentials);
    let daemon = Daemon::start_with(site, command);
    daemon.create_signer("k");
}

#[test]
fn make_installs_and_removes_what_systemd_udev_and_polkit_read() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let recipe = |target: &str| {
        let output = Command::new("make")
            .args(["--dry-run", target, "DESTDIR=/stage", "PREFIX=/usr"])
            .current_dir(root)
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let (install, uninstall) = (recipe("install"), recipe("uninstall"));
    let places = [
        ("systemd/system", "lib/systemd/system"),
        ("systemd/user", "lib/systemd/user"),
        ("systemd/sysusers.d", "lib/sysusers.d"),
        ("udev", "lib/udev/rules.d"),
        ("polkit", "share/polkit-1/rules.d"),
    ];
    for (source, place) in places {
        let files = std::fs::read_dir(root.join(source)).unwrap();
        let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
        let names: Vec<_> = names.collect();
        assert!(!names.is_empty(), "{source}");
        for name in names {
            let there = format!("/stage/usr/{place}/{name} ");
            assert!(
                install.contains(&format!("{source}/{name} {there}")),
                "{name}"
            );
            assert!(uninstall.contains(&format!("rm -f {there}")), "{name}");
        }
    }
}
