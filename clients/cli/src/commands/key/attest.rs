//! `keyward key attest`

use std::path::Path;

use der::pem;
use keyward_protocol::attestation::{
    Bundle, Document, LEAST_NONCE, MOST_NONCE, Statement, is_nonce,
};
use keyward_protocol::operation;

use crate::agent::connect;
use crate::arguments::KeyAttest;
use crate::destination::{self, Content};
use crate::error::Error;
use crate::exit::Exit;
use crate::{hex, io};

/// The length of a nonce that is made here.
const MADE: usize = 32;
/// More than the digits of a nonce.
const LONGEST_LINE: usize = 1024;
/// More than a few certificates have.
const LONGEST_CERTIFICATES: usize = 64 * 1024;
const END: &str = "-----END CERTIFICATE-----";

pub(super) fn attest(attest: KeyAttest) -> Result<(), Error> {
    let output = attest.output.file.as_deref();
    destination::check(output, Content::Binary)?;
    let chain = attest.ak_certificate.as_deref().map(certificates);
    let chain = chain.transpose()?;
    let (nonce, made) = nonce(attest.nonce.as_deref())?;
    let attested = connect()?.call(operation::Attest {
        key: attest.key,
        nonce: nonce.clone().into(),
        version: attest.version,
    })?;
    let bytes = match chain {
        None => attested.bundle.to_vec(),
        Some(chain) => with_chain(&attested.bundle, chain)?,
    };
    destination::write(output, Content::Binary, &bytes)?;
    if made {
        let mut line = b"keyward: the nonce is ".to_vec();
        hex::encode_into(&nonce, &mut line);
        line.push(b'\n');
        // Without it nobody can verify the bundle.
        std::io::Write::write_all(&mut std::io::stderr(), &line)
            .map_err(|e| Error::usage("can't show the nonce; give one by --nonce").cause(e))?;
    }
    Ok(())
}

/// The nonce, and whether it was made here.
fn nonce(given: Option<&str>) -> Result<(Vec<u8>, bool), Error> {
    let Some(given) = given else {
        let mut nonce = vec![0; MADE];
        rustix::rand::getrandom(&mut nonce, rustix::rand::GetRandomFlags::empty())
            .map_err(|e| Error::new(Exit::Fault, "the system has no random numbers").cause(e))?;
        return Ok((nonce, true));
    };
    let digits = match given {
        "-" => {
            let line = io::read(None, LONGEST_LINE)?;
            String::from_utf8_lossy(&line).trim().to_owned()
        }
        digits => digits.to_owned(),
    };
    let nonce =
        hex::decode(&digits).map_err(|e| Error::usage("the nonce can't be read").cause(e))?;
    match is_nonce(&nonce) {
        true => Ok((nonce, false)),
        false => Err(Error::usage(format!(
            "a nonce has {LEAST_NONCE} to {MOST_NONCE} bytes, and this one has {}",
            nonce.len()
        ))),
    }
}

/// The certificates of a file, DER.
fn certificates(file: &Path) -> Result<Vec<Vec<u8>>, Error> {
    let unusable = |cause: String| {
        let name = io::name(Some(file));
        Error::usage(format!("{name} is no certificate in PEM")).cause(cause)
    };
    let bytes = io::read(Some(file), LONGEST_CERTIFICATES)?;
    let text = String::from_utf8(bytes).map_err(|e| unusable(e.to_string()))?;
    let mut chain = Vec::new();
    for part in text.split_inclusive(END) {
        if part.trim().is_empty() {
            continue;
        }
        let part = part.trim_start();
        let (label, der) = pem::decode_vec(part.as_bytes()).map_err(|e| unusable(e.to_string()))?;
        if label != "CERTIFICATE" {
            return Err(unusable(format!("it has a {label}")));
        }
        chain.push(der);
    }
    match chain.is_empty() {
        true => Err(unusable("it is empty".to_owned())),
        false => Ok(chain),
    }
}

fn with_chain(bundle: &[u8], chain: Vec<Vec<u8>>) -> Result<Vec<u8>, Error> {
    let fault = |e| Error::new(Exit::Fault, "the agent's bundle can't be read").cause(e);
    let mut bundle = Bundle::from_document(bundle).map_err(fault)?;
    match &mut bundle.statement {
        Statement::Tpm(statement) => {
            statement.chain = chain.into_iter().map(Into::into).collect();
        }
        _ => return Err(Error::usage("the key's token has its own certificates")),
    }
    bundle
        .to_document()
        .map_err(|e| Error::usage("the certificates don't fit into a bundle").cause(e))
}
