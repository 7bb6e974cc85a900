//! What was measured: a table for people and for docs/bench.md, `bench.jsonl` for programs.

use std::{
    env,
    fs::{self, File},
    io::{self, Write},
    path::PathBuf,
};

use serde::Serialize;

/// A line of bench.jsonl.
#[derive(Clone, Debug, Serialize)]
struct Line {
    name: String,
    value: f64,
    unit: &'static str,
    reference: Option<f64>,
    /// `value / reference`.
    ratio: Option<f64>,
    /// What is compared, and how: `ratio <= 2.5`.
    bound: Option<String>,
    holds: Option<bool>,
}

/// What must hold.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Bound {
    /// The value is at most this.
    Value(f64),
    /// The value is at most so many times the reference.
    AtMost(f64),
    /// The value is at least so many times the reference.
    AtLeast(f64),
}

/// All lines so far, and the tables that are printed besides.
#[derive(Debug, Default)]
pub(crate) struct Report {
    lines: Vec<Line>,
    tables: Vec<String>,
}

impl Report {
    /// A number with nothing to compare it to.
    pub(crate) fn number(&mut self, name: impl Into<String>, value: f64, unit: &'static str) {
        self.add(name.into(), value, unit, None, None);
    }

    /// A number beside that of a reference.
    pub(crate) fn compare(
        &mut self,
        name: impl Into<String>,
        value: f64,
        unit: &'static str,
        reference: f64,
    ) {
        self.add(name.into(), value, unit, Some(reference), None);
    }

    /// A number with a bound of its own.
    pub(crate) fn limit(
        &mut self,
        name: impl Into<String>,
        value: f64,
        unit: &'static str,
        most: f64,
    ) {
        self.add(name.into(), value, unit, None, Some(Bound::Value(most)));
    }

    /// A number beside that of a reference, with a bound.
    pub(crate) fn bound(
        &mut self,
        name: impl Into<String>,
        value: f64,
        unit: &'static str,
        reference: f64,
        bound: Bound,
    ) {
        self.add(name.into(), value, unit, Some(reference), Some(bound));
    }

    /// A table of its own, Markdown, in place of the lines whose names begin with `latency.`.
    pub(crate) fn table(&mut self, table: String) {
        self.tables.push(table);
    }

    /// Prints everything, as Markdown.
    pub(crate) fn print(&self) {
        let rows = self
            .lines
            .iter()
            .filter(|line| !line.name.starts_with("latency."));
        let rows: Vec<_> = rows.map(Line::row).collect();
        if !rows.is_empty() {
            let head = ["figure", "value", "reference", "ratio", "bound", "holds"];
            println!("{}", markdown(&head, &rows));
        }
        for table in &self.tables {
            println!("\n{table}");
        }
        let missed: Vec<_> = self
            .lines
            .iter()
            .filter(|line| line.holds == Some(false))
            .collect();
        let bound = self
            .lines
            .iter()
            .filter(|line| line.holds.is_some())
            .count();
        println!(
            "\n{} of {bound} bounds hold",
            bound.saturating_sub(missed.len())
        );
        for line in missed {
            println!(
                "missed: {} is {}, bound {}",
                line.name,
                line.shown(),
                line.bound.as_deref().unwrap_or_default()
            );
        }
    }

    /// Writes bench.jsonl into cargo's target folder.
    ///
    /// # Errors
    /// The folder can't be written to.
    pub(crate) fn write(&self) -> io::Result<PathBuf> {
        let folder =
            env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from);
        fs::create_dir_all(&folder)?;
        let path = folder.join("bench.jsonl");
        let mut file = File::create(&path)?;
        for line in &self.lines {
            serde_json::to_writer(&mut file, line)?;
            file.write_all(b"\n")?;
        }
        Ok(path)
    }

    fn add(
        &mut self,
        name: String,
        value: f64,
        unit: &'static str,
        reference: Option<f64>,
        bound: Option<Bound>,
    ) {
        let ratio = reference.map(|reference| value / reference);
        let compared = ratio.unwrap_or(f64::NAN);
        let (text, holds) = match bound {
            None => (None, None),
            Some(Bound::Value(most)) => (Some(format!("value <= {most}")), Some(value <= most)),
            Some(Bound::AtMost(most)) => (Some(format!("ratio <= {most}")), Some(compared <= most)),
            Some(Bound::AtLeast(least)) => {
                (Some(format!("ratio >= {least}")), Some(compared >= least))
            }
        };
        self.lines.push(Line {
            name,
            value,
            unit,
            reference,
            ratio,
            bound: text,
            holds,
        });
    }
}

impl Line {
    fn row(&self) -> Vec<String> {
        let optional = |text: Option<String>| text.unwrap_or_default();
        let holds = match self.holds {
            Some(true) => "yes",
            Some(false) => "**no**",
            None => "",
        };
        vec![
            self.name.clone(),
            format!("{} {}", short(self.value), self.unit),
            optional(self.reference.map(short)),
            optional(self.ratio.map(|ratio| format!("{ratio:.2}"))),
            optional(self.bound.clone()),
            holds.to_owned(),
        ]
    }

    fn shown(&self) -> String {
        match self.ratio {
            Some(ratio) => format!("{} {} (ratio {ratio:.2})", short(self.value), self.unit),
            None => format!("{} {}", short(self.value), self.unit),
        }
    }
}

/// Three digits or more.
pub(crate) fn short(value: f64) -> String {
    match value.abs() {
        100.0.. => format!("{value:.0}"),
        10.0.. => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// A Markdown table whose columns stand one below the other.
pub(crate) fn markdown(head: &[&str], rows: &[Vec<String>]) -> String {
    let head: Vec<String> = head.iter().map(|&cell| cell.to_owned()).collect();
    let width = |column: usize| {
        let cells = std::iter::once(&head)
            .chain(rows)
            .filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let line = |row: &[String]| {
        let cells = row.iter().zip(&widths);
        let cells: Vec<_> = cells
            .map(|(cell, width)| format!("{cell:<width$}"))
            .collect();
        format!("| {} |", cells.join(" | "))
    };
    let rule: Vec<String> = widths.iter().map(|width| "-".repeat(*width)).collect();
    let mut lines = vec![line(&head), line(&rule)];
    lines.extend(rows.iter().map(|row| line(row)));
    lines.join("\n")
}
