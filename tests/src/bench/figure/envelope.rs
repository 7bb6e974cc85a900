//! Envelope encryption and unwrapping, beside the calls of the token that are in them.

use std::time::Duration;

use crate::bench::{
    load::Load,
    report::{Bound, Report},
    rig::{Contestant, Rig},
    work::Work,
};

const ROUNDS: usize = 3;
const DURATION: Duration = Duration::from_millis(500);
const WORKS: [Work; 5] = [
    Work::DataKey,
    Work::DecryptDataKey,
    Work::UnwrapRsa2048,
    Work::Encrypt4K,
    Work::HpkeOpen,
];

/// The bounds are those of a signature: 0.5 of two threads and 0.8 of one when many are under way, 3.5 times the
/// latency when one is and the worker does not spin.
pub(super) fn measure(report: &mut Report) {
    let mut rig = Rig::start();
    for work in WORKS {
        let contestants = [
            Contestant::Direct(1),
            Contestant::Direct(2),
            Contestant::Keyward(Load::pipelined(1)),
            Contestant::Sleepy(Load::one_at_a_time(1)),
        ];
        let [one, two, pipelined, alone] = rig.race(work, ROUNDS, DURATION, contestants);
        let line = |what| format!("envelope.{}.{what}", work.name());
        report.bound(
            line("1x64/direct-2"),
            pipelined.rate,
            "1/s",
            two.rate,
            Bound::AtLeast(0.5),
        );
        report.bound(
            line("1x64/direct-1"),
            pipelined.rate,
            "1/s",
            one.rate,
            Bound::AtLeast(0.8),
        );
        report.bound(
            line("p50/direct"),
            alone.p50,
            "us",
            one.p50,
            Bound::AtMost(3.5),
        );
        report.compare(line("p99/direct"), alone.p99, "us", one.p99);
    }
}
