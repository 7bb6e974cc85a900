//! `keyward random`

use keyward_protocol::operation;
use zeroize::Zeroizing;

use crate::agent::connect;
use crate::arguments::Random;
use crate::destination::{self, Content};
use crate::error::Error;
use crate::hex;

pub(super) fn random(random: Random) -> Result<(), Error> {
    let output = random.output.file.as_deref();
    let content = if random.hex {
        Content::SecretText
    } else {
        Content::SecretBinary
    };
    destination::check(output, content)?;
    let made = connect()?.call(operation::Random {
        length: random.length,
        token: random.token,
    })?;
    let bytes = made.bytes.expose();
    if !random.hex {
        return destination::write(output, content, bytes);
    }
    let room = bytes.len().saturating_mul(2).saturating_add(1);
    let mut digits = Zeroizing::new(Vec::with_capacity(room));
    hex::encode_into(bytes, &mut digits);
    digits.push(b'\n');
    destination::write(output, content, &digits)
}
