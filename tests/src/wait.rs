//! Waiting for a condition: the only place of the tests that sleeps.

use std::{
    thread,
    time::{Duration, Instant},
};

/// Waits until the condition holds, at most `limit`; says whether it did.
#[must_use]
pub fn wait_for(mut condition: impl FnMut() -> bool, limit: Duration) -> bool {
    wait_for_some(|| condition().then_some(()), limit).is_some()
}

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
