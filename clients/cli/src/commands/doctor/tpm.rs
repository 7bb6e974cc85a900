//! A token of a TPM: the way to it, its storage root key, and the lockout.

use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::{Table, Value};

use super::configuration::Configuration;
use super::{Finding, State};
use crate::commands::device::{Access, User, access};
use crate::commands::init::tpm::STORAGE_ROOT;
use crate::commands::init::worker::{ProbedTpm, Worker};

/// What keywardd takes where nothing is said.
const DEFAULT: &str = "device:/dev/tpmrm0";
/// How long a connection to an swtpm may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// Where the system's message bus is.
const BUS: &str = "/run/dbus/system_bus_socket";

pub(super) fn look(
    about: &str,
    name: &str,
    token: &Table,
    configuration: &Configuration,
    worker: &Worker,
) -> Finding {
    let tcti = token.get("tcti").and_then(Value::as_str).unwrap_or(DEFAULT);
    let user = configuration.owner.map_or(User::Caller, User::System);
    if let Some(found) = way(about, tcti, user) {
        return found;
    }
    match worker.probe_tpm(tcti) {
        Err(why) => {
            let next = match tcti.split(':').next() {
                Some("tabrmd") => {
                    "sudo systemctl start tpm2-abrmd, or use the kernel's: tcti = \"device:/dev/tpmrm0\""
                }
                Some("swtpm") => "it serves one program at a time: is another one connected?",
                _ => "sudo dmesg | grep -i tpm",
            };
            Finding::problem(about, format!("{tcti}: {why}")).next(next)
        }
        Ok(found) => {
            let keys = (configuration.state.as_ref()).map(|state| state.join("tpm").join(name));
            judge(about, name, tcti, &found, keys, configuration)
        }
    }
}

/// What hinders before the TPM is asked.
fn way(about: &str, tcti: &str, user: User) -> Option<Finding> {
    match tcti.split_once(':') {
        Some(("device", path)) => device(about, Path::new(path), user),
        Some(("swtpm", options)) => swtpm(about, options),
        Some(("tabrmd", options)) if !options.contains("session") && !Path::new(BUS).exists() => {
            let found = Finding::problem(about, format!("there is no message bus at {BUS}"));
            Some(found.next("tcti = \"device:/dev/tpmrm0\", which needs none"))
        }
        _ => None,
    }
}

fn device(about: &str, path: &Path, user: User) -> Option<Finding> {
    let found = access(path, user);
    let what = found.what(path)?;
    // Without the resource manager, or another number.
    let others: Vec<String> = ["/dev/tpmrm0", "/dev/tpm0"]
        .into_iter()
        .filter(|other| Path::new(other).exists())
        .map(|other| format!("tcti = \"device:{other}\""))
        .collect();
    let next = match found == Access::Missing && !others.is_empty() {
        true => Some(others.join(" or ")),
        false => found.next(user),
    };
    Some(Finding::problem(about, what).maybe_next(next))
}

/// Whether something listens where an swtpm should, and at the port of its control channel.
fn swtpm(about: &str, options: &str) -> Option<Finding> {
    let option = |name: &str| {
        let mut options = options
            .split(',')
            .filter_map(|option| option.split_once('='));
        options.find_map(|(known, value)| (known == name).then_some(value))
    };
    let host = option("host").map(|host| host.replace("localhost", "127.0.0.1"))?;
    let port: u16 = option("port")?.parse().ok()?;
    let host = host.parse().ok()?;
    // The port of commands serves one program at a time; that of control is asked instead.
    let control = SocketAddr::new(host, port.checked_add(1)?);
    let error = TcpStream::connect_timeout(&control, PATIENCE).err()?;
    let state = "~/.local/state/swtpm";
    let server = |port: u16| format!("type=tcp,port={port},bindaddr={host}");
    let found = Finding::problem(
        about,
        format!("no swtpm has its control channel at {control}: {error}"),
    );
    Some(found.next(format!(
        "mkdir -p {state} && swtpm socket --tpm2 --tpmstate dir={state} --server {} --ctrl {} \
         --flags not-need-init,startup-clear &",
        server(port),
        server(control.port())
    )))
}

fn judge(
    about: &str,
    name: &str,
    tcti: &str,
    found: &ProbedTpm,
    keys: Option<PathBuf>,
    configuration: &Configuration,
) -> Finding {
    let Some(identity) = &found.identity else {
        let has_keys = keys
            .as_ref()
            .and_then(|keys| std::fs::read_dir(keys).ok())
            .is_some_and(|mut keys| keys.next().is_some());
        let what = format!("the TPM has no storage root key at {STORAGE_ROOT}");
        return match has_keys {
            true => Finding::problem(
                about,
                format!("{what}: it was cleared or is another one, and can't load the token's keys"),
            )
            .next("the TPM back in which they were made, or new keys of a new token"),
            false => Finding::problem(about, format!("{what}, and the token no keys yet")).next(
                format!(
                    "remove [token.{name}] from {}, then: keyward init --add --name {name} --tcti {tcti}",
                    configuration.path.display()
                ),
            ),
        };
    };
    if found.lockout {
        return Finding::problem(
            about,
            "the TPM's dictionary attack lockout is in force: it takes no PIN, the right one neither",
        )
        .next("wait (tpm2_getcap properties-variable: LOCKOUT_INTERVAL), or: tpm2_dictionarylockout -c");
    }
    let what = format!(
        "{} {} answers at {tcti}",
        identity.manufacturer, identity.model
    );
    match tcti.strip_prefix("device:/dev/tpm") {
        // The device without the kernel's resource manager.
        Some(number) if number.starts_with(|c: char| c.is_ascii_digit()) => Finding::new(
            State::Note,
            about,
            format!("{what}, which one program at a time can open"),
        )
        .next(format!("tcti = \"device:/dev/tpmrm{number}\"")),
        _ => Finding::fine(about, what),
    }
}
