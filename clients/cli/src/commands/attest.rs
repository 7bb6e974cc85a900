//! `keyward attest …`: the side of the verifier, which needs no agent.

mod verify;

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use keyward_attestation::chain::Roots;
use keyward_attestation::enrol::{self, ChallengeError, Endorsement};
use keyward_protocol::attestation::enrolment::Pending;
use keyward_protocol::attestation::{
    AttestationKey, Bundle, Document, Identity, LONGEST, Statement, TpmIdentity,
};

use crate::arguments::{AttestChallenge, AttestCommand, AttestEnrol};
use crate::destination::{self, Content};
use crate::error::Error;
use crate::exit::Exit;
use crate::io;

/// More than the roots of all manufacturers have.
const LONGEST_ROOTS: usize = 4 << 20;
/// More than the answer to a challenge has.
const LONGEST_ANSWER: usize = 1024;

pub(super) fn run(command: AttestCommand) -> Result<(), Error> {
    match command {
        AttestCommand::Challenge(challenge) => self::challenge(&challenge),
        AttestCommand::Enrol(enrol) => self::enrol(&enrol),
        AttestCommand::Verify(verify) => verify::verify(verify),
    }
}

fn challenge(challenge: &AttestChallenge) -> Result<(), Error> {
    let output = challenge.output.file.as_deref();
    destination::check(output, Content::Binary)?;
    destination::check(Some(&challenge.pending), Content::Binary)?;
    let identity = identity(&challenge.from)?;
    let roots = challenge.ek_roots.as_deref().map(self::roots).transpose()?;
    let endorsement = match (&roots, &challenge.ek_fingerprint) {
        (Some(roots), _) => Endorsement::Roots(roots),
        (None, fingerprint) => {
            let fingerprint = fingerprint.as_deref().unwrap_or_default().try_into();
            let wrong = |_| Error::usage("a fingerprint has 32 bytes");
            Endorsement::Fingerprint(fingerprint.map_err(wrong)?)
        }
    };
    let made = enrol::challenge(&identity, &endorsement, now());
    let (challenge_made, pending) = made.map_err(|error| {
        let told = Error::new(Exit::Negative, "no challenge is made").cause(&error);
        match error {
            ChallengeError::NoCertificate => told.hint(
                "look at `keyward token attestation-key` on the machine itself, then: \
                 keyward attest challenge --ek-fingerprint HEX",
            ),
            _ => told,
        }
    })?;
    let bytes = |document: Result<Vec<u8>, _>| {
        document.map_err(|e| Error::new(Exit::Fault, "it can't be written").cause(e))
    };
    let pending = bytes(pending.to_document())?;
    let challenge_made = bytes(challenge_made.to_document())?;
    destination::write(Some(&challenge.pending), Content::Binary, &pending)?;
    destination::write(output, Content::Binary, &challenge_made)
}

fn enrol(enrol: &AttestEnrol) -> Result<(), Error> {
    let output = enrol.output.file.as_deref();
    destination::check(output, Content::Binary)?;
    let pending: Pending = document(&enrol.pending)?;
    let answer = io::read_secret_bytes(Some(&enrol.answer), LONGEST_ANSWER)?;
    let enrolment = enrol::enrol(&pending, answer.expose(), now())
        .map_err(|e| Error::new(Exit::Negative, "nothing is enrolled").cause(e))?;
    let bytes = enrolment.to_document();
    let bytes = bytes.map_err(|e| Error::new(Exit::Fault, "it can't be written").cause(e))?;
    destination::write(output, Content::Binary, &bytes)
}

/// The attestation key of a file, which is that alone or a bundle.
fn identity(file: &Path) -> Result<TpmIdentity, Error> {
    let bytes = io::read(Some(file), LONGEST)?;
    let tpm = match AttestationKey::from_document(&bytes) {
        Ok(document) => match document.identity {
            Identity::Tpm(identity) => Some(identity),
            _ => None,
        },
        Err(error) => match Bundle::from_document(&bytes).map(|bundle| bundle.statement) {
            Ok(Statement::Tpm(statement)) => Some(statement.key),
            Ok(_) => None,
            Err(_) => return Err(unusable(file, error)),
        },
    };
    tpm.ok_or_else(|| unusable(file, "its token is no TPM, and needs no enrolment"))
}

/// A document of a file.
fn document<D: Document>(file: &Path) -> Result<D, Error> {
    let bytes = io::read(Some(file), LONGEST)?;
    D::from_document(&bytes).map_err(|error| unusable(file, error))
}

fn roots(file: &Path) -> Result<Roots, Error> {
    let pem = io::read(Some(file), LONGEST_ROOTS)?;
    Roots::from_pem(&pem).map_err(|error| unusable(file, error))
}

fn unusable(file: &Path, why: impl ToString) -> Error {
    Error::usage(format!("{} can't be used", io::name(Some(file)))).cause(why)
}

/// Seconds since 1970.
fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}
