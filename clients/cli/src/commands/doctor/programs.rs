//! Whether the programs are there, and of one version.

use std::path::Path;
use std::process::{Command, Stdio};

use super::Finding;
use crate::commands::init::places::program;

/// The version of this program.
pub(super) const OWN: &str = env!("CARGO_PKG_VERSION");

pub(super) fn look(worker: Option<&Path>) -> Vec<Finding> {
    let worker = worker.map(Path::to_owned);
    [
        ("keywardd", program("keywardd")),
        (
            "keyward-worker",
            worker.or_else(|| program("keyward-worker")),
        ),
    ]
    .into_iter()
    .map(|(name, path)| {
        let Some(path) = path else {
            let what = "it is neither beside this program nor in ../libexec/keyward";
            return Finding::problem(name, what).next("make install");
        };
        let shown = path.display();
        let said = Command::new(&path)
            .arg("--version")
            .stdin(Stdio::null())
            .output();
        match said {
            Err(e) => Finding::problem(name, format!("{shown} can't be run: {e}"))
                .next(format!("ls -l {shown}")),
            Ok(output) => {
                let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
                judge(name, &shown.to_string(), &said)
            }
        }
    })
    .collect()
}

/// What a program's answer means.
fn judge(name: &str, path: &str, said: &str) -> Finding {
    match version(said) {
        Some(OWN) => Finding::fine(name, format!("{path}, version {OWN}")),
        Some(other) => Finding::problem(
            name,
            format!("{path} is of version {other}, and this program of {OWN}"),
        )
        .next("make install, which installs all of one version"),
        None => Finding::problem(name, format!("{path} does not say its version"))
            .next(format!("{path} --version")),
    }
}

/// The version in what a program says of itself, such as `keywardd 0.1.0`.
pub(super) fn version(said: &str) -> Option<&str> {
    let (_, version) = said.rsplit_once([' ', '/'])?;
    version
        .starts_with(|c: char| c.is_ascii_digit())
        .then_some(version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_of_another_version_is_a_problem() {
        assert!(!judge("a", "/a", &format!("a {OWN}")).is_problem());
        for said in ["a 0.0.0", "", "nonsense"] {
            let found = judge("a", "/a", said);
            assert!(found.is_problem() && found.next.is_some(), "{said}");
        }
        assert_eq!(version("keywardd/0.2.0"), Some("0.2.0"));
    }
}
