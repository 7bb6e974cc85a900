//! A real `keywardd` on a [`Site`], with everything that it started.

use std::{
    fs,
    io::{BufRead, BufReader},
    ops::Deref,
    os::unix::process::ExitStatusExt,
    path::PathBuf,
    process::{Child, ChildStderr, Command, ExitStatus, Output, Stdio},
    sync::{Arc, Mutex, PoisonError},
    thread::{self, JoinHandle},
    time::Duration,
};

use keyward_client::{
    Client, Endpoint, key_format,
    protocol::{
        KeyType, Purpose,
        operation::{
            Create, GetPublicKey, KeyDescription, LoginState, Status, StatusReport, TokenStatus,
        },
    },
};
use rustix::process::{Signal, kill_process};

use crate::{
    Setup, Site,
    process::{family, parent_of, pid, run_with},
    request::create,
    wait_for, wait_for_some,
};

/// Long enough for anything on a machine that is busy with other things.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A running `keywardd`. When it is dropped nothing of it may be left.
#[derive(Debug)]
pub struct Daemon {
    site: Option<Site>,
    running: Option<Running>,
    /// What the one before wrote.
    last_words: String,
}

/// The process, and the pipe that it and all that it started have as stderr: its end says that they all have ended.
#[derive(Debug)]
struct Running {
    child: Child,
    stderr: Arc<Mutex<String>>,
    reader: JoinHandle<()>,
}

impl Daemon {
    /// Makes the site and starts `keywardd` on it; comes back when it serves.
    ///
    /// # Panics
    /// If it does not come up: its stderr says why.
    #[must_use]
    #[track_caller]
    pub fn start(setup: Setup) -> Self {
        Self::start_on(setup.build())
    }

    /// Starts `keywardd` on a site that is there.
    ///
    /// # Panics
    /// If it does not come up: its stderr says why.
    #[must_use]
    #[track_caller]
    pub fn start_on(site: Site) -> Self {
        let command = site.keywardd();
        Self::start_with(site, command)
    }

    /// Starts `keywardd` by a command of the test's own.
    ///
    /// # Panics
    /// If it does not come up: its stderr says why.
    #[must_use]
    #[track_caller]
    pub fn start_with(site: Site, command: Command) -> Self {
        let mut daemon = Self {
            site: Some(site),
            running: None,
            last_words: String::new(),
        };
        daemon.run(command);
        daemon
    }

    #[track_caller]
    fn run(&mut self, mut command: Command) {
        let mut child = command
            .stdout(Stdio::null())
            .spawn()
            .expect("keywardd can be started");
        let stderr = child.stderr.take().expect("its stderr is a pipe");
        let text = Arc::default();
        self.running = Some(Running {
            child,
            reader: read_all(stderr, &text),
            stderr: text,
        });
        let up = wait_for(
            || self.exit_status().is_some() || Client::connect_to(self.endpoint()).is_ok(),
            PATIENCE,
        );
        assert!(
            up && self.exit_status().is_none(),
            "keywardd does not come up:\n{}",
            self.stderr()
        );
    }

    /// Stops it and starts another on the same site.
    ///
    /// # Panics
    /// As [`Daemon::stop`] and [`Daemon::start`].
    #[track_caller]
    pub fn restart(&mut self) {
        self.terminate();
        self.run(self.keywardd());
    }

    /// Starts another on the same site after the first has ended by itself, or was killed.
    ///
    /// # Panics
    /// If the first still runs, or the other does not come up.
    #[track_caller]
    pub fn start_again(&mut self) {
        assert!(self.running.is_none(), "keywardd still runs");
        self.run(self.keywardd());
    }

    /// Ends it by SIGTERM, which it must follow.
    ///
    /// # Panics
    /// If it does not end, ends with an error, or leaves something behind.
    #[track_caller]
    pub fn terminate(&mut self) {
        self.signal(Signal::TERM);
        let status = self.wait();
        assert!(
            status.success(),
            "keywardd ended with {status}:\n{}",
            self.last_words
        );
        assert!(!self.socket().exists(), "the socket is still there");
    }

    /// Ends it by SIGTERM and gives the site back.
    ///
    /// # Panics
    /// As [`Daemon::terminate`].
    #[track_caller]
    pub fn stop(mut self) -> Site {
        self.terminate();
        self.site.take().expect("a daemon has a site")
    }

    /// Sends it a signal.
    ///
    /// # Panics
    /// If it has ended.
    #[track_caller]
    pub fn signal(&self, signal: Signal) {
        kill_process(pid(self.pid()), signal).expect("keywardd runs");
    }

