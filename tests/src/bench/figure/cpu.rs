//! Processor time for each request.

use std::time::Duration;

use crate::bench::{
    load::Load,
    report::Report,
    rig::{Contestant, Rig},
    work::Work,
};

const ROUNDS: usize = 5;
const DURATION: Duration = Duration::from_millis(700);

pub(super) fn measure(report: &mut Report) {
    let contestants = [
        Contestant::Sleepy(Load::one_at_a_time(1)),
        Contestant::Keyward(Load::one_at_a_time(1)),
        Contestant::Keyward(Load::pipelined(8)),
        Contestant::Direct(1),
        // As many threads as the worker has.
        Contestant::Direct(2),
    ];
    let [sleepy, spinning, pipelined, direct_1, direct_2] = Rig::start()
        .race(Work::SignP256, ROUNDS, DURATION, contestants)
        .map(|sample| sample.cpu);
    report.limit("cpu.agent.one-nospin", sleepy.agent, "us", 50.0);
    report.limit("cpu.agent.one", spinning.agent, "us", 30.0);
    report.limit("cpu.agent.pipelined", pipelined.agent, "us", 20.0);
    let added = pipelined.worker - direct_2.caller;
    report.limit("cpu.worker.pipelined-added", added, "us", 8.0);
    report.compare(
        "cpu.worker.pipelined/direct-2",
        pipelined.worker,
        "us",
        direct_2.caller,
    );
    report.compare(
        "cpu.worker.one-nospin/direct-1",
        sleepy.worker,
        "us",
        direct_1.caller,
    );
    report.compare(
        "cpu.worker.one/direct-1",
        spinning.worker,
        "us",
        direct_1.caller,
    );
    report.number("cpu.client.one", spinning.caller, "us");
    report.number("cpu.client.pipelined", pipelined.caller, "us");
}
