//! Certification requests (PKCS#10, RFC 2986): what is signed, and the whole with its signature; and
//! whose key a certificate is of.

mod names;
mod subject;

use der::asn1::{AnyRef, BitString, Null, ObjectIdentifier, UintRef};
use der::{Any, Decode, Encode, Tag};
use keyward_protocol::Algorithm;
use keyward_protocol::operation::SubjectAltName;
use x509_cert::Certificate;
use x509_cert::attr::{Attribute, Attributes};
use x509_cert::ext::Extension;
use x509_cert::request::{CertReq, CertReqInfo, ExtensionReq, Version};
use x509_cert::spki::{AlgorithmIdentifierOwned, SubjectPublicKeyInfoOwned};

const ECDSA_WITH_SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.2");
const ECDSA_WITH_SHA384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.3");
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
const RSASSA_PSS: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.10");
const SHA256_WITH_RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.11");

/// The parameters of RSASSA-PSS with SHA-256 for message and MGF1, and a salt of 32 bytes (RFC 4055
/// §3.1).
const PSS_SHA256: [u8; 54] = [
    0x30, 0x34, // RSASSA-PSS-params
    0xa0, 0x0f, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05,
    0x00, // [0] sha256
    0xa1, 0x1c, 0x30, 0x1a, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x08, 0x30,
    0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05,
    0x00, // [1] mgf1SHA256
    0xa2, 0x03, 0x02, 0x01, 0x20, // [2] 32
];

/// What is wrong with a request, in words for whoever asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Wrong(String);

impl Wrong {
    fn new(words: impl Into<String>) -> Self {
        Self(words.into())
    }
}

impl From<der::Error> for Wrong {
    fn from(error: der::Error) -> Self {
        Self(format!("it can't be encoded: {error}"))
    }
}

/// The SubjectPublicKeyInfo of a certificate (RFC 5280 §4.1), DER. Who signed it is not looked at.
///
/// # Errors
/// It is no certificate.
pub fn public_key_of(certificate: &[u8]) -> Result<Vec<u8>, Wrong> {
    let no_certificate = |error| Wrong::new(format!("it is no certificate (RFC 5280): {error}"));
    let certificate = Certificate::from_der(certificate).map_err(no_certificate)?;
    let key = certificate.tbs_certificate().subject_public_key_info();
    Ok(key.to_der()?)
}

/// A request without its signature.
#[derive(Debug)]
pub struct Unsigned {
    info: CertReqInfo,
    algorithm: AlgorithmIdentifierOwned,
    is_ecdsa: bool,
}

impl Unsigned {
    /// A request for a public key, which a signature of `algorithm` will prove.
    ///
    /// # Errors
    /// The subject or a name is wrong, there is neither, or the algorithm signs nothing.
    pub fn new(
        subject: &str,
        names: &[SubjectAltName],
        spki: &[u8],
        algorithm: Algorithm,
    ) -> Result<Self, Wrong> {
        let subject = subject::parse(subject)?;
        if subject.is_empty() && names.is_empty() {
            return Err(Wrong::new(
                "a request needs a subject or at least one alternative name",
            ));
        }
        let mut attributes = Attributes::new();
        if !names.is_empty() {
            // Where there is no subject they must be understood (RFC 5280 §4.2.1.6).
            let extension: Extension = names::extension(names, subject.is_empty())?;
            attributes.insert(Attribute::try_from(ExtensionReq(vec![extension]))?)?;
        }
        Ok(Self {
            info: CertReqInfo {
                version: Version::V1,
                subject,
                public_key: SubjectPublicKeyInfoOwned::from_der(spki)?,
                attributes,
            },
            algorithm: identifier(algorithm)?,
            is_ecdsa: matches!(algorithm, Algorithm::Esp256 | Algorithm::Esp384),
        })
    }

    /// What is to be signed: the CertificationRequestInfo (RFC 2986 §4.1).
    ///
    /// # Errors
    /// It can't be encoded.
    pub fn to_be_signed(&self) -> Result<Vec<u8>, Wrong> {
        Ok(self.info.to_der()?)
    }

    /// The CertificationRequest, with a signature in COSE's form.
    ///
    /// # Errors
    /// It can't be encoded.
    pub fn with_signature(self, signature: &[u8]) -> Result<Vec<u8>, Wrong> {
        let signature = if self.is_ecdsa {
            ecdsa_sig_value(signature)?
        } else {
            signature.to_vec()
        };
        let request = CertReq {
            info: self.info,
            algorithm: self.algorithm,
            signature: BitString::from_bytes(&signature)?,
        };
        Ok(request.to_der()?)
    }
}

/// What X.509 calls the algorithm.
fn identifier(algorithm: Algorithm) -> Result<AlgorithmIdentifierOwned, Wrong> {
    let (oid, parameters) = match algorithm {
        Algorithm::Esp256 => (ECDSA_WITH_SHA256, None),
        Algorithm::Esp384 => (ECDSA_WITH_SHA384, None),
        Algorithm::Ed25519 => (ED25519, None),
        Algorithm::Ps256 => (RSASSA_PSS, Some(Any::from_der(&PSS_SHA256)?)),
        Algorithm::Rs256 => (SHA256_WITH_RSA, Some(Any::encode_from(&Null)?)),
        other => return Err(Wrong::new(format!("{other} signs nothing"))),
    };
    Ok(AlgorithmIdentifierOwned { oid, parameters })
}

/// r ‖ s as ECDSA-Sig-Value (RFC 3279 §2.2.3).
fn ecdsa_sig_value(raw: &[u8]) -> Result<Vec<u8>, Wrong> {
    let (r, s) = raw.split_at(raw.len() / 2);
    let number = |half| UintRef::new(half)?.to_der();
    let numbers = [number(r)?, number(s)?].concat();
    Ok(AnyRef::new(Tag::Sequence, &numbers)?.to_der()?)
}
