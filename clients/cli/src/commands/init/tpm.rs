//! A TPM: finding it, and what is said of it.

use std::path::Path;

use super::config::EMULATED;
use super::places::{Mode, Places};
use super::worker::{ProbedTpm, Worker};
use crate::arguments::Init;
use crate::commands::device::{self, User};
use crate::error::Error;
use crate::exit::Exit;

/// Where the kernel's resource manager is.
const DEVICE: &str = "/dev/tpmrm0";
/// The way there.
const DEFAULT: &str = "device:/dev/tpmrm0";
/// Where the storage root key is.
pub(in crate::commands) const STORAGE_ROOT: &str = "0x81000001";

/// What protects the keys.
const HARDWARE: &str = "\
Hardware: the keys are made in this TPM, which alone can load their files: copied elsewhere they are
of no use.
";

const WITH_PIN: &str = "  PIN        keys work after `keyward unlock` only; it holds against whoever reads the folder, too.
             Wrong PINs count at the TPM's dictionary attack lockout, which all users of the TPM share.
             Whoever forgets it loses the keys
";

const WITHOUT_PIN: &str = "  no PIN     whoever has the agent's uid on this machine can use the keys, also without the agent
";

const LOCKOUT: &str = "  now        the TPM's dictionary attack lockout is in force: no PIN opens the keys until it ends
";

/// A TPM that answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tpm {
    /// The way to it.
    pub(super) tcti: String,
    pub(super) found: ProbedTpm,
}

/// Whether a TPM may be looked for: nothing else was named.
pub(super) fn is_wanted(init: &Init) -> bool {
    let others = init.module.is_some() || init.token_uri.is_some() || init.serial.is_some();
    init.tcti.is_some() || !others
}

/// The TPM that was named, or the machine's, if it can be used.
pub(super) fn find(
    init: &Init,
    places: &Places,
    worker: &Worker,
    problems: &mut Vec<String>,
) -> Result<Option<Tpm>, Error> {
    let (tcti, named) = match &init.tcti {
        Some(tcti) => (tcti.as_str(), true),
        None if Path::new(DEVICE).exists() => (DEFAULT, false),
        None => return Ok(None),
    };
    let (why, hint) = match hindrance(tcti, places) {
        Some(hindrance) => hindrance,
        None => match worker.probe_tpm(tcti) {
            Ok(found) => {
                let tcti = tcti.to_owned();
                return Ok(Some(Tpm { tcti, found }));
            }
            Err(why) => (why, None),
        },
    };
    if named {
        let usual =
            || "such as --tcti device:/dev/tpmrm0; keyward.toml(5) has the others".to_owned();
        let what = format!("{tcti} is no TPM that can be used");
        let error = Error::new(Exit::Token, what).cause(why);
        return Err(error.hint(hint.unwrap_or_else(usual)));
    }
    let hint = hint.map(|hint| format!(" ({hint})")).unwrap_or_default();
    problems.push(format!("the TPM: {why}{hint}; left out"));
    Ok(None)
}

/// What keeps the agent's user from the device, and what to type.
fn hindrance(tcti: &str, places: &Places) -> Option<(String, Option<String>)> {
    let path = Path::new(tcti.strip_prefix("device:")?);
    // Others are refused by the worker, which knows what may be written there.
    path.starts_with("/dev").then_some(())?;
    let user = match places.mode {
        Mode::System => User::System(places.owner?),
        Mode::User => User::Caller,
    };
    let access = device::access(path, user);
    Some((access.what(path)?, access.next(user)))
}

impl Tpm {
    /// It for people.
    pub(super) fn describe(&self) -> String {
        match &self.found.identity {
            Some(identity) => {
                let maker = [&*identity.manufacturer, &*identity.model];
                let maker: Vec<&str> = maker.into_iter().filter(|part| !part.is_empty()).collect();
                format!("the TPM at {} ({})", self.tcti, maker.join(", "))
            }
            None => format!("the TPM at {}", self.tcti),
        }
    }

    /// Whether it is the emulator's.
    pub(super) fn is_software(&self) -> bool {
        self.tcti.starts_with("swtpm:")
    }

    /// What protects the keys.
    pub(super) fn protection(&self, has_pin: bool) -> String {
        let kind = match self.is_software() {
            true => format!("This is {EMULATED}.\n"),
            false => HARDWARE.to_owned(),
        };
        let pin = match has_pin {
            true => WITH_PIN,
            false => WITHOUT_PIN,
        };
        let lockout = match self.found.lockout {
            true => LOCKOUT,
            false => "",
        };
        format!("{kind}{pin}{lockout}")
    }
}
