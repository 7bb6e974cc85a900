//! X.509 certificates as a card writes them (RFC 5280).

use p256::ecdsa::signature::hazmat::PrehashSigner as _;
use sha2::{Digest as _, Sha256, Sha384};

use super::Reply;
use super::key::{Algorithm, PrivateKey, rsa};
use super::random::random;
use super::status::Status;
use super::tlv::object;

const SEQUENCE: u32 = 0x30;
const SET: u32 = 0x31;
const INTEGER: u32 = 0x02;
const BIT_STRING: u32 = 0x03;
const OCTET_STRING: u32 = 0x04;
const OID: u32 = 0x06;
const UTF8_STRING: u32 = 0x0c;

const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];
const BASIC_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 0x13];
const ECDSA_SHA256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02];
const ECDSA_SHA384: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x03];
const RSA_SHA256: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0b];
const RSA_ENCRYPTION: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
const EC_PUBLIC_KEY: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
const P256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
const P384: &[u8] = &[0x2b, 0x81, 0x04, 0x00, 0x22];
const ED25519: &[u8] = &[0x2b, 0x65, 0x70];
const X25519: &[u8] = &[0x2b, 0x65, 0x6e];
/// DigestInfo of SHA-256 (RFC 8017 §9.2).
const DIGEST_INFO: [u8; 19] = [
    0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05,
    0x00, 0x04, 0x20,
];

/// Who stands in a certificate, and what else.
pub(super) struct Content<'a> {
    pub(super) issuer: &'a str,
    pub(super) subject: &'a str,
    pub(super) key: &'a PrivateKey,
    pub(super) extensions: &'a [Vec<u8>],
}

/// Makes a certificate and signs it.
pub(super) fn certificate(content: &Content<'_>, signer: &PrivateKey) -> Reply {
    let signature_algorithm = signature_algorithm(signer)?;
    let serial = random::<16>()?;
    let mut to_be_signed = object(0xa0, &object(INTEGER, &[2]));
    to_be_signed.extend(unsigned(&*serial));
    to_be_signed.extend(&signature_algorithm);
    to_be_signed.extend(name(content.issuer));
    to_be_signed.extend(validity());
    to_be_signed.extend(name(content.subject));
    to_be_signed.extend(public_key_info(content.key)?);
    if !content.extensions.is_empty() {
        let extensions = object(SEQUENCE, &content.extensions.concat());
        to_be_signed.extend(object(0xa3, &extensions));
    }
    let to_be_signed = object(SEQUENCE, &to_be_signed);
    let signature = sign(signer, &to_be_signed)?;
    let mut certificate = to_be_signed;
    certificate.extend(signature_algorithm);
    certificate.extend(bits(&signature));
    Ok(object(SEQUENCE, &certificate))
}

/// An extension that nobody must understand.
pub(super) fn extension(oid: &[u8], value: &[u8]) -> Vec<u8> {
    let mut extension = object(OID, oid);
    extension.extend(object(OCTET_STRING, value));
    object(SEQUENCE, &extension)
}

/// The critical extension that makes an authority, with `below` authorities under it.
pub(super) fn authority(below: u8) -> Vec<u8> {
    let mut constraints = object(0x01, &[0xff]);
    constraints.extend(object(INTEGER, &[below]));
    let mut extension = object(OID, BASIC_CONSTRAINTS);
    extension.extend(object(0x01, &[0xff]));
    extension.extend(object(OCTET_STRING, &object(SEQUENCE, &constraints)));
    object(SEQUENCE, &extension)
}

/// A number that is not negative.
pub(super) fn unsigned(bytes: &[u8]) -> Vec<u8> {
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    let mut number = bytes.get(zeros..).unwrap_or_default().to_vec();
    if number.first().is_none_or(|first| *first >= 0x80) {
        number.insert(0, 0);
    }
    object(INTEGER, &number)
}

fn public_key_info(key: &PrivateKey) -> Reply {
    let algorithm = |oid: &[u8], parameters: Vec<u8>| {
        let mut algorithm = object(OID, oid);
        algorithm.extend(parameters);
        object(SEQUENCE, &algorithm)
    };
    let (algorithm, public) = match key {
        PrivateKey::Rsa(key) => {
            let mut public = unsigned(key.modulus());
            public.extend(unsigned(&rsa::EXPONENT));
            let algorithm = algorithm(RSA_ENCRYPTION, object(0x05, &[]));
            (algorithm, object(SEQUENCE, &public))
        }
        PrivateKey::P256(_) => (
            algorithm(EC_PUBLIC_KEY, object(OID, P256)),
            key.public_bytes()?,
        ),
        PrivateKey::P384(_) => (
            algorithm(EC_PUBLIC_KEY, object(OID, P384)),
            key.public_bytes()?,
        ),
        PrivateKey::Ed25519(_) => (algorithm(ED25519, vec![]), key.public_bytes()?),
        PrivateKey::X25519(_) => (algorithm(X25519, vec![]), key.public_bytes()?),
    };
    let mut info = algorithm;
    info.extend(bits(&public));
    Ok(object(SEQUENCE, &info))
}

fn signature_algorithm(signer: &PrivateKey) -> Reply {
    let mut algorithm = match signer.algorithm() {
        Algorithm::P256 => object(OID, ECDSA_SHA256),
        Algorithm::P384 => object(OID, ECDSA_SHA384),
        Algorithm::Ed25519 => object(OID, ED25519),
        Algorithm::X25519 => return Err(Status::CONDITIONS_NOT_SATISFIED),
        _ => object(OID, RSA_SHA256),
    };
    if let PrivateKey::Rsa(_) = signer {
        algorithm.extend(object(0x05, &[]));
    }
    Ok(object(SEQUENCE, &algorithm))
}

fn sign(signer: &PrivateKey, message: &[u8]) -> Reply {
    match signer {
        PrivateKey::P256(key) => {
            let key = p256::ecdsa::SigningKey::from(key);
            let signature: p256::ecdsa::Signature = key
                .sign_prehash(&Sha256::digest(message))
                .map_err(|_| Status::FAILED)?;
            Ok(signature.to_der().as_bytes().to_vec())
        }
        PrivateKey::P384(key) => {
            let key = p384::ecdsa::SigningKey::from(key);
            let signature: p384::ecdsa::Signature = key
                .sign_prehash(&Sha384::digest(message))
                .map_err(|_| Status::FAILED)?;
            Ok(signature.to_der().as_bytes().to_vec())
        }
        PrivateKey::Rsa(key) => {
            let mut info = DIGEST_INFO.to_vec();
            info.extend(Sha256::digest(message));
            let filling = key
                .modulus()
                .len()
                .checked_sub(info.len().saturating_add(3))
                .ok_or(Status::FAILED)?;
            let encoded = [vec![0, 1], vec![0xff; filling], vec![0], info].concat();
            key.raw(&encoded)
        }
        other => other.respond(message),
    }
}

/// What YubiKeys write, in whose place this card stands: they have no clock.
fn validity() -> Vec<u8> {
    let mut validity = object(0x17, b"160314000000Z");
    validity.extend(object(0x18, b"20520417000000Z"));
    object(SEQUENCE, &validity)
}

fn name(common_name: &str) -> Vec<u8> {
    let mut attribute = object(OID, COMMON_NAME);
    attribute.extend(object(UTF8_STRING, common_name.as_bytes()));
    object(SEQUENCE, &object(SET, &object(SEQUENCE, &attribute)))
}

fn bits(bytes: &[u8]) -> Vec<u8> {
    object(BIT_STRING, &[&[0], bytes].concat())
}
