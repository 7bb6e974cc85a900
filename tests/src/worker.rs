//! A real keyward-worker at the other end of a SEQPACKET pair, without monitor and agent.

use std::{
    collections::HashMap,
    env,
    ffi::OsStr,
    os::fd::{AsFd, OwnedFd},
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use keyward_backend::{
    BackendError, KeyReport, TokenReport, VersionId,
    message::{
        Answer, Call, Credential, Expected, Generate, Import, MAX_PACKET, Outcome, Sign, Work,
    },
    start::{Hardware, SandboxLists, SocketKinds, Start},
};
use keyward_protocol::{
    Algorithm, KeyType, Purpose, SecretBytes,
    operation::{KeyMaterial, SignInput},
};
use keyward_sys::fd::{receive_blocking, send_blocking, seqpacket_pair};

use crate::{CardToken, FaultModule, PivToken, SoftHsm, TpmToken, wait_for};

/// What the worker's token is called in its configuration.
pub const TOKEN: &str = "test";

/// A running worker, killed when this is dropped.
#[derive(Debug)]
pub struct Worker {
    child: Child,
    socket: Option<OwnedFd>,
    next: u64,
    early: HashMap<u64, Outcome>,
}

/// What the monitor would send first for a token of that SoftHSM, behind the fault module if there is one.
#[must_use]
pub fn start_of(hsm: &SoftHsm, faults: Option<&FaultModule>) -> Start {
    let module = faults.map_or_else(|| hsm.module(), FaultModule::library);
    let text = |path: &std::path::Path| path.to_str().expect("a path in UTF-8").to_owned();
    let mut write = vec![text(&hsm.token_dir())];
    write.extend(faults.map(|faults| text(faults.dir())));
    Start {
        token: TOKEN.to_owned(),
        hardware: Hardware::Pkcs11 {
            module: text(module),
            uri: hsm.uri(),
        },
        threads: 4,
        spin_us: 0,
        sandbox: SandboxLists {
            read: vec![text(&hsm.conf())],
            write,
            sockets: SocketKinds::None,
            enforce: true,
        },
        pin_file: None,
        remembered_pin: None,
    }
}

/// What the monitor would send first for that TPM, behind its proxy.
///
/// # Panics
/// If a path is not UTF-8.
#[must_use]
#[track_caller]
pub fn start_of_tpm(token: &TpmToken) -> Start {
    let keys = token.keys().to_str().expect("a path in UTF-8").to_owned();
    Start {
        token: TOKEN.to_owned(),
        hardware: Hardware::Tpm {
            tcti: token.proxy().tcti(),
            keys: keys.clone(),
        },
        threads: 1,
        spin_us: 0,
        sandbox: SandboxLists {
            read: Vec::new(),
            write: vec![keys],
            sockets: SocketKinds::Inet,
            enforce: true,
        },
        pin_file: None,
        remembered_pin: None,
    }
}

/// What the monitor would send first for a PIV card; `None` for the serial number of the only one.
#[must_use]
pub fn start_of_piv(serial: Option<u32>, pin_seconds: Option<u64>) -> Start {
    Start {
        token: TOKEN.to_owned(),
        hardware: Hardware::Piv {
            serial,
            pin_seconds,
        },
        threads: 2,
        spin_us: 0,
        sandbox: SandboxLists {
            read: Vec::new(),
            write: Vec::new(),
            sockets: SocketKinds::Unix,
            enforce: true,
        },
        pin_file: None,
        remembered_pin: None,
    }
}

/// The worker's program, which `make test` builds.
///
/// # Panics
/// If it was not built.
#[must_use]
pub fn program() -> PathBuf {
    let test = env::current_exe().expect("the path of the test");
    let program = test
        .ancestors()
        .skip(1)
        .take(2)
        .map(|folder| folder.join("keyward-worker"))
        .find(|path| path.exists());
    program.expect("keyward-worker was not built; type `make test`")
}

impl Worker {
    /// Starts a worker for the first token of the SoftHSM.
    ///
    /// # Panics
    /// If it can't be started.
    #[must_use]
    #[track_caller]
    pub fn start(hsm: &SoftHsm, faults: Option<&FaultModule>) -> Self {
        Self::start_with(hsm, faults, &start_of(hsm, faults))
    }

    /// Starts a worker with another first packet.
    ///
    /// # Panics
    /// If it can't be started.
    #[must_use]
    #[track_caller]
    pub fn start_with(hsm: &SoftHsm, faults: Option<&FaultModule>, start: &Start) -> Self {
        let faults = faults.map(FaultModule::environment);
        let environment = hsm.environment().into_iter();
        let environment = environment.chain(faults.into_iter().flatten());
        Self::spawn("pkcs11", environment, start)
    }

    /// Starts a worker for a TPM.
    ///
    /// # Panics
    /// If it can't be started.
    #[must_use]
    #[track_caller]
    pub fn start_tpm(token: &TpmToken) -> Self {
        Self::spawn("tpm", [("", ""); 0], &start_of_tpm(token))
    }

    /// Starts a worker for the only card behind a gate.
    ///
    /// # Panics
    /// If it can't be started.
    #[must_use]
    #[track_caller]
    pub fn start_piv(token: &PivToken) -> Self {
        Self::start_piv_with(token, &start_of_piv(None, None))
    }

    /// Starts a worker for a card with another first packet.
    ///
    /// # Panics
    /// If it can't be started.
    #[must_use]
    #[track_caller]
    pub fn start_piv_with(token: &PivToken, start: &Start) -> Self {
        Self::spawn("piv", token.environment(), start)
    }

    /// Starts a worker of its own for a card of a site.
    ///
    /// # Panics
    /// If it can't be started.
    #[must_use]
    #[track_caller]
    pub fn start_piv_of(card: &CardToken) -> Self {
        let start = start_of_piv(Some(card.card().serial()), None);
        Self::spawn("piv", card.rig().environment(), &start)
    }

    #[track_caller]
    fn spawn(
        kind: &str,
        environment: impl IntoIterator<Item = (impl AsRef<OsStr>, impl AsRef<OsStr>)>,
        start: &Start,
    ) -> Self {
        let (socket, theirs) = seqpacket_pair().expect("a socket pair");
        let child = Command::new(program())
            .args([kind, TOKEN])
            .env_clear()
            .envs(environment)
            .stdin(Stdio::from(theirs))
            .spawn()
            .expect("keyward-worker starts");
        let packet = minicbor::to_vec(start).expect("CBOR");
        send_blocking(socket.as_fd(), &packet).expect("a packet sent");
        Self {
            child,
            socket: Some(socket),
            next: 0,
            early: HashMap::new(),
        }
    }

    /// A worker that is open and logged in.
    ///
    /// # Panics
    /// If it can't be had.
    #[must_use]
    #[track_caller]
    pub fn ready(hsm: &SoftHsm, faults: Option<&FaultModule>) -> Self {
        let mut worker = Self::start(hsm, faults);
        worker.open().expect("an open token");
        worker.login(hsm.pin()).expect("a login");
        worker
    }

    /// Imports a key.
    ///
    /// # Errors
    /// The worker's.
    #[track_caller]
    pub fn import(
        &mut self,
        key_type: KeyType,
        purpose: Purpose,
        material: KeyMaterial,
    ) -> Result<(VersionId, KeyReport), BackendError> {
        let id = VersionId::random();
        let generate = Generate {
            id,
            label: "imported".to_owned(),
            key_type,
            purpose,
            piv: None,
        };
        match self.call(Work::Import(Import { generate, material })) {
            Outcome::Key(Some(report)) => Ok((id, report)),
            Outcome::Failed(error) => Err(error),
            other => panic!("{other:?}"),
        }
    }

    /// Sends a call without waiting for its answer.
    ///
    /// # Panics
    /// If the worker has gone.
    #[track_caller]
    pub fn send(&mut self, work: Work) -> u64 {
        self.send_expecting(work, None)
    }

    /// Sends a call with what the registry would have of its key.
    ///
    /// # Panics
    /// If the worker has gone.
    #[track_caller]
    pub fn send_expecting(&mut self, work: Work, expected: Option<Expected>) -> u64 {
        self.next = self.next.wrapping_add(1);
        let call = Call {
            id: self.next,
            work,
            expected,
        };
        self.send_bytes(&minicbor::to_vec(call).expect("CBOR"));
        self.next
    }

    /// Sends a packet that may be anything.
    ///
    /// # Panics
    /// If the worker has gone.
    #[track_caller]
    pub fn send_bytes(&mut self, packet: &[u8]) {
        send_blocking(self.socket().as_fd(), packet).expect("a packet sent");
    }

    /// Waits for the answer to a call, in whatever order they come; `None` if the worker has gone.
    ///
    /// # Panics
    /// If the worker answers what is no answer.
    #[track_caller]
    pub fn receive(&mut self, id: u64) -> Option<Outcome> {
        let mut packet = vec![0; MAX_PACKET];
        loop {
            if let Some(outcome) = self.early.remove(&id) {
                return Some(outcome);
            }
            let length = receive_blocking(self.socket().as_fd(), &mut packet).ok()?;
            if length == 0 {
                return None;
            }
            let answer: Answer =
                minicbor::decode(packet.get(..length).unwrap_or_default()).expect("an answer");
            self.early.insert(answer.id, answer.outcome);
        }
    }

    /// Sends a call and waits for its answer.
    ///
    /// # Panics
    /// If the worker has gone.
    #[track_caller]
    pub fn call(&mut self, work: Work) -> Outcome {
        let id = self.send(work);
        self.receive(id).expect("an answer; has the worker ended?")
    }

    /// Opens the token, whichever it is.
    ///
    /// # Errors
    /// The worker's.
    #[track_caller]
    pub fn open(&mut self) -> Result<TokenReport, BackendError> {
        token(self.call(Work::Open { pinned: None }))
    }

    /// Logs in with a PIN.
    ///
    /// # Errors
    /// The worker's.
    #[track_caller]
    pub fn login(&mut self, pin: &str) -> Result<TokenReport, BackendError> {
        let pin = SecretBytes::copy_from(pin.as_bytes());
        token(self.call(Work::Login(Credential::Given(pin))))
    }

    /// Makes a key.
    ///
    /// # Errors
    /// The worker's.
    #[track_caller]
    pub fn generate(
        &mut self,
        key_type: KeyType,
        purpose: Purpose,
    ) -> Result<(VersionId, KeyReport), BackendError> {
        let id = VersionId::random();
        let outcome = self.call(Work::Generate(Generate {
            id,
            label: "keyward test".to_owned(),
            key_type,
            purpose,
            piv: None,
        }));
        match outcome {
            Outcome::Key(Some(report)) => Ok((id, report)),
            Outcome::Failed(error) => Err(error),
            other => panic!("no key: {other:?}"),
        }
    }

    /// Signs a message.
    ///
    /// # Errors
    /// The worker's.
    #[track_caller]
    pub fn sign(
        &mut self,
        id: VersionId,
        algorithm: Algorithm,
        message: &[u8],
    ) -> Result<Vec<u8>, BackendError> {
        let input = SignInput::Message(message.to_vec());
        match self.call(Work::Sign(Sign {
            id,
            algorithm,
            input,
        })) {
            Outcome::Signature(signature) => Ok(signature.to_vec()),
            Outcome::Failed(error) => Err(error),
            other => panic!("no signature: {other:?}"),
        }
    }

    /// Closes the agent's end of the socket.
    pub fn hang_up(&mut self) {
        self.socket = None;
    }

    /// Waits for the worker to end.
    ///
    /// # Panics
    /// If it does not.
    #[track_caller]
    pub fn ended(&mut self) -> ExitStatus {
        let mut status = None;
        let ended = || {
            status = self.child.try_wait().expect("a child");
            status.is_some()
        };
        assert!(wait_for(ended, Duration::from_secs(60)), "it still runs");
        status.expect("a status")
    }

    /// The process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    fn socket(&self) -> &OwnedFd {
        self.socket.as_ref().expect("not hung up")
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn token(outcome: Outcome) -> Result<TokenReport, BackendError> {
    match outcome {
        Outcome::Token(report) => Ok(report),
        Outcome::Failed(error) => Err(error),
        other => panic!("no token: {other:?}"),
    }
}