    /// Waits until it has ended, and everything that it started too.
    ///
    /// # Panics
    /// If that takes too long.
    #[track_caller]
    pub fn wait(&mut self) -> ExitStatus {
        let before = self.processes();
        let ended = wait_for_some(|| self.exit_status(), PATIENCE);
        let status = ended.unwrap_or_else(|| panic!("keywardd does not end:\n{}", self.stderr()));
        let running = self.running.as_ref().expect("it was started");
        assert!(
            wait_for(|| running.reader.is_finished(), PATIENCE),
            "keywardd left some of {before:?} behind\n{}",
            self.stderr()
        );
        self.last_words = self.stderr();
        self.running = None;
        status
    }

    /// How it ended, if it has.
    ///
    /// # Panics
    /// If it was never started.
    pub fn exit_status(&mut self) -> Option<ExitStatus> {
        let running = self.running.as_mut().expect("it was started");
        running.child.try_wait().expect("its status")
    }

    /// What it wrote to stderr, with its monitor and its workers.
    #[must_use]
    pub fn stderr(&self) -> String {
        match &self.running {
            Some(running) => lock(&running.stderr).clone(),
            None => self.last_words.clone(),
        }
    }

    /// The process id of `keywardd`.
    ///
    /// # Panics
    /// If it has ended.
    #[must_use]
    #[track_caller]
    pub fn pid(&self) -> u32 {
        self.running.as_ref().expect("keywardd runs").child.id()
    }

    /// Every process that belongs to it: itself, its monitor, its workers.
    #[must_use]
    pub fn processes(&self) -> Vec<u32> {
        self.running
            .as_ref()
            .map_or(Vec::new(), |running| family(running.child.id()))
    }

    /// The process id of its monitor.
    ///
    /// # Panics
    /// If there is none.
    #[must_use]
    #[track_caller]
    pub fn monitor_pid(&self) -> u32 {
        let is_monitor = |pid: &u32| parent_of(*pid) == Some(self.pid());
        let found = self.processes().into_iter().find(is_monitor);
        found.expect("keywardd has a monitor")
    }

    /// Where clients find it.
    #[must_use]
    pub fn endpoint(&self) -> Endpoint {
        Endpoint::at(self.socket())
    }

    /// A new connection.
    ///
    /// # Panics
    /// If it is refused.
    #[must_use]
    #[track_caller]
    pub fn client(&self) -> Client {
        match Client::connect_to(self.endpoint()) {
            Ok(client) => client,
            Err(error) => panic!("no connection: {error:?}\n{}", self.stderr()),
        }
    }

    /// Runs `keyward`, which must succeed; its stdout.
    ///
    /// # Panics
    /// If it fails: its stderr says why.
    #[track_caller]
    pub fn cli(&self, arguments: &[&str]) -> Vec<u8> {
        self.cli_with(arguments, b"")
    }

    /// The same with something to read on stdin.
    ///
    /// # Panics
    /// If it fails: its stderr says why.
    #[track_caller]
    pub fn cli_with(&self, arguments: &[&str], stdin: &[u8]) -> Vec<u8> {
        let output = self.cli_output(arguments, stdin);
        assert!(
            output.status.success(),
            "keyward {}: {}\n{}\nkeywardd:\n{}",
            arguments.join(" "),
            output.status,
            String::from_utf8_lossy(&output.stderr),
            self.stderr()
        );
        output.stdout
    }

