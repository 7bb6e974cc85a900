//! Certificates under roots that the verifier gives as a file.

use std::time::Duration;

use der::asn1::AnyRef;
use der::{Encode, Tag};
use keyward_protocol::CoseKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, TrustAnchor, UnixTime};
use webpki::{ALL_VERIFICATION_ALGS, EndEntityCert, KeyUsage, anchor_from_trusted_cert};

/// tcg-kp-EKCertificate, 2.23.133.8.1 (TCG EK Credential Profile §3.2.16).
const EK_CERTIFICATE: &[u8] = &[0x67, 0x81, 0x05, 0x08, 0x01];
/// tcg-kp-AIKCertificate, 2.23.133.8.3.
const AK_CERTIFICATE: &[u8] = &[0x67, 0x81, 0x05, 0x08, 0x03];
/// Yubico's arc of PIV, 1.3.6.1.4.1.41482.3: no certificate is known that has usages at all.
const CARD_CERTIFICATE: &[u8] = &[0x2b, 0x06, 0x01, 0x04, 0x01, 0x82, 0xc4, 0x0a, 0x03];

/// Why a certificate says nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChainError {
    /// The file of the roots can't be used.
    #[error("the roots are no certificates in PEM")]
    Roots,
    /// There is no certificate in the file of the roots.
    #[error("there is no root in the file")]
    NoRoot,
    /// It is no certificate.
    #[error("it is no certificate: {0}")]
    Certificate(String),
    /// Its key is of a kind that is not known here.
    #[error("its key is of a kind that keyward does not know")]
    Key,
    /// It does not lead to a root, or not at this time, or not for this use.
    #[error("no path from it to a root: {0}")]
    Path(String),
}

/// What a certificate is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Usage {
    /// An endorsement key. Older certificates don't say so; one that says something must say this.
    EndorsementKey,
    /// An attestation key. The certificate must say so.
    AttestationKey,
    /// A key of a PIV card, or the key that attests there. Cards say nothing about it.
    Card,
}

impl Usage {
    fn extended(self) -> KeyUsage {
        match self {
            Self::EndorsementKey => KeyUsage::required_if_present(EK_CERTIFICATE),
            Self::AttestationKey => KeyUsage::required(AK_CERTIFICATE),
            Self::Card => KeyUsage::required_if_present(CARD_CERTIFICATE),
        }
    }
}

/// Certificates that a verifier trusts: each of them, whoever signed it.
#[derive(Debug)]
pub struct Roots(Vec<TrustAnchor<'static>>);

impl Roots {
    /// Reads PEM, with any number of certificates.
    ///
    /// # Errors
    /// There is none, or something else.
    pub fn from_pem(pem: &[u8]) -> Result<Self, ChainError> {
        let certificates = certificates(pem)?;
        let anchors = certificates.iter().map(anchor);
        let anchors = anchors.collect::<Result<Vec<_>, _>>()?;
        match anchors.is_empty() {
            true => Err(ChainError::NoRoot),
            false => Ok(Self(anchors)),
        }
    }

    /// One certificate, DER, that is trusted for what comes below it.
    pub(crate) fn only(certificate: &[u8]) -> Result<Self, ChainError> {
        Ok(Self(vec![anchor(&CertificateDer::from_slice(
            certificate,
        ))?]))
    }
}

fn anchor(certificate: &CertificateDer<'_>) -> Result<TrustAnchor<'static>, ChainError> {
    match anchor_from_trusted_cert(certificate) {
        Ok(anchor) => Ok(anchor.to_owned()),
        Err(error) => Err(ChainError::Certificate(error.to_string())),
    }
}

/// The certificates of a PEM file, in their order.
///
/// # Errors
/// [`ChainError::Roots`] for a file that is damaged.
pub fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, ChainError> {
    let list: Result<_, _> = CertificateDer::pem_slice_iter(pem).collect();
    list.map_err(|_| ChainError::Roots)
}

/// The key of a certificate, which nobody has vouched for yet.
///
/// # Errors
/// It is no certificate, or of no key that is known.
pub fn key_of(certificate: &[u8]) -> Result<CoseKey, ChainError> {
    let certificate = CertificateDer::from_slice(certificate);
    let anchor = anchor_from_trusted_cert(&certificate);
    let anchor = anchor.map_err(|error| ChainError::Certificate(error.to_string()))?;
    // Without the head of its SEQUENCE.
    let spki = AnyRef::new(Tag::Sequence, &anchor.subject_public_key_info);
    let spki = spki.and_then(|spki| spki.to_der());
    let spki = spki.map_err(|_| ChainError::Key)?;
    CoseKey::from_spki(&spki).map_err(|_| ChainError::Key)
}

/// Checks that a certificate leads to one of the roots at this time, seconds since 1970. Nobody is
/// asked whether it was revoked.
///
/// # Errors
/// See [`ChainError`].
pub fn check(
    certificate: &[u8],
    between: &[&[u8]],
    roots: &Roots,
    usage: Usage,
    now: u64,
) -> Result<(), ChainError> {
    let certificate = CertificateDer::from_slice(certificate);
    let parsed = EndEntityCert::try_from(&certificate);
    let parsed = parsed.map_err(|error| ChainError::Certificate(error.to_string()))?;
    let between: Vec<_> = (between.iter())
        .map(|certificate| CertificateDer::from_slice(certificate))
        .collect();
    let now = UnixTime::since_unix_epoch(Duration::from_secs(now));
    let path = parsed.verify_for_usage(
        ALL_VERIFICATION_ALGS,
        &roots.0,
        &between,
        now,
        usage.extended(),
        None,
        None,
    );
    path.map(drop)
        .map_err(|error| ChainError::Path(error.to_string()))
}
