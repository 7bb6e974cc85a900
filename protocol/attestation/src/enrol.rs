//! How a verifier enrols the attestation key of a TPM: it encrypts a secret to an endorsement key
//! that it knows to be of a TPM, bound to the name of the attestation key. A TPM opens that only if
//! both keys are in it (TPM 2.0 Library Part 1 §24).

use aws_lc_rs::agreement::{
    Algorithm, ECDH_P256, ECDH_P384, EphemeralPrivateKey, UnparsedPublicKey, agree_ephemeral,
};
use aws_lc_rs::rand::{self, SystemRandom};
use aws_lc_rs::rsa::{
    OAEP_SHA256_MGF1SHA256, OAEP_SHA384_MGF1SHA384, OaepPublicEncryptingKey, PublicEncryptingKey,
};
use keyward_protocol::CoseKey;
use keyward_protocol::attestation::TpmIdentity;
use keyward_protocol::attestation::enrolment::{Challenge, Enrolment, Pending};
use keyward_protocol::attestation::tpm::{Attributes, NameHash, Public, TpmError};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::chain::{self, ChainError, Roots, Usage};
use crate::protect::{ProtectError, kdf_e, protect, sized};
use crate::verify::check_attestation_key;

/// What both sides put into their derivations (Part 1 §B.10.4, §C.6.4).
const LABEL: &[u8] = b"IDENTITY\0";
/// The length of the secret, which fits every digest of a name.
const SECRET: usize = 32;

