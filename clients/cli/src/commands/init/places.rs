//! Where things are: a user's or the system's.

use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::exit::Exit;

/// Whom the agent is to serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::commands) enum Mode {
    User,
    System,
}

/// A user and group by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::commands) struct Owner {
    pub(in crate::commands) uid: u32,
    pub(in crate::commands) gid: u32,
}

/// The user of the system's agent.
pub(in crate::commands) const USER: &str = "keyward";

/// Where keywardd looks, and where init keeps what it makes.
#[derive(Debug)]
pub(in crate::commands) struct Places {
    pub(in crate::commands) mode: Mode,
    /// The folder of `keyward.toml`.
    pub(in crate::commands) config_folder: PathBuf,
    pub(in crate::commands) state: PathBuf,
    /// The socket, where keywardd would find no place for one by itself.
    pub(in crate::commands) socket: Option<PathBuf>,
    /// The agent's user, where it is not the one who runs this, once it exists.
    pub(in crate::commands) owner: Option<Owner>,
}

impl Places {
    /// Those of the mode, in this process's environment.
    pub(in crate::commands) fn of(mode: Mode) -> Result<Self, Error> {
        match mode {
            Mode::System => system(),
            Mode::User => user(),
        }
    }

    pub(in crate::commands) fn config(&self) -> PathBuf {
        self.config_folder.join("keyward.toml")
    }

    /// What init made. Not in the system's state folder, in which the agent can write.
    pub(in crate::commands) fn record(&self) -> PathBuf {
        match self.mode {
            Mode::User => self.state.join("init.json"),
            Mode::System => self.config_folder.join("init.json"),
        }
    }

    /// The lock that an agent holds as long as it runs.
    pub(in crate::commands) fn lock(&self) -> PathBuf {
        self.state.join("audit/lock")
    }
}

fn system() -> Result<Places, Error> {
    if !rustix::process::geteuid().is_root() {
        return Err(
            Error::new(Exit::Denied, "only root can set up the system's agent")
                .hint("sudo keyward init --system, or `keyward init` for an agent of your own"),
        );
    }
    let passwd = std::fs::read_to_string("/etc/passwd")
        .map_err(|e| Error::new(Exit::Fault, "can't read /etc/passwd").cause(e))?;
    Ok(Places {
        mode: Mode::System,
        config_folder: "/etc/keyward".into(),
        state: "/var/lib/keyward".into(),
        socket: None,
        owner: find_owner(&passwd),
    })
}

fn user() -> Result<Places, Error> {
    let folder = |name: &str| {
        let path = std::env::var_os(name).map(PathBuf::from);
        path.filter(|path| path.is_absolute())
    };
    let home = folder("HOME");
    let below = |variable: &str, below: &str| {
        let place = folder(variable).or_else(|| home.as_ref().map(|home| home.join(below)));
        place.ok_or_else(|| {
            Error::usage(format!("neither {variable} nor HOME names a folder"))
                .hint("export HOME=/path")
        })
    };
    let state = below("XDG_STATE_HOME", ".local/state")?.join("keyward");
    let places = Places {
        mode: Mode::User,
        config_folder: below("XDG_CONFIG_HOME", ".config")?.join("keyward"),
        // Without a runtime folder, as in many a container.
        socket: match folder("XDG_RUNTIME_DIR") {
            Some(_) => None,
            None => Some(state.join("agent.sock")),
        },
        state,
        owner: None,
    };
    for path in [&places.config_folder, &places.state] {
        refuse_odd(path)?;
    }
    Ok(places)
}

/// Paths that neither TOML nor softhsm2.conf could hold.
fn refuse_odd(path: &Path) -> Result<(), Error> {
    let odd = match path.to_str() {
        Some(text) => text.chars().any(|c| c.is_control() || c == '$') || text.contains("/../"),
        None => true,
    };
    if odd {
        let what = format!("{} can't be named in a configuration", path.display());
        return Err(
            Error::usage(what).hint("XDG_CONFIG_HOME and XDG_STATE_HOME name other folders")
        );
    }
    Ok(())
}

/// The agent's user in the text of /etc/passwd.
pub(in crate::commands) fn find_owner(passwd: &str) -> Option<Owner> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next()? == USER).then_some(())?;
        Some(Owner {
            uid: fields.nth(1)?.parse().ok()?,
            gid: fields.next()?.parse().ok()?,
        })
    })
}

/// A program of keyward beside this one, or where it is installed.
pub(in crate::commands) fn program(name: &str) -> Option<PathBuf> {
    let own = std::env::current_exe().ok()?;
    let folder = own.parent()?;
    let places = [
        folder.join(name),
        folder.join("../libexec/keyward").join(name),
    ];
    places.into_iter().find(|path| path.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_agents_user_is_found_by_its_whole_name() {
        let passwd = "root:x:0:0::/root:/bin/sh\nkeyward2:x:5:5::/:/\nkeyward:x:990:991::/:/\n";
        let owner = Owner { uid: 990, gid: 991 };
        assert_eq!(find_owner(passwd), Some(owner));
        assert_eq!(find_owner("keyward\nkeyward:x:a:b"), None);
    }

    #[test]
    fn a_path_that_a_configuration_cannot_hold_is_refused() {
        assert!(refuse_odd(Path::new("/home/é a/.config")).is_ok());
        for odd in ["/home/a\nb", "/home/$HOME", "/home/../x"] {
            assert!(refuse_odd(Path::new(odd)).is_err(), "{odd}");
        }
    }
}
