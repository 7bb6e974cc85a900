//! Denials are recorded at a bounded rate per uid, and counted above it.

use std::collections::HashMap;
use std::time::{Duration, Instant};

/// How many denials of a uid are recorded in a [`WINDOW`].
const RECORDED: u32 = 10;
/// How long a window is.
const WINDOW: Duration = Duration::from_secs(10);
/// How many uids are counted apart; those beyond share one count.
const UIDS: usize = 1024;

/// Counts the denials of each uid.
#[derive(Debug, Default)]
pub struct Denials {
    uids: HashMap<u32, Count>,
    others: Option<Count>,
}

#[derive(Clone, Copy, Debug)]
struct Count {
    since: Instant,
    recorded: u32,
    suppressed: u64,
}

/// What becomes of a denial.
#[derive(Debug)]
pub enum Admission {
    /// It is to be recorded, with the count of those before it that were not.
    Record {
        /// For the record's field of this name.
        suppressed: Option<u64>,
    },
    /// It was counted.
    Count(Suppressed),
}

/// Proof that a denial was counted; its reply is sealed with it.
#[derive(Debug)]
pub struct Suppressed(());

impl Denials {
    /// Decides about a denial of a uid now.
    pub fn admit(&mut self, uid: u32, now: Instant) -> Admission {
        self.count(uid, now).admit(now)
    }

    /// Takes the counts that no record holds yet; `None` stands for uids that share a count. For
    /// the records at shutdown.
    pub fn drain(&mut self) -> Vec<(Option<u32>, u64)> {
        let others = self.others.take().map(|count| (None, count));
        let uids = self.uids.drain().map(|(uid, count)| (Some(uid), count));
        let mut counts: Vec<_> = uids
            .chain(others)
            .filter(|(_, count)| count.suppressed > 0)
            .map(|(uid, count)| (uid, count.suppressed))
            .collect();
        counts.sort_unstable();
        counts
    }

    fn count(&mut self, uid: u32, now: Instant) -> &mut Count {
        if self.uids.len() >= UIDS && !self.uids.contains_key(&uid) {
            // What still has something to say stays.
            self.uids
                .retain(|_, count| count.suppressed > 0 || !count.over(now));
            if self.uids.len() >= UIDS {
                return self.others.get_or_insert(Count::new(now));
            }
        }
        self.uids.entry(uid).or_insert(Count::new(now))
    }
}

impl Count {
    const fn new(now: Instant) -> Self {
        Self {
            since: now,
            recorded: 0,
            suppressed: 0,
        }
    }

    fn over(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.since) >= WINDOW
    }

    fn admit(&mut self, now: Instant) -> Admission {
        if self.over(now) {
            self.since = now;
            self.recorded = 0;
        }
        if self.recorded >= RECORDED {
            self.suppressed = self.suppressed.saturating_add(1);
            return Admission::Count(Suppressed(()));
        }
        self.recorded = self.recorded.saturating_add(1);
        let suppressed = std::mem::take(&mut self.suppressed);
        Admission::Record {
            suppressed: (suppressed > 0).then_some(suppressed),
        }
    }
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects)]
mod tests {
    use super::*;

    fn recorded(admission: &Admission) -> bool {
        matches!(admission, Admission::Record { .. })
    }

    #[test]
    fn above_ten_in_ten_seconds_denials_are_counted_and_told_by_the_next_record() {
        let (mut denials, now) = (Denials::default(), Instant::now());
        let first = (0..25).filter(|_| recorded(&denials.admit(1, now))).count();
        assert_eq!(first, 10);
        assert!(
            recorded(&denials.admit(2, now)),
            "another uid has its own count"
        );
        let told = |denials: &mut Denials, seconds| match denials
            .admit(1, now + Duration::from_secs(seconds))
        {
            Admission::Record { suppressed } => Ok(suppressed),
            Admission::Count(_) => Err(()),
        };
        assert_eq!(told(&mut denials, 9), Err(()));
        assert_eq!(told(&mut denials, 10), Ok(Some(16)));
        assert_eq!(told(&mut denials, 10), Ok(None));
    }

    #[test]
    fn the_uids_are_bounded_and_no_count_is_lost() {
        let (mut denials, now) = (Denials::default(), Instant::now());
        let mut counted = 0;
        for uid in 0..5000 {
            for _ in 0..11 {
                counted += u64::from(!recorded(&denials.admit(uid, now)));
            }
        }
        assert!(denials.uids.len() <= UIDS);
        let drained = denials.drain();
        assert_eq!(drained.iter().map(|(_, n)| n).sum::<u64>(), counted);
        assert_eq!(drained.first().map(|(uid, _)| *uid), Some(None));
    }

    #[test]
    fn uids_that_have_nothing_to_tell_make_room() {
        let (mut denials, now) = (Denials::default(), Instant::now());
        for uid in 0..1024 {
            denials.admit(uid, now);
        }
        denials.admit(5000, now + WINDOW);
        assert_eq!(denials.uids.len(), 1);
        assert!(denials.others.is_none());
    }
}