/// Why there is no challenge.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChallengeError {
    /// A structure of the TPM can't be read.
    #[error("{what}: {error}")]
    Structure {
        /// Which.
        what: &'static str,
        /// Why.
        error: TpmError,
    },
    /// Who has such a key could sign what no TPM made.
    #[error("it is no attestation key: {0}")]
    NotAttestationKey(&'static str),
    /// Nothing to encrypt to.
    #[error("it has no endorsement key")]
    NoEndorsementKey,
    /// A key that is not what endorsement keys are.
    #[error("its endorsement key is none: {0}")]
    NotEndorsementKey(&'static str),
    /// No certificate says of what TPM the endorsement key is.
    #[error("there is no certificate of its endorsement key")]
    NoCertificate,
    /// The certificate is not under the roots.
    #[error("the certificate of its endorsement key: {0}")]
    Chain(#[from] ChainError),
    /// The endorsement key is not the one that the verifier knows.
    #[error("its endorsement key has the fingerprint {}", hex(.0))]
    OtherFingerprint([u8; 32]),
    /// There is no way to protect something for this key.
    #[error("its endorsement key is of a kind that keyward can't encrypt to: {0}")]
    Protect(#[from] ProtectError),
    /// The system has no random numbers, or the library failed.
    #[error("the challenge can't be made: {0}")]
    Failed(&'static str),
}

/// How a verifier knows that an endorsement key is of a TPM.
#[derive(Debug)]
pub enum Endorsement<'a> {
    /// By a certificate under these roots.
    Roots(&'a Roots),
    /// By having seen it: SHA-256 of its SubjectPublicKeyInfo.
    Fingerprint([u8; 32]),
}

/// That an answer is not the secret of the challenge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is not the answer to this challenge")]
pub struct WrongAnswer;

/// Makes a challenge for the TPM of an endorsement key: for the TPM, and what the verifier keeps.
///
/// # Errors
/// See [`ChallengeError`].
pub fn challenge(
    identity: &TpmIdentity,
    endorsement: &Endorsement<'_>,
    now: u64,
) -> Result<(Challenge, Pending), ChallengeError> {
    let structure = |what| move |error| ChallengeError::Structure { what, error };
    let ak = Public::parse(&identity.ak).map_err(structure("the attestation key"))?;
    check_attestation_key(&ak).map_err(ChallengeError::NotAttestationKey)?;
    let ek = identity
        .ek
        .as_ref()
        .ok_or(ChallengeError::NoEndorsementKey)?;
    let ek = Public::parse(ek).map_err(structure("the endorsement key"))?;
    let bits = check_endorsement_key(&ek)?;
    let fingerprint = fingerprint(&ek.key)?;
    endorsed(identity, &ek, fingerprint, endorsement, now)?;

    let mut secret = Zeroizing::new([0; SECRET]);
    rand::fill(&mut *secret).map_err(|_| ChallengeError::Failed("no random numbers"))?;
    let (seed, encrypted) = seed(&ek)?;
    let credential = protect(ek.name_hash, bits, &seed, &ak.name, &*secret)?;
    let answer = Sha256::digest(secret.as_slice()).into();
    Ok((
        Challenge::new(credential, encrypted),
        Pending::new(ak.name, fingerprint, answer),
    ))
}

/// The record of a right answer.
///
/// # Errors
/// It is a wrong one.
pub fn enrol(pending: &Pending, answer: &[u8], now: u64) -> Result<Enrolment, WrongAnswer> {
    match Sha256::digest(answer)[..] == pending.answer[..] {
        true => Ok(Enrolment::new(pending, now)),
        false => Err(WrongAnswer),
    }
}

/// SHA-256 of a key's SubjectPublicKeyInfo.
///
/// # Errors
/// The key can't be written so.
pub fn fingerprint(key: &CoseKey) -> Result<[u8; 32], ChallengeError> {
    let spki = key.to_spki();
    let spki = spki.map_err(|_| ChallengeError::NotEndorsementKey("its numbers"))?;
    Ok(Sha256::digest(spki).into())
}

/// That it decrypts for its TPM alone; the bits of its cipher.
fn check_endorsement_key(ek: &Public) -> Result<u16, ChallengeError> {
    use Attributes as A;
    let wanted =
        A::FIXED_TPM | A::FIXED_PARENT | A::SENSITIVE_DATA_ORIGIN | A::RESTRICTED | A::DECRYPT;
    let wrong = ChallengeError::NotEndorsementKey;
    if !ek.attributes.has(wanted) || !ek.attributes.lacks(A::SIGN) {
        return Err(wrong("it has other attributes"));
    }
    ek.aes_bits.ok_or(wrong("it has no cipher"))
}

fn endorsed(
    identity: &TpmIdentity,
    ek: &Public,
    fingerprint: [u8; 32],
    endorsement: &Endorsement<'_>,
    now: u64,
) -> Result<(), ChallengeError> {
    let roots = match endorsement {
        Endorsement::Fingerprint(known) if *known == fingerprint => return Ok(()),
        Endorsement::Fingerprint(_) => return Err(ChallengeError::OtherFingerprint(fingerprint)),
        Endorsement::Roots(roots) => roots,
    };
    let certificates = identity.ek_certificates.iter();
    let mut own = certificates.filter(|c| chain::key_of(c).is_ok_and(|key| key == ek.key));
    let certificate = own.next().ok_or(ChallengeError::NoCertificate)?;
    chain::check(certificate, &[], roots, Usage::EndorsementKey, now)?;
    Ok(())
}

/// A seed, and how the TPM gets it.
fn seed(ek: &Public) -> Result<(Zeroizing<Vec<u8>>, Vec<u8>), ChallengeError> {
    match &ek.key {
        CoseKey::P256 { x, .. } => agree(ek, &ECDH_P256, x),
        CoseKey::P384 { x, .. } => agree(ek, &ECDH_P384, x),
        CoseKey::Rsa { .. } => transport(ek),
        _ => Err(ChallengeError::NotEndorsementKey("its type")),
    }
}

/// By a key that is used once: the TPM gets its point.
fn agree(
    ek: &Public,
    curve: &'static Algorithm,
    x: &[u8],
) -> Result<(Zeroizing<Vec<u8>>, Vec<u8>), ChallengeError> {
    let failed = ChallengeError::Failed("ECDH");
    let own = EphemeralPrivateKey::generate(curve, &SystemRandom::new());
    let own = own.map_err(|_| ChallengeError::Failed("no random numbers"))?;
    let public = own.compute_public_key().map_err(|_| failed.clone())?;
    let public = CoseKey::from_sec1(public.as_ref()).ok_or(failed)?;
    let (own_x, own_y) = match &public {
        CoseKey::P256 { x, y } => (x.as_slice(), y.as_slice()),
        CoseKey::P384 { x, y } => (x.as_slice(), y.as_slice()),
        _ => return Err(ChallengeError::Failed("ECDH")),
    };
    let wrong = ChallengeError::NotEndorsementKey("it is no point of its curve");
    let peer = ek.key.to_sec1().unwrap_or_default();
    let seed = agree_ephemeral(own, UnparsedPublicKey::new(curve, peer), wrong, |z| {
        Ok(kdf_e(ek.name_hash, z, LABEL, own_x, x))
    })?;
    let point = [sized(own_x)?.as_slice(), &sized(own_y)?].concat();
    Ok((seed, point))
}

/// By RSAES-OAEP.
fn transport(ek: &Public) -> Result<(Zeroizing<Vec<u8>>, Vec<u8>), ChallengeError> {
    let wrong = |_| ChallengeError::NotEndorsementKey("its modulus");
    let mut seed = Zeroizing::new(vec![0; ek.name_hash.length()]);
    rand::fill(&mut seed).map_err(|_| ChallengeError::Failed("no random numbers"))?;
    let algorithm = match ek.name_hash {
        NameHash::Sha256 => &OAEP_SHA256_MGF1SHA256,
        NameHash::Sha384 => &OAEP_SHA384_MGF1SHA384,
    };
    let spki = ek.key.to_spki();
    let spki = spki.map_err(|_| ChallengeError::NotEndorsementKey("its modulus"))?;
    let key = PublicEncryptingKey::from_der(&spki).map_err(|e| wrong(e.into()))?;
    let key = OaepPublicEncryptingKey::new(key).map_err(wrong)?;
    let mut encrypted = vec![0; key.ciphertext_size()];
    let length = key
        .encrypt(algorithm, &seed, &mut encrypted, Some(LABEL))
        .map_err(wrong)?
        .len();
    encrypted.truncate(length);
    Ok((seed, encrypted))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
