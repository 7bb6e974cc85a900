//! What each serving thread does.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use keyward_backend::message::{Call, Expected, MAX_PACKET, Outcome, UNASKED, Work};
use keyward_backend::{Backend, BackendError, Destroyed, Notice, Result, Session};
use keyward_sys::fd::{receive_blocking, send_blocking, try_receive};
use minicbor::bytes::ByteVec;
use zeroize::Zeroize;

use super::{ServeError, decode, encode};
use crate::credential::Credentials;

/// What the threads of a worker share.
pub(super) struct Shared<B: Backend + 'static> {
    socket: OwnedFd,
    backend: &'static B,
    credentials: Credentials,
    spin: Duration,
    /// Whether a thread is polling: one is enough, and two would take a processor each.
    polling: AtomicBool,
}

impl<B: Backend + 'static> Shared<B> {
    pub(super) fn new(
        socket: OwnedFd,
        backend: &'static B,
        credentials: Credentials,
        spin: Duration,
    ) -> Self {
        Self {
            socket,
            backend,
            credentials,
            spin,
            polling: AtomicBool::new(false),
        }
    }

    /// Has the backend look whether its token comes and goes.
    pub(super) fn watch(&'static self) {
        let notice = Notice::new(|| self.tell(UNASKED, Outcome::Changed));
        self.backend.watch(notice);
    }

    /// Serves until the agent has gone.
    pub(super) fn run(&self) -> std::result::Result<(), ServeError> {
        let mut packet = vec![0; MAX_PACKET];
        let mut reply = Vec::with_capacity(1024);
        let mut session = None;
        let mut length = receive_blocking(self.socket.as_fd(), &mut packet)?;
        while length != 0 {
            let bytes = packet.get_mut(..length).unwrap_or_default();
            let call = decode(bytes)?;
            let id = call.id;
            let secret_call = matches!(
                call.work,
                Work::Login(_)
                    | Work::ChangePin(_)
                    | Work::ChangePuk(_)
                    | Work::UnblockPin(_)
                    | Work::Import(_)
                    | Work::MakeBound(_)
                    | Work::Seal(_)
                    | Work::Wrap(_)
                    | Work::Mac(_)
            );
            if secret_call {
                bytes.zeroize();
            }
            let outcome = catch_unwind(AssertUnwindSafe(|| self.work(call, &mut session)));
            let panicked = outcome.is_err();
            let outcome = outcome.unwrap_or_else(|_| {
                Outcome::Failed(BackendError::DeviceFailed(
                    "the worker broke on this request; it is started again".to_owned(),
                ))
            });
            let secret_reply = matches!(outcome, Outcome::Secret(_));
            encode(id, outcome, &mut reply);
            let sent = send_blocking(self.socket.as_fd(), &reply);
            if secret_reply {
                reply.zeroize();
            }
            if panicked {
                return Err(ServeError::Panicked);
            }
            match sent {
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
                sent => sent?,
            }
            length = self.receive(&mut packet)?;
        }
        Ok(())
    }

    /// Says something that is no answer. Where it can't be said, the agent is gone, which the next
    /// packet shows.
    pub(super) fn tell(&self, id: u64, outcome: Outcome) {
        let mut packet = Vec::new();
        encode(id, outcome, &mut packet);
        let _ = send_blocking(self.socket.as_fd(), &packet);
    }

    /// The next packet: polled for a while if no other thread does, then waited for.
    fn receive(&self, packet: &mut [u8]) -> io::Result<usize> {
        if !self.spin.is_zero() && !self.polling.swap(true, Ordering::Acquire) {
            let polled = self.poll(packet);
            self.polling.store(false, Ordering::Release);
            if let Some(received) = polled {
                return received;
            }
        }
        receive_blocking(self.socket.as_fd(), packet)
    }

    fn poll(&self, packet: &mut [u8]) -> Option<io::Result<usize>> {
        let until = Instant::now().checked_add(self.spin)?;
        loop {
            match try_receive(self.socket.as_fd(), packet) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                received => return Some(received),
            }
            if Instant::now() >= until {
                return None;
            }
            std::hint::spin_loop();
        }
    }

    fn work(&self, call: Call, session: &mut Option<B::Session<'static>>) -> Outcome {
        let result = match call.work {
            Work::Open { pinned } => self.backend.open(pinned.as_ref()).map(Outcome::Token),
            Work::Login(credential) => self.login(credential),
            Work::Logout => {
                self.credentials.forget();
                self.backend.logout().map(|()| Outcome::Done)
            }
            Work::ChangePin(change) => {
                let changed = self.backend.change_pin(&change);
                if changed.is_ok() {
                    // What is kept is the old one.
                    self.credentials.forget();
                }
                changed.map(Outcome::Token)
            }
            Work::ChangePuk(change) => self.backend.change_puk(&change).map(Outcome::Token),
            Work::UnblockPin(unblock) => {
                // What is kept is the old one, also where the outcome is not known.
                self.credentials.forget();
                self.backend.unblock_pin(&unblock).map(Outcome::Token)
            }
            Work::NewManagementKey => self.backend.new_management_key().map(Outcome::Token),
            Work::Reset => {
                self.credentials.forget();
                self.backend.reset().map(Outcome::Token)
            }
            work => self.with_session(call.id, work, call.expected.as_ref(), session),
        };
        result.unwrap_or_else(Outcome::Failed)
    }

    fn login(&self, credential: keyward_backend::message::Credential) -> Result<Outcome> {
        let pin = self.credentials.resolve(credential)?;
        let report = self.backend.login(&pin);
        if matches!(
            report,
            Err(BackendError::PinIncorrect | BackendError::PinBlocked)
        ) {
            self.credentials.forget();
        }
        report.map(Outcome::Token)
    }

    fn with_session(
        &self,
        id: u64,
        work: Work,
        expected: Option<&Expected>,
        session: &mut Option<B::Session<'static>>,
    ) -> Result<Outcome> {
        let mut open = match session.take() {
            Some(open) => open,
            None => self.backend.session()?,
        };
        open.expect(expected);
        let touch = open.needs_touch(&work);
        if matches!(touch, Ok(true)) {
            self.tell(id, Outcome::TouchNeeded);
        }
        let result = touch.and_then(|_| use_session(work, &mut open));
        if result.as_ref().err().is_none_or(is_harmless) {
            *session = Some(open);
        }
        result
    }
}

