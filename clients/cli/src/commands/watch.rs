//! `keyward watch`

use std::time::SystemTime;

use keyward_protocol::OperationCode;
use keyward_protocol::event::{Event, EventCaller};
use serde_json::json;

use crate::agent::connect;
use crate::arguments::Watch;
use crate::error::Error;
use crate::exit::Exit;
use crate::output::{plain, print, time};

pub(super) fn watch(watch: &Watch) -> Result<(), Error> {
    for event in connect()?.subscribe()? {
        let event = event.map_err(|e| {
            let gone = "the agent is gone, and with it whatever happens from now on";
            match e {
                keyward_client::Error::Io(cause)
                    if cause.kind() == std::io::ErrorKind::UnexpectedEof =>
                {
                    Error::new(Exit::Unreachable, gone).hint("keyward status")
                }
                other => other.into(),
            }
        })?;
        // A kind that only a newer agent knows has no words.
        if let Some(name) = event.kind.name() {
            print(&line(&event, name, watch.json))?;
        }
    }
    Ok(())
}

fn line(event: &Event, name: &str, json: bool) -> String {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let now = time(now.unwrap_or_default().as_secs());
    if json {
        let value = json!({
            "time": now,
            "event": name,
            "token": event.token,
            "key": event.key,
            "count": event.count,
            "operation": operation(event),
            "caller": event.caller.as_ref().map(|caller| json!({
                "uid": caller.uid,
                "pid": caller.pid,
                "unit": caller.unit,
                "program": caller.program,
            })),
        });
        return format!("{value}\n");
    }
    let mut line = format!("{now}  {name}");
    if let Some(token) = &event.token {
        line.push_str(&format!("  token {}", plain(token)));
    }
    if let Some(key) = &event.key {
        line.push_str(&format!("  key {}", plain(key)));
    }
    if let Some(operation) = operation(event) {
        line.push_str(&format!("  {operation}"));
    }
    if let Some(caller) = &event.caller {
        line.push_str(&format!("  for {}", words(caller)));
    }
    if let Some(count) = event.count {
        line.push_str(&format!("  {count} events"));
    }
    line.push('\n');
    line
}

/// What was asked for; none for what only a newer agent knows.
fn operation(event: &Event) -> Option<&'static str> {
    event
        .operation
        .and_then(OperationCode::from_number)
        .map(OperationCode::name)
}

/// Who asked, the most telling first.
fn words(caller: &EventCaller) -> String {
    let mut words = match &caller.program {
        Some(program) => plain(program).to_string(),
        None => "a program that can't be told".to_owned(),
    };
    if let Some(pid) = caller.pid {
        words.push_str(&format!(" (process {pid})"));
    }
    if let Some(unit) = &caller.unit {
        words.push_str(&format!(", unit {}", plain(unit)));
    }
    words.push_str(&format!(", uid {}", caller.uid));
    words
}
