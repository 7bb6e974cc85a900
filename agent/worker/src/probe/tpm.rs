//! A TPM, and a token that is made of it.

use std::path::Path;

use keyward_backend::tcti::Tcti;
use keyward_sys::sandbox::Sockets;
use serde_json::{Value, json};

use super::options::Options;
use super::{Failure, answer, line, seal_for};
use crate::tpm::init;

/// The TPM behind a TCTI string.
pub(super) fn look(tcti: &str, options: &[&str]) -> Result<(), Failure> {
    let (tcti, options) = parse(tcti, options)?;
    let out = seal_for(&options, None)?;
    let found = init::look(&tcti).map_err(|error| error.to_string())?;
    answer(
        out,
        &json!({ "tpm": {
            "identity": found.identity.map(|identity| identity_of(&identity)),
            "lockout": found.lockout,
        } }),
    )
}

/// A token in a folder, with the PIN of one line of stdin, or without one if it is empty.
pub(super) fn make(tcti: &str, keys: &str, options: &[&str]) -> Result<(), Failure> {
    let (tcti, mut options) = parse(tcti, options)?;
    let keys = Path::new(keys);
    if !keys.is_absolute() {
        return Err("the folder must be named by its whole path".to_owned());
    }
    options.write(keys);
    let out = seal_for(&options, None)?;
    let pin = line()?;
    let pin = Some(&pin).filter(|pin| !pin.is_empty());
    let made = init::init(&tcti, keys, pin).map_err(|error| error.to_string())?;
    answer(out, &json!({ "tpm": { "identity": identity_of(&made) } }))
}

fn parse(tcti: &str, options: &[&str]) -> Result<(Tcti, Options), Failure> {
    let tcti = Tcti::parse(tcti).map_err(|error| format!("{}; {}", error.what, error.hint))?;
    let mut options = Options::parse(options)?;
    if let Some(device) = tcti.device() {
        options.write(Path::new(device));
    }
    options.allow(match tcti.sockets() {
        keyward_backend::start::SocketKinds::None => Sockets::None,
        keyward_backend::start::SocketKinds::Unix => Sockets::Unix,
        keyward_backend::start::SocketKinds::Inet => Sockets::UnixAndInet,
    });
    Ok((tcti, options))
}

fn identity_of(identity: &keyward_backend::TokenIdentity) -> Value {
    json!({
        "manufacturer": identity.manufacturer,
        "model": identity.model,
        "serial": identity.serial,
    })
}
