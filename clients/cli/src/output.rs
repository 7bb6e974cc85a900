//! What people and programs read on stdout.

use std::io::Write;

use keyward_protocol::operation::{BoundDescription, KeyDescription};
use serde_json::{Value, json};

use crate::error::Error;
use crate::exit::Exit;

/// Writes text to stdout.
pub(crate) fn print(text: &str) -> Result<(), Error> {
    let mut stdout = std::io::stdout().lock();
    stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
        .map_err(lost)
}

/// Writes one JSON document to stdout.
pub(crate) fn print_json(value: &Value) -> Result<(), Error> {
    let mut text = serde_json::to_string_pretty(value)
        .map_err(|e| Error::new(Exit::Fault, "can't write JSON").cause(e))?;
    text.push('\n');
    print(&text)
}

/// Why stdout could not be written.
pub(crate) fn lost(error: std::io::Error) -> Error {
    if error.kind() == std::io::ErrorKind::BrokenPipe {
        return Error::reader_gone();
    }
    Error::usage("can't write to stdout").cause(error)
}

/// Text from elsewhere without what would move a terminal's cursor.
pub(crate) fn plain(text: &str) -> String {
    let harmless = |c: char| !c.is_control() && !is_directional(c);
    if text.chars().all(harmless) {
        return text.to_owned();
    }
    let mut plain = String::with_capacity(text.len());
    for c in text.chars() {
        if harmless(c) {
            plain.push(c);
        } else {
            plain.extend(c.escape_default());
        }
    }
    plain
}

/// Characters that reorder what stands beside them.
fn is_directional(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Columns, each as wide as its widest cell; the first row is the heading.
pub(crate) fn table<const N: usize>(rows: &[[String; N]]) -> String {
    let rows: Vec<[String; N]> = rows
        .iter()
        .map(|row| row.each_ref().map(|c| plain(c)))
        .collect();
    let mut widths = [0; N];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    for row in &rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(widths) {
            line.push_str(&format!("{cell:width$}  "));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// A time in UTC (RFC 3339).
pub(crate) fn time(seconds: u64) -> String {
    i64::try_from(seconds)
        .ok()
        .and_then(|seconds| jiff::Timestamp::from_second(seconds).ok())
        .map_or_else(|| format!("@{seconds}"), |time| time.to_string())
}

/// A length of time for people: its two largest units.
pub(crate) fn duration(seconds: u64) -> String {
    let (minutes, hours) = (seconds / 60, seconds / 3600);
    match (hours, minutes) {
        (0, 0) => format!("{seconds} s"),
        (0, minutes) => format!("{minutes} min {} s", seconds % 60),
        (hours, minutes) => format!("{hours} h {} min", minutes % 60),
    }
}

/// Names side by side, or a dash.
pub(crate) fn list<T: ToString>(items: impl IntoIterator<Item = T>) -> String {
    let items: Vec<String> = items.into_iter().map(|item| item.to_string()).collect();
    if items.is_empty() {
        "-".into()
    } else {
        items.join(",")
    }
}

/// The names of values, for JSON.
pub(crate) fn names<T: ToString>(items: impl IntoIterator<Item = T>) -> Vec<String> {
    items.into_iter().map(|item| item.to_string()).collect()
}

/// The tags of a key side by side, or a dash.
pub(crate) fn tags(key: &KeyDescription) -> String {
    let tags = key.tags.iter();
    list(tags.map(|(name, value)| format!("{name}={value}")))
}

/// A key with its versions, for people.
pub(crate) fn key_text(key: &KeyDescription) -> String {
    let mut rows = vec![
        ["id".into(), key.id.clone()],
        ["aliases".into(), list(&key.aliases)],
        ["purpose".into(), key.purpose.to_string()],
        ["type".into(), key.key_type.to_string()],
        ["state".into(), key.state.to_string()],
        ["algorithms".into(), list(&key.algorithms)],
    ];
    if let Some(destruction) = &key.destruction {
        rows.insert(5, ["destruction".into(), destruction.clone()]);
    }
    if !key.formats.is_empty() {
        rows.push(["formats".into(), list(&key.formats)]);
    }
    if !key.tags.is_empty() {
        rows.push(["tags".into(), tags(key)]);
    }
    rows.push(["created".into(), time(key.created)]);
    for version in &key.versions {
        rows.push([
            format!("version {}", version.version),
            format!("{}, made {}", version.state, time(version.created)),
        ]);
        rows.push(["  id".into(), version.id.clone()]);
        if let Some(thumbprint) = version.thumbprint {
            rows.push(["  thumbprint".into(), thumbprint.to_string()]);
        }
        for placement in &version.placements {
            rows.push(["  token".into(), placement.token.clone()]);
            rows.push(["  locator".into(), placement.locator.clone()]);
            rows.push([
                "  guarantees".into(),
                format!(
                    "made in the token: {}, never readable: {}, never extractable: {}",
                    yes(placement.local),
                    yes(placement.always_sensitive),
                    yes(placement.never_extractable)
                ),
            ]);
            if let Some(bound) = &placement.bound {
                rows.push(["  bound to".into(), bound_to(bound)]);
            }
        }
    }
    table(&rows)
}

/// What a placement is bound to.
fn bound_to(bound: &BoundDescription) -> String {
    let recovery = match (&bound.recovery_key, &bound.recovery) {
        (Some(key), _) => format!("recovery key {key}"),
        (None, Some(thumbprint)) => format!("a recovery key that is not here ({thumbprint})"),
        (None, None) => "no recovery".to_owned(),
    };
    format!("PCRs {}; {recovery}", list(&bound.pcrs))
}

/// A key with its versions, for programs.
pub(crate) fn key_json(key: &KeyDescription) -> Value {
    let versions: Vec<Value> = key
        .versions
        .iter()
        .map(|version| {
            let placements: Vec<Value> = version
                .placements
                .iter()
                .map(|placement| {
                    json!({
                        "token": placement.token,
                        "locator": placement.locator,
                        "local": placement.local,
                        "always_sensitive": placement.always_sensitive,
                        "never_extractable": placement.never_extractable,
                        "bound": placement.bound.as_ref().map(|bound| json!({
                            "pcrs": bound.pcrs,
                            "recovery": bound.recovery.map(|t| t.to_string()),
                            "recovery_key": bound.recovery_key,
                        })),
                    })
                })
                .collect();
            json!({
                "version": version.version,
                "state": version.state.name(),
                "created": time(version.created),
                "id": version.id,
                "thumbprint": version.thumbprint.map(|t| t.to_string()),
                "placements": placements,
            })
        })
        .collect();
    json!({
        "id": key.id,
        "aliases": key.aliases,
        "purpose": key.purpose.name(),
        "key_type": key.key_type.name(),
        "state": key.state.name(),
        "algorithms": names(&key.algorithms),
        "formats": names(&key.formats),
        "tags": key.tags,
        "created": time(key.created),
        "versions": versions,
        "destruction": key.destruction,
    })
}

/// Yes or no.
pub(crate) fn yes(holds: bool) -> &'static str {
    if holds { "yes" } else { "no" }
}
