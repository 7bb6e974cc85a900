//! What a bundle proves.

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use keyward_protocol::attestation::enrolment::Enrolment;
use keyward_protocol::attestation::piv::CertificateError;
use keyward_protocol::attestation::tpm::{Attributes, Certify, Public, TpmError, parse_signature};
use keyward_protocol::attestation::{Bundle, Statement, TpmStatement, qualifying_data};
use keyward_protocol::{CoseKey, Thumbprint};

use crate::chain::{self, ChainError, Roots, Usage};
use crate::piv::{self, Card};

/// Why a bundle is worth nothing: somebody made or changed it, or it is about something else.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refused {
    /// It answers another question, perhaps an older one.
    #[error("it was made for another nonce")]
    Nonce,
    /// What stands for the nonce in what was signed is of another one.
    #[error("what was signed was signed for another nonce")]
    SignedNonce,
    /// A structure of the TPM can't be read.
    #[error("{what}: {error}")]
    Structure {
        /// Which.
        what: &'static str,
        /// Why.
        error: TpmError,
    },
    /// Some other key of the TPM was certified.
    #[error("what was signed is about another key")]
    OtherKey,
    /// The key that people see is not the one that the TPM's structure has.
    #[error("its public key is not the one that the TPM's structure has")]
    Swapped,
    /// The signature does not match.
    #[error("the attestation key has not signed it")]
    Signature,
    /// A key that signed could have been told what to sign.
    #[error("the key that signed it is no attestation key: {0}")]
    NotAttestationKey(&'static str),
    /// The key can be elsewhere.
    #[error("the key is not in one TPM alone: {0}")]
    NotFixed(&'static str),
    /// A certificate of a card can't be read.
    #[error("{what}: {error}")]
    Certificate {
        /// Which.
        what: &'static str,
        /// Why.
        error: CertificateError,
    },
    /// The certificate is none by which a card attests.
    #[error("the certificate of the key is no attestation of a PIV card: it does not say {0}")]
    NotOfCard(&'static str),
    /// The card's key for attestation has not signed the certificate.
    #[error("the attestation key of the card has not signed it: {0}")]
    CardSignature(ChainError),
    /// Whoever has the public half of such a key can compute the other one.
    #[error(
        "firmware {}.{}.{} makes weak RSA keys (CVE-2017-15361): make another key elsewhere",
        .0[0], .0[1], .0[2]
    )]
    Weak([u8; 3]),
}

/// Who vouches for the attestation key.
#[derive(Clone, Copy, Debug, Default)]
pub struct Vouchers<'a> {
    /// What the verifier has enrolled itself.
    pub enrolments: &'a [Enrolment],
    /// Whose certificates of attestation keys are believed.
    pub ak_roots: Option<&'a Roots>,
    /// Whose PIV cards are believed.
    pub piv_roots: Option<&'a Roots>,
    /// Seconds since 1970, for certificates.
    pub now: u64,
}

/// What is proved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attested {
    /// The key.
    pub key: CoseKey,
    /// What the token says, by its kind.
    pub said: Said,
    /// Whether the attestation key is of a token at all.
    pub bound: Result<Bound, Unbound>,
}

/// What a token says about the key.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Said {
    /// A TPM.
    Tpm {
        /// The policy without which the TPM does not use the key, if there is one: PCRs, say.
        policy: Option<Vec<u8>>,
        /// The name of the attestation key.
        ak_name: Vec<u8>,
    },
    /// A PIV card.
    Piv(Card),
}

impl Attested {
    /// The key's thumbprint.
    #[must_use]
    pub fn thumbprint(&self) -> Thumbprint {
        Thumbprint::of(&self.key)
    }

    /// Whether the token has signed the verifier's nonce. A PIV card signs none: what it said, it
    /// could have said at any time before.
    #[must_use]
    pub fn is_fresh(&self) -> bool {
        matches!(self.said, Said::Tpm { .. })
    }
}

/// How the attestation key is known to be of a TPM.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Bound {
    /// The verifier has enrolled it.
    Enrolment {
        /// SHA-256 of the endorsement key's SubjectPublicKeyInfo.
        ek_fingerprint: [u8; 32],
        /// When, in seconds since 1970.
        enrolled: u64,
    },
    /// It has a certificate under the verifier's roots, or is of a card that has one.
    Certificate,
}

/// Why nobody knows of what the attestation key is. A program that has no token can make all that is
/// in such a bundle, and put the certificate of any endorsement key beside it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unbound {
    /// The verifier said neither.
    #[error("neither an enrolment record nor roots of attestation keys were given")]
    NothingGiven,
    /// The verifier did not say whose PIV cards are believed.
    #[error("no roots of PIV cards were given")]
    NoCardRoots,
    /// The card has no certificate of its attestation key.
    #[error("the card gave no certificate of its attestation key")]
    NoCardCertificate,
    /// The certificates of the card are not under the roots.
    #[error("the certificate of the card: {0}")]
    CardChain(ChainError),
    /// The enrolment records are of other attestation keys.
    #[error("the attestation key is not the one of the enrolment record")]
    OtherEnrolment,
    /// There is no certificate to look at.
    #[error("the attestation key has no certificate")]
    NoCertificate,
    /// The certificate is of some other key.
    #[error("the certificate is of another key than the attestation key")]
    OtherCertificate,
    /// The certificate is not under the roots.
    #[error("the certificate of the attestation key: {0}")]
    Chain(#[from] ChainError),
}

