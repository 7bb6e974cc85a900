//! `keyward wrap`

use keyward_protocol::operation;

use super::blob::{LONGEST_PLAINTEXT, not_empty};
use crate::agent::connect;
use crate::arguments::Wrap;
use crate::destination::{self, Content};
use crate::error::Error;
use crate::io;

pub(super) fn wrap(wrap: Wrap) -> Result<(), Error> {
    let output = wrap.output.file.as_deref();
    destination::check(output, Content::Binary)?;
    let file = wrap.file.as_deref();
    let plaintext = not_empty(io::read_secret_bytes(file, LONGEST_PLAINTEXT)?, file)?;
    let made = connect()?.call(operation::Wrap {
        key: wrap.key,
        algorithm: wrap.algorithm,
        plaintext,
    })?;
    destination::write(output, Content::Binary, &made.ciphertext)
}
