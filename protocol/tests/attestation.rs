//! `vectors/attestation.json`: structures of TPMs, and the documents that hold them.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]

use keyward_protocol::attestation::enrolment::{Challenge, Enrolment, Pending};
use keyward_protocol::attestation::piv::{CardCertificate, CertificateError};
use keyward_protocol::attestation::tpm::{Certify, Public, TpmError, parse_signature};
use keyward_protocol::attestation::{AttestationError, AttestationKey, Bundle, Document};
use keyward_protocol::cbor::{self, CborError};
use serde::Deserialize;

use read::unhex;

#[path = "../vectors/read.rs"]
mod read;

#[derive(Deserialize)]
struct Vector {
    name: String,
    what: String,
    hex: String,
    error: Option<String>,
    tpm_name: Option<String>,
    cose_key: Option<String>,
    attributes: Option<u32>,
    qualifying_data: Option<String>,
    signature: Option<String>,
    firmware: Option<String>,
    serial: Option<u32>,
    policies: Option<String>,
    form_factor: Option<u8>,
    constraints: Option<bool>,
}

#[test]
fn attestations_are_read_as_the_vectors_say() {
    let (mut accepted, mut refused) = (0, 0);
    for vector in read::vectors::<Vector>("attestation.json") {
        let bytes = unhex(&vector.hex);
        let read = match vector.what.as_str() {
            "tpm-public" => public(&vector, &bytes),
            "tpm-certify" => certify(&vector, &bytes),
            "tpm-signature" => signature(&vector, &bytes),
            "piv-certificate" => certificate(&vector, &bytes),
            "bundle" => document::<Bundle>(&bytes),
            "attestation-key" => document::<AttestationKey>(&bytes),
            "challenge" => document::<Challenge>(&bytes),
            "pending" => document::<Pending>(&bytes),
            "enrolment" => document::<Enrolment>(&bytes),
            other => panic!("{other}"),
        };
        assert_eq!(read.err(), vector.error.as_deref(), "{}", vector.name);
        match vector.error {
            None => accepted += 1,
            Some(_) => refused += 1,
        }
    }
    assert!(accepted >= 25 && refused >= 100, "{accepted} and {refused}");
}

fn public(vector: &Vector, bytes: &[u8]) -> Result<(), &'static str> {
    let public = Public::parse(bytes).map_err(of_tpm)?;
    let hex = |text: &Option<String>| unhex(text.as_deref().expect(&vector.name));
    assert_eq!(public.name, hex(&vector.tpm_name), "{}", vector.name);
    assert_eq!(cbor::encode(&public.key), hex(&vector.cose_key));
    assert_eq!(Some(public.attributes.0), vector.attributes);
    Ok(())
}

fn certify(vector: &Vector, bytes: &[u8]) -> Result<(), &'static str> {
    let certify = Certify::parse(bytes).map_err(of_tpm)?;
    let hex = |text: &Option<String>| unhex(text.as_deref().expect(&vector.name));
    assert_eq!(certify.name, hex(&vector.tpm_name));
    assert_eq!(certify.qualifying_data, hex(&vector.qualifying_data));
    Ok(())
}

fn signature(vector: &Vector, bytes: &[u8]) -> Result<(), &'static str> {
    let signature = parse_signature(bytes).map_err(of_tpm)?;
    assert_eq!(signature[..], unhex(vector.signature.as_deref().unwrap()));
    Ok(())
}

fn certificate(vector: &Vector, bytes: &[u8]) -> Result<(), &'static str> {
    let read = CardCertificate::parse(bytes).map_err(|error| match error {
        CertificateError::Shape => "shape",
        CertificateError::Twice(_) => "twice",
        CertificateError::Value(_) => "value",
        _ => "new",
    })?;
    let hex = |text: &Option<String>| text.as_deref().map(unhex);
    let firmware = read.firmware.map(|firmware| firmware.to_vec());
    let policies = read.policies.map(|policies| policies.to_vec());
    assert_eq!(firmware, hex(&vector.firmware), "{}", vector.name);
    assert_eq!(policies, hex(&vector.policies), "{}", vector.name);
    assert_eq!(read.serial, vector.serial, "{}", vector.name);
    assert_eq!(read.form_factor, vector.form_factor, "{}", vector.name);
    assert_eq!(Some(read.has_constraints), vector.constraints);
    Ok(())
}

fn document<D: Document>(bytes: &[u8]) -> Result<(), &'static str> {
    let document = D::from_document(bytes).map_err(of_document)?;
    assert_eq!(document.to_document().unwrap(), bytes);
    Ok(())
}

fn of_document(error: AttestationError) -> &'static str {
    match error {
        AttestationError::Foreign(_) => "foreign",
        AttestationError::Newer(_) => "newer",
        AttestationError::Kind(_) => "kind",
        AttestationError::Damaged(error) => of_cbor(error),
        AttestationError::TooLong => "too-long",
        AttestationError::Value(_) => "value",
        _ => "new",
    }
}

fn of_cbor(error: CborError) -> &'static str {
    match error {
        CborError::Truncated => "truncated",
        CborError::Trailing => "trailing",
        CborError::KeyOrder => "key-order",
        CborError::Shape => "shape",
        _ => "another",
    }
}

fn of_tpm(error: TpmError) -> &'static str {
    match error {
        TpmError::Truncated => "truncated",
        TpmError::Trailing => "trailing",
        TpmError::Unknown(_) => "unknown",
        TpmError::Value(_) => "value",
        TpmError::NotGenerated => "not-generated",
        TpmError::NotCertify => "not-certify",
        _ => "new",
    }
}