    /// Runs `keyward`, which must fail; its stderr.
    ///
    /// # Panics
    /// If it succeeds.
    #[track_caller]
    pub fn cli_fails(&self, arguments: &[&str], stdin: &[u8]) -> String {
        let output = self.cli_output(arguments, stdin);
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            matches!(output.status.code(), Some(1..)),
            "keyward {} should have failed: {} {stderr}",
            arguments.join(" "),
            output.status
        );
        stderr
    }

    /// Runs `keyward` to its end.
    ///
    /// # Panics
    /// If it can't be run.
    #[track_caller]
    pub fn cli_output(&self, arguments: &[&str], stdin: &[u8]) -> Output {
        run_with(self.keyward().args(arguments), stdin)
    }

    /// What `status` says.
    ///
    /// # Panics
    /// If it is refused.
    #[must_use]
    #[track_caller]
    pub fn status(&self) -> StatusReport {
        self.client().call(Status {}).expect("status")
    }

    /// What `status` says about a token.
    ///
    /// # Panics
    /// If there is no such token.
    #[must_use]
    #[track_caller]
    pub fn token(&self, name: &str) -> TokenStatus {
        let tokens = self.status().tokens.into_iter();
        let found = tokens.into_iter().find(|token| token.name == name);
        found.expect("status shows every token of the configuration")
    }

    /// Waits until a token is in this state.
    ///
    /// # Panics
    /// If that takes too long.
    #[track_caller]
    pub fn wait_for_token(&self, name: &str, state: LoginState) {
        let reached = wait_for(|| self.token(name).login == state, PATIENCE);
        assert!(
            reached,
            "{:?} instead of {state}\n{}",
            self.token(name),
            self.stderr()
        );
    }

    /// The process id of a token's worker, as soon as it has one.
    ///
    /// # Panics
    /// If it gets none.
    #[must_use]
    #[track_caller]
    pub fn worker_pid(&self, token: &str) -> u32 {
        let pid = wait_for_some(|| self.token(token).worker_pid, PATIENCE);
        pid.expect("the token has a worker")
    }

    /// Kills a token's worker, and waits until another one is there.
    ///
    /// # Panics
    /// If none comes.
    #[track_caller]
    pub fn kill_worker(&self, token: &str) {
        let old = self.worker_pid(token);
        kill_process(pid(old), Signal::KILL).expect("the worker runs");
        let replaced = || {
            let now = self.token(token).worker_pid;
            now.is_some_and(|now| now != old)
        };
        assert!(
            wait_for(replaced, PATIENCE),
            "no new worker\n{}",
            self.stderr()
        );
    }

    /// Writes the public key of a key into a file of the site, PEM.
    ///
    /// # Panics
    /// If there is no such key.
    #[must_use]
    #[track_caller]
    pub fn public_file(&self, key: &str) -> PathBuf {
        let request = GetPublicKey {
            key: key.to_owned(),
            version: None,
        };
        let public = self.client().call(request).expect("the public key");
        let file = self.dir().join(format!("{key}.pem"));
        let pem = key_format::to_pem(&public.cose_key).expect("PEM");
        fs::write(&file, pem).expect("a file");
        file
    }

    /// Makes a key.
    ///
    /// # Panics
    /// If it is refused.
    #[track_caller]
    pub fn create(&self, alias: &str, purpose: Purpose, key_type: KeyType) -> KeyDescription {
        let made = self.client().call(create(alias, purpose, key_type));
        made.unwrap_or_else(|error| panic!("{error:?}\n{}", self.stderr()))
    }

    /// Makes a P-256 key that signs.
    ///
    /// # Panics
    /// If it is refused.
    #[track_caller]
    pub fn create_signer(&self, alias: &str) -> KeyDescription {
        self.create(alias, Purpose::Sign, KeyType::P256)
    }

    /// Makes a P-256 key that signs, in one of several tokens.
    ///
    /// # Panics
    /// If it can't be made.
    #[track_caller]
    pub fn create_on(&self, token: &str, alias: &str) -> KeyDescription {
        let made = self.client().call(Create {
            token: Some(token.to_owned()),
            ..create(alias, Purpose::Sign, KeyType::P256)
        });
        made.unwrap_or_else(|error| panic!("{error:?}\n{}", self.stderr()))
    }
}

impl Deref for Daemon {
    type Target = Site;

    fn deref(&self) -> &Site {
        self.site.as_ref().expect("a daemon has a site")
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let family = self.processes();
        let Some(mut running) = self.running.take() else {
            return;
        };
        let _ = running.child.kill();
        let status = running.child.wait();
        let clean = wait_for(|| running.reader.is_finished(), PATIENCE);
        if !clean {
            for left in &family {
                let _ = kill_process(pid(*left), Signal::KILL);
            }
        }
        if thread::panicking() {
            eprintln!("keywardd wrote:\n{}", lock(&running.stderr));
        } else {
            assert!(clean, "keywardd left some of {family:?} behind");
            let signal = status.ok().and_then(|status| status.signal());
            assert_eq!(
                signal,
                Some(9),
                "keywardd had ended by itself:\n{}",
                lock(&running.stderr)
            );
        }
    }
}

fn read_all(stderr: ChildStderr, text: &Arc<Mutex<String>>) -> JoinHandle<()> {
    let text = text.clone();
    thread::spawn(move || {
        for line in BufReader::new(stderr).split(b'\n') {
            let Ok(line) = line else { return };
            let mut text = lock(&text);
            text.push_str(&String::from_utf8_lossy(&line));
            text.push('\n');
        }
    })
}

fn lock(text: &Mutex<String>) -> std::sync::MutexGuard<'_, String> {
    text.lock().unwrap_or_else(PoisonError::into_inner)
}
