//! `keyward unwrap`

use keyward_protocol::operation;

use super::sign::LONGEST_MESSAGE;
use crate::agent::connect;
use crate::arguments::Unwrap;
use crate::destination::{self, Content};
use crate::error::Error;
use crate::io;

pub(super) fn unwrap(unwrap: Unwrap) -> Result<(), Error> {
    let output = unwrap.output.file.as_deref();
    destination::check(output, Content::SecretBinary)?;
    let mut agent = connect()?;
    let ciphertext = io::read(unwrap.file.as_deref(), LONGEST_MESSAGE)?;
    let label = unwrap.label.map(String::into_bytes).or(unwrap.label_hex);
    let opened = agent.call(operation::Unwrap {
        key: unwrap.key,
        algorithm: unwrap.algorithm,
        ciphertext: ciphertext.into(),
        label: label.map(Into::into),
        version: unwrap.version,
    })?;
    destination::write(output, Content::SecretBinary, opened.plaintext.expose())
}
