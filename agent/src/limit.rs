//! How often something may fail: an attacker who learns one bit from each failure needs many.

use std::cell::RefCell;
use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

/// Failures that a uid may have in a period before it is refused.
const MOST: u32 = 100;
const PERIOD: Duration = Duration::from_secs(60);
/// How many uids are remembered.
const UIDS: usize = 1024;

/// Counts failures by uid.
#[derive(Default)]
pub struct FailureLimit {
    by_uid: RefCell<HashMap<u32, Window>>,
}

struct Window {
    began: Instant,
    failures: u32,
}

impl FailureLimit {
    /// How long the uid has to wait, if it has failed too often.
    pub fn wait(&self, uid: u32) -> Option<Duration> {
        let by_uid = self.by_uid.borrow();
        let window = by_uid.get(&uid).filter(|window| window.failures >= MOST)?;
        PERIOD
            .checked_sub(window.began.elapsed())
            .filter(|left| !left.is_zero())
    }

    /// Counts a failure.
    pub fn failed(&self, uid: u32) {
        let mut by_uid = self.by_uid.borrow_mut();
        if by_uid.len() >= UIDS {
            by_uid.retain(|_, window| window.began.elapsed() < PERIOD);
        }
        let fresh = Window {
            began: Instant::now(),
            failures: 0,
        };
        let window = by_uid.entry(uid).or_insert(fresh);
        if window.began.elapsed() >= PERIOD {
            window.began = Instant::now();
            window.failures = 0;
        }
        window.failures = window.failures.saturating_add(1);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_fails_too_often_waits_and_nobody_else() {
        let limit = FailureLimit::default();
        for _ in 0..MOST {
            assert_eq!(limit.wait(1), None);
            limit.failed(1);
        }
        let wait = limit.wait(1).unwrap();
        assert!(wait <= PERIOD);
        assert_eq!(limit.wait(2), None);
        tokio::time::advance(PERIOD).await;
        assert_eq!(limit.wait(1), None);
        limit.failed(1);
        assert_eq!(limit.wait(1), None, "a new period counts anew");
    }
}
