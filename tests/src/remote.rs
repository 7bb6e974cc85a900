//! A worker process as a backend, so that the suite for backends can be run on it.

use std::sync::Mutex;

use keyward_backend::message::{
    Attest, ChangePin, Credential, Derive, Generate, Import, Mac, Outcome, Place, ScanPage, Seal,
    Sealed, Sign, Unseal, Unwrap, Work, Wrap,
};
use keyward_backend::{
    Backend, Destroyed, KeyReport, Result, Session, TokenIdentity, TokenReport, VersionId,
};
use keyward_protocol::SecretBytes;
use keyward_protocol::attestation::{Identity, Statement};

use crate::Worker;

/// A keyward-worker, asked one call at a time.
#[derive(Debug)]
pub struct RemoteBackend(Mutex<Worker>);

impl RemoteBackend {
    /// The backend behind a worker that was started.
    #[must_use]
    pub fn new(worker: Worker) -> Self {
        Self(Mutex::new(worker))
    }

    #[track_caller]
    fn call(&self, work: Work) -> Result<Outcome> {
        match self.0.lock().expect("no panic").call(work) {
            Outcome::Failed(error) => Err(error),
            outcome => Ok(outcome),
        }
    }
}

/// Has the outcome of a kind, or panics: a worker that answers something else has a fault.
macro_rules! expect {
    ($call:expr, $pattern:pat => $value:expr) => {
        match $call? {
            $pattern => Ok($value),
            other => panic!("an answer to another question: {other:?}"),
        }
    };
}

impl Backend for RemoteBackend {
    type Session<'a> = RemoteSession<'a>;

    fn open(&self, pinned: Option<&TokenIdentity>) -> Result<TokenReport> {
        let pinned = pinned.cloned();
        expect!(self.call(Work::Open { pinned }), Outcome::Token(report) => report)
    }

    fn login(&self, pin: &SecretBytes) -> Result<TokenReport> {
        let pin = Credential::Given(SecretBytes::copy_from(pin.expose()));
        expect!(self.call(Work::Login(pin)), Outcome::Token(report) => report)
    }

    fn logout(&self) -> Result<()> {
        expect!(self.call(Work::Logout), Outcome::Done => ())
    }

    fn change_pin(&self, change: &ChangePin) -> Result<TokenReport> {
        let change = Work::ChangePin(again(change));
        expect!(self.call(change), Outcome::Token(report) => report)
    }

    fn session(&self) -> Result<RemoteSession<'_>> {
        Ok(RemoteSession(self))
    }
}

/// The worker has a session of its own for each of its threads; this is none of them.
#[derive(Debug)]
pub struct RemoteSession<'a>(&'a RemoteBackend);

impl Session for RemoteSession<'_> {
    fn generate(&mut self, generate: &Generate) -> Result<KeyReport> {
        let generate = Work::Generate(generate.clone());
        expect!(self.0.call(generate), Outcome::Key(Some(report)) => report)
    }

    fn import(&mut self, import: &Import) -> Result<KeyReport> {
        let import = Work::Import(again(import));
        expect!(self.0.call(import), Outcome::Key(Some(report)) => report)
    }

    fn inspect(&mut self, id: VersionId) -> Result<Option<KeyReport>> {
        expect!(self.0.call(Work::Inspect(id)), Outcome::Key(report) => report)
    }

    fn destroy(&mut self, id: VersionId) -> Result<Destroyed> {
        match self.0.call(Work::Destroy(id))? {
            Outcome::Overwritten => Ok(Destroyed::Overwritten),
            Outcome::Done => Ok(Destroyed::Removed),
            other => panic!("an answer to another question: {other:?}"),
        }
    }

    fn sign(&mut self, sign: &Sign) -> Result<Vec<u8>> {
        expect!(self.0.call(Work::Sign(again(sign))), Outcome::Signature(bytes) => bytes.into())
    }

    fn unwrap(&mut self, unwrap: &Unwrap) -> Result<SecretBytes> {
        expect!(self.0.call(Work::Unwrap(again(unwrap))), Outcome::Secret(opened) => opened)
    }

    fn derive(&mut self, derive: &Derive) -> Result<SecretBytes> {
        expect!(self.0.call(Work::Derive(derive.clone())), Outcome::Secret(secret) => secret)
    }

    fn seal(&mut self, seal: &Seal) -> Result<Sealed> {
        expect!(self.0.call(Work::Seal(again(seal))), Outcome::Sealed(sealed) => sealed)
    }

    fn unseal(&mut self, unseal: &Unseal) -> Result<SecretBytes> {
        expect!(self.0.call(Work::Unseal(again(unseal))), Outcome::Secret(opened) => opened)
    }

    fn wrap(&mut self, wrap: &Wrap) -> Result<Vec<u8>> {
        expect!(self.0.call(Work::Wrap(again(wrap))), Outcome::Wrapped(bytes) => bytes.into())
    }

    fn mac(&mut self, mac: &Mac) -> Result<Vec<u8>> {
        expect!(self.0.call(Work::Mac(again(mac))), Outcome::Mac(bytes) => bytes.into())
    }

    fn scan(&mut self, after: Option<VersionId>) -> Result<ScanPage> {
        expect!(self.0.call(Work::Scan(after)), Outcome::Keys(page) => page)
    }

    fn unseal_data(&mut self, id: VersionId) -> Result<SecretBytes> {
        expect!(self.0.call(Work::UnsealData(id)), Outcome::Secret(data) => data)
    }

    fn attest(&mut self, attest: &Attest) -> Result<Statement> {
        let attest = Work::Attest(attest.clone());
        expect!(self.0.call(attest), Outcome::Attested(statement) => statement)
    }

    fn attestation_key(&mut self) -> Result<Identity> {
        expect!(self.0.call(Work::AttestationKey), Outcome::AttestationKey(identity) => identity)
    }

    fn random(&mut self, length: u32) -> Result<SecretBytes> {
        expect!(self.0.call(Work::Random(length)), Outcome::Secret(bytes) => bytes)
    }

    fn place(&mut self, place: &Place) -> Result<KeyReport> {
        let place = Work::Place(place.clone());
        expect!(self.0.call(place), Outcome::Key(Some(report)) => report)
    }
}

/// The same message once more: those with secrets in them can't be cloned, but sent.
fn again<T: minicbor::Encode<()> + for<'b> minicbor::Decode<'b, ()>>(message: &T) -> T {
    let bytes = minicbor::to_vec(message).expect("CBOR");
    minicbor::decode(&bytes).unwrap_or_else(|_| panic!("what was encoded decodes"))
}
