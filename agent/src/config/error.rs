//! What is wrong with a configuration, shown in place.

use std::fmt;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// Why there is no configuration. `keywardd` says so and ends.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{}: cannot be read: {source}\nhint: {hint}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
        /// What to do.
        hint: String,
    },
    /// Somebody else can change the file, and with it what runs here.
    #[error("{}: {what}: whoever can change this file decides what keywardd loads and whom it serves\nhint: {hint}", path.display())]
    Insecure {
        /// The file.
        path: PathBuf,
        /// Whose it is, or who can write to it.
        what: String,
        /// The command that mends it.
        hint: String,
    },
    /// The file says something wrong.
    #[error(transparent)]
    Mistake(Box<Mistake>),
}

/// A mistake and its place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Mistake {
    /// The file.
    pub path: PathBuf,
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// How many characters are marked.
    pub width: usize,
    /// The line itself.
    pub source_line: String,
    /// What is wrong.
    pub what: String,
    /// What to write instead.
    pub hint: Option<String>,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (line, column) = (self.line, self.column);
        writeln!(f, "{}:{line}:{column}: {}", self.path.display(), self.what)?;
        let number = line.to_string();
        writeln!(f, "{number} | {}", self.source_line)?;
        // Tabs stay tabs, so that the caret stands below the place however wide they are.
        let indent: String = self
            .source_line
            .chars()
            .take(column.saturating_sub(1))
            .map(|c| if c == '\t' { '\t' } else { ' ' })
            .collect();
        let gutter = " ".repeat(number.len());
        write!(f, "{gutter} | {indent}{}", "^".repeat(self.width.max(1)))?;
        if let Some(hint) = &self.hint {
            write!(f, "\nhint: {hint}")?;
        }
        Ok(())
    }
}

/// A mistake whose place is still a range of bytes.
#[derive(Debug)]
pub(super) struct Wrong {
    span: Range<usize>,
    what: String,
    hint: Option<String>,
    secret: bool,
}

impl Wrong {
    pub(super) fn new(span: Range<usize>, what: impl Into<String>) -> Self {
        Self {
            span,
            what: what.into(),
            hint: None,
            secret: false,
        }
    }

    /// The place may hold a PIN, and is shown as asterisks.
    pub(super) fn secret(mut self) -> Self {
        self.secret = true;
        self
    }

    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Finds line and column.
    pub(super) fn locate(self, path: &Path, text: &str) -> ConfigError {
        let start = floor(text, self.span.start);
        let end = floor(text, self.span.end.max(start));
        let before = text.get(..start).unwrap_or_default();
        let line_start = before.rfind('\n').map_or(0, |at| at.saturating_add(1));
        let rest = text.get(line_start..).unwrap_or_default();
        let source_line = rest.lines().next().unwrap_or_default();
        let line_end = line_start.saturating_add(source_line.len());
        let marked = text.get(start..end.min(line_end)).unwrap_or_default();
        let lead = text.get(line_start..start).unwrap_or_default();
        let shown = if self.secret {
            let tail = text.get(end.min(line_end)..line_end).unwrap_or_default();
            format!("{lead}{}{tail}", "*".repeat(marked.chars().count()))
        } else {
            hide_pin(source_line)
        };
        ConfigError::Mistake(Box::new(Mistake {
            path: path.to_owned(),
            line: before.matches('\n').count().saturating_add(1),
            column: lead.chars().count().saturating_add(1),
            width: marked.chars().count(),
            source_line: printable(&shown),
            what: self.what,
            hint: self.hint,
        }))
    }
}

/// The nearest character boundary at or before `at`.
fn floor(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at = at.saturating_sub(1);
    }
    at
}

/// A line `pin = …` that is no correct TOML may still hold a PIN.
fn hide_pin(line: &str) -> String {
    match line.split_once('=') {
        Some((key, value)) if key.trim().ends_with("pin") && !value.trim().starts_with('{') => {
            format!("{key}={}", "*".repeat(value.chars().count()))
        }
        _ => line.to_owned(),
    }
}

/// Control characters would steer the terminal that the message is shown on.
fn printable(line: &str) -> String {
    line.chars()
        .map(|c| if c.is_control() && c != '\t' { '?' } else { c })
        .collect()
}
