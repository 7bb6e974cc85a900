//! Certificates as far as a card's keys need them: the public key, and what Yubico's attestations
//! say beside it.
//!
//! Nothing is verified here. Whether an attestation is true, `keyward-attestation` says.

use keyward_protocol::CoseKey;
use keyward_protocol::piv::{PinPolicy, TouchPolicy};

use super::metadata::policies;
use super::tlv::{self, TlvError};

/// 1.3.6.1.4.1.41482.3.8: PIN and touch policy.
const POLICIES: &[u8] = &[0x2b, 0x06, 0x01, 0x04, 0x01, 0x82, 0xc4, 0x0a, 0x03, 0x08];
const SEQUENCE: u32 = 0x30;
const OBJECT_IDENTIFIER: u32 = 0x06;
const OCTET_STRING: u32 = 0x04;
const VERSION: u32 = 0xa0;
const EXTENSIONS: u32 = 0xa3;

/// Why an object holds no certificate that is of use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CertificateError {
    /// It is no list of data objects, or one is missing.
    #[error(transparent)]
    Tlv(#[from] TlvError),
    /// The certificate is compressed.
    #[error("the certificate is compressed, which keyward does not read")]
    Compressed,
    /// It has no key, or one of a kind that keyward does not use.
    #[error("the certificate has no key of a kind that keyward uses")]
    Key,
}

/// The certificate in the content of a certificate's object (SP 800-73-4 Part 1 Table 10).
///
/// # Errors
/// See [`CertificateError`].
pub fn unpack(object: &[u8]) -> Result<&[u8], CertificateError> {
    match tlv::find(object, 0x71)? {
        None | Some([0] | []) => Ok(tlv::get(object, 0x70)?),
        Some(_) => Err(CertificateError::Compressed),
    }
}

/// The content of the object of a certificate.
#[must_use]
pub fn pack(der: &[u8]) -> Vec<u8> {
    let mut object = tlv::of(0x70, der);
    tlv::put(0x71, &[0], &mut object);
    tlv::put(0xfe, &[], &mut object);
    object
}

/// The public key of a certificate (RFC 5280 §4.1).
///
/// # Errors
/// See [`CertificateError`].
pub fn public_key(der: &[u8]) -> Result<CoseKey, CertificateError> {
    let fields = fields(der)?;
    // Serial number, signature, issuer, validity, subject, and then the key.
    let key = fields.get(5).filter(|field| field.tag == SEQUENCE);
    let spki = key.map(|key| tlv::of(SEQUENCE, key.value));
    spki.and_then(|spki| CoseKey::from_spki(&spki).ok())
        .ok_or(CertificateError::Key)
}

/// The policies that an attestation says its key has.
///
/// # Errors
/// See [`CertificateError`].
pub fn attested_policies(der: &[u8]) -> Result<Option<(PinPolicy, TouchPolicy)>, CertificateError> {
    let fields = fields(der)?;
    let Some(extensions) = fields.iter().find(|field| field.tag == EXTENSIONS) else {
        return Ok(None);
    };
    for extension in tlv::list(tlv::only(extensions.value, SEQUENCE)?)? {
        if tlv::find(extension.value, OBJECT_IDENTIFIER)? == Some(POLICIES) {
            let value = tlv::get(extension.value, OCTET_STRING)?;
            return Ok(policies(value, OCTET_STRING).ok());
        }
    }
    Ok(None)
}

/// The fields of a TBSCertificate behind its version.
fn fields(der: &[u8]) -> Result<Vec<tlv::Tlv<'_>>, CertificateError> {
    let (tbs, _) = tlv::first(tlv::only(der, SEQUENCE)?)?;
    let mut fields = tlv::list(tbs.value)?;
    if fields.first().is_some_and(|field| field.tag == VERSION) {
        fields.remove(0);
    }
    Ok(fields)
}
