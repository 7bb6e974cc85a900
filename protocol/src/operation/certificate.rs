//! Certification requests.

use minicbor::bytes::ByteVec;
use minicbor::{Decode, Decoder, Encode, Encoder, decode, encode};

use crate::algorithm::Algorithm;

/// Makes a PKCS#10 request (RFC 2986) for the public part of a sign key, signed by the key.
#[derive(Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct RequestCertificate {
    /// The key's id or one of its aliases; its formats include `x509`, or `raw`, which is any.
    #[n(0)]
    pub key: String,
    /// The algorithm; the key's first if absent.
    #[n(1)]
    pub algorithm: Option<Algorithm>,
    /// The subject as text (RFC 4514): `CN=example.org,O=Example`; may be empty if there are names.
    #[n(2)]
    pub subject: String,
    /// The subject's alternative names (RFC 5280 §4.2.1.6).
    #[n(3)]
    pub names: Vec<SubjectAltName>,
}

/// An alternative name: `[1, dns]`, `[2, email]`, `[3, uri]` or `[4, address]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SubjectAltName {
    /// A DNS name (dNSName), also with `*` as its first label.
    Dns(String),
    /// A mailbox (rfc822Name).
    Email(String),
    /// A URI (uniformResourceIdentifier).
    Uri(String),
    /// An IP address (iPAddress): 4 or 16 bytes.
    Ip(ByteVec),
}

impl<C> Encode<C> for SubjectAltName {
    fn encode<W: encode::Write>(
        &self,
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), encode::Error<W::Error>> {
        e.array(2)?;
        match self {
            Self::Dns(name) => e.u8(1)?.str(name)?.ok(),
            Self::Email(name) => e.u8(2)?.str(name)?.ok(),
            Self::Uri(name) => e.u8(3)?.str(name)?.ok(),
            Self::Ip(address) => e.u8(4)?.bytes(address)?.ok(),
        }
    }
}

impl<'b, C> Decode<'b, C> for SubjectAltName {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, decode::Error> {
        if d.array()? != Some(2) {
            return Err(decode::Error::message("not [kind, name]"));
        }
        match d.u8()? {
            1 => Ok(Self::Dns(d.str()?.to_owned())),
            2 => Ok(Self::Email(d.str()?.to_owned())),
            3 => Ok(Self::Uri(d.str()?.to_owned())),
            4 => match d.bytes()? {
                address if matches!(address.len(), 4 | 16) => Ok(Self::Ip(address.to_vec().into())),
                _ => Err(decode::Error::message("an address has 4 or 16 bytes")),
            },
            _ => Err(decode::Error::message("unknown kind of name")),
        }
    }
}

/// A certification request.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct CertificateRequest {
    /// The CertificationRequest (RFC 2986 §4.2), DER.
    #[n(0)]
    pub der: ByteVec,
    /// The id of the key.
    #[n(1)]
    pub key: String,
    /// The version of the key.
    #[n(2)]
    pub version: u32,
}
