//! `keyward key certificate` and `keyward key set-certificate`

use der::pem::{self, LineEnding};
use keyward_protocol::operation;

use crate::agent::connect;
use crate::arguments::{ReadCertificate, WriteCertificate};
use crate::destination::{self, Content};
use crate::error::Error;
use crate::exit::Exit;
use crate::io;

/// The label of a certificate in PEM (RFC 7468 §5).
const LABEL: &str = "CERTIFICATE";
/// No card keeps a larger one.
const LONGEST: usize = 64 * 1024;

pub(super) fn read(wanted: ReadCertificate) -> Result<(), Error> {
    let content = if wanted.der {
        Content::Binary
    } else {
        Content::Text
    };
    let output = wanted.output.file.as_deref();
    destination::check(output, content)?;
    let found = connect()?.call(operation::GetCertificate {
        key: wanted.key,
        version: wanted.version,
    })?;
    if wanted.der {
        return destination::write(output, content, &found.der);
    }
    let text = pem::encode_string(LABEL, LineEnding::LF, &found.der)
        .map_err(|e| Error::new(Exit::Fault, "the certificate can't be written as PEM").cause(e))?;
    destination::write(output, content, text.as_bytes())
}

pub(super) fn write(write: WriteCertificate) -> Result<(), Error> {
    let der = match write.remove {
        true => Vec::new(),
        false => der_of(io::read(write.file.as_deref(), LONGEST)?)?,
    };
    connect()?.call(operation::WriteCertificate {
        key: write.key,
        der: der.into(),
    })?;
    Ok(())
}

/// The certificate of a file: the only one in PEM, or DER.
fn der_of(bytes: Vec<u8>) -> Result<Vec<u8>, Error> {
    if bytes.is_empty() {
        return Err(Error::usage("there is no certificate in it")
            .hint("keyward key set-certificate KEY --remove  # takes away the one that is there"));
    }
    if !bytes.starts_with(b"-----") {
        return Ok(bytes);
    }
    match pem::decode_vec(&bytes) {
        Ok((LABEL, der)) => Ok(der),
        Ok((other, _)) => Err(Error::usage(format!("it is a {other}, and no {LABEL}"))),
        Err(error) => Err(Error::usage("it is not one certificate in PEM")
            .cause(error)
            .hint("a file with several has the key's own first: copy that into one of its own")),
    }
}
