//! What the process may reach, from its command line.

use std::path::{Path, PathBuf};

use keyward_sys::sandbox::{Requirement, Role, Sandbox, Sockets};

use crate::process::{COMMON_READ, module_folder};

/// The options that follow the module.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Options {
    read: Vec<PathBuf>,
    write: Vec<PathBuf>,
    sockets: Sockets,
    best_effort: bool,
}

impl Options {
    pub(super) fn parse(options: &[&str]) -> Result<Self, String> {
        let mut parsed = Self {
            read: Vec::new(),
            write: Vec::new(),
            sockets: Sockets::None,
            best_effort: false,
        };
        for option in options {
            match option.split_once('=') {
                Some(("--read", path)) => parsed.read.push(path.into()),
                Some(("--write", path)) => parsed.write.push(path.into()),
                Some(("--sockets", "none")) => parsed.sockets = Sockets::None,
                Some(("--sockets", "unix")) => parsed.sockets = Sockets::Unix,
                Some(("--sockets", "inet")) => parsed.sockets = Sockets::UnixAndInet,
                None if *option == "--best-effort" => parsed.best_effort = true,
                _ => return Err(format!("not what this program takes: {option:?}")),
            }
        }
        Ok(parsed)
    }

    /// The same box as a worker's with these lists.
    pub(super) fn sandbox(&self, module: Option<&Path>) -> Sandbox {
        let mut read: Vec<PathBuf> = COMMON_READ.iter().map(PathBuf::from).collect();
        read.extend(self.read.iter().cloned());
        read.extend(module.into_iter().flat_map(module_folder));
        Sandbox {
            read,
            write: self.write.clone(),
            remove: Vec::new(),
            sockets: self.sockets,
            role: Role::Worker,
        }
    }

    /// Also lets a file or folder be changed.
    pub(super) fn write(&mut self, path: &Path) {
        self.write.push(path.to_owned());
    }

    /// Also lets sockets be made.
    pub(super) fn allow(&mut self, sockets: Sockets) {
        self.sockets = sockets;
    }

    pub(super) fn requirement(&self) -> Requirement {
        match self.best_effort {
            true => Requirement::BestEffort,
            false => Requirement::Enforce,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_is_refused_and_nothing_is_given_without_being_named() {
        let none = Options::parse(&[]).unwrap();
        assert!(none.write.is_empty() && none.sockets == Sockets::None && !none.best_effort);
        for wrong in [
            "--read",
            "--sockets=all",
            "--best-effort=1",
            "/etc",
            "--pin=1",
        ] {
            assert!(Options::parse(&[wrong]).is_err(), "{wrong}");
        }
    }
}
