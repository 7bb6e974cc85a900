//! `keyward status`

use keyward_protocol::operation::{Status, StatusReport};
use serde_json::{Value, json};

use super::token::{tokens_json, tokens_text};
use crate::agent::connect;
use crate::arguments::Json;
use crate::error::Error;
use crate::output::{print, print_json, table, time, yes};

pub(super) fn status(json: &Json) -> Result<(), Error> {
    let report = connect()?.call(Status {})?;
    if json.json {
        print_json(&as_json(&report))
    } else {
        print(&as_text(&report))
    }
}

fn as_text(report: &StatusReport) -> String {
    let mut rows = vec![
        [
            "agent".into(),
            format!("{}, {} mode", report.software, report.mode),
        ],
        ["started".into(), time(report.started)],
        ["keys".into(), report.keys.to_string()],
        ["log".into(), format!("{} records", report.audit_records)],
        ["connections".into(), report.connections.to_string()],
    ];
    if let Some(why) = &report.management_refused {
        rows.push(["management".into(), format!("refused: {why}")]);
    }
    let mut text = table(&rows);
    text.push('\n');
    text.push_str(&tokens_text(&report.tokens));
    if !report.protections.is_empty() {
        let mut rows = vec![["PROTECTION".into(), "HOLDS".into(), "DETAIL".into()]];
        rows.extend(report.protections.iter().map(|protection| {
            [
                protection.name.clone(),
                yes(protection.holds).into(),
                protection.detail.clone().unwrap_or_default(),
            ]
        }));
        text.push('\n');
        text.push_str(&table(&rows));
    }
    text
}

fn as_json(report: &StatusReport) -> Value {
    let protections: Vec<Value> = report
        .protections
        .iter()
        .map(|p| json!({ "name": p.name, "holds": p.holds, "detail": p.detail }))
        .collect();
    json!({
        "software": report.software,
        "mode": report.mode,
        "started": time(report.started),
        "tokens": tokens_json(&report.tokens),
        "protections": protections,
        "keys": report.keys,
        "audit_records": report.audit_records,
        "management_refused": report.management_refused,
        "connections": report.connections,
    })
}
