//! Whether a user can open a TPM's device, and what gives it to them.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::{Access as Wanted, AtFlags, CWD, accessat};

use super::init::places::{Owner, USER};

/// As whom the agent's worker opens the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum User {
    /// Whoever runs this.
    Caller,
    /// The user of the system's agent.
    System(Owner),
}

/// What there is between a user and a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// Nothing.
    Open,
    /// There is no such file.
    Missing,
    /// The device is this group's, in which the user is not.
    NotMember(String),
    /// The user is in the group, and was not yet when this session began.
    Since(String),
    /// No group that a person would be put into may open it.
    Closed,
}

/// Finds out.
pub(super) fn access(path: &Path, user: User) -> Access {
    let Ok(found) = std::fs::metadata(path) else {
        return Access::Missing;
    };
    let groups = std::fs::read_to_string("/etc/group").unwrap_or_default();
    let (open, listed) = match user {
        User::Caller => {
            let wanted = Wanted::READ_OK | Wanted::WRITE_OK;
            let open = accessat(CWD, path, wanted, AtFlags::EACCESS).is_ok();
            (open, lists(&groups, &caller(), found.gid()))
        }
        User::System(owner) => {
            let listed = owner.gid == found.gid() || lists(&groups, USER, found.gid());
            let may = |bits: u32| found.mode() & bits == bits;
            let open = match (found.uid() == owner.uid, listed) {
                (true, _) => may(0o600),
                (false, true) => may(0o060),
                (false, false) => may(0o006),
            };
            (open, listed)
        }
    };
    let group = group_name(&groups, found.gid());
    match (open, group) {
        (true, _) => Access::Open,
        (false, Some(group)) if found.gid() != 0 && found.mode() & 0o060 == 0o060 => match listed {
            true => Access::Since(group),
            false => Access::NotMember(group),
        },
        _ => Access::Closed,
    }
}

impl Access {
    /// What it is, for people.
    pub(super) fn what(&self, path: &Path) -> Option<String> {
        let shown = path.display();
        Some(match self {
            Self::Open => return None,
            Self::Missing => format!(
                "{shown} is not there: the machine has no TPM, it is switched off in the firmware's \
                 settings, or its driver is not loaded"
            ),
            Self::NotMember(group) => {
                format!("{shown} is for the group {group}, in which the agent's user is not")
            }
            Self::Since(group) => format!(
                "{shown} is for the group {group}, in which the agent's user is, but was not when \
                 this session began"
            ),
            Self::Closed => {
                format!("{shown} is open to no group that the agent's user could be in")
            }
        })
    }

    /// What to type.
    pub(super) fn next(&self, user: User) -> Option<String> {
        let is_system = matches!(user, User::System(_));
        Some(match self {
            Self::Open => return None,
            Self::Missing => "ls -l /dev/tpm*; sudo dmesg | grep -i tpm".to_owned(),
            Self::NotMember(group) if is_system => {
                format!("sudo usermod -aG {group} {USER} && sudo systemctl restart keyward")
            }
            Self::NotMember(group) => format!(
                "sudo usermod -aG {group} {}, then log in anew (or `newgrp {group}` in this shell)",
                caller()
            ),
            Self::Since(_) if is_system => "sudo systemctl restart keyward".to_owned(),
            Self::Since(group) => {
                format!("log in anew, or `newgrp {group}` in this shell, and restart keywardd")
            }
            Self::Closed => "give it to the group tss with keyward's udev rule: \
                 sudo udevadm control --reload && sudo udevadm trigger --subsystem-match=tpmrm"
                .to_owned(),
        })
    }
}

/// The user and group as whom the agent's worker would open the TPM.
///
/// systemd gives a service the groups of its user; this gives the one that counts.
pub(super) fn as_member(owner: Owner, tcti: &str) -> Owner {
    let groups = std::fs::read_to_string("/etc/group").unwrap_or_default();
    let group = tcti
        .strip_prefix("device:")
        .and_then(|path| std::fs::metadata(path).ok())
        .map(|metadata| metadata.gid())
        .filter(|gid| lists(&groups, USER, *gid));
    Owner {
        gid: group.unwrap_or(owner.gid),
        ..owner
    }
}

/// The name of whoever runs this.
pub(super) fn caller() -> String {
    let uid = rustix::process::geteuid().as_raw();
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let name = passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        let number: u32 = fields.nth(1)?.parse().ok()?;
        (number == uid).then(|| name.to_owned())
    });
    name.unwrap_or_else(|| "YOU".to_owned())
}

/// Whether a group's line in the text of /etc/group names a user.
fn lists(groups: &str, user: &str, gid: u32) -> bool {
    groups.lines().any(|line| {
        let mut fields = line.split(':').skip(2);
        let number = fields.next().and_then(|number| number.parse().ok());
        let members = fields.next().unwrap_or_default();
        number == Some(gid) && members.split(',').any(|member| member == user)
    })
}

/// A group's name in the text of /etc/group.
fn group_name(groups: &str, gid: u32) -> Option<String> {
    groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        let number: u32 = fields.nth(1)?.parse().ok()?;
        (number == gid).then(|| name.to_owned())
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const GROUPS: &str = "root:x:0:\ntss:x:106:keyward,ada\nkeyward:x:990:\n";

    #[test]
    fn members_of_a_group_are_found_by_whole_names() {
        assert!(lists(GROUPS, "keyward", 106));
        assert!(!lists(GROUPS, "key", 106));
        assert!(!lists(GROUPS, "keyward", 990));
        assert!(!lists("tss:x:106", "ada", 106));
        assert_eq!(group_name(GROUPS, 106).as_deref(), Some("tss"));
        assert_eq!(group_name(GROUPS, 10), None);
    }

    #[test]
    fn what_hinders_a_user_is_found_in_the_files_owner_and_mode() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tpmrm0");
        let somebody = User::System(Owner {
            uid: 4_000_000,
            gid: 4_000_000,
        });
        assert_eq!(access(&path, somebody), Access::Missing);
        std::fs::write(&path, "").unwrap();
        for (mode, wanted) in [(0o600, Access::Closed), (0o666, Access::Open)] {
            std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
            assert_eq!(access(&path, somebody), wanted, "{mode:o}");
        }
        assert_eq!(access(&path, User::Caller), Access::Open);
    }

    #[test]
    fn each_hindrance_has_something_to_type() {
        let owner = Owner { uid: 1, gid: 1 };
        for user in [User::Caller, User::System(owner)] {
            for access in [
                Access::Missing,
                Access::NotMember("tss".to_owned()),
                Access::Since("tss".to_owned()),
                Access::Closed,
            ] {
                assert!(access.next(user).is_some());
            }
            assert_eq!(Access::Open.next(user), None);
        }
    }
}