fn use_session(work: Work, session: &mut impl Session) -> Result<Outcome> {
    match work {
        Work::Sign(sign) => {
            let signature = session.sign(&sign)?;
            Ok(Outcome::Signature(ByteVec::from(signature)))
        }
        Work::Unwrap(unwrap) => session.unwrap(&unwrap).map(Outcome::Secret),
        Work::Derive(derive) => session.derive(&derive).map(Outcome::Secret),
        Work::Random(length) => session.random(length).map(Outcome::Secret),
        Work::Generate(generate) => session
            .generate(&generate)
            .map(|key| Outcome::Key(Some(key))),
        Work::Import(import) => session.import(&import).map(|key| Outcome::Key(Some(key))),
        Work::Seal(seal) => session.seal(&seal).map(Outcome::Sealed),
        Work::Unseal(unseal) => session.unseal(&unseal).map(Outcome::Secret),
        Work::Wrap(wrap) => session
            .wrap(&wrap)
            .map(|bytes| Outcome::Wrapped(bytes.into())),
        Work::Mac(mac) => session.mac(&mac).map(|tag| Outcome::Mac(tag.into())),
        Work::Attest(attest) => session.attest(&attest).map(Outcome::Attested),
        Work::AttestationKey => session.attestation_key().map(Outcome::AttestationKey),
        Work::Activate(activate) => session.activate(&activate).map(Outcome::Secret),
        Work::Scan(after) => session.scan(after).map(Outcome::Keys),
        Work::Inspect(id) => session.inspect(id).map(Outcome::Key),
        Work::MakeBound(make) => session.make_bound(&make).map(|key| Outcome::Key(Some(key))),
        Work::ReadPcrs(pcrs) => session.read_pcrs(&pcrs).map(Outcome::Pcrs),
        Work::Bound(id) => session.bound(id).map(Outcome::Bound),
        Work::Approve(approve) => session.approve(&approve).map(|key| Outcome::Key(Some(key))),
        Work::Destroy(id) => session.destroy(id).map(|destroyed| match destroyed {
            Destroyed::Removed => Outcome::Done,
            Destroyed::Overwritten => Outcome::Overwritten,
        }),
        Work::UnsealData(id) => session.unseal_data(id).map(Outcome::Secret),
        Work::Place(place) => session.place(&place).map(|key| Outcome::Key(Some(key))),
        Work::Adopt(adopt) => session.adopt(&adopt).map(|key| Outcome::Key(Some(key))),
        Work::ReadCertificate(id) => session
            .read_certificate(id)
            .map(|found| Outcome::Certificate(found.map(ByteVec::from))),
        Work::WriteCertificate(write) => session.write_certificate(&write).map(|()| Outcome::Done),
        _ => Err(BackendError::MechanismInvalid(
            "this keyward-worker does not know the request; install the one of this keywardd"
                .to_owned(),
        )),
    }
}

/// Whether an error says nothing about the session that it came through.
fn is_harmless(error: &BackendError) -> bool {
    matches!(
        error,
        BackendError::Invalid(_)
            | BackendError::UnwrapFailed
            | BackendError::MechanismInvalid(_)
            | BackendError::KeyNotFound
            | BackendError::KeyChanged(_)
            | BackendError::Exists(_)
            | BackendError::PlaceTaken(_)
            | BackendError::Held(_)
            | BackendError::KeyUnsafe(_)
            | BackendError::TokenFull
            | BackendError::PcrMismatch(_)
            | BackendError::TouchMissed
    )
}
