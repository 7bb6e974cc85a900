//! `keyward mac`, `keyward verify-mac`

use keyward_protocol::operation;

use super::sign::LONGEST_MESSAGE;
use crate::agent::connect;
use crate::arguments::{Mac, VerifyMac};
use crate::destination::{self, Content};
use crate::error::Error;
use crate::exit::Exit;
use crate::hex;
use crate::io;

/// More than a code of any algorithm has.
const LONGEST_CODE: usize = 64;

pub(super) fn mac(mac: Mac) -> Result<(), Error> {
    let output = mac.output.file.as_deref();
    let content = if mac.hex {
        Content::Text
    } else {
        Content::Binary
    };
    destination::check(output, content)?;
    let message = io::read_secret_bytes(mac.file.as_deref(), LONGEST_MESSAGE)?;
    let made = connect()?.call(operation::Mac {
        key: mac.key,
        message,
    })?;
    if !mac.hex {
        return destination::write(output, content, &made.tag);
    }
    let mut digits = Vec::new();
    hex::encode_into(&made.tag, &mut digits);
    digits.push(b'\n');
    destination::write(output, content, &digits)
}

pub(super) fn verify(verify: VerifyMac) -> Result<(), Error> {
    let tag = match (verify.tag, &verify.tag_file) {
        (Some(tag), _) => tag,
        (None, Some(file)) => {
            if io::is_stdin(Some(file)) && io::is_stdin(verify.file.as_deref()) {
                return Err(Error::usage("stdin can't be both the message and its code"));
            }
            io::read(Some(file), LONGEST_CODE)?
        }
        (None, None) => return Err(Error::usage("--tag is missing")),
    };
    let message = io::read_secret_bytes(verify.file.as_deref(), LONGEST_MESSAGE)?;
    let answer = connect()?.call(operation::VerifyMac {
        key: verify.key,
        message,
        tag: tag.into(),
        version: verify.version,
    })?;
    if answer.valid {
        Ok(())
    } else {
        Err(Error::new(Exit::Negative, "the code does not match"))
    }
}
