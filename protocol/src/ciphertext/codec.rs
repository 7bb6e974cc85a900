//! The bytes of a ciphertext.

use minicbor::data::Type;
use minicbor::decode::Error as DecodeError;
use minicbor::encode::{Error as EncodeError, Write};
use minicbor::{Decoder, Encoder};
use uuid::Uuid;

use super::{Body, Ciphertext, CiphertextError, Context, Header, MAX_CIPHERTEXT, Scheme};
use crate::algorithm::Algorithm;
use crate::cbor::{self, CborError};

/// The tag of COSE_Encrypt0 (RFC 9052 §2), 16.
const TAG_ENCRYPT0: [u8; 1] = [0xd0];
/// The tag of COSE_Encrypt (RFC 9052 §2), 96.
const TAG_ENCRYPT: [u8; 2] = [0xd8, 96];

/// Header labels of RFC 9052 §3.1.
const ALG: i64 = 1;
const KID: i64 = 4;
const IV: i64 = 5;
/// The encapsulated key (draft-ietf-cose-hpke-27 §7.3.1).
const EK: i64 = -4;
/// Private use: the version of the key.
const VERSION: i64 = -65_537;
/// Private use: the number of the form, 1.
const FORMAT: i64 = -65_538;
/// The form that SPEC.md §12 describes; it pins HPKE to its draft.
const FORMAT_1: u64 = 1;

/// The Enc_structure of RFC 9052 §5.3.
pub(super) fn enc_structure(header: &Header, context: &Context) -> Vec<u8> {
    let kind = match header.scheme {
        Scheme::RsaOaep => "Encrypt",
        _ => "Encrypt0",
    };
    let mut bytes = Vec::with_capacity(128);
    cbor::write(&mut bytes, |e| {
        e.array(3)?.str(kind)?.bytes(&protected(header))?;
        e.bytes(&context.external_aad())?.ok()
    });
    bytes
}

pub(super) fn encode(ciphertext: &Ciphertext) -> Vec<u8> {
    let Ciphertext {
        header,
        body,
        content,
    } = ciphertext;
    let mut bytes = match body {
        Body::RsaOaep { .. } => TAG_ENCRYPT.to_vec(),
        _ => TAG_ENCRYPT0.to_vec(),
    };
    bytes.reserve(content.len().saturating_add(1024));
    cbor::write(&mut bytes, |e| match body {
        Body::AesGcm { iv } => layer(e, 3, header, IV, iv, content),
        Body::Hpke { ek } => layer(e, 3, header, EK, ek, content),
        Body::RsaOaep { iv, encrypted_key } => {
            layer(e, 4, header, IV, iv, content)?;
            // One recipient: nothing protected (RFC 9052 §8.5.3), the algorithm, the key.
            e.array(1)?.array(3)?.bytes(&[])?;
            e.map(1)?.i64(ALG)?.encode(header.scheme.algorithm())?;
            e.bytes(encrypted_key)?.ok()
        }
    });
    bytes
}

/// The first three items of COSE_Encrypt0 or COSE_Encrypt, and the head of its array.
fn layer<W: Write>(
    e: &mut Encoder<W>,
    items: u64,
    header: &Header,
    label: i64,
    value: &[u8],
    content: &[u8],
) -> Result<(), EncodeError<W::Error>> {
    e.array(items)?.bytes(&protected(header))?;
    e.map(1)?.i64(label)?.bytes(value)?.bytes(content)?.ok()
}

/// The protected header, as it stands in its byte string.
fn protected(header: &Header) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(40);
    cbor::write(&mut bytes, |e| {
        e.map(4)?
            .i64(ALG)?
            .encode(header.scheme.content_algorithm())?;
        e.i64(KID)?.bytes(header.kid.as_bytes())?;
        e.i64(VERSION)?.u32(header.version)?;
        e.i64(FORMAT)?.u64(FORMAT_1)?.ok()
    });
    bytes
}

