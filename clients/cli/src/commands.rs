//! The commands, one module for each group.

mod attest;
mod backup;
mod blob;
mod completions;
mod decrypt;
mod device;
mod doctor;
mod ecdh;
mod encrypt;
mod hpke;
mod init;
mod key;
mod mac;
mod man;
mod pcscd;
mod random;
mod seal;
mod sign;
mod status;
mod token;
mod unwrap;
mod verify;
mod watch;
mod wrap;

use crate::arguments::{Command, TokenCommand};
use crate::error::Error;

/// Does what the command line says.
pub(crate) fn run(command: Command) -> Result<(), Error> {
    match command {
        Command::Init(init) => init::init(init),
        Command::Doctor(arguments) => doctor::doctor(&arguments),
        Command::Status(json) => status::status(&json),
        Command::Token(TokenCommand::List(json)) => token::list(&json),
        Command::Token(TokenCommand::Unlock(unlock)) | Command::Unlock(unlock) => {
            token::unlock(unlock)
        }
        Command::Token(TokenCommand::Lock(lock)) | Command::Lock(lock) => token::lock(lock),
        Command::Token(TokenCommand::Accept { token }) => token::accept(token),
        Command::Token(TokenCommand::ChangePin(change)) => token::change_pin(change),
        Command::Token(TokenCommand::ChangePuk(change)) => token::change_puk(change),
        Command::Token(TokenCommand::UnblockPin(unblock)) => token::unblock_pin(unblock),
        Command::Token(TokenCommand::NewManagementKey { token }) => {
            token::new_management_key(token)
        }
        Command::Token(TokenCommand::Reset(reset)) => token::reset(reset),
        Command::Token(TokenCommand::Rescan(rescan)) => token::rescan(rescan),
        Command::Token(TokenCommand::AttestationKey(wanted)) => token::attestation_key(&wanted),
        Command::Token(TokenCommand::Activate(activate)) => token::activate(activate),
        Command::Attest(command) => attest::run(command),
        Command::AcceptRegistry(accept) => token::accept_registry(&accept),
        Command::Key(command) => key::run(command),
        Command::Blob(command) => blob::run(command),
        Command::Wrap(wrap) => wrap::wrap(wrap),
        Command::Seal(seal) => seal::seal(seal),
        Command::Unseal(unseal) => seal::unseal(unseal),
        Command::Mac(mac) => mac::mac(mac),
        Command::VerifyMac(verify) => mac::verify(verify),
        Command::Hpke(command) => hpke::run(command),
        Command::Watch(watch) => watch::watch(&watch),
        Command::Backup(backup) => backup::backup(&backup),
        Command::Restore(restore) => backup::restore(&restore),
        Command::Sign(sign) => sign::sign(sign),
        Command::Verify(verify) => verify::verify(verify),
        Command::Unwrap(unwrap) => unwrap::unwrap(unwrap),
        Command::Ecdh(ecdh) => ecdh::ecdh(ecdh),
        Command::Encrypt(encrypt) => encrypt::encrypt(encrypt),
        Command::Decrypt(decrypt) => decrypt::decrypt(decrypt),
        Command::Random(random) => random::random(random),
        Command::Completions { shell } => completions::print_script(shell),
        Command::Man { dir } => man::write(&dir),
    }
}
