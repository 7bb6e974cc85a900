//! The commands, one module for each group.

mod completions;
mod ecdh;
mod init;
mod key;
mod man;
mod random;
mod sign;
mod status;
mod token;
mod unwrap;
mod verify;

use keyward_client::{Client, Endpoint};

use crate::arguments::{Command, TokenCommand};
use crate::error::Error;

/// Does what the command line says.
pub(crate) fn run(command: Command) -> Result<(), Error> {
    match command {
        Command::Init(init) => init::init(init),
        Command::Status(json) => status::status(&json),
        Command::Token(TokenCommand::List(json)) => token::list(&json),
        Command::Token(TokenCommand::Unlock(unlock)) | Command::Unlock(unlock) => {
            token::unlock(unlock)
        }
        Command::Token(TokenCommand::Lock(lock)) | Command::Lock(lock) => token::lock(lock),
        Command::Token(TokenCommand::Accept { token }) => token::accept(token),
        Command::Key(command) => key::run(command),
        Command::Sign(sign) => sign::sign(sign),
        Command::Verify(verify) => verify::verify(verify),
        Command::Unwrap(unwrap) => unwrap::unwrap(unwrap),
        Command::Ecdh(ecdh) => ecdh::ecdh(ecdh),
        Command::Random(random) => random::random(random),
        Command::Completions { shell } => completions::print_script(shell),
        Command::Man { dir } => man::write(&dir),
    }
}

/// A connection under this program's name.
pub(crate) fn connect() -> Result<Client, Error> {
    let software = concat!("keyward/", env!("CARGO_PKG_VERSION"));
    Ok(Client::connect_as(Endpoint::from_environment()?, software)?)
}
