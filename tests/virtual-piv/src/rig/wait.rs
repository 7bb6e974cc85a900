//! Waiting for a condition: the only place here that sleeps.

use std::{
    thread,
    time::{Duration, Instant},
};

/// Waits until there is a value, at most `limit`.
#[must_use]
pub fn wait_for_some<T>(mut value: impl FnMut() -> Option<T>, limit: Duration) -> Option<T> {
    let start = Instant::now();
    loop {
        // Looked at once more after the limit: a machine that stood still is no failure.
        let late = start.elapsed() >= limit;
        if let Some(value) = value() {
            return Some(value);
        }
        if late {
            return None;
        }
        thread::sleep(Duration::from_millis(2));
    }
}
