//! The documents by which a verifier enrols the attestation key of a TPM: a challenge that only the
//! TPM of an endorsement key can answer, and what the verifier keeps.

use minicbor::bytes::ByteVec;
use minicbor::{Decode, Encode};

use super::{AttestationError, Document, FORM, Sha256Bytes};

/// The lengths that a TPM's name has: nameAlg, and SHA-256 or SHA-384.
const NAMES: [usize; 2] = [34, 50];
/// The longest part of a challenge, in bytes: an RSA-4096 ciphertext.
const MOST_PART: usize = 512;

/// What TPM2_ActivateCredential opens: of the verifier, for the TPM.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Challenge {
    #[n(0)]
    magic: String,
    #[n(1)]
    form: u32,
    /// The content of a TPM2B_ID_OBJECT.
    #[n(2)]
    pub credential: ByteVec,
    /// The content of a TPM2B_ENCRYPTED_SECRET.
    #[n(3)]
    pub secret: ByteVec,
}

impl Challenge {
    /// A challenge of its parts.
    #[must_use]
    pub fn new(credential: Vec<u8>, secret: Vec<u8>) -> Self {
        Self {
            magic: Self::MAGIC.to_owned(),
            form: FORM,
            credential: credential.into(),
            secret: secret.into(),
        }
    }
}

impl Document for Challenge {
    const MAGIC: &'static str = "keyward-challenge";
    const NAME: &'static str = "challenge of `keyward attest challenge`";

    fn check(&self) -> Result<(), AttestationError> {
        let fits = |part: &ByteVec| (1..=MOST_PART).contains(&part.len());
        match fits(&self.credential) && fits(&self.secret) {
            true => Ok(()),
            false => Err(AttestationError::Value("the length of a challenge's part")),
        }
    }
}

/// What a verifier keeps until a challenge is answered. No secret is in it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Pending {
    #[n(0)]
    magic: String,
    #[n(1)]
    form: u32,
    /// The name of the attestation key that is to be enrolled.
    #[n(2)]
    pub ak_name: ByteVec,
    /// SHA-256 of the endorsement key's SubjectPublicKeyInfo.
    #[n(3)]
    pub ek_fingerprint: Sha256Bytes,
    /// SHA-256 of the answer.
    #[n(4)]
    pub answer: Sha256Bytes,
}

impl Pending {
    /// What is kept of a challenge.
    #[must_use]
    pub fn new(ak_name: Vec<u8>, ek_fingerprint: [u8; 32], answer: [u8; 32]) -> Self {
        Self {
            magic: Self::MAGIC.to_owned(),
            form: FORM,
            ak_name: ak_name.into(),
            ek_fingerprint: ek_fingerprint.into(),
            answer: answer.into(),
        }
    }
}

impl Document for Pending {
    const MAGIC: &'static str = "keyward-challenge-pending";
    const NAME: &'static str = "record of a challenge that waits for its answer";

    fn check(&self) -> Result<(), AttestationError> {
        check_name(&self.ak_name)
    }
}

/// That a verifier has seen an attestation key answer in the TPM of an endorsement key.
///
/// It has no signature: it is as good as the place where its verifier keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Enrolment {
    #[n(0)]
    magic: String,
    #[n(1)]
    form: u32,
    /// The name of the attestation key.
    #[n(2)]
    pub ak_name: ByteVec,
    /// SHA-256 of the endorsement key's SubjectPublicKeyInfo.
    #[n(3)]
    pub ek_fingerprint: Sha256Bytes,
    /// When, in seconds since 1970.
    #[n(4)]
    pub enrolled: u64,
}

impl Enrolment {
    /// The record of an answer that was right.
    #[must_use]
    pub fn new(pending: &Pending, enrolled: u64) -> Self {
        Self {
            magic: Self::MAGIC.to_owned(),
            form: FORM,
            ak_name: pending.ak_name.clone(),
            ek_fingerprint: pending.ek_fingerprint,
            enrolled,
        }
    }
}

impl Document for Enrolment {
    const MAGIC: &'static str = "keyward-enrolment";
    const NAME: &'static str = "enrolment record of `keyward attest enrol`";

    fn check(&self) -> Result<(), AttestationError> {
        check_name(&self.ak_name)
    }
}

fn check_name(name: &[u8]) -> Result<(), AttestationError> {
    match NAMES.contains(&name.len()) {
        true => Ok(()),
        false => Err(AttestationError::Value(
            "the length of an attestation key's name",
        )),
    }
}
