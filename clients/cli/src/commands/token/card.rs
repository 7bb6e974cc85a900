//! `keyward token change-puk`, `unblock-pin`, `new-management-key` and `reset`

use std::io::IsTerminal as _;
use std::path::Path;

use keyward_protocol::SecretBytes;
use keyward_protocol::operation::{self, Status};

use super::{one, which};
use crate::agent::connect;
use crate::arguments::{ChangePuk, ResetToken, UnblockPin};
use crate::error::Error;
use crate::exit::Exit;
use crate::output::plain;
use crate::{io, pin};

pub(in crate::commands) fn change_puk(change: ChangePuk) -> Result<(), Error> {
    const COMMAND: &str = "keyward token change-puk";
    const HINT: &str = "keyward token change-puk --old-puk-file FILE --new-puk-file FILE";
    let mut agent = connect()?;
    let name = one(&mut agent, change.token.as_deref(), COMMAND)?;
    let old = given(
        change.old_puk_file.as_deref(),
        &format!("PUK of token {name} as it is: "),
        HINT,
    )?;
    let new = twice(change.new_puk_file.as_deref(), "New PUK", HINT)?;
    let unnamed = change.token.is_none();
    let changed = agent.call(operation::ChangePuk {
        token: change.token,
        old,
        new,
        spend_withheld_try: change.spend_last_try,
    });
    changed.map_err(|error| which(error, &mut agent, unnamed, COMMAND))?;
    Ok(())
}

pub(in crate::commands) fn unblock_pin(unblock: UnblockPin) -> Result<(), Error> {
    const COMMAND: &str = "keyward token unblock-pin";
    const HINT: &str = "keyward token unblock-pin --puk-file FILE --new-pin-file FILE";
    let mut agent = connect()?;
    let name = one(&mut agent, unblock.token.as_deref(), COMMAND)?;
    let puk = given(
        unblock.puk_file.as_deref(),
        &format!("PUK of token {name}: "),
        HINT,
    )?;
    let new = twice(unblock.new_pin_file.as_deref(), "New PIN", HINT)?;
    let unnamed = unblock.token.is_none();
    let unblocked = agent.call(operation::UnblockPin {
        token: unblock.token,
        puk,
        new,
        spend_withheld_try: unblock.spend_last_try,
    });
    unblocked.map_err(|error| which(error, &mut agent, unnamed, COMMAND))?;
    Ok(())
}

pub(in crate::commands) fn new_management_key(token: Option<String>) -> Result<(), Error> {
    let mut agent = connect()?;
    let unnamed = token.is_none();
    let changed = agent.call(operation::NewManagementKey { token });
    let command = "keyward token new-management-key";
    changed.map_err(|error| which(error, &mut agent, unnamed, command))?;
    Ok(())
}

pub(in crate::commands) fn reset(reset: ResetToken) -> Result<(), Error> {
    let name = plain(&reset.token).to_string();
    if !reset.yes && !std::io::stdin().is_terminal() {
        return Err(Error::usage(
            "resetting a card wants a word from a person, and stdin is no terminal",
        )
        .hint(format!("keyward token reset {name} --serial NUMBER --yes")));
    }
    let mut agent = connect()?;
    let serial = match reset.serial {
        // With `--yes` that is a person's word, without it there is a question still.
        Some(serial) if reset.yes => serial,
        given => {
            let tokens = agent.call(Status {})?.tokens;
            let known = tokens.iter().find(|token| token.name == reset.token);
            let identity = known.and_then(|token| token.identity.as_deref());
            let what = format!(
                "This destroys every key and certificate on token {name} ({}), whoever made them, for good.\n",
                plain(identity.unwrap_or("it is not there")),
            );
            let typed = pin::ask_line(&format!(
                "{what}Type the serial number of the card to go on: "
            ))?;
            match given {
                Some(given) if given != typed => {
                    return Err(Error::new(
                        Exit::Negative,
                        "not reset: that is not the number of --serial",
                    ));
                }
                _ => typed,
            }
        }
    };
    if !reset.yes && !pin::agrees("Reset it now? There is no way back. [y/N] ")? {
        return Err(Error::new(Exit::Negative, "not reset: nothing was changed"));
    }
    agent.call(operation::ResetToken {
        token: reset.token,
        serial,
    })?;
    Ok(())
}

/// From a file, or else from a person.
pub(super) fn given(file: Option<&Path>, prompt: &str, hint: &str) -> Result<SecretBytes, Error> {
    match file {
        Some(file) => io::read_secret(file, pin::LONGEST),
        None => pin::ask(&plain(prompt), hint),
    }
}

/// From a file, or else from a person who types it twice.
pub(super) fn twice(file: Option<&Path>, what: &str, hint: &str) -> Result<SecretBytes, Error> {
    if let Some(file) = file {
        return io::read_secret(file, pin::LONGEST);
    }
    let new = pin::ask(&format!("{what}: "), hint)?;
    if new != pin::ask(&format!("{what} once more: "), hint)? {
        return Err(Error::usage(
            "the two are not the same: nothing was changed",
        ));
    }
    Ok(new)
}
