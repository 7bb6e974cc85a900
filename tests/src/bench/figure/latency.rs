//! The big table: p50 and p99 of each operation, by number of clients and how they ask.

use std::time::Duration;

use crate::bench::{
    load::Load,
    report::{Report, markdown, short},
    rig::{Contestant, Rig},
    sample::Sample,
    work::Work,
};

const ROUNDS: usize = 3;
const DURATION: Duration = Duration::from_millis(220);
const DIRECT: [Contestant; 2] = [Contestant::Direct(1), Contestant::Direct(2)];
const LOADS: [Load; 8] = [
    Load::one_at_a_time(1),
    Load::one_at_a_time(2),
    Load::one_at_a_time(8),
    Load::one_at_a_time(32),
    Load::pipelined(1),
    Load::pipelined(2),
    Load::pipelined(8),
    Load::pipelined(32),
];

pub(super) fn measure(report: &mut Report) {
    let mut rig = Rig::start();
    let mut rows = Vec::new();
    for work in Work::ALL {
        // p11-kit refuses to derive, and AES-GCM.
        let signs = matches!(
            work,
            Work::SignP256 | Work::SignRsa2048 | Work::UnwrapRsa2048
        );
        let p11_kit = signs.then_some(Contestant::P11Kit(1));
        let keyward = LOADS.map(Contestant::Keyward);
        let contestants: Vec<_> = DIRECT.into_iter().chain(p11_kit).chain(keyward).collect();
        let samples = rig.race_all(work, ROUNDS, DURATION, &contestants);
        let direct = samples.first().expect("the first contestant").to_owned();
        for (contestant, sample) in contestants.iter().zip(samples) {
            let name = |what| format!("latency.{}.{contestant}.{what}", work.name());
            report.compare(name("rate"), sample.rate, "1/s", direct.rate);
            report.compare(name("p50"), sample.p50, "us", direct.p50);
            report.compare(name("p99"), sample.p99, "us", direct.p99);
            rows.push(row(work, *contestant, &sample));
        }
    }
    report.table(markdown(
        &["operation", "who", "1/s", "p50 us", "p99 us"],
        &rows,
    ));
}

fn row(work: Work, contestant: Contestant, sample: &Sample) -> Vec<String> {
    let numbers = [sample.rate, sample.p50, sample.p99].map(short);
    [
        &[work.name().to_owned(), contestant.to_string()],
        &numbers[..],
    ]
    .concat()
}
