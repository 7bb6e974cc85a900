//! The references: the same token without keyward, driven by `cryptoki` in a process of its own.

pub(crate) mod piv;
mod token;
mod tpm;

use std::{
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, ExitCode, Stdio},
    time::Duration,
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{sample::Sample, work::Work};
use crate::{SoftHsm, wait_for};
pub(crate) use piv::DirectPiv;
pub(crate) use tpm::DirectTpm;

/// The argument that makes the benchmark a reference process.
pub(crate) const ARGUMENT: &str = "--reference";

/// What Debian's package p11-kit-modules brings, and where others put it.
const CLIENTS: [&str; 4] = [
    "/usr/lib/x86_64-linux-gnu/pkcs11/p11-kit-client.so",
    "/usr/lib/aarch64-linux-gnu/pkcs11/p11-kit-client.so",
    "/usr/lib64/pkcs11/p11-kit-client.so",
    "/usr/lib/pkcs11/p11-kit-client.so",
];

/// What a reference process is asked for, a line each.
#[derive(Debug, Serialize, Deserialize)]
struct Order {
    work: Work,
    threads: usize,
    duration: Duration,
}

/// What it answers, a line each.
type Answer = Result<Sample, String>;

/// A process that has loaded a module and logged in, and waits for orders.
pub(crate) struct Reference {
    process: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Reference {
    /// `cryptoki` on SoftHSM itself.
    pub(crate) fn direct(hsm: &SoftHsm) -> Self {
        let mut command = Self::command(hsm.module());
        command.envs(hsm.environment());
        Self::start(&mut command, hsm)
    }

    /// Runs it once.
    ///
    /// # Errors
    /// The module refuses the operation: what it said.
    pub(crate) fn run(&mut self, work: Work, threads: usize, duration: Duration) -> Answer {
        let order = Order {
            work,
            threads,
            duration,
        };
        send(&mut self.orders, &order);
        receive(&mut self.answers).expect("the reference process still runs")
    }

    fn command(module: &Path) -> Command {
        let mut command = Command::new(std::env::current_exe().expect("the path of this program"));
        command.arg(ARGUMENT).arg(module);
        command
    }

    fn start(command: &mut Command, hsm: &SoftHsm) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().expect("this program runs once more");
        let mut orders = process.stdin.take().expect("a pipe");
        let answers = BufReader::new(process.stdout.take().expect("a pipe"));
        send(&mut orders, &(hsm.label(), hsm.pin()));
        Self {
            process,
            orders,
            answers,
        }
    }
}

impl Drop for Reference {
    fn drop(&mut self) {
        end(&mut self.process);
    }
}

/// `p11-kit server` in front of SoftHSM, and `cryptoki` on its client module.
pub(crate) struct P11Kit {
    reference: Reference,
    server: Child,
}

impl P11Kit {
    /// Starts both.
    pub(crate) fn start(hsm: &SoftHsm) -> Self {
        let client = CLIENTS.iter().map(PathBuf::from).find(|path| path.exists());
        let client = client.expect("p11-kit-client.so; `make bench` installs p11-kit-modules");
        let socket = hsm.dir().join("p11-kit.sock");
        let mut server = Command::new("p11-kit");
        server
            .args(["server", "--foreground", "--provider"])
            .arg(hsm.module());
        server.arg("--name").arg(&socket).arg(hsm.uri());
        server
            .envs(hsm.environment())
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        let server = server
            .spawn()
            .expect("p11-kit server runs; `make bench` installs p11-kit");
        assert!(
            wait_for(|| socket.exists(), Duration::from_secs(10)),
            "p11-kit server made no socket"
        );
        let mut command = Reference::command(&client);
        let address = format!("unix:path={}", socket.display());
        command.env("P11_KIT_SERVER_ADDRESS", address);
        let reference = Reference::start(&mut command, hsm);
        Self { reference, server }
    }

    /// Runs it once.
    ///
    /// # Errors
    /// As [`Reference::run`].
    pub(crate) fn run(&mut self, work: Work, threads: usize, duration: Duration) -> Answer {
        self.reference.run(work, threads, duration)
    }
}

impl Drop for P11Kit {
    fn drop(&mut self) {
        end(&mut self.reference.process);
        end(&mut self.server);
    }
}

/// The reference process: the token's label and PIN come in the first line, then orders.
pub(crate) fn main(module: &Path) -> ExitCode {
    let mut input = std::io::stdin().lock();
    let mut output = std::io::stdout().lock();
    let (label, pin): (String, String) = receive(&mut input).expect("label and PIN");
    let token = token::Token::open(module, &label, pin);
    while let Some(Order {
        work,
        threads,
        duration,
    }) = receive(&mut input)
    {
        send(&mut output, &token.run(work, threads, duration));
    }
    token.close();
    ExitCode::SUCCESS
}

fn send(to: &mut impl Write, value: &impl Serialize) {
    let mut line = serde_json::to_vec(value).expect("plain values");
    line.push(b'\n');
    to.write_all(&line)
        .and_then(|()| to.flush())
        .expect("the other process still runs");
}

/// The value of the next line; none at the end.
fn receive<T: DeserializeOwned>(from: &mut impl BufRead) -> Option<T> {
    let mut line = String::new();
    from.read_line(&mut line).expect("lines of text");
    (!line.is_empty())
        .then(|| serde_json::from_str(&line).expect("a line that the other process wrote"))
}

fn end(process: &mut Child) {
    // It may have ended already.
    let _ = process.kill();
    let _ = process.wait();
}
