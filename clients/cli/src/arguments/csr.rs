//! `keyward key csr`

use std::net::IpAddr;

use clap::Args;
use keyward_protocol::{Algorithm, Purpose};

use super::Output;
use super::values::algorithms;

#[derive(Args)]
#[command(after_long_help = "\
The request (PKCS#10, RFC 2986) holds the key's public part and is signed by the key, whose formats \
must have `x509` or `raw`. A certificate authority makes a certificate of it.

Example:
  keyward key csr web --subject 'CN=example.org' --dns example.org --dns www.example.org -o web.csr
  openssl req -in web.csr -verify -noout -text")]
pub(crate) struct Csr {
    /// The key's id or one of its aliases
    pub(crate) key: String,
    /// The subject (RFC 4514), such as `CN=example.org,O=Example`
    #[arg(long, value_name = "NAME", required_unless_present_any = ["dns", "email", "uri", "ip"])]
    pub(crate) subject: Option<String>,
    /// A DNS name of the subject
    #[arg(long, value_name = "NAME")]
    pub(crate) dns: Vec<String>,
    /// A mailbox of the subject
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) email: Vec<String>,
    /// A URI of the subject
    #[arg(long, value_name = "URI")]
    pub(crate) uri: Vec<String>,
    /// An IP address of the subject
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) ip: Vec<IpAddr>,
    /// The algorithm; the key's first if not said
    #[arg(long, value_parser = algorithms(&[Purpose::Sign]), ignore_case = true)]
    pub(crate) algorithm: Option<Algorithm>,
    /// Write DER, not PEM
    #[arg(long)]
    pub(crate) der: bool,
    #[command(flatten)]
    pub(crate) output: Output,
}
