//! What one measurement gives, and what several of them give together.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// One run of one contestant.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Sample {
    /// Answers a second.
    pub(crate) rate: f64,
    /// Half of the answers came within so many microseconds.
    pub(crate) p50: f64,
    /// 99 of 100 answers came within so many microseconds.
    pub(crate) p99: f64,
    /// Processor time, in microseconds for each answer.
    pub(crate) cpu: Cpu,
}

/// Microseconds of processor time for each answer.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Cpu {
    /// The process that asks; for a token that is called directly this is all.
    pub(crate) caller: f64,
    /// `keywardd`, without the monitor.
    pub(crate) agent: f64,
    /// `keyward-worker`.
    pub(crate) worker: f64,
}

impl Sample {
    /// A sample of these latencies, which were taken during `elapsed`.
    pub(crate) fn new(latencies: &Histogram<u64>, elapsed: Duration, cpu: Cpu) -> Self {
        Self {
            rate: latencies.len() as f64 / elapsed.as_secs_f64(),
            p50: latencies.value_at_quantile(0.5) as f64 / 1e3,
            p99: latencies.value_at_quantile(0.99) as f64 / 1e3,
            cpu,
        }
    }

    /// Each number's median over the rounds.
    pub(crate) fn median(rounds: &[Self]) -> Self {
        let of = |number: fn(&Self) -> f64| median(rounds.iter().map(number));
        Self {
            rate: of(|s| s.rate),
            p50: of(|s| s.p50),
            p99: of(|s| s.p99),
            cpu: Cpu {
                caller: of(|s| s.cpu.caller),
                agent: of(|s| s.cpu.agent),
                worker: of(|s| s.cpu.worker),
            },
        }
    }
}

/// The middle one, or the upper of the two in the middle; NaN if there are none.
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Latencies in nanoseconds, from 100 ns to a minute, to three digits.
pub(crate) fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(100, 60_000_000_000, 3).expect("bounds that hdrhistogram takes")
}

/// Records a latency; what is beyond the bounds counts as the bound.
pub(crate) fn record(latencies: &mut Histogram<u64>, latency: Duration) {
    latencies.saturating_record(u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX));
}

/// The processor time that the calling thread has used.
pub(crate) fn thread_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(
        u64::try_from(time.tv_sec).unwrap_or_default(),
        u32::try_from(time.tv_nsec).unwrap_or_default(),
    )
}

/// The time for each of so many, in microseconds.
pub(crate) fn micros_each(time: Duration, count: u64) -> f64 {
    time.as_secs_f64() * 1e6 / count.max(1) as f64
}
