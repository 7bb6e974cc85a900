//! What the kernel has to seal processes and to tell them apart.

use std::path::PathBuf;

use keyward_protocol::operation::StatusReport;

use super::configuration::Configuration;
use super::{Finding, State};
use crate::commands::init::worker::Worker;

/// By the agent's word; without one, by the kernel's.
pub(super) fn look(
    configuration: Option<&Configuration>,
    report: Option<&StatusReport>,
    worker: Option<PathBuf>,
) -> Vec<Finding> {
    if let Some(report) = report {
        return told(report);
    }
    let release = rustix::system::uname();
    let release = release.release().to_string_lossy().into_owned();
    let best_effort = configuration.is_some_and(|c| c.best_effort);
    vec![sandbox(worker, best_effort), pidfd(&release)]
}

/// The agent's own view; it would not run where what it must have is missing.
fn told(report: &StatusReport) -> Vec<Finding> {
    // What the configuration gives a token is no lack.
    let wanted = |detail: &str| detail.starts_with("the configuration");
    let missing = (report.protections.iter())
        .filter(|found| !found.holds && !found.detail.as_deref().is_some_and(wanted));
    let findings: Vec<Finding> = missing
        .map(|found| {
            let detail = found.detail.as_deref().unwrap_or("it does not hold");
            Finding::new(State::Note, &found.name, detail).next("SECURITY.md says what it is for")
        })
        .collect();
    match findings.is_empty() {
        true => vec![Finding::fine("kernel", "all protections hold")],
        false => findings,
    }
}

/// Whether a worker can seal itself, which it does before it loads anything.
fn sandbox(worker: Option<PathBuf>, best_effort: bool) -> Finding {
    const ABOUT: &str = "sandbox";
    let Ok(worker) = Worker::find(worker, false, None) else {
        return Finding::new(
            State::Skipped,
            ABOUT,
            "there is no keyward-worker to try it with",
        );
    };
    let Err(why) = worker.probe_sandbox() else {
        return Finding::fine(ABOUT, "a worker can seal itself: Landlock and seccomp");
    };
    let next = "a kernel with Landlock (5.13; boot with lsm=landlock,…); \
                sandbox = \"best-effort\" goes on without";
    match best_effort {
        true => Finding::new(State::Note, ABOUT, why).next(next),
        false => Finding::problem(ABOUT, format!("no worker starts: {why}")).next(next),
    }
}

fn pidfd(release: &str) -> Finding {
    match is_at_least(release, (6, 5)) {
        true => Finding::fine(
            "pidfd",
            format!("Linux {release} says who connects by pidfd"),
        ),
        false => Finding::new(
            State::Note,
            "pidfd",
            format!("Linux {release} does not say who connects by pidfd; 6.5 does"),
        )
        .next("a newer kernel; SECURITY.md says what it is for"),
    }
}

fn is_at_least(release: &str, wanted: (u32, u32)) -> bool {
    let mut parts = release.split(|c: char| !c.is_ascii_digit());
    let mut number = || parts.next().and_then(|part| part.parse().ok()).unwrap_or(0);
    (number(), number()) >= wanted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_compared_as_numbers() {
        assert!(is_at_least("6.18.44-fc", (6, 5)));
        assert!(is_at_least("6.5", (6, 5)));
        assert!(!is_at_least("6.4.99", (6, 5)));
        assert!(!is_at_least("5.4", (5, 13)));
        assert!(!is_at_least("what", (5, 13)));
    }
}
