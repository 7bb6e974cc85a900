//! The way to a TPM, as a TCTI string that the library of the worker can't misread.
//!
//! The library looks for the parts that it knows and leaves out the rest without a word:
//! `swtpm:path=/run/tpm` is localhost:2321 to it. So no string gets there that was not taken apart
//! here, and what gets there is put together anew.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use crate::start::SocketKinds;

/// Where a TPM is taken to be if nothing is said: behind the kernel's resource manager.
pub const DEFAULT: &str = "device:/dev/tpmrm0";
/// The name that tpm2-abrmd takes on the bus unless it is told another.
const TABRMD: &str = "com.intel.tss2.Tabrmd";
/// More is no string that somebody meant.
const MOST: usize = 512;
/// What D-Bus allows.
const MOST_BUS_NAME: usize = 255;

/// The way to a TPM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tcti {
    /// A device of the kernel.
    Device {
        /// Its path, below `/dev`.
        path: String,
    },
    /// The resource manager tpm2-abrmd, over D-Bus.
    Tabrmd {
        /// Its name on the bus.
        bus_name: String,
        /// Which bus.
        bus: Bus,
    },
    /// The emulator swtpm, over TCP. Its control channel is at the next port.
    Swtpm {
        /// Its address. `localhost` is 127.0.0.1: no name is looked up.
        host: IpAddr,
        /// The port of its commands.
        port: u16,
    },
}

/// A message bus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bus {
    /// The system's.
    System,
    /// The user's.
    Session,
}

/// Why a string is no way to a TPM, for the person who wrote it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct TctiError {
    /// What is wrong.
    pub what: String,
    /// What to write instead.
    pub hint: String,
}

impl Tcti {
    /// Takes a string apart. What it does not know it refuses.
    ///
    /// # Errors
    /// What is wrong with it, and what to write instead.
    pub fn parse(text: &str) -> Result<Self, TctiError> {
        if text.len() > MOST {
            return Err(wrong(format!("this is longer than {MOST} bytes"), ANY));
        }
        if let Some(other) = text.chars().find(|c| !c.is_ascii_graphic()) {
            let shown = other.escape_unicode();
            return Err(wrong(
                format!("the character {shown} has no place here"),
                ANY,
            ));
        }
        match text.split_once(':') {
            Some(("device", path)) => device(path),
            Some(("tabrmd", options)) => tabrmd(options),
            Some(("swtpm", options)) => swtpm(options),
            Some(("mssim", _)) => Err(wrong(
                "the simulator that `mssim` is for has no place here",
                "for tests there is swtpm: \"swtpm:host=127.0.0.1,port=2321\"",
            )),
            None if ["device", "tabrmd", "swtpm"].contains(&text) => Err(wrong(
                format!("`{text}` says what drives the TPM, and not where it is"),
                match text {
                    "device" => DEVICE_HINT,
                    "tabrmd" => "\"tabrmd:\"",
                    _ => SWTPM_HINT,
                },
            )),
            None if text.starts_with('/') => Err(wrong(
                "this is a path, and not the way to a TPM",
                format!("\"device:{text}\""),
            )),
            Some((name, _)) => Err(wrong(format!("`{name}` drives no TPM here"), ANY)),
            None => Err(wrong(format!("`{text}` is not the way to a TPM"), ANY)),
        }
    }

    /// The device that the worker must be able to open.
    #[must_use]
    pub fn device(&self) -> Option<&str> {
        match self {
            Self::Device { path } => Some(path),
            Self::Tabrmd { .. } | Self::Swtpm { .. } => None,
        }
    }

    /// The sockets that this way takes.
    #[must_use]
    pub fn sockets(&self) -> SocketKinds {
        match self {
            Self::Device { .. } => SocketKinds::None,
            Self::Tabrmd { .. } => SocketKinds::Unix,
            Self::Swtpm { .. } => SocketKinds::Inet,
        }
    }
}

/// The string for the library, with everything said.
impl fmt::Display for Tcti {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Device { path } => write!(f, "device:{path}"),
            Self::Tabrmd { bus_name, bus } => {
                let bus = match bus {
                    Bus::System => "system",
                    Bus::Session => "session",
                };
                write!(f, "tabrmd:bus_name={bus_name},bus_type={bus}")
            }
            Self::Swtpm { host, port } => write!(f, "swtpm:host={host},port={port}"),
        }
    }
}