pub(super) fn decode(bytes: &[u8]) -> Result<Ciphertext, CiphertextError> {
    if bytes.len() > MAX_CIPHERTEXT {
        return Err(CiphertextError::TooLarge);
    }
    let (item, has_recipient) = if let Some(item) = bytes.strip_prefix(&TAG_ENCRYPT0) {
        (item, false)
    } else if let Some(item) = bytes.strip_prefix(&TAG_ENCRYPT) {
        (item, true)
    } else {
        return Err(CiphertextError::NotCiphertext);
    };
    cbor::validate(item)?;
    let protected = protected_of(item).map_err(|_| CborError::Shape)?;
    cbor::validate(protected)?;
    match format_of(protected).map_err(|_| CborError::Shape)? {
        Some(FORMAT_1) => {}
        Some(other) => return Err(CiphertextError::UnknownFormat(other)),
        None => return Err(CborError::Shape.into()),
    }
    let parts = parts(item, protected, has_recipient).map_err(|_| CborError::Shape)?;
    let (header, body, content) = parts.ok_or(CborError::Shape)?;
    let ciphertext = Ciphertext::new(header, body, content)?;
    // Whatever was not looked at would come out otherwise.
    if encode(&ciphertext) == bytes {
        Ok(ciphertext)
    } else {
        Err(CborError::Shape.into())
    }
}

/// The bytes of the protected header.
fn protected_of(item: &[u8]) -> Result<&[u8], DecodeError> {
    let mut d = Decoder::new(item);
    d.array()?;
    d.bytes()
}

/// The number of the form, which says what the rest means.
fn format_of(protected: &[u8]) -> Result<Option<u64>, DecodeError> {
    let mut d = Decoder::new(protected);
    for _ in 0..d.map()?.unwrap_or(0) {
        let integer = !matches!(
            d.datatype()?,
            Type::String | Type::Bytes | Type::Array | Type::Map | Type::Bool
        );
        if integer && d.int()? == FORMAT.into() {
            return d.u64().map(Some);
        }
        if !integer {
            d.skip()?;
        }
        d.skip()?;
    }
    Ok(None)
}

/// The parts by their places; `encode` says whether there was more, or another order.
fn parts(
    item: &[u8],
    protected: &[u8],
    has_recipient: bool,
) -> Result<Option<(Header, Body, Vec<u8>)>, DecodeError> {
    let mut d = Decoder::new(protected);
    d.map()?;
    let (_, algorithm) = (d.i64()?, d.i64()?);
    let (_, kid) = (d.i64()?, d.bytes()?);
    let (_, version) = (d.i64()?, d.u32()?);

    let mut d = Decoder::new(item);
    d.array()?;
    let _ = d.bytes()?;
    d.map()?;
    let (_, value) = (d.i64()?, d.bytes()?);
    let content = d.bytes()?;
    let encrypted_key = if has_recipient {
        d.array()?;
        d.array()?;
        let _ = d.bytes()?;
        d.map()?;
        let _ = (d.i64()?, d.i64()?);
        Some(d.bytes()?)
    } else {
        None
    };
    Ok(assemble(
        algorithm,
        kid,
        version,
        value,
        encrypted_key,
        content,
    ))
}

fn assemble(
    algorithm: i64,
    kid: &[u8],
    version: u32,
    value: &[u8],
    encrypted_key: Option<&[u8]>,
    content: &[u8],
) -> Option<(Header, Body, Vec<u8>)> {
    let scheme = match encrypted_key {
        Some(_) => Scheme::RsaOaep,
        None => Scheme::of(Algorithm::from_number(algorithm)?)?,
    };
    let body = match (scheme, encrypted_key) {
        (Scheme::A128Gcm | Scheme::A256Gcm, None) => Body::AesGcm {
            iv: value.try_into().ok()?,
        },
        (Scheme::Hpke0 | Scheme::Hpke7, None) => Body::Hpke {
            ek: value.try_into().ok()?,
        },
        (Scheme::RsaOaep, Some(key)) => Body::RsaOaep {
            iv: value.try_into().ok()?,
            encrypted_key: key.to_vec(),
        },
        _ => return None,
    };
    let header = Header::new(scheme, Uuid::from_slice(kid).ok()?, version)?;
    Some((header, body, content.to_vec()))
}
