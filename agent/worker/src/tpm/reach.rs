//! The way to the TPM, and what hinders on it.

use std::io;
use std::str::FromStr;

use keyward_backend::tcti::Tcti;
use keyward_backend::{BackendError, Result};
use rustix::fs::{Mode, OFlags};
use tss_esapi::constants::tss::{
    TPM2_HMAC_SESSION_FIRST, TPM2_POLICY_SESSION_FIRST, TPM2_TRANSIENT_FIRST,
};
use tss_esapi::constants::{CapabilityType, StartupType};
use tss_esapi::structures::CapabilityData;
use tss_esapi::{Context, Error, TctiNameConf};

use super::error::{Next, describe, next};

/// How many of a kind are looked for; swtpm has room for a few.
const MOST_HANDLES: u32 = 64;

/// Connects to a TPM that answers. Whether it is this process that starts it: the kernel starts a
/// real one, and nobody one of swtpm.
///
/// # Errors
/// [`BackendError::TokenAbsent`] with what hinders.
pub(super) fn context(tcti: &Tcti) -> Result<(Context, bool)> {
    is_there(tcti)?;
    let text = tcti.to_string();
    let absent = |why: String| BackendError::TokenAbsent(format!("{text}: {why}"));
    let name = TctiNameConf::from_str(&text).map_err(|error| absent(describe(error)))?;
    let mut context = Context::new(name).map_err(|error| match tcti {
        Tcti::Swtpm { .. } => absent(format!(
            "nothing answers there; is swtpm running? ({})",
            describe(error)
        )),
        Tcti::Tabrmd { .. } => absent(format!(
            "tpm2-abrmd does not answer; is it running? ({})",
            describe(error)
        )),
        Tcti::Device { .. } => absent(describe(error)),
    })?;
    let starts = matches!(tcti, Tcti::Swtpm { .. });
    match ask(&mut context) {
        Err(error) if next(error) == Next::Startup && starts => {
            context.startup(StartupType::Clear).map_err(silent)?;
        }
        asked => asked.map_err(silent)?,
    }
    if starts {
        clear(&mut context).map_err(silent)?;
    }
    Ok((context, starts))
}

/// Takes out of a TPM of swtpm what a process has left that was killed. swtpm has one client at a
/// time, and no resource manager that would do it.
fn clear(context: &mut Context) -> std::result::Result<(), Error> {
    for first in [
        TPM2_TRANSIENT_FIRST,
        TPM2_HMAC_SESSION_FIRST,
        TPM2_POLICY_SESSION_FIRST,
    ] {
        let (data, _) = context.get_capability(CapabilityType::Handles, first, MOST_HANDLES)?;
        let CapabilityData::Handles(handles) = data else {
            continue;
        };
        for handle in handles.into_inner() {
            // What can't be had can't be put away either, and is in nobody's way but its own.
            if let Ok(object) = context.tr_from_tpm_public(handle) {
                let _ = context.flush_context(object);
            }
        }
    }
    Ok(())
}

/// A TPM that can be reached and does not do what every TPM does.
pub(super) fn silent(error: Error) -> BackendError {
    match next(error) {
        Next::Connect => BackendError::TokenAbsent(format!(
            "the TPM went while it was asked what it is: {}",
            describe(error)
        )),
        Next::Again => {
            BackendError::Busy(format!("the TPM is busy with itself: {}", describe(error)))
        }
        _ => BackendError::DeviceFailed(format!(
            "the TPM does not say what it is: {}",
            describe(error)
        )),
    }
}

fn ask(context: &mut Context) -> std::result::Result<(), Error> {
    context.get_random(1).map(drop)?;
    context
        .get_capability(CapabilityType::TpmProperties, 0x100, 1)
        .map(drop)
}

/// Opens the device once by itself: the library's own answer does not say why it could not.
///
/// # Errors
/// [`BackendError::TokenAbsent`] with what hinders.
pub(crate) fn is_there(tcti: &Tcti) -> Result<()> {
    let Some(path) = tcti.device() else {
        return Ok(());
    };
    let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let Err(errno) = rustix::fs::open(path, flags, Mode::empty()) else {
        return Ok(());
    };
    let hint = match errno {
        rustix::io::Errno::NOENT => {
            "there is no TPM, it is switched off in the firmware's settings, or its driver is not loaded"
        }
        rustix::io::Errno::ACCESS | rustix::io::Errno::PERM => {
            "keywardd's user may not open it: it has to be in group tss (`ls -l` shows the group)"
        }
        rustix::io::Errno::BUSY => {
            "another program holds it; /dev/tpmrm0 can be shared, /dev/tpm0 can't"
        }
        _ => "the kernel's log may say more (`dmesg`)",
    };
    Err(BackendError::TokenAbsent(format!(
        "{}: {}; {hint}",
        path,
        io::Error::from(errno)
    )))
}
