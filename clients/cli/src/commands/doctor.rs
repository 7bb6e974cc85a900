//! `keyward doctor`: what can be wrong, looked at one by one, with the agent or without it.

mod agent;
mod card;
mod configuration;
mod kernel;
mod programs;
mod token;
mod tpm;

use serde_json::{Value, json};

use crate::arguments::Doctor;
use crate::error::Error;
use crate::exit::Exit;
use crate::output::{print, print_json, table};

/// Looks at everything, and says what it found.
pub(super) fn doctor(arguments: &Doctor) -> Result<(), Error> {
    let mut findings = programs::look(arguments.worker.as_deref());
    let (configuration, found) = configuration::look(arguments.config.as_deref());
    findings.extend(found);
    let (report, found) = agent::look(configuration.as_ref());
    findings.extend(found);
    findings.extend(kernel::look(
        configuration.as_ref(),
        report.as_ref(),
        arguments.worker.clone(),
    ));
    if let Some(configuration) = &configuration {
        let worker = arguments.worker.clone();
        findings.extend(token::look(configuration, report.as_ref(), worker));
    }
    match arguments.json {
        true => print_json(&as_json(&findings))?,
        false => print(&as_text(&findings))?,
    }
    match findings.iter().filter(|found| found.is_problem()).count() {
        0 => Ok(()),
        1 => Err(Error::new(Exit::Negative, "there is a problem")),
        several => Err(Error::new(
            Exit::Negative,
            format!("there are {several} problems"),
        )),
    }
}

/// How one thing is.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Finding {
    about: String,
    state: State,
    /// How it is, with its cause.
    what: String,
    /// What to type.
    next: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Fine,
    /// Worth knowing.
    Note,
    /// It could not be looked at.
    Skipped,
    Problem,
}

impl State {
    fn name(self) -> &'static str {
        match self {
            Self::Fine => "ok",
            Self::Note => "note",
            Self::Skipped => "skipped",
            Self::Problem => "problem",
        }
    }
}

impl Finding {
    fn new(state: State, about: impl Into<String>, what: impl Into<String>) -> Self {
        Self {
            about: about.into(),
            state,
            what: what.into(),
            next: None,
        }
    }

    fn fine(about: impl Into<String>, what: impl Into<String>) -> Self {
        Self::new(State::Fine, about, what)
    }

    fn problem(about: impl Into<String>, what: impl Into<String>) -> Self {
        Self::new(State::Problem, about, what)
    }

    fn next(mut self, next: impl Into<String>) -> Self {
        self.next = Some(next.into());
        self
    }

    fn maybe_next(mut self, next: Option<String>) -> Self {
        self.next = next;
        self
    }

    fn is_problem(&self) -> bool {
        self.state == State::Problem
    }
}

fn as_text(findings: &[Finding]) -> String {
    let mut rows = Vec::new();
    for found in findings {
        let state = match found.state {
            State::Problem => "PROBLEM",
            other => other.name(),
        };
        let about = found.about.clone();
        rows.push([state.to_owned(), about, found.what.clone()]);
        let next = found.next.iter();
        rows.extend(next.map(|next| [String::new(), String::new(), format!("-> {next}")]));
    }
    table(&rows)
}

fn as_json(findings: &[Finding]) -> Value {
    findings
        .iter()
        .map(|found| {
            json!({
                "about": found.about,
                "state": found.state.name(),
                "what": found.what,
                "next": found.next,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_to_type_stands_below_the_problem_and_nothing_moves_the_cursor() {
        let findings = [
            Finding::fine("agent", "it answers"),
            Finding::problem("token a", "it is\u{1b}[2J gone").next("keyward status"),
        ];
        assert_eq!(
            as_text(&findings),
            "ok       agent    it answers\n\
             PROBLEM  token a  it is\\u{1b}[2J gone\n\
             \u{20}                 -> keyward status\n"
        );
        let json = as_json(&findings).to_string();
        assert!(json.contains(r#""state":"problem""#), "{json}");
    }
}
