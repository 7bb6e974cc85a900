//! The part that Landlock plays: files, TCP, abstract sockets, signals.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use ::landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, LandlockStatus, PathBeneath, Ruleset, RulesetAttr,
    RulesetCreated, RulesetCreatedAttr, RulesetError, RulesetStatus, Scope, make_bitflags,
};
use rustix::fs::{FileType, Mode, OFlags};

use super::{Holds, Role, Sandbox, SandboxError, Sockets};

/// The newest version whose rights are asked for; more would be untested.
const NEWEST: ABI = ABI::V7;

const READ_FILE: BitFlags<AccessFs> = make_bitflags!(AccessFs::{ReadFile});
const READ_FOLDER: BitFlags<AccessFs> = make_bitflags!(AccessFs::{ReadFile | ReadDir});
const WRITE_FILE: BitFlags<AccessFs> = make_bitflags!(AccessFs::{ReadFile | WriteFile | Truncate});
const REMOVE: BitFlags<AccessFs> = make_bitflags!(AccessFs::{RemoveFile});
/// No right to execute, to make devices, pipes or symbolic links; `ioctl` on devices neither.
const WRITE_FOLDER: BitFlags<AccessFs> = make_bitflags!(AccessFs::{
    ReadFile | ReadDir | WriteFile | Truncate | MakeReg | MakeDir | RemoveFile | RemoveDir | Refer
});

/// Restricts the calling thread and notes what holds.
pub(super) fn restrict(sandbox: &Sandbox, holds: &mut Holds) -> Result<(), SandboxError> {
    let mut rules = handled(sandbox)
        .and_then(Ruleset::create)
        .map_err(refused("making the Landlock rules"))?;
    for path in &sandbox.read {
        match open(path) {
            Ok(fd) => rules = allow(rules, fd, path, READ_FOLDER, READ_FILE)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                holds.skipped.push(path.clone())
            }
            Err(error) => return Err(at(path)(error)),
        }
    }
    for path in &sandbox.write {
        let fd = open(path).map_err(at(path))?;
        rules = allow(rules, fd, path, WRITE_FOLDER, WRITE_FILE)?;
    }
    for path in &sandbox.remove {
        match open(path) {
            Ok(fd) => rules = allow(rules, fd, path, REMOVE, REMOVE)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                holds.skipped.push(path.clone())
            }
            Err(error) => return Err(at(path)(error)),
        }
    }
    let status = rules
        .restrict_self()
        .map_err(refused("entering the Landlock domain"))?;
    let enforced = status.ruleset != RulesetStatus::NotEnforced;
    note(sandbox, status.landlock, enforced, holds);
    Ok(())
}

/// Everything that Landlock can refuse. The library drops what the kernel does not know.
fn handled(sandbox: &Sandbox) -> Result<Ruleset, RulesetError> {
    let mut ruleset = Ruleset::default().handle_access(AccessFs::from_all(NEWEST))?;
    if sandbox.sockets != Sockets::UnixAndInet {
        ruleset = ruleset.handle_access(AccessNet::from_all(NEWEST))?;
    }
    // The agent kills workers, which are outside its domain.
    ruleset.scope(match sandbox.role {
        Role::Agent => BitFlags::from_flag(Scope::AbstractUnixSocket),
        Role::Worker => Scope::AbstractUnixSocket | Scope::Signal,
    })
}

fn allow(
    rules: RulesetCreated,
    fd: OwnedFd,
    path: &Path,
    folder: BitFlags<AccessFs>,
    file: BitFlags<AccessFs>,
) -> Result<RulesetCreated, SandboxError> {
    let kind = rustix::fs::fstat(&fd).map_err(|error| at(path)(error.into()))?;
    let access = match FileType::from_raw_mode(kind.st_mode) {
        FileType::Directory => folder,
        _ => file,
    };
    rules
        .add_rule(PathBeneath::new(fd, access))
        .map_err(|error| at(path)(io::Error::other(error)))
}

fn open(path: &Path) -> io::Result<OwnedFd> {
    Ok(rustix::fs::open(
        path,
        OFlags::PATH | OFlags::CLOEXEC,
        Mode::empty(),
    )?)
}

fn note(sandbox: &Sandbox, status: LandlockStatus, enforced: bool, holds: &mut Holds) {
    let abi = match status {
        LandlockStatus::NotEnabled => {
            holds
                .missing
                .push("Landlock is not switched on (kernel parameter `lsm=`)".to_owned());
            return;
        }
        LandlockStatus::NotImplemented => {
            holds
                .missing
                .push("the kernel has no Landlock (Linux 5.13)".to_owned());
            return;
        }
        LandlockStatus::Available {
            effective_abi,
            kernel_abi,
        } => kernel_abi
            .and_then(|abi| u32::try_from(abi).ok())
            .unwrap_or(effective_abi as u32),
    };
    holds.landlock_abi = Some(abi);
    if !enforced {
        holds
            .missing
            .push("the kernel did not enforce the Landlock rules".to_owned());
        return;
    }
    let network_given = sandbox.sockets == Sockets::UnixAndInet;
    holds.filesystem = true;
    holds.network = abi >= 4 && !network_given;
    holds.scopes = abi >= 6;
    let since = [
        (
            3,
            "truncating files outside the lists is not refused (Linux 6.2)",
            true,
        ),
        (
            4,
            "TCP is refused by the system call filter alone (Linux 6.7)",
            !network_given,
        ),
        (
            5,
            "ioctl on devices is refused by the system call filter alone (Linux 6.10)",
            true,
        ),
        (
            6,
            "abstract sockets of others can be reached, if sockets can be made (Linux 6.12)",
            true,
        ),
    ];
    for (version, sentence, wanted) in since {
        if abi < version && wanted {
            holds.missing.push(sentence.to_owned());
        }
    }
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> SandboxError {
    move |source| SandboxError::Path {
        path: path.to_owned(),
        source,
    }
}

fn refused(action: &'static str) -> impl FnOnce(RulesetError) -> SandboxError {
    move |error| SandboxError::Refused {
        action,
        reason: error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noted(sockets: Sockets, effective_abi: ABI) -> Holds {
        let mut holds = Holds::default();
        let sandbox = Sandbox {
            read: vec![],
            write: vec![],
            remove: Vec::new(),
            sockets,
            role: Role::Worker,
        };
        note(
            &sandbox,
            LandlockStatus::Available {
                effective_abi,
                kernel_abi: None,
            },
            true,
            &mut holds,
        );
        holds
    }

    #[test]
    fn an_older_landlock_says_what_it_lacks() {
        let debian_12 = noted(Sockets::None, ABI::V2);
        assert_eq!(debian_12.landlock_abi, Some(2));
        assert!(debian_12.filesystem && !debian_12.network && !debian_12.scopes);
        assert_eq!(debian_12.missing.len(), 4);
        let newer = noted(Sockets::None, ABI::V5);
        assert!(newer.network && !newer.scopes);
        assert_eq!(newer.missing.len(), 1);
        assert!(noted(Sockets::None, ABI::V6).missing.is_empty());
    }

    #[test]
    fn tcp_is_not_missing_where_the_network_is_given() {
        let given = noted(Sockets::UnixAndInet, ABI::V3);
        assert!(!given.network);
        assert!(
            given
                .missing
                .iter()
                .all(|sentence| !sentence.contains("TCP"))
        );
    }
}
