//! Looking at a module without an agent, for `keyward init`: which tokens it has, and a new token
//! in SoftHSM.
//!
//! The process is sealed as a worker is before the module is loaded. The result is one JSON document on
//! stdout, which the module does not get: what it prints goes to stderr.

mod options;
mod piv;
mod softhsm;
mod tpm;

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::slot::Slot;
use keyward_protocol::SecretBytes;
use keyward_sys::process::{die_with_parent, exit_immediately, harden};
use keyward_sys::sandbox;
use serde_json::{Value, json};

use crate::pkcs11::describe;
use options::Options;

/// Prints what a module and its tokens say of themselves.
#[must_use]
pub fn probe(module: &str, options: &[&str]) -> ExitCode {
    end(prepare(module, options).and_then(|(module, out)| {
        let found = look(&module)?;
        answer(out, &found)?;
        Ok(Some(module))
    }))
}

/// Makes a token in SoftHSM's folder, with the PINs from stdin.
#[must_use]
pub fn init_token(module: &str, label: &str, options: &[&str]) -> ExitCode {
    end(prepare(module, options).and_then(|(module, out)| {
        let pins = softhsm::Pins::read()?;
        let made = softhsm::make(&module, label, &pins)?;
        answer(out, &made)?;
        Ok(Some(module))
    }))
}

/// Seals itself as a worker does: says whether this kernel can.
#[must_use]
pub fn probe_sandbox(options: &[&str]) -> ExitCode {
    let sealed = Options::parse(options).and_then(|options| seal_for(&options, None));
    end(sealed
        .and_then(|out| answer(out, &json!({ "sealed": true })))
        .map(|()| None))
}

/// Prints what a TPM says of itself.
#[must_use]
pub fn probe_tpm(tcti: &str, options: &[&str]) -> ExitCode {
    end(tpm::look(tcti, options).map(|()| None))
}

/// Makes a token of a TPM: its storage root key, and a folder for the keys.
#[must_use]
pub fn init_tpm(tcti: &str, keys: &str, options: &[&str]) -> ExitCode {
    end(tpm::make(tcti, keys, options).map(|()| None))
}

/// Prints which readers pcscd has, and which cards are in them; with a serial number that card alone.
#[must_use]
pub fn probe_piv(arguments: &[&str]) -> ExitCode {
    end(piv::look(arguments).map(|()| None))
}

/// Replaces what a PIV card has from the factory, with the secrets from stdin.
#[must_use]
pub fn init_piv(serial: &str, options: &[&str]) -> ExitCode {
    end(piv::make(serial, options).map(|()| None))
}

/// The longest line that is read.
const LONGEST: usize = 255;

/// Why there is no result, for people.
type Failure = String;

/// Hardens and seals the process, then loads the module; stdout is for the result alone.
fn prepare(module: &str, options: &[&str]) -> Result<(Pkcs11, File), Failure> {
    let module = Path::new(module);
    if !module.is_absolute() {
        return Err("the module must be named by its whole path".to_owned());
    }
    let options = Options::parse(options)?;
    let out = seal_for(&options, Some(module))?;
    let pkcs11 =
        Pkcs11::new(module).map_err(|error| format!("it can't be loaded: {}", describe(&error)))?;
    pkcs11
        .initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK))
        .map_err(|error| format!("it can't be initialised: {}", describe(&error)))?;
    Ok((pkcs11, out))
}

/// Hardens and seals the process; stdout is put aside for the result.
fn seal_for(options: &Options, module: Option<&Path>) -> Result<File, Failure> {
    let io = |error: io::Error| error.to_string();
    harden().map_err(io)?;
    die_with_parent(None).map_err(io)?;
    let out = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdout(), 3)
        .and_then(|out| rustix::stdio::dup2_stdout(rustix::stdio::stderr()).map(|()| out))
        .map_err(|error| format!("stdout can't be put aside: {error}"))?;
    sandbox::seal(&options.sandbox(module), options.requirement()).map_err(|e| e.to_string())?;
    Ok(File::from(out))
}

/// One line of stdin, a byte at a time, so that no buffer has it that is not wiped.
fn line() -> Result<SecretBytes, Failure> {
    let mut bytes = SecretBytes::zeroed(LONGEST);
    let mut length = 0;
    loop {
        let mut byte = zeroize::Zeroizing::new([0; 1]);
        match rustix::io::read(rustix::stdio::stdin(), byte.as_mut()) {
            Ok(0) => break,
            Ok(_) if byte.contains(&b'\n') => break,
            Ok(_) => {
                let place = bytes.expose_mut().get_mut(length..).unwrap_or_default();
                let place = place.first_mut().ok_or("a PIN is too long")?;
                *place = byte.iter().copied().next().unwrap_or_default();
                length = length.saturating_add(1);
            }
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(format!("the PINs can't be read: {error}")),
        }
    }
    bytes.truncate(length);
    Ok(bytes)
}

fn look(module: &Pkcs11) -> Result<Value, Failure> {
    let failed = |error: cryptoki::error::Error| describe(&error);
    let library = module.get_library_info().map_err(failed)?;
    let slots = module.get_slots_with_token().map_err(failed)?;
    let tokens: Vec<Value> = slots
        .into_iter()
        .map(|slot| token(module, slot).unwrap_or_else(|why| json!({ "problem": why })))
        .collect();
    let version = library.library_version();
    Ok(json!({
        "library": {
            "manufacturer": plain(library.manufacturer_id()),
            "description": plain(library.library_description()),
            "version": format!("{}.{}", version.major(), version.minor()),
        },
        "tokens": tokens,
    }))
}

/// What a slot and its token say of themselves.
fn token(module: &Pkcs11, slot: Slot) -> Result<Value, Failure> {
    let failed = |error: cryptoki::error::Error| format!("slot {slot}: {}", describe(&error));
    let slot_info = module.get_slot_info(slot).map_err(failed)?;
    let info = module.get_token_info(slot).map_err(failed)?;
    Ok(json!({
        "slot": slot.id(),
        "label": plain(info.label()),
        "manufacturer": plain(info.manufacturer_id()),
        "model": plain(info.model()),
        "serial": plain(info.serial_number()),
        "initialised": info.token_initialized(),
        "hardware": slot_info.hardware_slot(),
        "removable": slot_info.removable_device(),
        "login_required": info.login_required(),
        "pin_initialised": info.user_pin_initialized(),
        "pin_locked": info.user_pin_locked(),
        "write_protected": info.write_protected(),
    }))
}

/// A field without its padding.
fn plain(text: &str) -> &str {
    text.trim_end_matches([' ', '\0'])
}

fn answer(mut out: File, result: &Value) -> Result<(), Failure> {
    let mut text = result.to_string();
    text.push('\n');
    out.write_all(text.as_bytes())
        .map_err(|error| format!("the result can't be written: {error}"))
}

/// Ends without destructors and `atexit`, in which modules crash.
fn end(done: Result<Option<Pkcs11>, Failure>) -> ExitCode {
    match done {
        Ok(module) => {
            // The result is out; a module that does not end well is no news.
            let _ = module.map(Pkcs11::finalize);
            exit_immediately(0)
        }
        Err(why) => {
            eprintln!("keyward-worker: error: {why}");
            exit_immediately(1)
        }
    }
}