const ANY: &str = "\"device:/dev/tpmrm0\", \"tabrmd:\" or \"swtpm:host=127.0.0.1,port=2321\"";
const DEVICE_HINT: &str = "\"device:/dev/tpmrm0\"; ls /dev/tpm* shows what there is";
const TABRMD_HINT: &str = "\"tabrmd:\" or \"tabrmd:bus_name=NAME,bus_type=session\"";
const SWTPM_HINT: &str = "\"swtpm:host=127.0.0.1,port=2321\"";

fn device(path: &str) -> Result<Tcti, TctiError> {
    let Some(name) = path.strip_prefix("/dev/") else {
        return Err(wrong("a device's path begins with /dev/", DEVICE_HINT));
    };
    if name.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return Err(wrong(
            "the path has an empty part, a `.` or a `..`",
            DEVICE_HINT,
        ));
    }
    Ok(Tcti::Device {
        path: path.to_owned(),
    })
}

fn tabrmd(options: &str) -> Result<Tcti, TctiError> {
    let [name, bus] = values(options, ["bus_name", "bus_type"], TABRMD_HINT)?;
    let bus_name = name.unwrap_or(TABRMD);
    let element = |part: &str| {
        !part.is_empty()
            && part
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-')
            && !part.starts_with(|c: char| c.is_ascii_digit())
    };
    if bus_name.len() > MOST_BUS_NAME
        || !bus_name.contains('.')
        || !bus_name.split('.').all(element)
    {
        let what = format!("`{bus_name}` is no name on a bus");
        return Err(wrong(what, "such as com.intel.tss2.Tabrmd, the default"));
    }
    let bus = match bus {
        None | Some("system") => Bus::System,
        Some("session") => Bus::Session,
        Some(other) => {
            let what = format!("`{other}` is no bus");
            return Err(wrong(
                what,
                "bus_type=system (the default) or bus_type=session",
            ));
        }
    };
    Ok(Tcti::Tabrmd {
        bus_name: bus_name.to_owned(),
        bus,
    })
}

fn swtpm(options: &str) -> Result<Tcti, TctiError> {
    let [host, port] = values(options, ["host", "port"], SWTPM_HINT)?;
    let (Some(host), Some(port)) = (host, port) else {
        let what = "an swtpm is at a host and a port, and both must be said";
        return Err(wrong(what, SWTPM_HINT));
    };
    let host = match host {
        "localhost" => IpAddr::V4(Ipv4Addr::LOCALHOST),
        other => other.parse().map_err(|_| {
            let what = format!("`{other}` is neither localhost nor an address");
            wrong(what, "names are not looked up: write the address")
        })?,
    };
    // Without a sign or zeros in front, which `parse` would take. The next port is the control
    // channel's.
    let digits = !port.starts_with('0') && port.bytes().all(|byte| byte.is_ascii_digit());
    let number = port.parse().ok().filter(|port| digits && *port < u16::MAX);
    let port = number.ok_or_else(|| {
        let what = format!("`{port}` is no port for an swtpm");
        let hint = "1 to 65534; the control channel must be at the next one";
        wrong(what, hint)
    })?;
    Ok(Tcti::Swtpm { host, port })
}

/// The values of options, each known and there once at the most.
fn values<'a>(
    options: &'a str,
    names: [&str; 2],
    hint: &str,
) -> Result<[Option<&'a str>; 2], TctiError> {
    let mut values = [None; 2];
    if options.is_empty() {
        return Ok(values);
    }
    for option in options.split(',') {
        let Some((name, value)) = option.split_once('=') else {
            return Err(wrong(format!("`{option}` is not NAME=VALUE"), hint));
        };
        let known = names
            .iter()
            .zip(&mut values)
            .find(|(known, _)| **known == name);
        match known {
            None => return Err(wrong(format!("`{name}` is not known here"), hint)),
            Some((_, Some(_))) => return Err(wrong(format!("`{name}` is there twice"), hint)),
            Some((_, place)) => *place = Some(value),
        }
    }
    Ok(values)
}

fn wrong(what: impl Into<String>, hint: impl Into<String>) -> TctiError {
    TctiError {
        what: what.into(),
        hint: hint.into(),
    }
}

#[cfg(test)]
mod tests;
