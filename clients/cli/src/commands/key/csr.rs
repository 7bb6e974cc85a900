//! `keyward key csr`

use std::net::IpAddr;

use der::pem::{self, LineEnding};
use keyward_protocol::operation::{RequestCertificate, SubjectAltName};

use crate::agent::connect;
use crate::arguments::Csr;
use crate::destination::{self, Content};
use crate::error::Error;
use crate::exit::Exit;

pub(super) fn csr(csr: Csr) -> Result<(), Error> {
    let content = if csr.der {
        Content::Binary
    } else {
        Content::Text
    };
    let output = csr.output.file.as_deref();
    destination::check(output, content)?;
    let address = |ip: IpAddr| match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    let dns = csr.dns.into_iter().map(SubjectAltName::Dns);
    let email = csr.email.into_iter().map(SubjectAltName::Email);
    let uri = csr.uri.into_iter().map(SubjectAltName::Uri);
    let ip = csr.ip.into_iter().map(|ip| address(ip).into());
    let names = dns
        .chain(email)
        .chain(uri)
        .chain(ip.map(SubjectAltName::Ip));
    let made = connect()?.call(RequestCertificate {
        key: csr.key,
        algorithm: csr.algorithm,
        subject: csr.subject.unwrap_or_default(),
        names: names.collect(),
    })?;
    if csr.der {
        return destination::write(output, content, &made.der);
    }
    let text = pem::encode_string("CERTIFICATE REQUEST", LineEnding::LF, &made.der)
        .map_err(|e| Error::new(Exit::Fault, "the request can't be written as PEM").cause(e))?;
    destination::write(output, content, text.as_bytes())
}
