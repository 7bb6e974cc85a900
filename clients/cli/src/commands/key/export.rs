//! `keyward key export`

use keyward_protocol::operation;

use crate::agent::connect;
use crate::arguments::Export;
use crate::destination::{self, Content};
use crate::error::Error;
use crate::output::plain;

pub(super) fn export(export: Export) -> Result<(), Error> {
    let output = export.output.file.as_deref();
    destination::check(output, Content::SecretText)?;
    let made = connect()?.call(operation::Export {
        key: export.key,
        version: export.version,
        token: export.token,
    })?;
    destination::write(output, Content::SecretText, made.pem.as_bytes())?;
    eprintln!(
        "keyward: the file works only on the TPM of token {}, below {:#x}",
        plain(&made.token),
        made.parent
    );
    Ok(())
}
