//! How many signatures a second, when there is always work.

use std::time::Duration;

use crate::bench::{
    load::Load,
    report::{Bound, Report},
    rig::{Contestant, Rig},
    work::Work,
};

const ROUNDS: usize = 5;
const DURATION: Duration = Duration::from_millis(1000);

pub(super) fn measure(report: &mut Report) {
    let contestants = [
        Contestant::Keyward(Load::pipelined(8)),
        Contestant::Keyward(Load::pipelined(1)),
        Contestant::Direct(1),
        Contestant::Direct(2),
        Contestant::P11Kit(2),
    ];
    let [many, one, direct_1, direct_2, p11_kit] = Rig::start()
        .race(Work::SignP256, ROUNDS, DURATION, contestants)
        .map(|sample| sample.rate);
    for (load, rate) in [(Load::pipelined(8), many), (Load::pipelined(1), one)] {
        let name = |reference| format!("sign-p256-pipelined.{load}/{reference}");
        report.bound(name("direct-2"), rate, "1/s", direct_2, Bound::AtLeast(0.5));
        report.bound(name("direct-1"), rate, "1/s", direct_1, Bound::AtLeast(0.8));
        report.compare(name("p11-kit-2"), rate, "1/s", p11_kit);
    }
}
