//! pcscd, behind which smart cards are: whether it is there, whom it serves, and who has a card.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::device::{User, caller};
use super::init::places::USER;

/// What names another socket than the usual one.
pub(super) const VARIABLE: &str = "PCSCLITE_CSOCK_NAME";
/// Where it listens.
const SOCKET: &str = "/run/pcscd/pcscd.comm";
/// Where the program is.
const PROGRAMS: [&str; 3] = ["/usr/sbin/pcscd", "/usr/bin/pcscd", "/usr/local/sbin/pcscd"];
/// Where the kernel says what is plugged in.
const USB: &str = "/sys/bus/usb/devices";
/// Yubico's number there.
const YUBICO: &str = "1050";

/// What hinders, and what to type.
pub(super) type Hindrance = (String, String);

/// The variables of this process that a worker needs to find pcscd, as they are written into the
/// configuration.
pub(super) fn environment() -> BTreeMap<String, String> {
    let named = std::env::var(VARIABLE).ok();
    let named = named.filter(|path| path.starts_with('/') && !path.chars().any(char::is_control));
    named
        .map(|path| (VARIABLE.to_owned(), path))
        .into_iter()
        .collect()
}

/// The socket that a worker with these variables connects to.
fn socket(environment: &BTreeMap<String, String>) -> PathBuf {
    let named = environment.get(VARIABLE).map(String::as_str);
    named.unwrap_or(SOCKET).into()
}

/// Why pcscd can't be reached at all; nothing where its socket is there.
pub(super) fn missing(environment: &BTreeMap<String, String>) -> Option<Hindrance> {
    let socket = socket(environment);
    if socket.exists() {
        return None;
    }
    let shown = socket.display();
    let installed = PROGRAMS.iter().any(|path| Path::new(path).exists());
    Some(match (installed, environment.contains_key(VARIABLE)) {
        (_, true) => (
            format!("there is no socket of pcscd at {shown}, which {VARIABLE} names"),
            format!("start the pcscd that is meant, or leave {VARIABLE} out"),
        ),
        (true, false) => (
            format!("pcscd, behind which smart cards are, does not listen at {shown}"),
            "sudo systemctl enable --now pcscd.socket".to_owned(),
        ),
        (false, false) => (
            "pcscd, behind which smart cards are, is not installed".to_owned(),
            "sudo apt install pcscd".to_owned(),
        ),
    })
}

/// pcscd does not answer, though its socket is there.
pub(super) fn silent(detail: &str) -> Hindrance {
    (
        format!("pcscd does not answer ({detail})"),
        "sudo systemctl restart pcscd.socket pcscd.service".to_owned(),
    )
}

/// pcscd serves others, and not this user: polkit decides that.
pub(super) fn refused(user: User) -> Hindrance {
    match user {
        User::System(_) => (
            format!("polkit does not let the user {USER} use smart cards (pcscd asks it)"),
            "make install, which installs polkit's rule for it; then: sudo systemctl restart polkit"
                .to_owned(),
        ),
        User::Caller => {
            let name = caller();
            let rule = format!(
                "polkit.addRule(function(action, subject) {{ if (action.id.indexOf(\"org.debian.pcsc-lite.\") == 0 \
                 && subject.user == \"{name}\") return polkit.Result.YES; }});"
            );
            (
                "polkit does not let you use smart cards (pcscd asks it): it lets in who sits at the machine"
                    .to_owned(),
                format!("echo '{rule}' | sudo tee /etc/polkit-1/rules.d/50-keyward-{name}.rules"),
            )
        }
    }
}

/// A card that another program has for itself.
pub(super) fn held(reader: &str) -> Hindrance {
    let holder = scdaemon();
    let what = match &holder {
        Some(process) => format!("scdaemon of GnuPG (process {process})"),
        None => "another program, such as scdaemon of GnuPG,".to_owned(),
    };
    (
        format!("{what} has the card in {reader} for itself"),
        "echo pcsc-shared >> ~/.gnupg/scdaemon.conf && gpgconf --kill scdaemon".to_owned(),
    )
}

/// GnuPG's program for cards, if this process may see it.
fn scdaemon() -> Option<u32> {
    std::fs::read_dir("/proc")
        .ok()?
        .flatten()
        .find_map(|entry| {
            let process: u32 = entry.file_name().to_str()?.parse().ok()?;
            let name = std::fs::read_to_string(entry.path().join("comm")).ok()?;
            (name.trim_end() == "scdaemon").then_some(process)
        })
}

/// Whether a YubiKey is plugged in, whatever pcscd makes of it.
pub(super) fn is_yubikey_plugged_in() -> bool {
    let devices = std::fs::read_dir(USB).into_iter().flatten().flatten();
    devices.into_iter().any(|device| {
        let vendor = std::fs::read_to_string(device.path().join("idVendor"));
        vendor.is_ok_and(|vendor| vendor.trim_end() == YUBICO)
    })
}

#[cfg(test)]
mod tests {
    use super::super::init::places::Owner;
    use super::*;

    #[test]
    fn a_socket_that_is_not_there_is_named() {
        let named = |path: &str| [(VARIABLE.to_owned(), path.to_owned())].into();
        let (what, next) = missing(&named("/nowhere/pcscd")).unwrap_or_default();
        assert!(what.contains("/nowhere/pcscd") && next.contains(VARIABLE));
        assert_eq!(missing(&named("/proc/self")), None);
    }

    #[test]
    fn each_user_has_a_rule_of_its_own() {
        let system = refused(User::System(Owner { uid: 1, gid: 1 }));
        assert!(system.0.contains("user keyward"), "{system:?}");
        let own = refused(User::Caller);
        assert!(own.1.contains("subject.user == \""), "{own:?}");
    }
}
