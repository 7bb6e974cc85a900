//! `keyward init` on a machine with SoftHSM, and what an agent makes of what it wrote.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
};

use keyward_tests::{PATIENCE, process::run_with, site::program, wait_for};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// A person's home, in which nothing is.
pub(crate) struct Home {
    dir: TempDir,
    environment: Vec<(String, String)>,
}

impl Home {
    pub(crate) fn new() -> Self {
        Self::with(Vec::new())
    }

    /// With variables that its programs have, too.
    pub(crate) fn with(environment: Vec<(String, String)>) -> Self {
        let dir = tempfile::Builder::new()
            .prefix("kw-init-")
            .tempdir()
            .unwrap();
        fs::create_dir(dir.path().join("run")).unwrap();
        Self { dir, environment }
    }

    pub(crate) fn path(&self, below: &str) -> PathBuf {
        self.dir.path().join(below)
    }

    fn command(&self, name: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(program(name));
        command
            .args(arguments)
            .env_clear()
            .envs(self.environment.iter().cloned())
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("HOME", self.path("home"))
            .env("XDG_RUNTIME_DIR", self.path("run"));
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    #[track_caller]
    pub(crate) fn keyward(&self, arguments: &[&str]) -> String {
        self.keyward_with(arguments, b"")
    }

    #[track_caller]
    pub(crate) fn keyward_with(&self, arguments: &[&str], input: &[u8]) -> String {
        let output = self.output(arguments, input);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {stderr}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    pub(crate) fn output(&self, arguments: &[&str], input: &[u8]) -> Output {
        let mut command = self.command("keyward", arguments);
        run_with(command.stdin(Stdio::piped()), input)
    }

    pub(crate) fn start(&self) -> Agent {
        let child = self
            .command("keywardd", &[])
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let socket = self.path("run/keyward/agent.sock");
        let agent = Agent(child);
        let up = || socket.exists() && self.output(&["status"], b"").status.success();
        assert!(wait_for(up, PATIENCE), "keywardd does not come up");
        agent
    }
}

/// A keywardd that ends with the test.
pub(crate) struct Agent(Child);

impl Drop for Agent {
    fn drop(&mut self) {
        let pid = Pid::from_child(&self.0);
        let _ = kill_process(pid, Signal::TERM);
        let _ = self.0.wait();
    }
}

pub(crate) fn modes(folder: &Path, found: &mut Vec<(PathBuf, u32)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        found.push((
            path.clone(),
            fs::metadata(&path).unwrap().permissions().mode() & 0o077,
        ));
        if path.is_dir() {
            modes(&path, found);
        }
    }
}

#[test]
fn from_nothing_to_a_signature_and_back_to_nothing() {
    let home = Home::new();
    let said = home.keyward(&["init", "--software", "--remember-pin-in-file", "--yes"]);
    assert!(said.contains("software, not hardware"), "{said}");
    let mut found = Vec::new();
    modes(&home.path("home"), &mut found);
    assert!(found.iter().all(|(_, others)| *others == 0), "{found:?}");
    {
        let _agent = home.start();
        let unlocked = || home.keyward(&["token", "list"]).contains("unlocked");
        assert!(wait_for(unlocked, PATIENCE));
        home.keyward(&[
            "key",
            "create",
            "demo",
            "--purpose",
            "sign",
            "--type",
            "p256",
        ]);
        let signature = home.path("signature");
        let file = signature.to_str().unwrap();
        home.keyward_with(&["sign", "demo", "-o", file], b"message");
        home.keyward_with(&["verify", "demo", "--signature", file], b"message");
        // The token is open: taking it away is refused.
        let output = home.output(&["init", "--undo", "--yes-destroy-keys"], b"");
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(7), "{stderr}");
        assert!(stderr.contains("the agent runs"), "{stderr}");
    }
    let said = home.keyward(&["init", "--undo", "--yes-destroy-keys"]);
    assert!(
        said.contains("left: ") && said.contains("the agent's log"),
        "{said}"
    );
    assert!(!home.path("home/.config").exists());
    let state = home.path("home/.local/state/keyward");
    assert!(!state.join("softhsm").exists() && !state.join("init.json").exists());
    assert!(state.join("audit").exists());
}

#[test]
fn a_pin_that_a_person_chose_opens_the_token_and_is_written_nowhere() {
    let home = Home::new();
    let pin = "blåbær-73519";
    let line = format!("{pin}\n");
    home.keyward_with(
        &["init", "--software", "--pin-file", "-", "--yes"],
        line.as_bytes(),
    );
    let mut found = Vec::new();
    modes(&home.path("home"), &mut found);
    for (path, _) in found.iter().filter(|(path, _)| path.is_file()) {
        let bytes = fs::read(path).unwrap();
        assert!(
            !bytes.windows(pin.len()).any(|part| part == pin.as_bytes()),
            "{path:?}"
        );
    }
    let _agent = home.start();
    assert!(wait_for(
        || home.keyward(&["token", "list"]).contains("locked"),
        PATIENCE
    ));
    home.keyward_with(&["unlock", "--pin-file", "-"], line.as_bytes());
    home.keyward(&[
        "key",
        "create",
        "demo",
        "--purpose",
        "agree",
        "--type",
        "p256",
    ]);
}

#[test]
fn a_second_token_in_software_is_added_and_both_serve() {
    let home = Home::new();
    let init = ["init", "--software", "--remember-pin-in-file", "--yes"];
    home.keyward(&init);
    home.keyward(&[&init[..], &["--add", "--name", "spare"]].concat());
    {
        let _agent = home.start();
        let both = || home.keyward(&["token", "list"]).matches("unlocked").count() == 2;
        assert!(wait_for(both, PATIENCE));
    }
    home.keyward(&["init", "--undo", "--yes-destroy-keys"]);
    home.keyward(&["init", "--undo", "--yes-destroy-keys"]);
    assert!(!home.path("home/.config").exists());
    assert!(!home.path("home/.local/state/keyward/softhsm").exists());
}

#[test]
fn undone_before_an_agent_ran_nothing_is_left() {
    let home = Home::new();
    home.keyward(&["init", "--software", "--remember-pin-in-file", "--yes"]);
    home.keyward(&["init", "--undo", "--yes-destroy-keys"]);
    assert!(!home.path("home").exists());
}

#[test]
fn a_configuration_that_a_section_does_not_fit_stays_as_it_is() {
    let home = Home::new();
    let init = ["init", "--software", "--remember-pin-in-file", "--yes"];
    home.keyward(&init);
    let config = home.path("home/.config/keyward/keyward.toml");
    let good = fs::read_to_string(&config).unwrap();
    // TOML takes no section below an inline table; keywardd takes no word that it does not know.
    for (there, code) in [("token = {}\n", 2), ("sokcet = 1\n", 0)] {
        fs::write(&config, there).unwrap();
        let output = home.output(&[&init[..], &["--add", "--name", "x"]].concat(), b"");
        assert_eq!(output.status.code(), Some(code));
        assert!(fs::read_to_string(&config).unwrap().starts_with(there));
    }
    home.keyward(&["init", "--undo", "--yes-destroy-keys"]);
    assert_eq!(fs::read_to_string(&config).unwrap(), "sokcet = 1\n");
    fs::write(&config, good).unwrap();
    home.keyward(&["init", "--undo", "--yes-destroy-keys"]);
    assert!(!home.path("home").exists());
}
