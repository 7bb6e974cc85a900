//! Runs each case in a process of its own, with one thread and a scratch folder: what a case does
//! to itself cannot be taken back.

use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio, exit};
use std::{env, thread};

/// A name that says what holds, and what shows it.
pub(crate) type Case = (&'static str, fn());

const CASE: &str = "KEYWARD_SYS_CASE";
const SCRATCH: &str = "KEYWARD_SYS_SCRATCH";

/// Runs the cases, or in a child the one that it was started for. What `children` lists is started
/// by cases only.
pub(crate) fn main(cases: &[Case], children: &[Case]) -> ExitCode {
    if let Ok(name) = env::var(CASE) {
        let (_, case) = cases
            .iter()
            .chain(children)
            .find(|(known, _)| *known == name)
            .expect("a case of that name");
        case();
        return ExitCode::SUCCESS;
    }
    let words: Vec<String> = env::args().skip(1).collect();
    let filters: Vec<&String> = words.iter().filter(|word| !word.starts_with('-')).collect();
    let chosen = cases.iter().filter(|(name, _)| {
        filters.is_empty() || filters.iter().any(|filter| name.contains(*filter))
    });
    if words.iter().any(|word| word == "--list") {
        chosen.for_each(|(name, _)| println!("{name}: test"));
        return ExitCode::SUCCESS;
    }
    let failed = thread::scope(|scope| {
        let running: Vec<_> = chosen
            .map(|(name, _)| scope.spawn(move || passes(name)))
            .collect();
        running
            .into_iter()
            .map(|case| case.join().unwrap_or(false))
            .filter(|passed| !passed)
            .count()
    });
    if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// The folder that this case may fill; it is removed afterwards.
pub(crate) fn scratch() -> PathBuf {
    env::var_os(SCRATCH)
        .expect("a case has a scratch folder")
        .into()
}

/// Becomes the same program anew, as another case, with the same pid and more variables.
pub(crate) fn become_case(name: &str, variables: &[(&str, String)]) -> ! {
    let error = Command::new(env::current_exe().expect("this program"))
        .env(CASE, name)
        .envs(variables.iter().map(|(variable, value)| (variable, value)))
        .exec();
    eprintln!("cannot start {name}: {error}");
    exit(1);
}

/// Prepares a child that runs a case.
pub(crate) fn command(name: &str) -> Command {
    let mut command = Command::new(env::current_exe().expect("this program"));
    command.env(CASE, name);
    command
}

fn passes(name: &str) -> bool {
    let folder = tempfile::tempdir().expect("a scratch folder");
    let output = command(name)
        .env(SCRATCH, folder.path())
        .stdin(Stdio::null())
        .output()
        .expect("the case starts");
    let passed = output.status.success();
    println!("test {name} ... {}", if passed { "ok" } else { "FAILED" });
    if !passed {
        println!(
            "{}\n{}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
    }
    passed
}