/// Decides what a bundle proves to who asked with this nonce.
///
/// # Errors
/// [`Refused`]: nothing at all.
pub fn verify(bundle: &Bundle, nonce: &[u8], vouchers: &Vouchers<'_>) -> Result<Attested, Refused> {
    if *bundle.nonce != *nonce {
        return Err(Refused::Nonce);
    }
    match &bundle.statement {
        Statement::Tpm(statement) => tpm(&bundle.key, statement, nonce, vouchers),
        Statement::Piv(statement) => piv::verify(&bundle.key, statement, vouchers),
        _ => Err(Refused::Structure {
            what: "its kind of token",
            error: TpmError::Unknown("a token"),
        }),
    }
}

fn tpm(
    key: &CoseKey,
    statement: &TpmStatement,
    nonce: &[u8],
    vouchers: &Vouchers<'_>,
) -> Result<Attested, Refused> {
    let ak = Public::parse(&statement.key.ak).map_err(of("the attestation key"))?;
    check_attestation_key(&ak).map_err(Refused::NotAttestationKey)?;
    let signature = parse_signature(&statement.signature).map_err(of("the signature"))?;
    let point = ak.key.to_sec1().unwrap_or_default();
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point)
        .verify(&statement.attest, &signature)
        .map_err(|_| Refused::Signature)?;
    let certify = Certify::parse(&statement.attest).map_err(of("what was signed"))?;
    if certify.qualifying_data != qualifying_data(nonce) {
        return Err(Refused::SignedNonce);
    }
    let public = Public::parse(&statement.public).map_err(of("the key's public area"))?;
    if certify.name != public.name {
        return Err(Refused::OtherKey);
    }
    if public.key != *key {
        return Err(Refused::Swapped);
    }
    check_fixed(public.attributes).map_err(Refused::NotFixed)?;
    let needs_policy = public.attributes.lacks(Attributes::USER_WITH_AUTH);
    Ok(Attested {
        key: public.key,
        bound: bind(&ak, statement, vouchers),
        said: Said::Tpm {
            policy: needs_policy.then_some(public.policy),
            ak_name: ak.name,
        },
    })
}

fn of(what: &'static str) -> impl Fn(TpmError) -> Refused {
    move |error| Refused::Structure { what, error }
}

/// That a key signs what its TPM made, and nothing else; as far as it is of a TPM.
///
/// One with a policy is refused: whoever has the public area of a key, and no private part, could
/// satisfy it, and answer a challenge for the key.
pub(crate) fn check_attestation_key(ak: &Public) -> Result<(), &'static str> {
    use Attributes as A;
    if !ak.attributes.has(A::RESTRICTED | A::SIGN) || !ak.attributes.lacks(A::DECRYPT) {
        return Err("it can be told what to sign");
    }
    if !ak.policy.is_empty() || !ak.attributes.lacks(A::ADMIN_WITH_POLICY) {
        return Err("it has a policy");
    }
    if !ak.is_ecdsa_sha256 || !matches!(ak.key, CoseKey::P256 { .. }) {
        return Err("it is not one for ECDSA on P-256 with SHA-256");
    }
    check_fixed(ak.attributes)
}

fn check_fixed(attributes: Attributes) -> Result<(), &'static str> {
    use Attributes as A;
    if !attributes.has(A::FIXED_TPM | A::FIXED_PARENT) {
        return Err("it may be taken to another");
    }
    if !attributes.has(A::SENSITIVE_DATA_ORIGIN) {
        return Err("it was made elsewhere");
    }
    Ok(())
}

fn bind(ak: &Public, statement: &TpmStatement, vouchers: &Vouchers<'_>) -> Result<Bound, Unbound> {
    let enrolled = vouchers.enrolments.iter().find(|e| *e.ak_name == *ak.name);
    if let Some(enrolment) = enrolled {
        return Ok(Bound::Enrolment {
            ek_fingerprint: *enrolment.ek_fingerprint,
            enrolled: enrolment.enrolled,
        });
    }
    let Some(roots) = vouchers.ak_roots else {
        return Err(match vouchers.enrolments {
            [] => Unbound::NothingGiven,
            _ => Unbound::OtherEnrolment,
        });
    };
    let (certificate, between) = statement
        .chain
        .split_first()
        .ok_or(Unbound::NoCertificate)?;
    if chain::key_of(certificate)? != ak.key {
        return Err(Unbound::OtherCertificate);
    }
    let between: Vec<&[u8]> = between.iter().map(|c| c.as_slice()).collect();
    let usage = Usage::AttestationKey;
    chain::check(certificate, &between, roots, usage, vouchers.now)?;
    Ok(Bound::Certificate)
}
