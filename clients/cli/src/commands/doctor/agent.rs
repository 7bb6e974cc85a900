//! Whether an agent answers, and which.

use keyward_protocol::operation::{Status, StatusReport};

use super::configuration::Configuration;
use super::programs::{OWN, version};
use super::{Finding, State};
use crate::agent::connect;

const ABOUT: &str = "agent";

/// Asks it how it is.
pub(super) fn look(configuration: Option<&Configuration>) -> (Option<StatusReport>, Vec<Finding>) {
    match connect().and_then(|mut agent| agent.call(Status {})) {
        Ok(report) => {
            let findings = judge(&report, configuration);
            (Some(report), findings)
        }
        Err(error) => {
            let (what, hint) = error.told();
            let found = Finding::problem(ABOUT, what);
            let started = match configuration {
                Some(configuration) if configuration.system => {
                    Some("sudo systemctl enable --now keyward.socket".to_owned())
                }
                _ => None,
            };
            (None, vec![found.maybe_next(started.or(hint))])
        }
    }
}

fn judge(report: &StatusReport, configuration: Option<&Configuration>) -> Vec<Finding> {
    let restart = configuration.map_or("start it again", Configuration::restart);
    let runs = &report.software;
    let mut findings = vec![match version(runs) {
        Some(OWN) => Finding::fine(ABOUT, format!("{runs} answers, in {} mode", report.mode)),
        _ => Finding::problem(
            ABOUT,
            format!("the agent that runs is {runs}, and this program is of version {OWN}"),
        )
        .next(restart),
    }];
    if let Some(why) = &report.management_refused {
        let found = Finding::problem(ABOUT, format!("it changes no keys: {why}"));
        findings.push(found.next("keyward accept-registry, after a look at keyward status"));
    }
    let mode = configuration.map(|c| if c.system { "system" } else { "user" });
    if let Some(mode) = mode.filter(|mode| *mode != report.mode) {
        let what = format!(
            "the agent that answers runs in {} mode, and the configuration looked at is for {mode} mode",
            report.mode
        );
        let found = Finding::new(State::Note, ABOUT, what);
        findings.push(found.next("keyward doctor --config FILE, or another KEYWARD_SOCK"));
    }
    findings
}
